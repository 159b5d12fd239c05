public import Foundation
import TihuaFiles
public import TihuaWeightFiles

/// Embeddings of pictures by key, as `tihua data embed` writes them: N rows of E numbers.
///
/// A safetensors file with `embeddings`, float32 `[N, E]`, and `keys`, the UTF-8 bytes of the N keys, a line feed after
/// each. Its metadata: `format` is `tihua.embeddings`, `model` the fingerprint of the weights that made it,
/// `normalized` `true` or `false`.
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
        let keys = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
        guard keys.count == embeddings.shape[0] else {
            throw bad("\(keys.count) keys stand beside \(embeddings.shape[0]) rows")
        }
        rows = Dictionary(zip(keys, keys.indices), uniquingKeysWith: { first, _ in first })
        guard rows.count == keys.count else { throw bad("a key stands twice") }
        self.keys = keys
        self.model = model
        self.embeddings = embeddings
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

    /// Writes a file whole or not at all.
    ///
    /// - Parameters:
    ///   - keys: different, without line feeds
    ///   - values: all rows, `keys.count` times `width` numbers
    /// - Throws: `FileError` for what cannot be written, `WeightFileError.unwritable` for values of another count.
    public static func write(
        keys: [String], values: [Float], width: Int, isNormalized: Bool, model: String,
        metadata: [String: String] = [:], to url: URL
    ) throws {
        try write(
            keys: keys, width: width, metadata: own(metadata, isNormalized: isNormalized, model: model), to: url
        ) { sink in try values.withUnsafeBytes { try sink.write($0) } }
    }

    /// Joins files of one model in their order, piece by piece, so that no more than one row need be in memory.
    ///
    /// - Throws: `FileError` for what cannot be written, `DataFileError.badFile` for files of different models or
    ///   widths.
    public static func join(_ parts: [EmbeddingFile], metadata: [String: String] = [:], to url: URL) throws {
        guard let first = parts.first else { throw DataFileError.nothingFound(file: url.path, expected: "embeddings") }
        guard
            parts.allSatisfy({
                $0.width == first.width && $0.model == first.model && $0.isNormalized == first.isNormalized
            })
        else { throw DataFileError.badFile(file: url.path, reason: "its parts are of different models") }
        let metadata = own(metadata, isNormalized: first.isNormalized, model: first.model)
        try write(keys: parts.flatMap(\.keys), width: first.width, metadata: metadata, to: url) { sink in
            for part in parts { try part.embeddings.withUnsafeBytes { try sink.write($0) } }
        }
    }

    private static func own(_ metadata: [String: String], isNormalized: Bool, model: String) -> [String: String] {
        metadata.merging(["format": format, "model": model, "normalized": "\(isNormalized)"]) { $1 }
    }

    private static func write(
        keys: [String], width: Int, metadata: [String: String], to url: URL,
        rows: @escaping (FileSink) throws -> Void
    ) throws {
        let text = Array(keys.map { $0 + "\n" }.joined().utf8)
        let sources = [
            SafetensorsWriter.Source(
                name: "embeddings", elementType: .float32, shape: [keys.count, width], writing: rows),
            SafetensorsWriter.Source(name: "keys", elementType: .uint8, shape: [text.count]) { try $0.write(text) },
        ]
        try SafetensorsWriter.write(sources, metadata: metadata, to: url)
    }
}
