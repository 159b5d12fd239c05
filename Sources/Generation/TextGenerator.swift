import TihuaModels
public import TihuaTorch
import TihuaVerse

/// What a text continues.
public struct TextPrompt: Sendable, Equatable {
    /// The tokens before; none where there is a prefix, or for a model's start token alone.
    public var ids: [Int32]
    /// Equal prompts with equal seeds become equal texts, whatever they are written together with, up to the rounding
    /// of the scores.
    public var seed: UInt64

    /// A prompt of these tokens.
    public init(ids: [Int32] = [], seed: UInt64 = 0) {
        self.ids = ids
        self.seed = seed
    }
}

/// A text as a model wrote it.
public struct GeneratedText: Sendable, Equatable {
    /// The new tokens, without the one that ended the text.
    public let ids: [Int32]
    /// The stop token that ended the text; nil where it was cut off.
    public let stop: Int32?
    /// The natural logarithm of the model's own probability (no rule, temperature 1) of the new tokens and the stop
    /// token.
    public let logProbability: Double
    /// What the search ranks by: for beams the log-probability under the rules over its length to the power of the
    /// penalty, otherwise `meanLogProbability`.
    public let score: Double

    /// New tokens, the stop token included.
    public var tokenCount: Int { ids.count + (stop == nil ? 0 : 1) }
    /// `logProbability` of a token; 0 where there is none.
    public var meanLogProbability: Double { tokenCount == 0 ? 0 : logProbability / Double(tokenCount) }

    /// - Parameter score: the mean log-probability if nil
    init(_ tokens: [Int32], stop: [Int32], logProbability: Double, score: Double? = nil) {
        let ending = tokens.last.flatMap { stop.contains($0) ? $0 : nil }
        ids = ending == nil ? tokens : Array(tokens.dropLast())
        self.stop = ending
        self.logProbability = logProbability
        self.score = score ?? (tokens.isEmpty ? 0 : logProbability / Double(tokens.count))
    }
}

/// Continues prompts with a language model: greedy, samples, beams or contrastive search, all texts of all prompts in
/// one batch, each prompt read once. Not `Sendable`: it lives on its model's thread.
public final class TextGenerator {
    /// The model with what it is given beside tokens.
    public let source: TextSource
    let device: Device
    private let style: TextStyle?
    private let caching: Bool

    /// The most rows in one batch; a prompt with more has one to itself.
    private static let batch = 128

    /// - Parameters:
    ///   - source: where it has a prefix or a memory, of as many prompts as will be given
    ///   - device: where the model lives
    ///   - style: the style that the texts shall have
    ///   - caching: false computes the whole sequence for every token; for comparison
    public init(_ source: TextSource, device: Device = .cpu, style: TextStyle? = nil, caching: Bool = true) {
        self.source = source
        self.device = device
        self.style = style
        self.caching = caching
    }

    /// Continues every prompt.
    ///
    /// Cancelling the task ends the work at the next token.
    ///
    /// - Returns: for each prompt its texts: `count` of them, beams best first; fewer where beams come to no end, or
    ///   where the rules forbid everything
    /// - Throws: `GenerationError`, `CancellationError`.
    /// - Precondition: there are as many prompts as the source has prefixes or memories.
    public func generate(_ prompts: [TextPrompt], _ decoding: Decoding) throws -> [[GeneratedText]] {
        try decoding.validate()
        precondition(
            [nil, prompts.count].contains(source.context.batch),
            "\(prompts.count) prompts, but the source has \(source.context.batch ?? 0)")
        guard !prompts.isEmpty else { return [] }
        let starts = try prompts.map(start)
        let longest = (starts.map(\.count).max() ?? 0) + source.context.prefixLength
        guard longest + decoding.rules.maximumLength <= source.positionCount else {
            throw GenerationError.noRoom(
                prompt: longest, new: decoding.rules.maximumLength, positions: source.positionCount)
        }
        let step = max(1, Self.batch / decoding.rowsPerPrompt)
        var texts: [[GeneratedText]] = []
        for first in stride(from: 0, to: prompts.count, by: step) {
            let range = first..<min(first + step, prompts.count)
            texts += try withoutGradients {
                let session = TokenSession(
                    source.prompts(range), prompts: Array(starts[range]), room: decoding.rules.maximumLength,
                    caching: caching, device: device)
                let rules = AppliedRules(decoding.rules, style: style, source: source, device: device)
                switch decoding.method {
                case .sampling(let sampling):
                    return try sample(
                        session, seeds: prompts[range].map(\.seed), sampling, count: decoding.count, rules)
                case .beam(let search): return try beams(session, search, count: decoding.count, rules)
                case .contrastive(let search): return try contrast(session, search, rules)
                }
            }
        }
        return texts
    }

    /// The tokens that the model is given first.
    private func start(_ prompt: TextPrompt) throws -> [Int32] {
        let rows = source.model.vocabularySize
        if let wrong = prompt.ids.first(where: { !(0..<rows).contains(Int($0)) }) {
            throw GenerationError.token(id: Int(wrong), vocabularySize: rows)
        }
        guard prompt.ids.isEmpty else { return prompt.ids }
        if let start = source.model.startTokenID { return [start] }
        guard source.context.prefix != nil else { throw GenerationError.emptyPrompt }
        return []
    }

    /// A text under way.
    struct OpenText {
        private var tokens: [Int32] = []
        private var logProbability = 0.0
        private(set) var isOpen = true

        /// Goes on with a drawn token, or ends: with a token that stops, or where the rules forbid every token.
        mutating func take(_ drawn: (token: Int32, logProbability: Double?), stop: [Int32]) {
            guard let logProbability = drawn.logProbability else {
                isOpen = false
                return
            }
            tokens.append(drawn.token)
            self.logProbability += logProbability
            isOpen = !stop.contains(drawn.token)
        }

        func generated(stop: [Int32]) -> GeneratedText {
            GeneratedText(tokens, stop: stop, logProbability: logProbability)
        }
    }

    /// One sample under way.
    private struct Sample {
        let prompt: Int
        var random: SplitMix64
        var text = OpenText()
    }

    private func sample(
        _ session: TokenSession, seeds: [UInt64], _ sampling: Sampling, count: Int, _ rules: AppliedRules
    ) throws -> [[GeneratedText]] {
        var samples = seeds.enumerated().flatMap { prompt, seed in
            var seeds = SplitMix64(seed: seed)
            return (0..<count).map { _ in Sample(prompt: prompt, random: SplitMix64(seed: seeds.next())) }
        }
        session.reorder(by: samples.map(\.prompt))
        var live = Array(samples.indices)  // the sample of each row
        for length in 0..<rules.maximumLength {
            try Task.checkCancellation()
            try Runtime.checkMemory()
            let scores = rules.applied(to: session, length: length)  // [B, V]
            let uniforms = live.map { samples[$0].text.isOpen ? samples[$0].random.uniform() : 0 }
            let chosen = sampling.draw(from: scores, uniforms: uniforms)  // [B]
            let drawn = try Self.values(of: chosen, scores: session.next, allowed: scores)
            for (row, index) in live.enumerated() where samples[index].text.isOpen {
                samples[index].text.take(drawn[row], stop: rules.stop)
            }
            let open = live.indices.filter { samples[live[$0]].text.isOpen }
            guard !open.isEmpty, length + 1 < rules.maximumLength else { break }
            var tokens = drawn.map(\.token)
            if Self.isWorthDropping(open.count, of: live.count) {
                session.reorder(by: open)
                live = open.map { live[$0] }
                tokens = open.map { tokens[$0] }
            }
            session.append(tokens.map { [$0] })
        }
        return seeds.indices.map { prompt in
            samples[prompt * count..<(prompt + 1) * count].map { $0.text.generated(stop: rules.stop) }
        }
    }

    /// Whether dropping the finished rows, which cost as much as open ones, is worth a reordering.
    static func isWorthDropping(_ open: Int, of rows: Int) -> Bool { 4 * open <= 3 * rows }

    /// The tokens chosen in each row with their log-probability of the model, nil where the rules forbid them.
    ///
    /// - Parameters:
    ///   - chosen: int64 `[B]`
    ///   - scores: the model's, `[B, V]`
    ///   - allowed: the scores under the rules, `[B, V]`
    /// - Throws: `GenerationError.brokenModel` where a score is not a number.
    static func values(
        of chosen: Tensor, scores: Tensor, allowed: Tensor
    ) throws(GenerationError) -> [(token: Int32, logProbability: Double?)] {
        let places = chosen.unsqueezed(1)
        let logProbabilities = scores.gathered(1, places) - scores.logSumExp(1, keep: true)  // [B, 1]
        let values = Tensor.concatenated([logProbabilities, allowed.gathered(1, places)], 1).floats
        let tokens = chosen.array(of: Int64.self)
        var drawn: [(token: Int32, logProbability: Double?)] = []
        for (row, token) in tokens.enumerated() {
            guard values[2 * row].isFinite, !values[2 * row + 1].isNaN else { throw .brokenModel }
            let isAllowed = values[2 * row + 1] > -.infinity
            drawn.append((Int32(truncatingIfNeeded: token), isAllowed ? Double(values[2 * row]) : nil))
        }
        return drawn
    }
}

/// Rules with the tensor that they need in every step, and the style beside them.
struct AppliedRules {
    private let rules: TokenRules
    private let suppression: Tensor?
    private let style: TextStyle?
    /// Tokens in front of every text that are none of a sentence: the model's start token.
    private let leadCount: Int

    init(_ rules: TokenRules, style: TextStyle?, source: TextSource, device: Device) {
        self.rules = rules
        self.style = style
        suppression = rules.suppression(vocabularySize: source.model.vocabularySize, device: device)
        leadCount = source.model.startTokenID == nil ? 0 : 1
    }

    var stop: [Int32] { rules.stop }
    var maximumLength: Int { rules.maximumLength }

    /// The scores of a session's next tokens under the rules and with the style. `[B, V]`
    ///
    /// - Parameters:
    ///   - rows: the rows of the session; all if nil
    ///   - scores: the scores of these rows, where they are not the session's own
    func applied(to session: TokenSession, rows: [Int]? = nil, scores: Tensor? = nil, length: Int) -> Tensor {
        let texts = (rows ?? Array(session.rows.indices)).map(session.tokens)
        let scores = scores ?? session.next
        let ruled = rules.applied(to: scores, suppression: suppression, texts: texts, length: length)
        let lean = style?.lean(scores, texts: texts.map { $0.dropFirst(leadCount) })
        return lean.map { ruled + $0 } ?? ruled
    }
}
