import Foundation

/// How a language model writes: the search, how many texts, and what they obey.
public struct Decoding: Sendable, Equatable {
    /// How tokens are found.
    public enum Method: Sendable, Equatable {
        /// Each text by itself; temperature 0 takes the most probable token.
        case sampling(Sampling)
        /// The most probable texts, side by side.
        case beam(BeamSearch)
        /// A probable token that is unlike what stands before.
        case contrastive(ContrastiveSearch)

        /// The most probable token every time.
        public static let greedy = Method.sampling(.greedy)

        /// The most texts that are found for a prompt; nil for samples, of which there is no end.
        public var mostTexts: Int? {
            switch self {
            case .sampling(let sampling): sampling.temperature == 0 ? 1 : nil
            case .beam(let search): search.width
            case .contrastive: 1
            }
        }

        func validate() throws(GenerationError) {
            switch self {
            case .sampling(let sampling): try sampling.validate()
            case .beam(let search): try search.validate()
            case .contrastive(let search): try search.validate()
            }
        }
    }

    /// How tokens are found.
    public var method: Method
    /// Texts for each prompt: samples, or the best beams. Greedy and contrastive search have one to give.
    public var count: Int
    /// What every text obeys.
    public var rules: TokenRules

    /// - Precondition: see `validate` for the ranges.
    public init(_ method: Method, count: Int = 1, rules: TokenRules = TokenRules()) {
        self.method = method
        self.count = count
        self.rules = rules
    }

    /// The most probable token every time.
    public static func greedy(rules: TokenRules = TokenRules()) -> Decoding {
        Decoding(.greedy, rules: rules)
    }

    /// What ClipCap-Chinese does (its predict.py): 10 samples from a nucleus of 0.8 at temperature 1, up to 101 tokens,
    /// since it counts to "more than 100"; `[UNK]` is never written, `[SEP]` ends a text, and nothing else is
    /// forbidden.
    public static func clipCapChinese(stop: Int32, unknown: Int32?) -> Decoding {
        Decoding(
            .sampling(Sampling(temperature: 1, topK: 0, topP: 0.8)), count: 10,
            rules: TokenRules(stop: [stop], suppressed: unknown.map { [$0] } ?? [], maximumLength: 101))
    }

    /// - Throws: `GenerationError.sampling` for a value out of range.
    public func validate() throws(GenerationError) {
        try rules.validate()
        try method.validate()
        let most = method.mostTexts ?? 10_000
        guard (1...most).contains(count) else {
            throw .sampling(
                setting: "the number of texts", value: "\(count)",
                range: most == 1 ? "1: a greedy or contrastive search has one result" : "1 to \(most)")
        }
    }

    /// Rows of the batch that one prompt takes.
    var rowsPerPrompt: Int {
        switch method {
        case .sampling: count
        case .beam(let search): search.width
        case .contrastive(let search): search.candidates
        }
    }
}

/// Beam search as transformers' `generate` defines it: a finished text is ranked by its log-probability over its
/// length, end token included, to the power of `lengthPenalty`.
public struct BeamSearch: Sendable, Equatable {
    /// When a search ends before the maximum length; transformers' `early_stopping`.
    public enum Ending: String, Sendable, CaseIterable {
        /// As soon as `width` texts have finished (`True`).
        case first
        /// When the best open beam, at its present length, ranks behind all finished ones (`False`).
        case likely
        /// When no open beam can overtake any more, at the length that favours it (`"never"`).
        case certain
    }

    /// Beams that are kept, 1 to 128.
    public var width: Int
    /// 0 ranks by log-probability, 1 by its mean over the tokens; more favours long texts.
    public var lengthPenalty: Double
    /// When the search ends.
    public var ending: Ending

    /// - Precondition: see `validate` for the ranges.
    public init(width: Int = 5, lengthPenalty: Double = 1, ending: Ending = .likely) {
        self.width = width
        self.lengthPenalty = lengthPenalty
        self.ending = ending
    }

    /// - Throws: `GenerationError.sampling` for a value out of range.
    public func validate() throws(GenerationError) {
        try require((1...128).contains(width), "the number of beams", width, "1 to 128")
        try require((-10...10).contains(lengthPenalty), "the length penalty", lengthPenalty, "-10 to 10")
    }

    func rank(_ logProbability: Double, length: Int) -> Double { logProbability / pow(Double(length), lengthPenalty) }
}

/// Contrastive search (Su et al. 2022, A Contrastive Framework for Neural Text Generation, equation 5): of the most
/// probable tokens, the one with the greatest (1 - α) p(v) - α max cos(h_v, h_j) over the hidden states h_j of all
/// positions before.
public struct ContrastiveSearch: Sendable, Equatable {
    /// k: tokens that are tried, 1 to 128.
    public var candidates: Int
    /// α: 0 is greedy, 1 only avoids likeness.
    public var penalty: Double

    /// - Precondition: see `validate` for the ranges.
    public init(candidates: Int = 4, penalty: Double = 0.6) {
        self.candidates = candidates
        self.penalty = penalty
    }

    /// - Throws: `GenerationError.sampling` for a value out of range.
    public func validate() throws(GenerationError) {
        try require((1...128).contains(candidates), "the number of candidates", candidates, "1 to 128")
        try require((0...1).contains(penalty), "the contrastive penalty", penalty, "0 to 1")
    }
}
