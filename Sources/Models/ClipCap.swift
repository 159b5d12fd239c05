public import Foundation
public import TihuaNN
public import TihuaTorch
import TihuaWeightFiles

// ClipCap (Mokady et al. 2021, arXiv 2111.09734): the embedding of a picture becomes a few embeddings of a language model,
// which goes on with the caption. Both mapping networks of the paper, in the layout of rmokady/CLIP_prefix_caption and in
// that of yangjianxin1/ClipCap-Chinese (5006e16), whose transformer is a BERT; before a GPT2, or before the encoder of a T5.
// B batch, E width of the picture's embedding, C width of the language model, K embeddings made from the picture, P
// embeddings in front of the caption, T tokens, V vocabulary.

/// The shape of a captioner, as its `config.json` states it.
public struct ClipCapConfiguration: Sendable, Equatable {
    /// How a picture's embedding becomes embeddings of the language model.
    public enum Mapper: String, Sendable, Codable, CaseIterable {
        /// Two layers with tanh between them; their output stands in front of the caption.
        case mlp
        /// Pre-norm layers with ReLU over the picture's embeddings and learned constants; the constants' outputs stand in
        /// front of the caption. The original code.
        case transformer
        /// The same with a BERT's layers and positions. ClipCap-Chinese.
        case bert
    }

    /// What writes.
    public enum LanguageModel: Sendable, Equatable {
        case gpt2(GPT2Configuration)
        case t5(T5Configuration)
    }

    /// Which mapping network.
    public var mapper: Mapper
    /// E, `clip_size`.
    public var embeddingSize: Int
    /// K, `prefix_length`; with the MLP these stand in front of the caption.
    public var prefixLength: Int
    /// The learned constants, `constant_length`; not used by the MLP.
    public var constantLength: Int
    /// Layers of the transformer mappers.
    public var layerCount = 8
    /// Heads of the transformer mappers; divides C.
    public var headCount = 8
    /// The width inside their feed-forward blocks: 2 C in the original code, 4 C in a BERT.
    public var innerSize: Int
    /// Positions of the BERT mapper, at least K and the constants together.
    public var positionCount = 512
    /// Whether the picture's embedding is brought to length 1 first.
    public var normalizesEmbedding = false
    /// The fingerprint of the CLIP model whose embeddings it was trained on; nil where it is not known.
    public var clipModel: String?
    /// What writes.
    public var languageModel: LanguageModel

    /// A captioner with the mapper's sizes of the code that it is from.
    public init(
        mapper: Mapper, embeddingSize: Int, prefixLength: Int = 10, constantLength: Int = 10,
        languageModel: LanguageModel
    ) {
        self.mapper = mapper
        self.embeddingSize = embeddingSize
        self.prefixLength = prefixLength
        self.constantLength = constantLength
        self.languageModel = languageModel
        innerSize = languageModel.hiddenSize * (mapper == .bert ? 4 : 2)
    }

    /// P: the embeddings that stand in front of the caption.
    public var captionOffset: Int { mapper == .mlp ? prefixLength : constantLength }

    /// The number of trained numbers, about; a Double, since a hostile file may name sizes whose product overflows.
    public var parameterCount: Double {
        let (width, inner) = (Double(languageModel.hiddenSize), Double(innerSize))
        let output = Double(prefixLength) * width
        let head = (Double(embeddingSize) + 1) * output + Double(constantLength) * width
        let layers = Double(layerCount) * (4 * width * (width + 1) + 2 * width * inner + inner + 5 * width)
        let mapped =
            switch mapper {
            case .mlp: (Double(embeddingSize) + 1) * (output / 2) + (output / 2 + 1) * output
            case .transformer: head + layers
            case .bert: head + layers + (Double(positionCount) + 4) * width
            }
        switch languageModel {
        case .gpt2(let model): return mapped + model.parameterCount
        case .t5(let model): return mapped + model.parameterCount
        }
    }
}

extension ClipCapConfiguration.LanguageModel {
    /// C.
    public var hiddenSize: Int {
        switch self {
        case .gpt2(let model): model.hiddenSize
        case .t5(let model): model.hiddenSize
        }
    }

    /// V.
    public var vocabularySize: Int {
        switch self {
        case .gpt2(let model): model.vocabularySize
        case .t5(let model): model.vocabularySize
        }
    }

    /// The tokens that end a caption; empty where the configuration names none.
    public var eosTokenIDs: [Int] {
        switch self {
        case .gpt2(let model): model.eosTokenIDs
        case .t5(let model): model.eosTokenIDs
        }
    }

    /// The most tokens of a caption behind so many embeddings; nil where there is no bound.
    public func capacity(behind prefix: Int) -> Int? {
        switch self {
        case .gpt2(let model): model.positionCount - prefix
        case .t5: nil
        }
    }

    /// Where its parameters are: those that a frozen language model keeps.
    public var path: String {
        switch self {
        case .gpt2: "gpt2"
        case .t5: "t5"
        }
    }
}

extension ClipCapConfiguration: Codable {
    private enum CodingKeys: String, CodingKey {
        case modelType = "model_type"
        case architectures
        case mapper = "mapping_type"
        case embeddingSize = "clip_size"
        case prefixLength = "prefix_length"
        case constantLength = "constant_length"
        case layerCount = "mapper_layers"
        case headCount = "mapper_heads"
        case innerSize = "mapper_inner"
        case positionCount = "mapper_positions"
        case normalizesEmbedding = "normalize_prefix"
        case clipModel = "clip_fingerprint"
        case languageModel = "language_model"
    }

    /// Values that the file leaves out are those of the code that the mapper is from.
    ///
    /// - Throws: `ModelError.unsupported` for sizes that no captioner has and for other language models; `DecodingError`.
    public init(from decoder: any Decoder) throws {
        let reader = try ConfigurationReader(decoder, model: "clipcap", keyedBy: CodingKeys.self)
        let name = try reader.values.decode(String.self, forKey: .mapper)
        let known = Mapper.allCases.map(\.rawValue).joined(separator: ", ")
        guard let mapper = Mapper(rawValue: name) else {
            throw ModelError.unsupported(model: "clipcap", setting: "mapping_type", value: name, known: known)
        }
        struct Header: Decodable {
            var model_type: String
        }
        let type = try reader.values.decode(Header.self, forKey: .languageModel).model_type
        let model: LanguageModel
        switch type {
        case "gpt2": model = .gpt2(try reader.values.decode(GPT2Configuration.self, forKey: .languageModel))
        case "t5": model = .t5(try reader.values.decode(T5Configuration.self, forKey: .languageModel))
        default:
            throw ModelError.unsupported(
                model: "clipcap", setting: "language_model.model_type", value: type, known: "gpt2, t5")
        }
        var size = 0
        try reader.size(.embeddingSize, into: &size)
        guard size > 0 else {
            throw ModelError.unsupported(
                model: "clipcap", setting: "clip_size", value: "missing", known: "1 to 1048576")
        }
        self.init(mapper: mapper, embeddingSize: size, languageModel: model)
        try reader.size(.prefixLength, into: &prefixLength, in: 1...4096)
        try reader.size(.constantLength, into: &constantLength, in: 1...4096)
        try reader.size(.layerCount, into: &layerCount, in: 1...1024)
        try reader.size(.headCount, into: &headCount, in: 1...1024)
        try reader.size(.innerSize, into: &innerSize)
        try reader.size(.positionCount, into: &positionCount, in: 2...(1 << 20))
        normalizesEmbedding = try reader.values.decodeIfPresent(Bool.self, forKey: .normalizesEmbedding) ?? false
        clipModel = try reader.values.decodeIfPresent(String.self, forKey: .clipModel)
        try validate()
    }

    /// Checks that the parts fit each other.
    ///
    /// - Throws: `ModelError.unsupported`.
    public func validate() throws(ModelError) {
        func require(_ condition: Bool, _ key: CodingKeys, _ value: Int, _ known: String) throws(ModelError) {
            guard !condition else { return }
            throw .unsupported(model: "clipcap", setting: key.stringValue, value: "\(value)", known: known)
        }
        let width = languageModel.hiddenSize
        guard mapper != .mlp else {
            // The two layers meet at half of the output.
            try require(prefixLength * width >= 2, .prefixLength, prefixLength, "at least 2 numbers in all")
            try requireRoom()
            return
        }
        try require(
            width % headCount == 0, .headCount, headCount, "a divisor of the language model's width, \(width)")
        try require(
            mapper != .bert || prefixLength + constantLength <= positionCount, .positionCount, positionCount,
            "at least prefix_length and constant_length together, \(prefixLength + constantLength)")
        try requireRoom()
    }

    private func requireRoom() throws(ModelError) {
        guard let room = languageModel.capacity(behind: captionOffset), room < 2 else { return }
        throw .unsupported(
            model: "clipcap", setting: mapper == .mlp ? "prefix_length" : "constant_length", value: "\(captionOffset)",
            known: "at most \(captionOffset + room - 2), for the language model has \(captionOffset + room) positions")
    }

    /// Writes every key.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode("clipcap", forKey: .modelType)
        try values.encode(["ClipCaptionModel"], forKey: .architectures)
        try values.encode(mapper, forKey: .mapper)
        try values.encode(embeddingSize, forKey: .embeddingSize)
        try values.encode(prefixLength, forKey: .prefixLength)
        try values.encode(normalizesEmbedding, forKey: .normalizesEmbedding)
        try values.encodeIfPresent(clipModel, forKey: .clipModel)
        if mapper != .mlp {
            try values.encode(constantLength, forKey: .constantLength)
            try values.encode(layerCount, forKey: .layerCount)
            try values.encode(headCount, forKey: .headCount)
            try values.encode(innerSize, forKey: .innerSize)
        }
        if mapper == .bert { try values.encode(positionCount, forKey: .positionCount) }
        switch languageModel {
        case .gpt2(let model): try values.encode(model, forKey: .languageModel)
        case .t5(let model): try values.encode(model, forKey: .languageModel)
        }
    }
}

/// Two layers with tanh between them, which meet at half of the output.
struct MLPMapper {
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

    /// x [B, E] -> [B, P, C]
    func callAsFunction(_ x: Tensor) -> Tensor { second(first(x).tanh()).reshaped(x.size(0), -1, width) }
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
    func callAsFunction(_ x: Tensor, dropout: Dropout?) -> Tensor {
        let normal = attentionNorm(x)
        let both = keysValues(normal).chunked(2, 2)  // keys, then values: [B, T, C] each
        let mixed = Kernels.attention(
            queries(normal).splitHeads(headCount), both[0].splitHeads(headCount), both[1].splitHeads(headCount))
        let attended = project(mixed.mergedHeads())
        let x = x + (dropout.map { $0(attended) } ?? attended)
        let fed = contract(expand(feedNorm(x)).relu())
        return x + (dropout.map { $0(fed) } ?? fed)
    }
}

/// The transformer of the original code.
struct TransformerMapper {
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
        return x.narrowed(1, x.size(1) - start.constants.size(0)..<x.size(1))
    }
}

/// The BERT of ClipCap-Chinese, without the word embeddings and the pooler, which nothing reads.
struct BERTMapper {
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

    /// x [B, E] -> [B, P, C]
    func callAsFunction(_ x: Tensor) -> Tensor {
        let input = start(x)  // [B, K + P, C]
        let places = positions.weight.narrowed(0, 0..<input.size(1)) + tokenTypes.weight.narrowed(0, 0..<1)
        var x = norm(input + places.to(input.dtype))
        for layer in layers { x = layer(x, mask: nil) }
        return x.narrowed(1, x.size(1) - start.constants.size(0)..<x.size(1))
    }
}

extension Linear {
    /// Starts as PyTorch's `nn.Linear` does, its bias apart, which starts at 0.
    fileprivate static func pytorch(_ input: Int, _ output: Int, bias: Bool = true, at path: ParameterPath) -> Linear {
        Linear(
            input, output, bias: bias, initialization: .uniform(bound: 1 / Double(input).squareRoot()), at: path)
    }
}

extension T5 {
    /// The encoder's hidden states of embeddings that are no tokens.
    ///
    /// - Parameters:
    ///   - embeddings: `[B, S, C]`
    ///   - dropout: in training
    /// - Returns: `[B, S, C]` in the compute type
    public func encode(embeddings: Tensor, dropout: Dropout? = nil) -> Tensor {
        encoder(embeddings.to(computeType), mask: nil, dropout: dropout)
    }
}

/// A captioner: a mapping network and the language model behind it.
///
/// Parameters carry the names of ClipCap-Chinese (`clip_project.model.0.weight`, `gpt2.transformer.wte.weight`). Not
/// `Sendable`: it lives on one thread.
public final class ClipCap {
    /// The language model.
    public enum LanguageModel {
        case gpt2(GPT2)
        case t5(T5)
    }

    private enum Mapping {
        case mlp(MLPMapper)
        case transformer(TransformerMapper)
        case bert(BERTMapper)
    }

    /// What the model was made with.
    public let configuration: ClipCapConfiguration
    /// What writes, behind `prefix`.
    public let languageModel: LanguageModel
    /// The element type of the activations.
    public let computeType: DType
    private let mapping: Mapping

    /// Declares the parameters under `path`, which is the store's root for a checkpoint.
    public init(_ configuration: ClipCapConfiguration, computeType: DType = .float32, at path: ParameterPath) {
        self.configuration = configuration
        self.computeType = computeType
        let project = path / "clip_project"
        mapping =
            switch configuration.mapper {
            case .mlp:
                .mlp(
                    MLPMapper(
                        configuration.embeddingSize, prefixLength: configuration.prefixLength,
                        width: configuration.languageModel.hiddenSize, at: project))
            case .transformer: .transformer(TransformerMapper(configuration, at: project))
            case .bert: .bert(BERTMapper(configuration, at: project))
            }
        let model = path / configuration.languageModel.path
        languageModel =
            switch configuration.languageModel {
            case .gpt2(let shape): .gpt2(GPT2(shape, computeType: computeType, at: model))
            case .t5(let shape): .t5(T5(shape, computeType: computeType, at: model))
            }
    }

    /// The embeddings that stand in front of a caption, or that a T5 encodes.
    ///
    /// - Parameters:
    ///   - embeddings: of pictures (or of texts in the same space), float `[B, E]`
    ///   - dropout: in training; the BERT mapper takes none
    /// - Returns: `[B, P, C]` in the compute type
    public func prefix(_ embeddings: Tensor, dropout: Dropout? = nil) -> Tensor {
        let scaled = configuration.normalizesEmbedding ? embeddings.normalized() : embeddings
        let x = scaled.to(computeType)
        return switch mapping {
        case .mlp(let mapper): mapper(x)
        case .transformer(let mapper): mapper(x, dropout: dropout)
        case .bert(let mapper): mapper(x)
        }
    }

    /// The hidden states that each token of a caption is read from.
    ///
    /// - Parameters:
    ///   - prefix: of `prefix`, `[B, P, C]`
    ///   - ids: int64 `[B, T]`, captions with their end, padded at the end
    ///   - dropout: of the language model in training
    /// - Returns: `[B, T, C]`: row t is what `logits` reads `ids[t]` from
    public func hidden(_ prefix: Tensor, _ ids: Tensor, dropout: Dropout? = nil) -> Tensor {
        let (batch, count) = (ids.size(0), ids.size(1))
        let before = ids.narrowed(1, 0..<count - 1)
        switch languageModel {
        case .gpt2(let model):
            let states = model.hidden(before, dropout: dropout, prefix: prefix)  // [B, P + T - 1, C]
            let offset = prefix.size(1) - 1
            return states.narrowed(1, offset..<offset + count)
        case .t5(let model):
            let start = Tensor.full(
                [batch, 1], Double(model.configuration.startTokenID), dtype: .int64, device: ids.device)
            let memory = model.encode(embeddings: prefix, dropout: dropout)
            return model.decode(.concatenated([start, before], 1), memory: memory, dropout: dropout)
        }
    }

    /// hidden `[.., C]` -> the scores of each token, float32 `[.., V]`
    public func logits(_ hidden: Tensor) -> Tensor {
        switch languageModel {
        case .gpt2(let model): model.logits(hidden)
        case .t5(let model): model.logits(hidden)
        }
    }
}

// MARK: - Files

extension ClipCap {
    /// A captioner with its weights, and what a person should know of the file.
    public struct Opened {
        /// The captioner.
        public let model: ClipCap
        /// Its parameters.
        public let store: ParameterStore
        /// Such as that the file does not hold the mapper that its name says; to be shown on stderr.
        public let notes: [String]
    }

    /// Opens a folder that Tihua wrote, or a state dict of a whole captioner (`checkpoint-35000.pt`) of ClipCap-Chinese, of
    /// the original code, or of CapDec; what such a file does not say is read off its tensors.
    ///
    /// - Parameters:
    ///   - dtype: of the parameters
    ///   - computeType: of the activations; nil is `dtype`
    /// - Throws: `ModelError`, `WeightFileError`.
    public static func open(
        _ url: URL, dtype: DType = .float32, computeType: DType? = nil, device: Device = .cpu
    ) throws -> Opened {
        let checkpoint = try Checkpoint.open(url).withoutTrainerPrefixes { name in
            parameterName(name, tied: true).map { parts.contains(where: $0.hasPrefix) } ?? true
        }
        let path = checkpoint.files.first?.path ?? url.path
        let shapes = checkpoint.tensors.reduce(into: [String: [Int]]()) { shapes, tensor in
            parameterName(tensor.name, tied: true).map { shapes[$0] = tensor.shape }
        }
        guard let found = mapper(in: shapes) else {
            let names = checkpoint.tensors.prefix(4).map(\.name).joined(separator: ", ")
            throw ModelError.checkpoint(
                path: path, reason: "holds no mapping network of a captioner (clip_project.…), but \(names) …")
        }
        try checkWidths(shapes, path: path)
        var notes: [String] = []
        let configuration: ClipCapConfiguration
        if FileManager.default.fileExists(atPath: url.appending(path: "config.json").path) {
            let folder = try ModelFolder(at: url)
            guard folder.architecture == .clipCap else {
                throw ModelError.unknownArchitecture(
                    path: url.appending(path: "config.json").path, found: folder.architecture.rawValue,
                    known: [Architecture.clipCap.rawValue])
            }
            let stated = try folder.configuration(as: ClipCapConfiguration.self)
            try folder.check(parameterCount: stated.parameterCount)
            configuration = stated.mapper == found ? stated : try .init(readOff: shapes, like: stated, path: path)
            if stated.mapper != found { notes.append(misbuilt(path, named: stated.mapper, found)) }
        } else {
            configuration = try .init(readOff: shapes, like: nil, path: path)
            // A tensor of torch.save can repeat one number along a dimension, and so claim more than any memory holds.
            let bytes = checkpoint.files.compactMap { try? $0.resourceValues(forKeys: [.fileSizeKey]).fileSize }.reduce(
                0, +)
            guard configuration.parameterCount <= Double(bytes) else {
                throw ModelError.checkpoint(path: path, reason: "is shorter than the tensors that it describes")
            }
            let named = url.pathComponents.suffix(3).joined(separator: "/").lowercased()
            if found == .bert, named.contains("mlp") { notes.append(misbuilt(path, named: .mlp, found)) }
        }
        let store = ParameterStore(seed: nil, dtype: dtype, device: device)
        let model = ClipCap(configuration, computeType: computeType ?? dtype, at: store.root)
        let tied = if case .t5(let shape) = configuration.languageModel { shape.tiesEmbeddings } else { true }
        try load(checkpoint, into: store) { parameterName($0, tied: tied) }
        return Opened(model: model, store: store, notes: notes)
    }

    /// What the names of a captioner of any size begin with.
    private static let parts =
        ["clip_project."] + ["h.", "wte.", "wpe.", "ln_f."].map { "gpt2.transformer.\($0)" }
        + ["shared.", "encoder.", "decoder.", "lm_head."].map { "t5.\($0)" }

    /// ClipCap-Chinese compares a text with a case of an enumeration and so builds a BERT where an MLP is asked for (its
    /// issue 11); its published "MLP" checkpoints are such.
    private static func misbuilt(
        _ path: String, named: ClipCapConfiguration.Mapper, _ found: ClipCapConfiguration.Mapper
    ) -> String {
        "\(path): called \(named.rawValue), but holds the \(found.rawValue) mapper, which ClipCap-Chinese built by mistake;"
            + " loaded as what it is"
    }

    /// The mapper that a checkpoint holds.
    private static func mapper(in shapes: [String: [Int]]) -> ClipCapConfiguration.Mapper? {
        if shapes["clip_project.model.0.weight"] != nil { return .mlp }
        if shapes["clip_project.prefix_const"] == nil { return nil }
        if shapes.keys.contains(where: { $0.hasPrefix("clip_project.bert.") }) { return .bert }
        return shapes.keys.contains { $0.hasPrefix("clip_project.transformer.") } ? .transformer : nil
    }

    /// - Throws: `ModelError.checkpoint` where mapper and language model are of different widths, or one is missing.
    private static func checkWidths(_ shapes: [String: [Int]], path: String) throws(ModelError) {
        let embedding = shapes["gpt2.transformer.wte.weight"] ?? shapes["t5.shared.weight"]
        guard let width = embedding?.last else {
            throw .checkpoint(path: path, reason: "holds a mapping network, but no GPT2 or T5 beside it")
        }
        let constants = shapes["clip_project.prefix_const"]?.last
        let output = shapes["clip_project.model.2.weight"]?.first
        if let made = constants, made != width {
            throw .checkpoint(
                path: path,
                reason: "the mapper makes embeddings of \(made) numbers, but the language model takes \(width);"
                    + " take both from one captioner")
        }
        if let made = output, made % width != 0 {
            throw .checkpoint(
                path: path,
                reason:
                    "the mapper makes \(made) numbers, which are no whole embeddings of the language model's \(width);"
                    + " take both from one captioner")
        }
    }

    /// A checkpoint's name as this model has it; nil for what is no parameter.
    static func parameterName(_ name: String, tied: Bool) -> String? {
        var name = name[...]
        // The original code calls it gpt.
        if name.hasPrefix("gpt.") { name = "gpt2." + name.dropFirst("gpt.".count) }
        if name.hasPrefix("gpt2.") {
            return GPT2.parameterName(String(name.dropFirst("gpt2.".count))).map { "gpt2.\($0)" }
        }
        if name.hasPrefix("t5.") {
            return T5.parameterName(String(name.dropFirst("t5.".count)), tied: tied).map { "t5.\($0)" }
        }
        let unread = ["bert.embeddings.word_embeddings.", "bert.pooler.", "bert.embeddings.position_ids"]
        return unread.contains { name.hasPrefix("clip_project.\($0)") } ? nil : String(name)
    }

    /// Writes a folder that `open` reads.
    ///
    /// - Parameters:
    ///   - store: holds the captioner's parameters, and may hold more
    ///   - dtype: of the tensors in the file; as in the store if nil
    ///   - tensor: what to save for a parameter; the parameter itself if nil
    /// - Throws: `WeightFileError`, and Foundation's errors for the files.
    public func save(
        store: ParameterStore, dtype: DType? = nil, to folder: URL, tensor: ((ParameterStore.Entry) -> Tensor)? = nil
    ) throws {
        try ModelFolder.save(
            configuration: configuration, store: store, dtype: dtype, to: folder, tensor: tensor)
    }
}

extension ClipCapConfiguration {
    /// What the tensors of a checkpoint say, by their names in the model. What they do not say is as in the code that the
    /// mapper is from (8 heads), or a GPT2's usual 64 numbers a head, unless `stated` says otherwise.
    fileprivate init(
        readOff shapes: [String: [Int]], like stated: ClipCapConfiguration?, path: String
    ) throws(ModelError) {
        func shape(_ name: String, _ rank: Int) throws(ModelError) -> [Int] {
            guard let shape = shapes[name], shape.count == rank, shape.allSatisfy({ $0 > 0 }) else {
                throw .checkpoint(path: path, reason: "\(name) is not there or has a wrong shape")
            }
            return shape
        }
        func count(_ prefix: String) -> Int {
            Set(
                shapes.keys.filter { $0.hasPrefix(prefix) }.compactMap {
                    Int($0.dropFirst(prefix.count).prefix { $0 != "." })
                }
            )
            .count
        }
        let model: LanguageModel
        if let stated {
            model = stated.languageModel
        } else {
            let table = try shape("gpt2.transformer.wte.weight", 2)
            var gpt2 = GPT2Configuration(
                vocabularySize: table[0], hiddenSize: table[1], layerCount: count("gpt2.transformer.h."),
                headCount: max(1, table[1] / 64), positionCount: try shape("gpt2.transformer.wpe.weight", 2)[0],
                innerSize: try shape("gpt2.transformer.h.0.mlp.c_fc.weight", 2)[1])
            guard gpt2.hiddenSize % gpt2.headCount == 0 else {
                throw .checkpoint(
                    path: path,
                    reason:
                        "how many heads a GPT2 of width \(gpt2.hiddenSize) has is not known; put a config.json beside it"
                )
            }
            // [SEP] of BERT's vocabulary, as ClipCap-Chinese ends its captions.
            gpt2.eosTokenID = gpt2.vocabularySize == 21128 ? 102 : nil
            model = .gpt2(gpt2)
        }
        let width = model.hiddenSize
        if shapes["clip_project.model.0.weight"] != nil {
            let first = try shape("clip_project.model.0.weight", 2)
            let second = try shape("clip_project.model.2.weight", 2)
            self.init(
                mapper: .mlp, embeddingSize: first[1], prefixLength: max(1, second[0] / width), languageModel: model)
        } else {
            let isBert = shapes.keys.contains { $0.hasPrefix("clip_project.bert.") }
            let linear = try shape("clip_project.linear.weight", 2)
            let constants = try shape("clip_project.prefix_const", 2)
            self.init(
                mapper: isBert ? .bert : .transformer, embeddingSize: linear[1],
                prefixLength: max(1, linear[0] / constants[1]), constantLength: constants[0], languageModel: model)
            let layers = isBert ? "clip_project.bert.encoder.layer." : "clip_project.transformer.layers."
            layerCount = max(1, count(layers))
            innerSize = try shape(layers + (isBert ? "0.intermediate.dense.weight" : "0.mlp.fc1.weight"), 2)[0]
            if isBert {
                positionCount = try shape("clip_project.bert.embeddings.position_embeddings.weight", 2)[0]
            }
        }
        if let stated {
            headCount = stated.headCount
            normalizesEmbedding = stated.normalizesEmbedding
        }
        try validate()
    }
}
