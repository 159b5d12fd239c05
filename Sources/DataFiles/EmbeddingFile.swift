public import Foundation
import TihuaFiles
public import TihuaWeightFiles

/// Embeddings of pictures by key, as `tihua data embed` writes them: N rows of E numbers, and perhaps N grids, which
/// say what is where: P cells of C numbers each.
///
/// A safetensors file with `embeddings`, float32 `[N, E]`, and `keys`, the UTF-8 bytes of the N keys, a line feed after
/// each; where there are grids, `grids`, float16 `[N, P, C]`, the cells row by row from the top left. Its metadata:
/// `format` is `tihua.embeddings`, `model` the fingerprint of the weights that made it, `normalized` `true` or `false`,
/// and `view` the number of the view of the pictures where that is not 0.
public struct EmbeddingFile: Sendable {
    /// The key of each row.
    public let keys: [String]
    /// How many numbers a row has.
    public let width: Int
    /// Whether the rows have length 1. Rows that do not are as the model gives them, which is what ClipCap is trained
    /// on.
    public let isNormalized: Bool
    /// The fingerprint of the model; embeddings of two models do not lie in one space.
    public let model: String
    /// float32 `[N, E]`, mapped.
    public let embeddings: TensorView
    /// float16 `[N, P, C]`, mapped; nil where the file has none.
    public let grids: TensorView?
    /// Which view of the pictures this is: 0 for the pictures as they are.
    public let view: Int
    /// All metadata of the file.
    public let metadata: [String: String]
    private let rows: [String: Int]

    static let format = "tihua.embeddings"

    /// Opens the file; the numbers stay in it.
    ///
    /// - Throws: `WeightFileError` for what is no safetensors file, `DataFileError.badFile` for another kind of
    ///   content.
    public init(contentsOf url: URL) throws {
        let file = try SafetensorsFile(contentsOf: url)
        func bad(_ reason: String) -> DataFileError { .badFile(file: url.path, reason: reason) }
        guard file.metadata["format"] == Self.format, let model = file.metadata["model"],
            let normalized = file.metadata["normalized"].flatMap(Bool.init)
        else { throw bad("these are no embeddings of tihua data embed") }
        guard let embeddings = file["embeddings"], embeddings.elementType == .float32, embeddings.shape.count == 2,
            let stored = file["keys"], stored.elementType == .uint8
        else { throw bad("embeddings float32 [N, E] or keys uint8 are missing") }
        guard let text = String(validating: stored.contiguousBytes(), as: UTF8.self) else {
            throw bad("keys are not UTF-8")
        }
        let grids = file["grids"]
        if let grids {
            guard grids.elementType == .float16, grids.shape.count == 3, grids.shape[0] == embeddings.shape[0] else {
                throw bad("grids are not float16 [N, P, C] for the N of its embeddings")
            }
        }
        guard let view = Int(file.metadata["view"] ?? "0"), view >= 0 else { throw bad("view is not a whole number") }
        let keys = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
        guard keys.count == embeddings.shape[0] else {
            throw bad("\(keys.count) keys stand beside \(embeddings.shape[0]) rows")
        }
        rows = Dictionary(zip(keys, keys.indices), uniquingKeysWith: { first, _ in first })
        guard rows.count == keys.count else { throw bad("a key stands twice") }
        self.keys = keys
        self.model = model
        self.embeddings = embeddings
        self.grids = grids
        self.view = view
        metadata = file.metadata
        width = embeddings.shape[1]
        isNormalized = normalized
    }

    /// The row of a picture; nil where the file does not have it.
    public func row(of key: String) -> Int? { rows[key] }

    /// The numbers of a row, which is one of `keys.indices`.
    public func embedding(at row: Int) -> [Float] {
        precondition(keys.indices.contains(row), "row \(row) of \(keys.count)")
        return embeddings.withUnsafeBytes { bytes in
            (0..<width).map { bytes.loadUnaligned(fromByteOffset: 4 * (row * width + $0), as: Float.self) }
        }
    }

    /// The numbers of a picture; nil where the file does not have it.
    public func embedding(of key: String) -> [Float]? { rows[key].map(embedding) }

    /// How many cells a grid has, and how many numbers a cell; nil where the file has no grids.
    public var gridShape: GridShape? { grids.map { GridShape(cells: $0.shape[1], width: $0.shape[2]) } }

    /// The grid of a row, which is one of `keys.indices`, cell by cell; nil where the file has none.
    public func grid(at row: Int) -> [Float16]? {
        precondition(keys.indices.contains(row), "row \(row) of \(keys.count)")
        guard let grids, let shape = gridShape else { return nil }
        let count = shape.cells * shape.width
        return grids.withUnsafeBytes { bytes in
            (0..<count).map { bytes.loadUnaligned(fromByteOffset: 2 * (row * count + $0), as: Float16.self) }
        }
    }

    /// Grids to write.
    public struct Grids: Sendable {
        /// The cells of one grid.
        public var shape: GridShape
        /// All of them, one after the other.
        public var values: [Float16]

        /// Grids of one shape.
        public init(shape: GridShape, values: [Float16]) {
            self.shape = shape
            self.values = values
        }
    }

    /// Writes a file whole or not at all.
    ///
    /// - Parameters:
    ///   - keys: different, without line feeds
    ///   - values: all rows, `keys.count` times `width` numbers
    ///   - grids: a grid for each key, or none for all
    ///   - view: which view of the pictures this is
    /// - Throws: `FileError` for what cannot be written, `WeightFileError.unwritable` for values of another count.
    public static func write(
        keys: [String], values: [Float], width: Int, grids: Grids? = nil, view: Int = 0, isNormalized: Bool,
        model: String, metadata: [String: String] = [:], to url: URL
    ) throws {
        let metadata = own(metadata, isNormalized: isNormalized, model: model, view: view)
        let gridRows = grids.map { grids in
            (shape: grids.shape, write: { (sink: FileSink) in try grids.values.withUnsafeBytes { try sink.write($0) } })
        }
        try write(keys: keys, width: width, grids: gridRows, metadata: metadata, to: url) { sink in
            try values.withUnsafeBytes { try sink.write($0) }
        }
    }

    /// Joins files of one model in their order, piece by piece, so that no more than one row need be in memory.
    ///
    /// - Throws: `FileError` for what cannot be written, `DataFileError.badFile` for files of different models, views
    ///   or sizes.
    public static func join(_ parts: [EmbeddingFile], metadata: [String: String] = [:], to url: URL) throws {
        guard let first = parts.first(where: { !$0.keys.isEmpty }) ?? parts.first else {
            throw DataFileError.nothingFound(file: url.path, expected: "embeddings")
        }
        guard
            parts.allSatisfy({ part in
                // A part of pictures that could not be read has no grids to know the shape of.
                part.width == first.width && part.model == first.model && part.isNormalized == first.isNormalized
                    && part.view == first.view && (part.gridShape == first.gridShape || part.keys.isEmpty)
            })
        else { throw DataFileError.badFile(file: url.path, reason: "its parts are of different models") }
        let metadata = own(metadata, isNormalized: first.isNormalized, model: first.model, view: first.view)
        let grids = first.gridShape.map { shape in
            (
                shape: shape,
                write: { (sink: FileSink) in
                    for part in parts { try part.grids?.withUnsafeBytes { try sink.write($0) } }
                }
            )
        }
        try write(keys: parts.flatMap(\.keys), width: first.width, grids: grids, metadata: metadata, to: url) { sink in
            for part in parts { try part.embeddings.withUnsafeBytes { try sink.write($0) } }
        }
    }

    private static func own(
        _ metadata: [String: String], isNormalized: Bool, model: String, view: Int
    ) -> [String: String] {
        var own = ["format": format, "model": model, "normalized": "\(isNormalized)"]
        // Files of the pictures as they are stay as they were before there were views.
        if view != 0 { own["view"] = "\(view)" }
        return metadata.merging(own) { $1 }
    }

    private static func write(
        keys: [String], width: Int, grids: (shape: GridShape, write: (FileSink) throws -> Void)?,
        metadata: [String: String], to url: URL, rows: @escaping (FileSink) throws -> Void
    ) throws {
        let text = Array(keys.map { $0 + "\n" }.joined().utf8)
        var sources = [
            SafetensorsWriter.Source(
                name: "embeddings", elementType: .float32, shape: [keys.count, width], writing: rows),
            SafetensorsWriter.Source(name: "keys", elementType: .uint8, shape: [text.count]) { try $0.write(text) },
        ]
        if let grids {
            let shape = [keys.count, grids.shape.cells, grids.shape.width]
            sources.append(.init(name: "grids", elementType: .float16, shape: shape, writing: grids.write))
        }
        try SafetensorsWriter.write(sources, metadata: metadata, to: url)
    }
}

/// How many cells the grid of a picture has, and how many numbers a cell.
public struct GridShape: Sendable, Equatable {
    /// The cells of a grid (P), row by row from the top left.
    public let cells: Int
    /// The numbers of a cell (C).
    public let width: Int

    /// A grid of so many cells.
    public init(cells: Int, width: Int) {
        self.cells = cells
        self.width = width
    }
}
