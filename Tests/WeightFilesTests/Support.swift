import Foundation
import Testing
import TihuaTestSupport

@testable import TihuaWeightFiles

func weightFixture(_ name: String) -> URL { fixture("WeightFiles/\(name)") }

/// Calls the closure with a new folder and removes it afterwards.
func withTemporaryFolder<R>(_ body: (URL) throws -> R) throws -> R {
    let folder = FileManager.default.temporaryDirectory.appending(path: "weightfiles-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder)
}

func bytes(_ url: URL) throws -> [UInt8] { [UInt8](try Data(contentsOf: url)) }

/// The error that the closure throws, nil if it throws none.
func failure(_ body: () throws -> Void) -> WeightFileError? {
    do {
        try body()
        return nil
    } catch {
        return error as? WeightFileError
    }
}

/// A safetensors file in memory: the header's length, the header, `data` zero bytes.
func safetensors(_ header: String, data: Int, length: UInt64? = nil) -> [UInt8] {
    let json = Array(header.utf8)
    return withUnsafeBytes(of: (length ?? UInt64(json.count)).littleEndian, Array.init) + json
        + [UInt8](repeating: 0, count: data)
}

/// Content that a reader must refuse, with the words that the error must say; shown by its name only.
struct Refused: Sendable, CustomTestStringConvertible {
    var name: String
    var content: [UInt8]
    var words: String

    init(_ name: String, _ content: [UInt8], _ words: String) {
        (self.name, self.content, self.words) = (name, content, words)
    }

    var testDescription: String { name }
}

/// A fixed sequence of random numbers (SplitMix64, Steele et al. 2014).
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
