import Foundation
import Testing
import TihuaFiles

@testable import TihuaWeightFiles

@Suite struct SafetensorsWriterTests {
    @Test func writesByteForByteWhatPythonWrites() throws {
        try withTemporaryFolder { folder in
            let original = try SafetensorsFile(contentsOf: weightFixture("types.safetensors"))
            let url = folder.appending(path: "copy.safetensors")
            try SafetensorsWriter.write(
                original.tensors.shuffled().map { .init($0) }, metadata: original.metadata, to: url)
            #expect(try bytes(url) == bytes(weightFixture("types.safetensors")))
            if let keep = ProcessInfo.processInfo.environment["TIHUA_KEEP_WRITTEN"] {
                // For Scripts/check_written_files.py, which reads it with Python.
                try Data(contentsOf: url).write(to: URL(filePath: keep).appending(path: "written.safetensors"))
            }
        }
    }

    @Test func writesStridedViewsContiguously() throws {
        try withTemporaryFolder { folder in
            let views = try TorchArchive(contentsOf: weightFixture("views.pt")).tensors()
            let url = folder.appending(path: "views.safetensors")
            try SafetensorsWriter.write(views.map { .init($0) }, to: url)
            #expect(try bytes(url) == bytes(weightFixture("views.expected.safetensors")))
        }
    }

    /// A tensor of bytes for the writer; its source gives the content byte by byte.
    struct Bytes {
        var name: String
        var shape: [Int]
        var content: [UInt8]

        init(_ name: String, _ shape: [Int], _ content: [UInt8]) {
            (self.name, self.shape, self.content) = (name, shape, content)
        }

        var source: SafetensorsWriter.Source {
            .init(name: name, elementType: .uint8, shape: shape) { [content] sink in
                for byte in content { try sink.write([byte]) }
            }
        }
    }

    static let misfits: [(String, [Bytes], String)] = [
        ("too few bytes", [Bytes("a", [3], [1, 2])], "gave 2 bytes instead of 3"),
        ("too many bytes", [Bytes("a", [1], [1, 2])], "gave 2 bytes instead of 1"),
        ("a name twice", [Bytes("a", [1], [1]), Bytes("a", [1], [1])], "stands twice"),
        ("the reserved name", [Bytes("__metadata__", [1], [1])], "reserved"),
        ("a negative dimension", [Bytes("a", [-1], [])], "impossible shape"),
        ("an overflow", [Bytes("a", [1 << 40, 1 << 40], [])], "impossible shape"),
    ]

    @Test func replacesAnOlderFileAndLeavesNothingBeside() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.safetensors")
            try Data("old".utf8).write(to: url)
            try SafetensorsWriter.write([Bytes("a", [3], [1, 2, 3]).source], metadata: ["题": "\"\u{1}\\\n"], to: url)
            let file = try SafetensorsFile(contentsOf: url)
            #expect(file["a"]?.contiguousBytes() == [1, 2, 3])
            #expect(file.metadata == ["题": "\"\u{1}\\\n"])
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.safetensors"])
        }
    }

    @Test(arguments: misfits)
    func refusesWhatDoesNotFitAndKeepsTheOlderFile(
        _ name: String, _ tensors: [Bytes], _ word: String
    ) throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.safetensors")
            try Data("old".utf8).write(to: url)
            let error = try #require(failure { try SafetensorsWriter.write(tensors.map(\.source), to: url) })
            #expect(error.description.contains(word), "\(error)")
            #expect(try String(contentsOf: url, encoding: .utf8) == "old")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.safetensors"])
        }
    }

    @Test func anErrorOfTheSourcePassesThroughAndLeavesNothing() throws {
        try withTemporaryFolder { (folder: URL) throws in
            let url = folder.appending(path: "a.safetensors")
            let broken = SafetensorsWriter.Source(name: "a", elementType: .uint8, shape: [1]) { _ in
                throw CancellationError()
            }
            #expect(throws: CancellationError.self) { try SafetensorsWriter.write([broken], to: url) }
            let left = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            #expect(left.isEmpty)
        }
    }

    @Test func aMissingFolderIsNamed() {
        let url = URL(filePath: "/nonexistent/folder/a.safetensors")
        let expected = FileError.system(path: url.path, operation: "write", reason: "No such file or directory")
        #expect(throws: expected) { try SafetensorsWriter.write([], to: url) }
    }
}
