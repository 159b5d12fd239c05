public import TihuaNN
public import TihuaTorch

// The mapping networks of ClipCap (Mokady et al. 2021, arXiv 2111.09734), in the layout of
// https://github.com/rmokady/CLIP_prefix_caption and in that of https://github.com/yangjianxin1/ClipCap-Chinese
// (5006e16), whose transformer is a BERT.
// B batch, E width of the picture's embedding, C width of the language model, K embeddings made from the picture, P
// embeddings that come out, H heads, T positions, N cells of a picture's grid, D their width.

/// From a picture's embedding to embeddings of a language model. x `[B, E]` -> `[B, P, C]`
protocol MappingNetwork {
    func callAsFunction(_ x: Tensor, dropout: Dropout?) -> Tensor
}

/// Two layers with tanh between them, which meet at half of the output.
struct MLPMapper: MappingNetwork {
    let first: Linear
    let second: Linear
    let width: Int

    /// From E numbers to K embeddings of `width` numbers.
    init(_ embeddingSize: Int, prefixLength: Int, width: Int, at path: ParameterPath) {
        self.width = width
        let output = prefixLength * width
        first = .pytorch(embeddingSize, output / 2, at: path / "model" / 0)
        second = .pytorch(output / 2, output, at: path / "model" / 2)
    }

    /// Trained numbers of a network whose output is of so many numbers.
    static func parameterCount(_ embeddingSize: Int, output: Double) -> Double {
        (Double(embeddingSize) + 1) * (output / 2) + (output / 2 + 1) * output
    }

    /// x [B, E] -> [B, K, C]; there is no dropout between so few layers
    func callAsFunction(_ x: Tensor, dropout: Dropout?) -> Tensor {
        second(first(x).tanh()).reshaped(x.size(0), -1, width)
    }
}

/// What both transformer mappers begin with: embeddings of the picture, and behind them learned constants.
struct ConstantPrefix {
    let linear: Linear
    let constants: Tensor  // [P, C]

    init(_ configuration: ClipCapConfiguration, at path: ParameterPath) {
        let width = configuration.languageModel.hiddenSize
        linear = .pytorch(configuration.embeddingSize, configuration.prefixLength * width, at: path / "linear")
        constants = path.parameter("prefix_const", [configuration.constantLength, width], .normal(std: 1))
    }

    /// x [B, E] -> [B, K + P, C]
    func callAsFunction(_ x: Tensor) -> Tensor {
        let batch = x.size(0)
        let (count, width) = (constants.size(0), constants.size(1))
        let picture = linear(x).reshaped(batch, -1, width)  // [B, K, C]
        let shared = constants.to(x.dtype).unsqueezed(0).expanded(batch, count, width)
        return .concatenated([picture, shared], 1)
    }

    /// What the layers made of the constants. `[B, K + P, C]` -> `[B, P, C]`
    func outputs(of x: Tensor) -> Tensor { x.narrowed(1, x.size(1) - constants.size(0)..<x.size(1)) }
}

/// A pre-norm layer of the original code: no bias for queries, keys and values, ReLU.
struct MapperLayer {
    let attentionNorm, feedNorm: LayerNorm
    let queries, keysValues, project: Linear
    let expand, contract: Linear
    let headCount: Int

    init(_ configuration: ClipCapConfiguration, at path: ParameterPath) {
        let (width, inner) = (configuration.languageModel.hiddenSize, configuration.innerSize)
        headCount = configuration.headCount
        attentionNorm = LayerNorm(width, at: path / "norm1")
        queries = .pytorch(width, width, bias: false, at: path / "attn" / "to_queries")
        keysValues = .pytorch(width, 2 * width, bias: false, at: path / "attn" / "to_keys_values")
        project = .pytorch(width, width, at: path / "attn" / "project")
        feedNorm = LayerNorm(width, at: path / "norm2")
        expand = .pytorch(width, inner, at: path / "mlp" / "fc1")
        contract = .pytorch(inner, width, at: path / "mlp" / "fc2")
    }

    /// x [B, T, C] -> [B, T, C]
    ///
    /// - Parameter context: `[B, S, C]`, what x attends to beside itself, and what stays as it is
    func callAsFunction(_ x: Tensor, beside context: Tensor? = nil, dropout: Dropout?) -> Tensor {
        let normal = attentionNorm(x)  // [B, T, C]
        let seen = context.map { .concatenated([attentionNorm($0), normal], 1) } ?? normal  // [B, S + T, C]
        let both = keysValues(seen).chunked(2, 2)  // keys, then values: [B, S + T, C] each
        let mixed = Kernels.attention(
            queries(normal).splitHeads(headCount), both[0].splitHeads(headCount), both[1].splitHeads(headCount))
        let attended = project(mixed.mergedHeads())
        let x = x + (dropout.map { $0(attended) } ?? attended)
        let fed = contract(expand(feedNorm(x)).relu())
        return x + (dropout.map { $0(fed) } ?? fed)
    }
}

/// The transformer of the original code.
struct TransformerMapper: MappingNetwork {
    let start: ConstantPrefix
    let layers: [MapperLayer]

    init(_ configuration: ClipCapConfiguration, at path: ParameterPath) {
        start = ConstantPrefix(configuration, at: path)
        layers = (0..<configuration.layerCount).map {
            MapperLayer(configuration, at: path / "transformer" / "layers" / $0)
        }
    }

    /// x [B, E] -> [B, P, C]
    func callAsFunction(_ x: Tensor, dropout: Dropout?) -> Tensor {
        var x = start(x)  // [B, K + P, C]
        for layer in layers { x = layer(x, dropout: dropout) }
        return start.outputs(of: x)
    }
}

/// A mapping network over places: learned constants attend to the cells of the picture's grid and, unless there are no
/// embeddings of the whole, to these, layer by layer, as in the Perceiver resampler of Flamingo (Alayrac et al. 2022,
/// arXiv 2204.14198). The cells themselves stay as they are, so that fifty of them cost little.
struct GridMapper {
    let whole: Linear?
    let constants: Tensor  // [P, C]
    let cells: Linear
    let places: Embedding  // [N, C]
    let layers: [MapperLayer]

    init(_ configuration: ClipCapConfiguration, at path: ParameterPath) {
        let width = configuration.languageModel.hiddenSize
        let embeddings = configuration.prefixLength * width
        whole = embeddings == 0 ? nil : .pytorch(configuration.embeddingSize, embeddings, at: path / "linear")
        constants = path.parameter("prefix_const", [configuration.constantLength, width], .normal(std: 1))
        cells = .pytorch(configuration.cellWidth, width, at: path / "cells")
        places = Embedding(configuration.cellCount, width, initialization: .normal(std: 0.1), at: path / "places")
        layers = (0..<configuration.layerCount).map {
            MapperLayer(configuration, at: path / "transformer" / "layers" / $0)
        }
    }

    /// - Parameters:
    ///   - x: `[B, E]`
    ///   - grid: `[B, n, D]`, n of the N cells
    ///   - which: int64 `[B, n]`, which cells these are; nil for all of them in their order
    /// - Returns: `[B, P, C]`
    func callAsFunction(_ x: Tensor, grid: Tensor, which: Tensor?, dropout: Dropout?) -> Tensor {
        let (batch, count, width) = (x.size(0), constants.size(0), constants.size(1))
        let place = which.map { places($0) } ?? places.weight.unsqueezed(0)  // [B or 1, n, C]
        let seen = cells(grid) + place.to(grid.dtype)  // [B, n, C]
        let all = whole.map { .concatenated([$0(x).reshaped(batch, -1, width), seen], 1) } ?? seen  // [B, K + n, C]
        let context = dropout.map { $0(all) } ?? all
        var y = constants.to(x.dtype).unsqueezed(0).expanded(batch, count, width)  // [B, P, C]
        for layer in layers { y = layer(y, beside: context, dropout: dropout) }
        return y
    }
}

/// The BERT of ClipCap-Chinese, without the word embeddings and the pooler, which are not used.
struct BERTMapper: MappingNetwork {
    let start: ConstantPrefix
    let positions, tokenTypes: Embedding
    let norm: LayerNorm
    let layers: [BERTLayer]

    init(_ configuration: ClipCapConfiguration, at path: ParameterPath) {
        var bert = BERTConfiguration()
        bert.hiddenSize = configuration.languageModel.hiddenSize
        bert.headCount = configuration.headCount
        bert.intermediateSize = configuration.innerSize
        start = ConstantPrefix(configuration, at: path)
        let embeddings = path / "bert" / "embeddings"
        positions = Embedding(configuration.positionCount, bert.hiddenSize, at: embeddings / "position_embeddings")
        tokenTypes = Embedding(bert.tokenTypeCount, bert.hiddenSize, at: embeddings / "token_type_embeddings")
        norm = LayerNorm(bert.hiddenSize, epsilon: bert.layerNormEpsilon, at: embeddings / "LayerNorm")
        layers = (0..<configuration.layerCount).map {
            BERTLayer(bert, at: path / "bert" / "encoder" / "layer" / $0)
        }
    }

    /// x [B, E] -> [B, P, C]; as in ClipCap-Chinese there is no dropout
    func callAsFunction(_ x: Tensor, dropout: Dropout?) -> Tensor {
        let input = start(x)  // [B, K + P, C]
        let places = positions.weight.narrowed(0, 0..<input.size(1)) + tokenTypes.weight.narrowed(0, 0..<1)
        var x = norm(input + places.to(input.dtype))
        for layer in layers { x = layer(x, mask: nil) }
        return start.outputs(of: x)
    }
}

extension Linear {
    /// A layer that starts as PyTorch's `nn.Linear`, but with a bias of 0.
    fileprivate static func pytorch(_ input: Int, _ output: Int, bias: Bool = true, at path: ParameterPath) -> Linear {
        Linear(
            input, output, bias: bias, initialization: .uniform(bound: 1 / Double(input).squareRoot()), at: path)
    }
}

// MARK: - Before a poet

/// The shape of a mapping network before a poet that is kept as it is, as its `config.json` states it.
public struct PrefixMapperConfiguration: ModelConfiguration {
    /// The width of a picture's embedding (E), `clip_size`.
    public var embeddingSize: Int
    /// The embeddings that are made from a picture (K), `prefix_length`.
    public var prefixLength: Int
    /// The width of the poet (C), `hidden_size`.
    public var hiddenSize: Int
    /// The fingerprint of the CLIP model whose embeddings it was trained on; nil where it is not known.
    public var clipModel: String?
    /// The fingerprint of the poet that it was trained before; nil where it is not known.
    public var poetModel: String?
    private let modelType = PrefixMapper.architecture.rawValue
    private let architectures = ["ClipCapPrefix"]
    private let mapper = ClipCapConfiguration.Mapper.mlp

    /// A mapping network of these sizes.
    public init(embeddingSize: Int, prefixLength: Int, hiddenSize: Int) {
        self.embeddingSize = embeddingSize
        self.prefixLength = prefixLength
        self.hiddenSize = hiddenSize
    }

    /// The number of trained numbers; a Double, since a hostile file may name sizes whose product overflows.
    public var parameterCount: Double {
        MLPMapper.parameterCount(embeddingSize, output: Double(prefixLength) * Double(hiddenSize))
    }

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
            decoder, model: PrefixMapper.architecture.rawValue, keyedBy: CodingKeys.self)
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
        try reader.read(.clipModel, into: &clipModel)
        try reader.read(.poetModel, into: &poetModel)
    }
}

/// ClipCap's MLP by itself, before a poet that is kept as it is: its outputs stand in the poet's prompt where keywords
/// would.
///
/// Parameters carry the names of ClipCap's MLP (`clip_project.model.0.weight`). Not `Sendable`: it lives on one thread.
public final class PrefixMapper: LoadableModel {
    /// `clipcap_prefix` in `config.json`.
    public static let architecture = Architecture("clipcap_prefix", classes: ["ClipCapPrefix"])

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
    public func callAsFunction(_ embeddings: Tensor) -> Tensor {
        mapper(embeddings.normalized().to(computeType), dropout: nil)
    }
}
