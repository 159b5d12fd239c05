import Foundation
import Testing

@testable import TihuaWeightFiles

@Suite struct CheckpointTests {
    private static func copy(_ files: [(String, String)], to folder: URL) throws {
        for (from, to) in files {
            try FileManager.default.copyItem(at: weightFixture(from), to: folder.appending(path: to))
        }
    }

    private static let safetensorsShards = [1, 2].map { "model-0000\($0)-of-00002.safetensors" }
    private static let binShards = [1, 2].map { "pytorch_model-0000\($0)-of-00002.bin" }

    /// The same weights in every layout of a folder: fixtures and the names that they get there.
    static let layouts: [[(String, String)]] = [
        [("checkpoint.expected.safetensors", "model.safetensors"), ("evil.system2.pt", "pytorch_model.bin")],
        [("checkpoint.pt", "pytorch_model.bin"), ("evil.system2.pt", "other.pt")],
        [("checkpoint.legacy.pt", "pytorch_model.bin")],
        [("checkpoint.pt", "clip_cn.pt")],
        [("checkpoint.expected.safetensors", "weights.safetensors"), ("evil.system2.pt", "a.pt")],
        shards(["model.safetensors.index.json"] + safetensorsShards),
        shards(["pytorch_model.bin.index.json"] + binShards),
    ]

    private static func shards(_ names: [String]) -> [(String, String)] { names.map { ("sharded/\($0)", $0) } }

    @Test(arguments: layouts)
    func findsTheWeightsOfAFolder(_ files: [(String, String)]) throws {
        try withTemporaryFolder { folder in
            try Self.copy(files, to: folder)
            let checkpoint = try Checkpoint.open(folder)
            let expected = try SafetensorsFile(contentsOf: weightFixture("checkpoint.expected.safetensors"))
            #expect(Set(checkpoint.tensors.map(\.name)) == Set(expected.tensors.map(\.name)))
            for tensor in expected.tensors {
                #expect(try checkpoint.tensor(tensor.name).contiguousBytes() == tensor.contiguousBytes())
            }
            #expect(checkpoint["absent"] == nil)
            #expect(throws: WeightFileError.self) { try checkpoint.tensor("absent") }
        }
    }

    @Test func aFileIsToldByItsContentAndNotItsName() throws {
        try withTemporaryFolder { folder in
            try Self.copy([("small.pt", "a.safetensors"), ("types.safetensors", "b.bin")], to: folder)
            #expect(try Checkpoint.open(folder.appending(path: "a.safetensors"))["w"]?.shape == [2, 3])
            #expect(try Checkpoint.open(folder.appending(path: "b.bin")).metadata == ["format": "pt"])
        }
    }

    @Test func saysWhatAFolderLacks() throws {
        try withTemporaryFolder { folder in
            #expect(failure { _ = try Checkpoint.open(folder) }?.description.contains("model.safetensors") == true)
            try Self.copy([("small.pt", "a.pt"), ("small.pt", "b.pth")], to: folder)
            let ambiguous = WeightFileError.ambiguous(path: folder.path, candidates: ["a.pt", "b.pth"])
            #expect(failure { _ = try Checkpoint.open(folder) } == ambiguous)
            let missing = folder.appending(path: "missing")
            #expect(failure { _ = try Checkpoint.open(missing) } == .missing(path: missing.path))
        }
    }

    @Test func anIndexIsHeldToItsWord() throws {
        try withTemporaryFolder { folder in
            let index = folder.appending(path: "model.safetensors.index.json")
            func failure(_ json: String) throws -> WeightFileError? {
                try Data(json.utf8).write(to: index)
                return WeightFilesTests.failure { _ = try Checkpoint.open(folder) }
            }
            try Self.copy([("small.pt", "s.bin")], to: folder)
            #expect(try failure(#"{"weight_map":{"w":"s.bin"}}"#) == nil)
            #expect(
                try failure(#"{"weight_map":{"w":"s.bin","v":"s.bin"}}"#)
                    == .missingFromIndex(path: index.path, names: ["v"]))
            #expect(
                try failure(#"{"weight_map":{"w":"t.bin"}}"#) == .missingFromIndex(path: index.path, names: ["t.bin"]))
            for odd in ["../s.bin", "/etc/passwd", "", "..", "a\\u0000b"] {
                #expect(try failure(#"{"weight_map":{"w":"\#(odd)"}}"#)?.description.contains("no file beside") == true)
            }
            #expect(try failure("{}")?.description.contains("no weight_map") == true)
            #expect(try failure(#"{"weight_map":"#)?.description.contains("JSON") == true)
            try Self.copy([("small.pt", "t.bin")], to: folder)
            #expect(
                try failure(#"{"weight_map":{"w":"s.bin","v":"t.bin"}}"#) != nil, "one name in two shards")
        }
    }

    @Test func aPointerOfGitLFSIsExplained() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "model.safetensors")
            try Data("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".utf8).write(to: url)
            #expect(failure { _ = try Checkpoint.open(folder) }?.description.contains("git lfs pull") == true)
        }
    }
}
