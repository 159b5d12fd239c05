import Foundation
import Testing
import TihuaDataFiles
import TihuaFiles
import TihuaTestSupport
import TihuaWeightFiles

@Suite struct EmbeddingFileTests {
    private let scratch: Scratch
    private var file: URL { scratch.url.appending(path: "e.safetensors") }

    init() throws { scratch = try Scratch() }

    @Test("what is written is read, and parts join to the whole")
    func roundTrip() throws {
        let keys = ["a", "海/2", "c d"]
        let values = (0..<6).map { Float($0) / 4 }
        try EmbeddingFile.write(keys: keys, values: values, width: 2, isNormalized: false, model: "m", to: file)
        let read = try EmbeddingFile(contentsOf: file)
        #expect(read.keys == keys && read.width == 2 && !read.isNormalized && read.model == "m")
        #expect(read.embedding(of: "海/2") == [0.5, 0.75] && read.row(of: "c d") == 2 && read.embedding(of: "x") == nil)
        let parts = try [keys[..<1], keys[1...]].enumerated().map { index, keys in
            let part = scratch.url.appending(path: "\(index)")
            try EmbeddingFile.write(
                keys: Array(keys), values: Array(index == 0 ? values[..<2] : values[2...]), width: 2,
                isNormalized: false,
                model: "m", to: part)
            return try EmbeddingFile(contentsOf: part)
        }
        let joined = scratch.url.appending(path: "joined")
        try EmbeddingFile.join(parts, to: joined)
        #expect(try Data(contentsOf: joined) == Data(contentsOf: file))
        try EmbeddingFile.write(keys: [], values: [], width: 3, isNormalized: false, model: "m", to: file)
        #expect(throws: DataFileError.self) {
            try EmbeddingFile.join(parts + [EmbeddingFile(contentsOf: file)], to: joined)
        }
    }

    @Test("grids and the number of the view are read as written, and parts join to the whole")
    func gridsRoundTrip() throws {
        let shape = GridShape(cells: 2, width: 3)
        let grids = (0..<18).map { Float16($0) / 8 }
        func write(_ rows: Range<Int>, to url: URL) throws {
            try EmbeddingFile.write(
                keys: Array(["a", "b", "c"][rows]), values: rows.map(Float.init), width: 1,
                grids: rows.isEmpty
                    ? nil : .init(shape: shape, values: Array(grids[rows.lowerBound * 6..<rows.upperBound * 6])),
                view: 3, isNormalized: false, model: "m", to: url)
        }
        try write(0..<3, to: file)
        let read = try EmbeddingFile(contentsOf: file)
        #expect(read.gridShape == shape && read.view == 3 && read.embedding(at: 2) == [2])
        #expect(read.grid(at: 1) == Array(grids[6..<12]) && read.grid(at: 2) == Array(grids[12...]))
        // The second part is of pictures that could not be read.
        let parts = try [0..<2, 2..<2, 2..<3].map { rows in
            let part = scratch.url.appending(path: "part-\(rows.lowerBound)-\(rows.count)")
            try write(rows, to: part)
            return try EmbeddingFile(contentsOf: part)
        }
        let joined = scratch.url.appending(path: "joined")
        try EmbeddingFile.join(parts, to: joined)
        #expect(try Data(contentsOf: joined) == Data(contentsOf: file))
        try EmbeddingFile.write(
            keys: ["d"], values: [3], width: 1, view: 3, isNormalized: false, model: "m", to: file)
        let without = try EmbeddingFile(contentsOf: file)
        #expect(without.grid(at: 0) == nil && without.gridShape == nil)
        #expect(throws: DataFileError.self) { try EmbeddingFile.join(parts + [without], to: joined) }
    }

    @Test("files of another kind are refused with a reason")
    func badFiles() throws {
        func problem(
            _ keys: String, metadata: [String: String], shape: [Int] = [2, 1], grid: [Int]? = nil
        ) throws -> String {
            let bytes = Array(keys.utf8)
            let grids = grid.map { shape in
                SafetensorsWriter.Source(name: "grids", elementType: .float16, shape: shape) {
                    try $0.write([UInt8](repeating: 0, count: 2 * shape.reduce(1, *)))
                }
            }
            try SafetensorsWriter.write(
                [
                    .init(name: "embeddings", elementType: .float32, shape: shape) {
                        try $0.write([UInt8](repeating: 0, count: 8))
                    }, .init(name: "keys", elementType: .uint8, shape: [bytes.count]) { try $0.write(bytes) },
                ] + (grids.map { [$0] } ?? []), metadata: metadata, to: file)
            do {
                _ = try EmbeddingFile(contentsOf: file)
                return ""
            } catch { return "\(error)" }
        }
        let good = ["format": "tihua.embeddings", "model": "m", "normalized": "true"]
        #expect(try problem("a\nb\n", metadata: good).isEmpty)
        #expect(try problem("a\nb\n", metadata: [:]).contains("no embeddings of tihua data embed"))
        #expect(try problem("a\nb\nc\n", metadata: good).contains("3 keys"))
        #expect(try problem("a\na\n", metadata: good).contains("twice"))
        #expect(try problem("a\nb\n", metadata: good, shape: [2]).contains("[N, E]"))
        #expect(try problem("a\nb\n", metadata: good, grid: [2, 3, 4]).isEmpty)
        #expect(try problem("a\nb\n", metadata: good, grid: [3, 3, 4]).contains("[N, P, C]"))
        #expect(try problem("a\nb\n", metadata: good, grid: [2, 12]).contains("[N, P, C]"))
        #expect(try problem("a\nb\n", metadata: good.merging(["view": "-1"]) { $1 }).contains("view"))
    }
}
