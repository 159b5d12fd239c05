public import Foundation
import TihuaModels
public import TihuaPictures
import TihuaTokenizers
public import TihuaTorch

/// Embeds pictures and texts in one space: a two-tower model with the preprocessing that its folder states.
///
/// Not `Sendable`: it lives on the thread, or in the actor, that made it. E is the width of the space. Everything is
/// embedded in batches of 32; a model that gives numbers that are not finite is `ModelError.notFinite`.
public final class PictureTextEncoder {
    /// The width of the space (E).
    public let width: Int
    /// The factor of the cosines that the model was trained with.
    public let scale: Float
    /// How pictures are made ready for the model.
    public let preprocessing: Preprocessing
    private let model: any TwoTowers
    private var loadedTokenizer: TextTokenizer?
    private let device: Device
    private let folder: URL

    /// Pictures or texts that go through a tower together.
    public static let batch = 32

    /// Loads the folder of a two-tower model, or a checkpoint in one of the layouts that `ChineseCLIP.open` reads. The
    /// vocabulary, which lies beside the weights, is read at the first text.
    ///
    /// - Parameter dtype: the type of weights and activations
    /// - Throws: `ModelError`, `WeightFileError`.
    public init(folder: URL, dtype: DType = .float32, device: Device) throws {
        model = try openTwoTowers(folder, dtype: dtype, device: device)
        model.prepareForInference()
        preprocessing = try Preprocessing(folder: folder, size: model.imageSize)
        width = model.projectionSize
        scale = Float(Foundation.exp(model.logitScale.item))
        self.device = device
        self.folder = folder
    }

    /// Embeddings of pictures, E numbers each.
    ///
    /// - Parameter isNormalized: of unit length; if not, as the model gives them
    public func encode(_ pictures: [Picture], isNormalized: Bool = true) throws -> [[Float]] {
        try encode(prepared: pictures.map(preprocessing.pixels), isNormalized: isNormalized)
    }

    /// Embeddings of pictures that `preprocessing` has made ready, E numbers each.
    ///
    /// - Parameter isNormalized: of unit length; if not, as the model gives them
    public func encode(prepared: [[Float]], isNormalized: Bool) throws -> [[Float]] {
        try see(prepared: prepared, isNormalized: isNormalized, grid: false).map(\.embedding)
    }

    /// What the picture tower sees of pictures.
    ///
    /// - Parameters:
    ///   - isNormalized: embeddings of unit length; if not, as the model gives them
    ///   - grid: whether to keep what is where, if the tower tells that; no second pass is needed
    public func see(_ pictures: [Picture], isNormalized: Bool = false, grid: Bool) throws -> [PictureFeatures] {
        try see(prepared: pictures.map(preprocessing.pixels), isNormalized: isNormalized, grid: grid)
    }

    /// What the picture tower sees of pictures that `preprocessing` has made ready; see `see(_:isNormalized:grid:)`.
    public func see(prepared: [[Float]], isNormalized: Bool, grid: Bool) throws -> [PictureFeatures] {
        let size = preprocessing.size
        var grids: [PictureGrid?] = []
        let rows = try batches(prepared, isNormalized: isNormalized) { part in
            let pixels = Tensor(part.flatMap { $0 }, [part.count, 3, size, size]).to(nil, self.device)
            guard grid, let seen = self.model.encodeImagesAndGrid(pixels) else {
                grids += part.map { _ in nil }
                return self.model.encodeImages(pixels, train: false)
            }
            let (cells, width) = (seen.grid.size(1), seen.grid.size(2))
            // The largest number of 16 bits, rather than infinity.
            let values = seen.grid.clamped(to: -65504...65504).array(of: Float16.self)  // [B, P, C]
            let count = cells * width
            grids += part.indices.map {
                PictureGrid(cells: cells, width: width, values: Array(values[$0 * count..<($0 + 1) * count]))
            }
            return seen.embeddings
        }
        return zip(rows, grids).map { PictureFeatures(embedding: $0, grid: $1) }
    }

    /// Embeddings of texts, E numbers each. Texts are cut to the length that the model was trained with.
    ///
    /// - Parameter isNormalized: of unit length; if not, as the model gives them
    /// - Throws: `ModelError`, `TokenizerError` for the vocabulary.
    public func encode(_ texts: [String], isNormalized: Bool = true) throws -> [[Float]] {
        try encode(texts, isNormalized: isNormalized) { self.model.encodeTexts($0) }
    }

    /// Embeddings of unit length of texts that are compared with each other, not with pictures: those of a sentence
    /// encoder where the text tower is one. E numbers each.
    ///
    /// - Throws: `ModelError`, `TokenizerError` for the vocabulary.
    public func encode(sentences: [String]) throws -> [[Float]] {
        try encode(sentences, isNormalized: true) { self.model.encodeSentences($0) }
    }

    private func encode(
        _ texts: [String], isNormalized: Bool, _ embed: ([[Int32]]) -> Tensor
    ) throws -> [[Float]] {
        guard !texts.isEmpty else { return [] }
        let tokenizer = try tokenizer()
        let limit = model.contextLength
        return try batches(texts, isNormalized: isNormalized) { part in
            embed(part.map { tokenizer.encode($0, limit) })
        }
    }

    /// One embedding of unit length for each list of texts that say the same: the mean of theirs (prompt ensemble,
    /// Radford et al. 2021, section 3.1.4).
    public func encode(ensembles: [[String]]) throws -> [[Float]] {
        let rows = try encode(ensembles.flatMap { $0 })
        var start = 0
        return ensembles.map { texts in
            defer { start += texts.count }
            return normalised(mean(Array(rows[start..<start + texts.count])))
        }
    }

    /// Embeddings as the model gives them at unit length, as `encode` with `isNormalized` gives them at once.
    public func unit(_ rows: [[Float]]) throws -> [[Float]] {
        try batches(rows, isNormalized: true) { Tensor($0.flatMap { $0 }, [$0.count, self.width]) }
    }

    /// Reads the vocabulary, so that a damaged one is known before other work is done.
    ///
    /// - Throws: `ModelError`, `TokenizerError`.
    public func prepareForTexts() throws { _ = try tokenizer() }

    private func tokenizer() throws -> TextTokenizer {
        if let loadedTokenizer { return loadedTokenizer }
        let home = ModelFolder.home(of: folder)
        let tokenizer = try TextTokenizer(of: model, in: home)
        let rows = model.vocabularySize
        guard tokenizer.vocabularySize <= rows else {
            throw ModelError.vocabulary(folder: home.path, tokens: tokenizer.vocabularySize, rows: rows)
        }
        loadedTokenizer = tokenizer
        return tokenizer
    }

    private func batches<Item>(_ items: [Item], isNormalized: Bool, _ embed: ([Item]) -> Tensor) throws -> [[Float]] {
        let rows = withoutGradients {
            stride(from: 0, to: items.count, by: Self.batch).flatMap { start in
                let part = Array(items[start..<min(start + Self.batch, items.count)])
                let embeddings = embed(part)  // [B, E]
                let values = (isNormalized ? embeddings.normalized() : embeddings).floats
                return part.indices.map { Array(values[$0 * self.width..<($0 + 1) * self.width]) }
            }
        }
        guard rows.allSatisfy({ $0.allSatisfy(\.isFinite) }) else { throw ModelError.notFinite(path: folder.path) }
        return rows
    }

    /// Takes up what names the weights, the vocabulary and the configuration of this model.
    ///
    /// - Throws: `WeightFileError`.
    public func fingerprint(into fingerprint: inout Fingerprint) throws {
        try fingerprint.combine(model: folder)
    }

    /// Names the weights, the vocabulary and the configuration of this model.
    ///
    /// - Throws: `WeightFileError`.
    public func fingerprint() throws -> String { try modelFingerprint(folder) }
}

/// The tokenizer of a two-tower model.
private struct TextTokenizer {
    let vocabularySize: Int
    /// The ids of a text with those around it, at most so many.
    let encode: (_ text: String, _ limit: Int) -> [Int32]

    init(of model: any TwoTowers, in folder: URL) throws {
        if model is VisionTextDualEncoder {
            let tokenizer = try UniversalSentenceTokenizer(folder: folder)
            (vocabularySize, encode) = (tokenizer.vocabularySize, { tokenizer.encode($0, maximumLength: $1) })
        } else {
            let tokenizer = try BertTokenizer(folder: folder)
            (vocabularySize, encode) = (tokenizer.vocabularySize, { tokenizer.encode($0, maximumLength: $1) })
        }
    }
}
