import Foundation
import TihuaEvaluation
import TihuaGeneration
import TihuaProsody

/// The forms that figures are given for.
enum PoetForms {
    static let all = "all"
    static let names = ["五绝", "七绝", "五律", "七律", "词"]

    static func name(of form: Form) -> String { form.kind == .ci ? "词" : form.name }
}

/// Likelihood of held-out text. Nats are per character; those with ends per character or end of line.
struct Perplexity: Encodable {
    private(set) var poems = 0
    private(set) var characters = 0
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

    var nats: Double { characterSum / Double(max(1, characters)) }
    var natsWithEnds: Double { tokenSum / Double(max(1, tokens)) }

    private enum CodingKeys: String, CodingKey {
        case poems, characters, nats, perplexity, natsWithEnds, perplexityWithEnds
    }

    func encode(to encoder: any Encoder) throws {
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
struct PerplexityRow: Encodable {
    /// `poet` or `5-gram`.
    let model: String
    /// What the prompt told; the 5-gram model is told nothing, or where the lines end.
    let prompt: String
    /// Whether only the poems with a theme are in it.
    let onlyThemed: Bool
    let forms: [String: Perplexity]

    static func name(_ model: String, _ prompt: String, themed: Int?) -> String {
        "\(model), told \(prompt)" + (themed.map { " (\($0) poems with a theme)" } ?? "")
    }

    fileprivate var name: String {
        Self.name(model, prompt, themed: onlyThemed ? forms[PoetForms.all]?.poems ?? 0 : nil)
    }
}

/// The perplexities as a table whose rows come one by one.
struct PerplexityTable {
    private static let forms = [PoetForms.all] + PoetForms.names
    private static let columns = forms + ["all, with line ends"]
    private let width: Int

    /// - Parameter names: of the rows to come
    init(names: [String]) { width = (names + [Self.title]).map(\.count).max() ?? 0 }

    private static let title = "Perplexity per character"

    private func row(_ name: String, _ cells: [String]) -> String {
        cell(name, width, isLeading: true)
            + zip(Self.columns, cells).map { cell($1, max(10, $0.count + 2)) }.joined()
    }

    var head: String { row(Self.title, Self.columns) }

    func line(_ found: PerplexityRow) -> String {
        func text(_ value: Double?) -> String { value.map { String(format: "%.1f", $0) } ?? "-" }
        return row(
            found.name,
            Self.forms.map { text(found.forms[$0].map { exp($0.nats) }) }
                + [text(found.forms[PoetForms.all].map { exp($0.natsWithEnds) })])
    }

    /// How many characters the figures are of.
    func counts(_ rows: [PerplexityRow]) -> String {
        row("characters", Self.forms.map { name in rows.first?.forms[name].map { "\($0.characters)" } ?? "-" })
    }
}

/// What was written in one way; `people` are the held-out poems themselves.
struct WritingRow: Encodable {
    let name: String
    /// Poems that were asked for, and those that were finished: a constraint may come to a dead end.
    let asked: Int
    let written: Int
    let regularity: VerseMeasures.Regularity?
    let distinct1: Double?
    let distinct2: Double?
    /// Characters, ends of lines ignored.
    let meanCopiedRun: Double?
    let longestCopiedRun: Int?
    /// The share of poems with a line of five characters or more that stands in a training poem.
    let poemsWithCopiedLine: Double?
    let keywords: VerseMeasures.Coverage?
}

/// The mean probability that the strict metre removes at a slot.
struct RemovedMassRow: Encodable {
    struct Part: Encodable {
        let slots: Int
        let mean: Double
    }

    /// Whose poems were walked along: `people` or `poet`.
    let poems: String
    let rhymeInPrompt: Bool
    let poemCount: Int
    let all: Part?
    let rhyme: Part?
    let tone: Part?
    let free: Part?

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
struct MatchingReport: Encodable {
    struct Accuracies: Encodable {
        let items: Int
        /// The likeliest line given the modern sentence as theme.
        let withSentence: Double
        /// The likeliest line by itself: what guessing by commonness gives.
        let withoutSentence: Double
        /// The line that the sentence makes likelier by the most.
        let gain: Double
        /// The likeliest line of the 5-gram model; nil where the training poems are not given.
        let ngram: Double?
    }

    let items: Int
    /// All items; only where nobody can tell which were read in the training.
    var all: Accuracies?
    /// Items whose right line stands in no training poem.
    var counted: Accuracies?
    /// Of these, the items none of whose lines does.
    var unseen: Accuracies?
}

/// PQED: Spearman's correlation of mean likelihood with marks.
struct RatingsReport: Encodable {
    struct Correlations: Encodable {
        let poems: Int
        let poet: [String: Double]
        /// Nil where the training poems are not given.
        let ngram: [String: Double]?
    }

    let all: Correlations
    /// The poems none of whose lines stands in a training poem; nil where nobody can tell.
    let unseen: Correlations?
}

/// What `tihua eval poet` prints.
struct EvalPoetReport: Encodable {
    let poet: String
    let seed: UInt64
    /// Nil without the corpus of the training.
    let trainingPoems: Int?
    let heldOutPoems: Int
    /// Poems of a test set with a line that was read in the training; nil where nobody can tell.
    let knownPoems: Int?
    /// Poems of a test set that cannot be measured, by reason.
    let leftOut: [String: Int]?
    /// The most keywords of a prompt.
    let keywords: Int
    var perplexity: [PerplexityRow] = []
    var writing: [WritingRow] = []
    var removedMass: [RemovedMassRow] = []
    var matching: MatchingReport?
    var ratings: RatingsReport?

    // MARK: - Text

    /// The line before the tables.
    var head: String {
        var parts = ["seed \(seed)"]
        if let trainingPoems { parts.insert("\(trainingPoems) training poems", at: 0) }
        if let leftOut {
            let reasons = leftOut.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
            if !reasons.isEmpty { parts.insert("left out: \(reasons.joined(separator: ", "))", at: 0) }
            if let knownPoems { parts.insert("\(knownPoems) with a line of the training", at: 0) }
            parts.insert("\(heldOutPoems) test poems", at: 0)
        } else if heldOutPoems > 0 {
            parts.insert("\(heldOutPoems) held-out poems", at: 0)
        }
        return "\(poet): " + parts.joined(separator: ", ")
    }

    var writingText: String {
        guard !writing.isEmpty else { return "" }
        let names: [(String, (WritingRow) -> String)] = [
            ("poems", { "\($0.written)/\($0.asked)" }),
            ("format", { Self.percent($0.regularity?.format) }),
            ("rhyme", { Self.percent($0.regularity?.rhyme) }),
            ("rhyme asked for", { Self.percent($0.regularity?.askedRhyme) }),
            ("tones, poems (strict)", { Self.percent($0.regularity?.tone) }),
            ("tones, characters (strict)", { Self.percent($0.regularity?.toneCharacters) }),
            ("fully regular (strict)", { Self.percent($0.regularity?.regular) }),
            ("fully regular (loose)", { Self.percent($0.regularity?.regularLoose) }),
            ("distinct-1", { Self.number($0.distinct1, 3) }),
            ("distinct-2", { Self.number($0.distinct2, 3) }),
            ("copied run, mean", { Self.number($0.meanCopiedRun, 2) }),
            ("copied run, longest", { $0.longestCopiedRun.map(String.init) ?? "-" }),
            ("poems with a copied line", { Self.percent($0.poemsWithCopiedLine) }),
            ("poems with a keyword", { Self.percent($0.keywords?.poems) }),
            ("keywords present", { Self.percent($0.keywords?.words) }),
        ]
        return Self.table(
            [["Writing for the prompts of the poems"] + writing.map(\.name)]
                + names.map { name, value in [name] + writing.map(value) })
    }

    var removedText: String {
        let head = ["Probability that strict tones remove", "all slots", "rhymes", "tones", "free", "poems"]
        let rows = removedMass.map { row in
            ["\(row.poems), rhyme \(row.rhymeInPrompt ? "in" : "not in") the prompt"]
                + [row.all, row.rhyme, row.tone, row.free].map { Self.percent($0?.mean) } + ["\(row.poemCount)"]
        }
        return rows.isEmpty ? "" : Self.table([head] + rows)
    }

    var matchingText: String {
        guard let matching else { return "" }
        func row(_ name: String, _ found: MatchingReport.Accuracies?) -> [String] {
            [name, found.map { "\($0.items)" } ?? "0"]
                + [found?.withSentence, found?.gain, found?.withoutSentence, found?.ngram].map(Self.percent)
        }
        let head = ["CCPM, of \(matching.items) items", "items", "with sentence", "by gain", "without", "5-gram"]
        // Where nobody can tell which lines were read in the training, none is called unseen.
        guard matching.all == nil else { return Self.table([head, row("all that can be read", matching.all)]) }
        return Self.table([
            head, row("right line in no training poem", matching.counted),
            row("no line in a training poem", matching.unseen),
        ])
    }

    var ratingsText: String {
        guard let ratings else { return "" }
        let marks = ratings.all.poet.keys.filter { $0 != "mean" }.sorted() + ["mean"]
        func row(_ name: String, _ values: [String: Double]) -> [String] {
            [name] + marks.map { Self.number(values[$0], 3) }
        }
        var rows = [["PQED, Spearman"] + marks, row("poet, \(ratings.all.poems) poems", ratings.all.poet)]
        if let ngram = ratings.all.ngram { rows.append(row("5-gram, \(ratings.all.poems) poems", ngram)) }
        if let unseen = ratings.unseen {
            rows.append(row("poet, \(unseen.poems) not trained on", unseen.poet))
            if let ngram = unseen.ngram { rows.append(row("5-gram, \(unseen.poems) not trained on", ngram)) }
        }
        return Self.table(rows)
    }

    private static func number(_ value: Double?, _ digits: Int) -> String {
        value.map { String(format: "%.\(digits)f", $0) } ?? "-"
    }

    private static func percent(_ value: Double?) -> String { value.map { String(format: "%.1f %%", 100 * $0) } ?? "-" }

    /// Rows of equal length as columns; the first stands left, the others right. Chinese characters are two columns wide.
    private static func table(_ rows: [[String]]) -> String {
        func width(_ text: String) -> Int {
            text.unicodeScalars.reduce(0) { $0 + ($1.properties.isIdeographic ? 2 : 1) }
        }
        let widths = (rows.first ?? []).indices.map { column in rows.map { width($0[column]) }.max() ?? 0 }
        return rows.map { row in
            row.enumerated().map { column, text in
                let fill = String(repeating: " ", count: widths[column] - width(text))
                return column == 0 ? text + fill : fill + text
            }.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}
