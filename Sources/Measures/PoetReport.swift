import Foundation
public import TihuaEvaluation
import TihuaGeneration
import TihuaProsody

/// The forms that figures are given for.
public enum PoetForms {
    /// All forms together.
    public static let all = "all"
    /// The forms that have figures of their own; all tunes are one.
    public static let names = ["五绝", "七绝", "五律", "七律", "词"]

    static func name(of form: Form) -> String { form.kind == .ci ? "词" : form.name }
}

/// The log-likelihood of held-out text, in nats, per character; with ends, per character or end of line.
public struct Perplexity: Encodable {
    /// How many poems were measured.
    public private(set) var poems = 0
    /// How many characters they have.
    public private(set) var characters = 0
    private var characterSum = 0.0
    private var tokens = 0
    private var tokenSum = 0.0

    /// - Parameters:
    ///   - characters: the natural logarithms of the probabilities of a poem's characters
    ///   - all: those of its characters and ends of lines
    mutating func add(characters scores: [Double], all: [Double]) {
        poems += 1
        characters += scores.count
        characterSum -= scores.reduce(0, +)
        tokens += all.count
        tokenSum -= all.reduce(0, +)
    }

    /// The mean negative log-probability of a character; its exponential is the perplexity.
    public var nats: Double { characterSum / Double(max(1, characters)) }
    /// The same, ends of lines counted.
    public var natsWithEnds: Double { tokenSum / Double(max(1, tokens)) }

    private enum CodingKeys: String, CodingKey {
        case poems, characters, nats, perplexity, natsWithEnds, perplexityWithEnds
    }

    /// Writes the figures and the perplexities that follow from them.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(poems, forKey: .poems)
        try values.encode(characters, forKey: .characters)
        try values.encode(nats, forKey: .nats)
        try values.encode(exp(nats), forKey: .perplexity)
        try values.encode(natsWithEnds, forKey: .natsWithEnds)
        try values.encode(exp(natsWithEnds), forKey: .perplexityWithEnds)
    }
}

/// The perplexity of one model under one kind of prompt, by form.
public struct PerplexityRow: Encodable {
    /// `poet` or `5-gram`.
    public let model: String
    /// What the prompt told; the 5-gram model is told nothing, or where the lines end.
    public let prompt: String
    /// Whether only the poems with a theme are in it.
    public let onlyThemed: Bool
    /// The figures of all forms together, and of each that has poems.
    public let forms: [String: Perplexity]

    static func name(_ model: String, _ prompt: String, themed: Int?) -> String {
        "\(model), told \(prompt)" + (themed.map { " (\($0) poems with a theme)" } ?? "")
    }

    /// What a table calls the row.
    public var name: String {
        Self.name(model, prompt, themed: onlyThemed ? forms[PoetForms.all]?.poems ?? 0 : nil)
    }
}

/// What was written in one way; `people` are the held-out poems themselves.
public struct WritingRow: Encodable {
    /// The way.
    public let name: String
    /// Poems that were asked for.
    public let asked: Int
    /// Those that were finished: a constraint may come to a dead end.
    public let written: Int
    /// How they keep to their forms.
    public let regularity: VerseMeasures.Regularity?
    /// The share of distinct characters.
    public let distinct1: Double?
    /// The share of distinct pairs of characters.
    public let distinct2: Double?
    /// The mean length of the longest run of characters that stands in a training poem, ends of lines ignored.
    public let meanCopiedRun: Double?
    /// The longest such run.
    public let longestCopiedRun: Int?
    /// The share of poems with a line of five characters or more that stands in a training poem.
    public let poemsWithCopiedLine: Double?
    /// How many of the keywords asked for stand in the poems.
    public let keywords: VerseMeasures.Coverage?
}

/// The mean probability that the strict metre takes away at a slot.
public struct RemovedMassRow: Encodable {
    /// The slots of one kind.
    public struct Part: Encodable {
        /// How many there are.
        public let slots: Int
        /// The mean probability that is taken away.
        public let mean: Double
    }

    /// Whose poems were walked along: `people` or `poet`.
    public let poems: String
    /// Whether the prompt named the rhyme.
    public let rhymeInPrompt: Bool
    /// How many poems there are.
    public let poemCount: Int
    /// All slots.
    public let all: Part?
    /// Slots of rhymes.
    public let rhyme: Part?
    /// Slots whose tone is settled.
    public let tone: Part?
    /// Slots without a demand.
    public let free: Part?

    init(poems: String, rhymeInPrompt: Bool, slots: [[PoemScorer.Slot]]) {
        func part(_ kind: PoemScorer.Slot.Kind?) -> Part? {
            let values = slots.joined().filter { kind == nil || $0.kind == kind }.map(\.removed)
            return values.isEmpty ? nil : Part(slots: values.count, mean: values.reduce(0, +) / Double(values.count))
        }
        self.poems = poems
        self.rhymeInPrompt = rhymeInPrompt
        poemCount = slots.count
        all = part(nil)
        rhyme = part(.rhyme)
        tone = part(.tone)
        free = part(.free)
    }
}

/// CCPM: the share of items whose right line was found.
public struct MatchingReport: Encodable {
    /// The shares, 0...1, by what a line was chosen for.
    public struct Accuracies: Encodable {
        /// How many items there are.
        public let items: Int
        /// By the probability of the line given the modern sentence as theme.
        public let withSentence: Double
        /// By the probability of the line alone: what guessing by commonness gives.
        public let withoutSentence: Double
        /// By how much the sentence raises the probability.
        public let gain: Double
        /// By the probability of the 5-gram model; nil where the training poems are not given.
        public let ngram: Double?
    }

    /// All items of the file.
    public let items: Int
    /// All items that can be read; only where nothing tells which were read in the training.
    public var all: Accuracies?
    /// Items whose right line stands in no training poem.
    public var counted: Accuracies?
    /// The items among these none of whose lines does.
    public var unseen: Accuracies?
}

/// PQED: Spearman's correlation of the mean log-probability with marks.
public struct RatingsReport: Encodable {
    /// The correlations, by mark; `mean` is the mean of all marks.
    public struct Correlations: Encodable {
        /// How many poems there are.
        public let poems: Int
        /// Those of the poet.
        public let poet: [String: Double]
        /// Those of the 5-gram model; nil where the training poems are not given.
        public let ngram: [String: Double]?
    }

    /// All poems.
    public let all: Correlations
    /// The poems none of whose lines stands in a training poem; nil where nothing tells.
    public let unseen: Correlations?
}

/// All measures of a poet.
public struct PoetReport: Encodable {
    /// The folder of the poet.
    public let poet: String
    /// The seed of what was drawn.
    public let seed: UInt64
    /// Nil without the corpus of the training.
    public let trainingPoems: Int?
    /// How many poems were measured.
    public let heldOutPoems: Int
    /// Poems of a test set with a line that was read in the training; nil where nothing tells.
    public let knownPoems: Int?
    /// Poems of a test set that cannot be measured, by reason; nil without a test set.
    public let leftOut: [String: Int]?
    /// The most keywords of a prompt.
    public let keywords: Int
    /// See `PoetMeasures.perplexities`.
    public var perplexity: [PerplexityRow] = []
    /// See `PoetMeasures.write`.
    public var writing: [WritingRow] = []
    /// See `PoetMeasures.removedMass`.
    public var removedMass: [RemovedMassRow] = []
    /// See `PoetMeasures.matching`.
    public var matching: MatchingReport?
    /// See `PoetMeasures.ratings`.
    public var ratings: RatingsReport?

    /// A report without figures yet.
    ///
    /// - Parameter leftOut: the poems of a test set that cannot be measured; nil where the poems are those that the
    ///   training held out
    public init(poet: String, of measures: PoetMeasures, trainingPoems: Int?, leftOut: [String: Int]?) {
        self.poet = poet
        self.trainingPoems = trainingPoems
        self.leftOut = leftOut
        (seed, keywords) = (measures.seed, measures.keywordCount)
        heldOutPoems = measures.heldOut.count
        knownPoems = leftOut == nil ? nil : measures.knownPoemCount
    }
}
