import Foundation
import Testing

@testable import TihuaWeightFiles

/// What a small file may make a reader do is bounded by work, not only by the size of the file.
@Suite struct CostTests {
    /// Pickles of many short instructions, each with what it repeats.
    @Test(
        arguments: [
            ("lists", Array("]".utf8)), ("marks", Array("(".utf8)), ("numbers", [0x4B, 1]), ("copies", [0x4E, 0x32]),
            ("tuples", [0x4E, 0x85]), ("names", [0x8C, 1, 0x61, 0x94]),
        ] as [(String, [UInt8])])
    func `a pickle of millions of instructions is refused`(_ name: String, _ part: [UInt8]) throws {
        let program = [0x80, 2] + Array(repeatElement(part, count: 4_100_000 / max(1, part.count / 2)).joined())
        let file = try MappedFile(copying: program, path: name)
        let error = try #require(failure { _ = try TorchArchive(file) })
        guard case .limit(_, let what, _) = error else { throw error }
        #expect(what.contains("instructions"))
    }

    @Test func `a header of too many tensors is refused`() throws {
        func header(_ count: Int) -> String {
            "{"
                + (0..<count).map { #""\#($0)":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"# }.joined(
                    separator: ",")
                + "}"
        }
        let limit = SafetensorsFile.maximumTensors
        let most = try SafetensorsFile(MappedFile(copying: safetensors(header(limit), data: 0), path: "a"))
        #expect(most.tensors.count == limit)
        let beyond = try MappedFile(copying: safetensors(header(limit + 1), data: 0), path: "a")
        #expect(
            failure { _ = try SafetensorsFile(beyond) }
                == .limit(path: "a", what: "the number of tensors", limit: limit))
    }

    @Test func `a header of too many values is refused`() throws {
        let shape = "{\"a\":{\"dtype\":\"U8\",\"shape\":[0" + String(repeating: ",0", count: 2_000_000) + "]}}"
        let file = try MappedFile(copying: safetensors(shape, data: 0), path: "a")
        let error = try #require(failure { _ = try SafetensorsFile(file) })
        guard case .limit(_, "the number of JSON values", _) = error else { throw error }
    }
}
