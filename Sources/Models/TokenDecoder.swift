public import TihuaNN
public import TihuaTorch

// B rows, T new tokens, S all positions so far, P positions in front of the tokens, C width, V vocabulary.

/// A model that writes a text token by token: what generation and training need to know of one.
public protocol TokenDecoder: AnyObject {
    /// V: the number of scores of a token.
    var vocabularySize: Int { get }
    /// C: the width of the embeddings and of the hidden states.
    var hiddenSize: Int { get }
    /// The longest sequence, prefix included; nil where there is no bound.
    var positionLimit: Int? { get }
    /// The tokens that end a text; empty where the configuration names none.
    var endTokenIDs: [Int32] { get }
    /// What stands in front of every text; nil where a text simply continues what is given.
    var startTokenID: Int32? { get }
    /// Whether an encoder reads what a text is written from; a model without one reads it in front of the text.
    var hasEncoder: Bool { get }

    /// The embeddings of tokens. ids int64 `[..]` -> `[.., C]`
    func embed(_ ids: Tensor) -> Tensor

    /// What `hidden` is given so that texts are written from these embeddings: of `embed`, or of a mapping network.
    ///
    /// - Parameters:
    ///   - embeddings: `[B, S, C]`
    ///   - mask: bool `[B, S]`, false for padding; nil where there is none
    ///   - dropout: in training
    func context(_ embeddings: Tensor, mask: Tensor?, dropout: Dropout?) -> DecodingContext

    /// The hidden states that `logits` reads the following tokens from.
    ///
    /// - Parameters:
    ///   - ids: int64 `[B, T]`
    ///   - context: what is given beside tokens; with a cache, the prefix in the first call only
    ///   - positions: int64 `[B, P + T]`; from the cache's length on if nil
    ///   - mask: bool, broadcast to `[B, 1, P + T, S]`, true = attend, causality included; causal if nil. Every row
    ///     attends to something, padding to itself (see `causalMask`).
    ///   - cache: holds the positions before, and afterwards these too
    ///   - dropout: in training
    /// - Returns: `[B, P + T, C]` in the compute type
    /// - Precondition: the sequence is no longer than `positionLimit` and every id is in the vocabulary.
    func hidden(
        _ ids: Tensor, context: DecodingContext, positions: Tensor?, mask: Tensor?, cache: KeyValueCache?,
        dropout: Dropout?
    ) -> Tensor

    /// hidden `[.., C]` -> the scores of each token, float32 `[.., V]`
    func logits(_ hidden: Tensor) -> Tensor

    /// An empty cache for up to `capacity` positions.
    func makeCache(capacity: Int) -> KeyValueCache
}

extension TokenDecoder {
    /// nil.
    public var startTokenID: Int32? { nil }
    /// False.
    public var hasEncoder: Bool { false }

    /// The embeddings stand in front of the text.
    public func context(_ embeddings: Tensor, mask: Tensor? = nil, dropout: Dropout? = nil) -> DecodingContext {
        DecodingContext(prefix: embeddings)
    }

    /// The embeddings of a prefix and of the tokens behind it. `[B, P + T, C]`
    func inputs(_ ids: Tensor, behind prefix: Tensor?) -> Tensor {
        let x = embed(ids)  // [B, T, C]
        return prefix.map { .concatenated([$0.to(x.dtype), x], 1) } ?? x
    }
}

/// What a decoder is given beside tokens.
public struct DecodingContext {
    /// Embeddings that stand in front of the tokens. `[B, P, C]`
    public var prefix: Tensor?
    /// What the decoder attends to besides its own tokens: the states of an encoder, or of a picture. `[B, S, C]`;
    /// batch 1 serves every row.
    public var memory: Tensor?
    /// False for the padding of the memory; nil where there is none. bool `[B, S]`
    public var memoryMask: Tensor?

    /// Nothing, unless a part is given.
    public init(prefix: Tensor? = nil, memory: Tensor? = nil, memoryMask: Tensor? = nil) {
        self.prefix = prefix
        self.memory = memory
        self.memoryMask = memoryMask
    }

    /// P: the positions that stand in front of the tokens.
    public var prefixLength: Int { prefix?.size(1) ?? 0 }

    /// B; nil where nothing is given.
    public var batch: Int? { (prefix ?? memory)?.size(0) }

    /// Some of the rows.
    public func rows(_ range: Range<Int>) -> DecodingContext { map { $0.narrowed(0, range) } }

    /// The rows that `indices` (int64 `[N]`) names.
    public func rows(_ indices: Tensor) -> DecodingContext { map { $0.gatheringSlices(0, at: indices) } }

    private func map(_ change: (Tensor) -> Tensor) -> DecodingContext {
        DecodingContext(prefix: prefix.map(change), memory: memory.map(change), memoryMask: memoryMask.map(change))
    }
}

/// A decoder that is a model by itself, and that a captioner can have for its own.
public protocol LanguageModel: LoadableModel, TokenDecoder where Configuration: LanguageModelConfiguration {}

/// The shape of a language model.
public protocol LanguageModelConfiguration: ModelConfiguration {
    /// The model of this shape.
    associatedtype Model: LanguageModel where Model.Configuration == Self

    /// V: the rows of the embedding.
    var vocabularySize: Int { get }
    /// C: the width.
    var hiddenSize: Int { get }
    /// The tokens that end a text; ones outside the vocabulary are left out.
    var eosTokenIDs: [Int] { get set }
    /// The longest sequence; nil where there is no bound.
    var positionLimit: Int? { get }
}

extension LanguageModelConfiguration {
    /// The first of the tokens that end a text; nil where there is none.
    public var eosTokenID: Int? {
        get { eosTokenIDs.first }
        set { eosTokenIDs = newValue.map { [$0] } ?? [] }
    }

    /// The name of the architecture, under which a captioner keeps the parameters.
    public var path: String { Model.architecture.rawValue }

    /// The most tokens of a text behind so many positions; nil where there is no bound.
    public func capacity(behind prefix: Int) -> Int? { positionLimit.map { $0 - prefix } }

    /// A model of this shape, whose parameters are declared under `path`.
    public func model(computeType: DType, at path: ParameterPath) -> any LanguageModel {
        Model(self, computeType: computeType, at: path)
    }

    /// Multiplications of a forward pass: each weight once a token, but those of the embedding, which is looked up on
    /// the way in and is a matrix product on the way out.
    ///
    /// - Parameters:
    ///   - tokens: that are read, padding included
    ///   - scored: of which the scores are computed
    public func multiplications(tokens: Int, scored: Int) -> Double {
        let head = Double(vocabularySize) * Double(hiddenSize)
        return (parameterCount - head) * Double(tokens) + head * Double(scored)
    }

    func parameterName(_ name: String) -> String? { Model.parameterName(name, in: self) }

    func isEqual(to other: any LanguageModelConfiguration) -> Bool { other as? Self == self }

    fileprivate static func open(
        _ folder: ModelFolder, dtype: DType, device: Device
    ) throws -> OpenedModel<any LanguageModel> {
        let opened = try Model.open(folder, dtype: dtype, device: device)
        return OpenedModel(model: opened.model, store: opened.store, notes: opened.notes)
    }
}

extension LanguageModel {
    /// V: the number of scores of a token.
    public var vocabularySize: Int { configuration.vocabularySize }
    /// C: the width of the embeddings and of the hidden states.
    public var hiddenSize: Int { configuration.hiddenSize }
    /// The longest sequence; nil where there is no bound.
    public var positionLimit: Int? { configuration.positionLimit }
    /// The tokens that end a text.
    public var endTokenIDs: [Int32] { configuration.eosTokenIDs.map(Int32.init) }
}

extension ModelFolder {
    /// Whether the folder's model writes by itself.
    public var holdsLanguageModel: Bool { architecture.languageModel != nil }

    /// The language model of the folder, whichever it is.
    ///
    /// - Parameter dtype: the element type of the parameters and of the computation: float32, or bfloat16 for speed
    /// - Throws: `ModelError`, `WeightFileError`.
    public func openLanguageModel(
        dtype: DType = .float32, device: Device = .cpu
    ) throws -> OpenedModel<any LanguageModel> {
        guard let shape = architecture.languageModel else { throw wrongArchitecture(Architecture.languageModels) }
        return try shape.open(self, dtype: dtype, device: device)
    }
}
