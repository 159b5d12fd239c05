// What models with a picture tower and a text tower have in common for those who embed with them.
// B pictures or texts, S picture side, E joint embedding, P places of a picture, C channels of a place.

public import Foundation
public import TihuaTorch

/// A picture tower and a text tower with a joint embedding, whichever they are.
public protocol TwoTowers: AnyObject {
    /// The side of the pictures, in pixels (S).
    var imageSize: Int { get }
    /// The width of the joint embedding (E).
    var projectionSize: Int { get }
    /// The most tokens of a text that are read, special ones included.
    var contextLength: Int { get }
    /// The rows of the text tower's table: a vocabulary has no more tokens.
    var vocabularySize: Int { get }
    /// The natural logarithm of the factor of the cosines. `[]`
    var logitScale: Tensor { get }

    /// Does once what makes inference faster; the weights must not change any more.
    func prepareForInference()
    /// Embeds pictures: `[B, 3, S, S]` -> float32 `[B, E]`, not normalised
    ///
    /// - Parameter train: whether batch norms use and record the batch's statistics
    func encodeImages(_ pixels: Tensor, train: Bool) -> Tensor
    /// The same with what the tower sees at each place, float32 `[B, P, C]` row by row; nil for a tower without such.
    func encodeImagesAndGrid(_ pixels: Tensor) -> (embeddings: Tensor, grid: Tensor)?
    /// Embeds texts, the tokens of each with those around it, at most `contextLength`: float32 `[B, E]`, not normalised
    func encodeTexts(_ ids: [[Int32]]) -> Tensor
    /// Embeds texts to compare them with each other, not with pictures: float32 `[B, E]`, not normalised
    func encodeSentences(_ ids: [[Int32]]) -> Tensor
}

extension TwoTowers {
    /// Does nothing.
    public func prepareForInference() {}
    /// The embeddings of `encodeTexts`: there are no others.
    public func encodeSentences(_ ids: [[Int32]]) -> Tensor { encodeTexts(ids) }
    /// Nil: there are no places.
    public func encodeImagesAndGrid(_ pixels: Tensor) -> (embeddings: Tensor, grid: Tensor)? { nil }
}

/// Opens a two-tower model of any kind: by `config.json`, or a checkpoint of Chinese-CLIP without one.
///
/// - Parameter dtype: the element type of parameters and activations
/// - Throws: `ModelError`, `WeightFileError`.
public func openTwoTowers(_ url: URL, dtype: DType = .float32, device: Device = .cpu) throws -> any TwoTowers {
    let folder = try ModelFolder(at: url, orCheckpointOf: ChineseCLIP.architecture)
    guard folder.architecture == VisionTextDualEncoder.architecture else {
        return try ChineseCLIP.open(url, dtype: dtype, device: device).model
    }
    return try VisionTextDualEncoder.open(folder, dtype: dtype, device: device).model
}

extension ChineseCLIP: TwoTowers {
    /// The side of the pictures (S).
    public var imageSize: Int { configuration.imageSize }
    /// The width of the joint embedding (E).
    public var projectionSize: Int { configuration.projectionSize }
    /// The ids that a text has at most.
    public var contextLength: Int { min(Self.contextLength, configuration.text.positionCount) }
    /// The rows of the text tower's table.
    public var vocabularySize: Int { configuration.text.vocabularySize }

    /// Embeds texts, padded to the longest.
    public func encodeTexts(_ ids: [[Int32]]) -> Tensor {
        let width = ids.map(\.count).max() ?? 0
        let padded = ids.flatMap { $0 + Array(repeating: Int32(Self.padding), count: width - $0.count) }
        return encodeTexts(Tensor.ids(padded, [ids.count, width]).to(.int64, logitScale.device))
    }
}

extension VisionTextDualEncoder {
    /// The rows of the text tower's table.
    public var vocabularySize: Int { configuration.text.vocabularySize }
}
