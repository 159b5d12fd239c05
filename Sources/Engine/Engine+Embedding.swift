public import TihuaDataFiles
public import TihuaEncoders
import TihuaFiles
public import TihuaPictures

/// Pictures and texts to vectors in the space of the pack's CLIP model, E numbers each. Everything here throws, beside
/// what is named, `ModelError`, `WeightFileError` and `TokenizerError` where the model cannot be loaded.
extension Engine {
    /// The width of the space (E).
    public var embeddingWidth: Int { get throws { try towers().width } }

    /// Names the weights, the vocabulary and the configuration of the CLIP model.
    public var fingerprint: String { get throws { try towers().fingerprint() } }

    /// Embeddings of pictures.
    ///
    /// - Parameter isNormalized: of unit length; if not, as the model gives them
    public func embeddings(of pictures: [Picture], isNormalized: Bool = true) throws -> [[Float]] {
        try towers().encode(pictures, isNormalized: isNormalized)
    }

    /// What the picture tower sees of pictures: embeddings as the model gives them, and the grids if the pack's
    /// captioner takes them.
    public func features(of pictures: [Picture]) throws -> [PictureFeatures] {
        try towers().see(pictures, grid: captionerTakesGrid())
    }

    /// Embeddings of texts, which are cut to the length that the model was trained with. Where the pack names a
    /// sentence encoder for its CLIP model, they are of its space, and of unit length in any case.
    ///
    /// - Parameter isNormalized: of unit length; if not, as the model gives them
    public func embeddings(of texts: [String], isNormalized: Bool = true) throws -> [[Float]] {
        if let encoder = try sentences() { return try encoder.encode(texts) }
        return try towers().encode(texts, isNormalized: isNormalized)
    }

    /// Embeddings of unit length of a whole list, by key, and what could not be read.
    public nonisolated func embeddings(
        of list: PictureList, progress: (Int) -> Void = { _ in }
    ) async throws -> (rows: [String: [Float]], bad: [(key: String, reason: String)]) {
        let preprocessing = try await preprocessing()
        var read = EmbeddingJob.Part()
        var rows: [[Float]] = []
        for start in stride(from: 0, to: list.entries.count, by: PictureTextEncoder.batch) {
            let range = start..<min(start + PictureTextEncoder.batch, list.entries.count)
            let pixels = read.add(await list.prepare(range, preprocessing), of: list.entries[range])
            rows += try await embeddings(prepared: pixels, isNormalized: true)
            progress(range.upperBound)
        }
        let byKey = Dictionary(zip(read.keys, rows)) { first, _ in first }
        return (byKey, read.bad.map { ($0.key, $0.reason) })
    }

    func embeddings(prepared: [[Float]], isNormalized: Bool) throws -> [[Float]] {
        try towers().encode(prepared: prepared, isNormalized: isNormalized)
    }

    func features(prepared: [[Float]], isNormalized: Bool, grid: Bool) throws -> [PictureFeatures] {
        try towers().see(prepared: prepared, isNormalized: isNormalized, grid: grid)
    }

    func preprocessing() throws -> Preprocessing { try towers().preprocessing }
}

/// Pixels for the model, or why there are none.
typealias Prepared = Result<[Float], any Error>

extension EmbeddingFile {
    /// What a row holds of a picture; `row` is one of `keys.indices`.
    public func features(at row: Int) -> PictureFeatures {
        var features = PictureFeatures(embedding: embedding(at: row))
        if let shape = gridShape, let values = grid(at: row) {
            features.grid = PictureGrid(cells: shape.cells, width: shape.width, values: values)
        }
        return features
    }
}

extension PictureList {
    /// Decodes and resizes on all processors.
    ///
    /// - Parameter view: see `PictureView`
    func prepare(_ range: Range<Int>, _ preprocessing: Preprocessing, view: Int = 0) async -> [Prepared] {
        await range.concurrentMap { index in
            Prepared {
                let entry = entries[index]
                let picture = try Picture(encoded: Array(try bytes(of: entry)), name: entry.key)
                return preprocessing.pixels(PictureView.view(view, of: picture, key: entry.key))
            }
        }
    }
}
