public import Foundation
public import TihuaNN
public import TihuaTorch

// The mapping network of ClipCap (Mokady et al. 2021, arXiv 2111.09734) by itself, before a poet that is kept as it is: its
// outputs stand in the poet's prompt where keywords would. B batch, E width of the picture's embedding, C width of the poet,
// K embeddings made from the picture.

/// The shape of a mapping network, as its `config.json` states it.
public struct PrefixMapperConfiguration: Sendable, Equatable {
    /// E, `clip_size`.
    public var embeddingSize: Int
    /// K, `prefix_length`.
    public var prefixLength: Int
    /// C, `hidden_size`.
    public var hiddenSize: Int
    /// The fingerprint of the CLIP model whose embeddings it was trained on; nil where it is not known.
    public var clipModel: String?
    /// The fingerprint of the poet that it was trained before; nil where it is not known.
    public var poetModel: String?

    /// A mapping network of these sizes.
    public init(embeddingSize: Int, prefixLength: Int, hiddenSize: Int) {
        self.embeddingSize = embeddingSize
        self.prefixLength = prefixLength
        self.hiddenSize = hiddenSize
    }

    /// The number of trained numbers; a Double, since a hostile file may name sizes whose product overflows.
    public var parameterCount: Double {
        let output = Double(prefixLength) * Double(hiddenSize)
        return (Double(embeddingSize) + 1) * (output / 2) + (output / 2 + 1) * output
    }
}

extension PrefixMapperConfiguration: Codable {
    private enum CodingKeys: String, CodingKey {
        case modelType = "model_type"
        case architectures
        case mapper = "mapping_type"
        case embeddingSize = "clip_size"
        case prefixLength = "prefix_length"
        case hiddenSize = "hidden_size"
        case clipModel = "clip_fingerprint"
        case poetModel = "poet_fingerprint"
    }

    /// Every size must be there.
    ///
    /// - Throws: `ModelError.unsupported` for sizes that no mapping network has and for other ones than the MLP;
    ///   `DecodingError`.
    public init(from decoder: any Decoder) throws {
        let reader = try ConfigurationReader(
            decoder, model: Architecture.clipCapPrefix.rawValue, keyedBy: CodingKeys.self)
        try reader.require(.mapper, is: ClipCapConfiguration.Mapper.mlp.rawValue)
        var (embedding, length, hidden) = (0, 0, 0)
        try reader.size(.embeddingSize, into: &embedding)
        try reader.size(.prefixLength, into: &length, in: 1...4096)
        // The two layers meet at half of the output.
        try reader.size(.hiddenSize, into: &hidden, in: 2...(1 << 20))
        for (key, size) in [(CodingKeys.embeddingSize, embedding), (.prefixLength, length), (.hiddenSize, hidden)] {
            try reader.require(size > 0, key, "missing", known: "a whole number")
        }
        self.init(embeddingSize: embedding, prefixLength: length, hiddenSize: hidden)
        clipModel = try reader.values.decodeIfPresent(String.self, forKey: .clipModel)
        poetModel = try reader.values.decodeIfPresent(String.self, forKey: .poetModel)
    }

    /// Writes every key.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(Architecture.clipCapPrefix, forKey: .modelType)
        try values.encode(["ClipCapPrefix"], forKey: .architectures)
        try values.encode(ClipCapConfiguration.Mapper.mlp, forKey: .mapper)
        try values.encode(embeddingSize, forKey: .embeddingSize)
        try values.encode(prefixLength, forKey: .prefixLength)
        try values.encode(hiddenSize, forKey: .hiddenSize)
        try values.encodeIfPresent(clipModel, forKey: .clipModel)
        try values.encodeIfPresent(poetModel, forKey: .poetModel)
    }
}

/// From a picture's embedding to embeddings of a poet.
///
/// Parameters carry the names of ClipCap's MLP (`clip_project.model.0.weight`). Not `Sendable`: it lives on one thread.
public final class PrefixMapper {
    /// What the mapping network was made with.
    public let configuration: PrefixMapperConfiguration
    /// The element type of the activations.
    public let computeType: DType
    private let mapper: MLPMapper

    /// Declares the parameters under `path`, which is the store's root for a checkpoint.
    public init(_ configuration: PrefixMapperConfiguration, computeType: DType = .float32, at path: ParameterPath) {
        self.configuration = configuration
        self.computeType = computeType
        mapper = MLPMapper(
            configuration.embeddingSize, prefixLength: configuration.prefixLength, width: configuration.hiddenSize,
            at: path / "clip_project")
    }

    /// The embeddings that stand where keywords would.
    ///
    /// - Parameter embeddings: of pictures (or of texts in the same space), float `[B, E]`; brought to length 1 here
    /// - Returns: `[B, K, C]` in the compute type
    public func callAsFunction(_ embeddings: Tensor) -> Tensor { mapper(embeddings.normalized().to(computeType)) }

    /// Opens a folder that `tihua train prefix` wrote.
    ///
    /// - Throws: `ModelError`, `WeightFileError`.
    public static func open(_ url: URL, device: Device = .cpu) throws -> PrefixMapper {
        let folder = try ModelFolder(at: url)
        guard folder.architecture == .clipCapPrefix else {
            throw ModelError.unknownArchitecture(
                path: url.appending(path: "config.json").path, found: folder.architecture.rawValue,
                known: [Architecture.clipCapPrefix.rawValue])
        }
        let configuration = try folder.configuration(as: PrefixMapperConfiguration.self)
        try folder.check(parameterCount: configuration.parameterCount)
        let store = ParameterStore(seed: nil, device: device)
        let mapper = PrefixMapper(configuration, at: store.root)
        try folder.load(into: store)
        return mapper
    }
}
