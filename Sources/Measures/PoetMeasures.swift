import Foundation
public import TihuaCorpora
public import TihuaDataFiles
import TihuaEvaluation
public import TihuaGeneration
public import TihuaModels
public import TihuaProsody
public import TihuaTorch
public import TihuaVerse

/// The measures of one poet on poems that it was not trained on.
///
/// Not `Sendable`: it lives on the thread that made it.
public final class PoetMeasures {
    /// What is known of the poems that the poet was trained on.
    public struct Known {
        /// The poems themselves; nil where their corpus is not given.
        let poems: [PoemExample]?
        /// Whether a line of five characters or more stands in one of them; nil where nothing tells.
        let isLine: ((String) -> Bool)?
        /// Whether lines of them end in these two characters; nil where nothing tells.
        let isEnding: ((String) -> Bool)?

        /// From the poems themselves.
        public init(poems: [PoemExample]) {
            self.poems = poems
            let lines = Set(poems.lazy.flatMap(\.lines))
            isLine = lines.contains
            // The endings that a pack's filter would hold.
            let endings = LineFilter(endingsOf: poems.lazy.flatMap(\.lines))
            isEnding = { endings.contains($0) }
        }

        /// From the filters beside the poet; nil where one is missing.
        public init(lines: LineFilter?, endings: LineFilter?) {
            poems = nil
            isLine = lines.map { lines in { lines.contains($0) } }
            isEnding = endings.map { endings in { endings.contains($0) } }
        }
    }

    /// The poems that are measured: all, or `limit` of them drawn by the seed.
    public let heldOut: [PoemExample]

    private let known: Known
    private let vocabulary: PoetVocabulary
    private let scorer: PoemScorer
    private let writer: PoemWriter
    private let freeWriter: FreeWriter
    private let writable: Set<Character>
    private let limit: Int?
    let keywordCount: Int
    let seed: UInt64
    private let progress: (String) -> Void
    /// Nil where the training poems are not known.
    private lazy var ngrams = makeNGrams()

    /// The characters from which on a line that stands in a training poem counts as copied.
    private static let shortestOwnLine = 5

    /// - Parameters:
    ///   - poems: poems that the poet was not trained on
    ///   - known: what is known of those that it was trained on
    ///   - limit: how many poems and items of CCPM are measured at most; nil measures all
    ///   - stock: what the poet writes too often; it is held back in what is written
    ///   - keywordCount: the most keywords of a prompt
    ///   - seed: equal seeds draw equal poems and write equal ones
    ///   - progress: is told in words what is done now
    /// - Throws: `VerseError`, `GenerationError` if the vocabulary is not that of a Tihua poet.
    public init(
        model: GPT2, vocabulary: PoetVocabulary, device: Device, poems: [PoemExample], known: Known,
        limit: Int? = nil, stock: OverusedPairs? = nil, keywordCount: Int, seed: UInt64,
        progress: @escaping (String) -> Void = { _ in }
    ) throws {
        self.known = known
        self.vocabulary = vocabulary
        self.limit = limit
        self.keywordCount = keywordCount
        self.seed = seed
        self.progress = progress
        let format = try PoetFormat(tokens: vocabulary.tokens)
        writable = format.writable
        scorer = try PoemScorer(model, vocabulary: vocabulary, device: device)
        // A line that stands in a training poem is written again, as with a pack's filter of lines.
        writer = try PoemWriter(model, format: format, device: device, isKnown: known.isLine ?? { _ in false })
        writer.stock = stock
        freeWriter = FreeWriter(model, format: format, device: device)
        var random = SplitMix64(seed: seed)
        heldOut = limit.map { Array(poems.shuffled(using: &random).prefix($0)) } ?? poems
    }

    private func isCopied(_ lines: [String], _ isLine: (String) -> Bool) -> Bool {
        lines.contains { $0.count >= Self.shortestOwnLine && isLine($0) }
    }

    /// How many of the poems share a line with the training; nil where nothing tells.
    public var knownPoemCount: Int? { known.isLine.map { isLine in heldOut.count { isCopied($0.lines, isLine) } } }

    // MARK: - Perplexity

    /// Which parts of a held-out poem's own prompt the poet is told.
    private struct Condition {
        let name: String
        var form = false
        var rhyme = false
        var keywords = false
        var theme = false
    }

    private static let conditions = [
        Condition(name: "form, rhyme, keywords", form: true, rhyme: true, keywords: true),
        Condition(name: "form, keywords", form: true, keywords: true),
        Condition(name: "form, rhyme", form: true, rhyme: true),
        Condition(name: "keywords", keywords: true),
        Condition(name: "rhyme", rhyme: true),
        Condition(name: "form", form: true),
        Condition(name: "nothing"),
    ]

    /// For the poems that have a theme: how much it tells.
    private static let themed = [
        Condition(name: "form, theme", form: true, theme: true), Condition(name: "form", form: true),
    ]

    /// As in training: a sentence of the glosses, or what a picture of one or two of its words shows.
    private func theme(of example: PoemExample) -> String? {
        if let theme = example.theme { return theme }
        let described = example.descriptions.prefix(2).joined(separator: "，")
        return described.isEmpty ? nil : described
    }

    private func prompt(for example: PoemExample, rhyme: Bool, keywords: Bool, theme: Bool = false) -> PoemPrompt {
        PoemPrompt(
            form: example.form, rhyme: rhyme ? example.rhyme : nil,
            keywords: keywords ? Array(example.keywords.prefix(keywordCount)) : [],
            theme: theme ? self.theme(of: example) : nil)
    }

    private var tasks: [(condition: Condition, poems: [PoemExample], isThemed: Bool)] {
        let withTheme = heldOut.filter { theme(of: $0) != nil }
        return Self.conditions.map { ($0, heldOut, false) }
            + (withTheme.isEmpty ? [] : Self.themed.map { ($0, withTheme, true) })
    }

    /// The names of the rows that `perplexities` will give.
    public var perplexityNames: [String] {
        let poet = tasks.map {
            PerplexityRow.name("poet", $0.condition.name, themed: $0.isThemed ? $0.poems.count : nil)
        }
        let ngram = ["nothing", "line lengths"].map { PerplexityRow.name("5-gram", $0, themed: nil) }
        return poet + (known.poems == nil ? [] : ngram)
    }

    /// The perplexity of the poet under several kinds of prompt, and that of a 5-gram model where the training poems
    /// are known.
    ///
    /// - Parameter show: is handed each row as soon as it is measured
    /// - Throws: what `show` throws, `VerseError`, `GenerationError`.
    public func perplexities(show: (PerplexityRow) throws -> Void = { _ in }) throws -> [PerplexityRow] {
        var rows: [PerplexityRow] = []
        func add(_ row: PerplexityRow) throws {
            try show(row)
            rows.append(row)
        }
        for (condition, poems, isThemed) in tasks {
            let texts = poems.map { poem in
                PoemScorer.Text(
                    prompt: prompt(
                        for: poem, rhyme: condition.rhyme, keywords: condition.keywords, theme: condition.theme),
                    namesForm: condition.form, lines: poem.lines)
            }
            let scores = try scorer.logProbabilities(of: texts) {
                self.progress("perplexity given \(condition.name)  \($0)/\(texts.count) …")
            }
            try add(row("poet", condition.name, poems, scores, isThemed: isThemed))
        }
        progress("training the 5-gram model …")
        guard let model = ngrams else { return rows }
        progress("perplexity of the 5-gram model …")
        let scores = heldOut.map { model.logProbabilities(of: tokens($0.lines)) }
        try add(row("5-gram", "nothing", heldOut, scores, isThemed: false))
        let told = zip(heldOut, scores).map { toldLengths($0, $1, by: model) }
        try add(row("5-gram", "line lengths", heldOut, told, isThemed: false))
        return rows
    }

    private func row(
        _ model: String, _ prompt: String, _ poems: [PoemExample], _ scores: [[Double]], isThemed: Bool
    ) -> PerplexityRow {
        var forms: [String: Perplexity] = [:]
        for (poem, values) in zip(poems, scores) {
            let characters = characterScores(values, lines: poem.lines)
            for name in [PoetForms.all, PoetForms.name(of: poem.form)] {
                forms[name, default: Perplexity()].add(characters: characters, all: values)
            }
        }
        return PerplexityRow(model: model, prompt: prompt, onlyThemed: isThemed, forms: forms)
    }

    /// The scores of the characters alone; each line has one score more, for its end.
    private func characterScores(_ scores: [Double], lines: [String]) -> [Double] {
        var (result, start): ([Double], Int) = ([], 0)
        for line in lines {
            result += scores[start..<start + line.count]
            start += line.count + 1
        }
        return result
    }

    /// The 5-gram model's scores where it is told which tokens are ends: the probability that it gives to ends where a
    /// character stands is shared out among the characters, and ends cost nothing. A poet that is told the form knows
    /// as much.
    private func toldLengths(_ poem: PoemExample, _ scores: [Double], by ngrams: NGramModel) -> [Double] {
        let text = tokens(poem.lines)
        let history = [ngrams.start] + text
        let ends = [vocabulary.lineBoundary, vocabulary.end].map { UInt16(truncatingIfNeeded: $0) }
        return text.indices.map { index in
            if ends.contains(text[index]) { return 0 }
            let lost = ends.reduce(0.0) { $0 + exp(ngrams.logProbability(of: $1, after: history[...index])) }
            return scores[index] - log1p(-lost)
        }
    }

    private func tokens(_ lines: [String]) -> [UInt16] {
        vocabulary.encode(lines: lines).map { UInt16(truncatingIfNeeded: $0) }
    }

    /// A model over the characters that a poem may hold and the two ends.
    private func makeNGrams() -> NGramModel? {
        known.poems.map { poems in
            NGramModel(
                texts: poems.lazy.map { [self] in tokens($0.lines) },
                start: UInt16(truncatingIfNeeded: vocabulary.start), tokenCount: writable.count + 2)
        }
    }

    // MARK: - Writing

    /// Poems of one way of writing, with what they were asked for.
    public struct Written {
        /// The measures of the poems.
        public let report: WritingRow
        /// How the tones were kept; nil for poems that obey nothing.
        public let tones: TonePolicy?
        /// The poems, each with the held-out poem whose prompt it answers.
        public let poems: [(example: PoemExample, lines: [String])]
    }

    /// Poems for the prompts of held-out ones: first the held-out ones themselves, then what the poet writes freely,
    /// then under each policy of tones.
    ///
    /// - Parameter count: how many poems are written in each way, equally many of each form
    /// - Throws: `GenerationError`.
    public func write(_ count: Int, tones: [TonePolicy], sampling: Sampling) throws -> [Written] {
        let examples = sample(count)
        guard !examples.isEmpty else { return [] }
        if let isEnding = known.isEnding { writer.isEnding = isEnding }
        var random = SplitMix64(seed: seed ^ 0x7115_C0DE)
        let seeds = examples.map { _ in random.next() }
        func plans(_ tones: TonePolicy) throws -> [PoemPlan] {
            try zip(examples, seeds).map { example, seed in
                PoemPlan(
                    prompt: prompt(for: example, rhyme: true, keywords: true),
                    constraint: try constraint(for: example, tones), seed: seed)
            }
        }
        var sets: [(name: String, tones: TonePolicy?, poems: [(PoemExample, [String])])] = [
            ("people", nil, examples.map { ($0, $0.lines) })
        ]
        progress("writing \(examples.count) poems freely …")
        sets.append(("poet, free", nil, Array(zip(examples, try freeWriter.write(plans(.off), sampling: sampling)))))
        for policy in tones {
            progress("writing \(examples.count) poems, tones \(policy.rawValue) …")
            let written = try writer.write(plans(policy), sampling: sampling)
            sets.append(("poet, tones \(policy.rawValue)", policy, written.map { (examples[$0.plan], $0.lines) }))
        }

        var longest: ArraySlice<Int> = []
        if let poems = known.poems {
            progress("looking for copies among \(poems.count) training poems …")
            var runs = CopiedRuns(texts: sets.flatMap { $0.poems.map { characters($0.1) } })
            for poem in poems { runs.scan(characters(poem.lines)) }
            longest = runs.longest()[...]
        }
        return sets.map { set in
            let copied = Array(longest.prefix(set.poems.count))
            longest = longest.dropFirst(set.poems.count)
            return Written(
                report: report(set.name, set.poems, asked: examples.count, copied: copied), tones: set.tones,
                poems: set.poems)
        }
    }

    private func report(
        _ name: String, _ poems: [(example: PoemExample, lines: [String])], asked: Int, copied: [Int]
    ) -> WritingRow {
        let lines = poems.map(\.lines)
        let copies = known.isLine.map { isLine in lines.count { isCopied($0, isLine) } }
        return WritingRow(
            name: name, asked: asked, written: poems.count,
            regularity: VerseMeasures.regularity(
                of: poems.map { .init(lines: $0.lines, form: $0.example.form, rhyme: $0.example.rhyme) }),
            distinct1: VerseMeasures.distinct(1, in: lines), distinct2: VerseMeasures.distinct(2, in: lines),
            meanCopiedRun: copied.isEmpty ? nil : Double(copied.reduce(0, +)) / Double(copied.count),
            longestCopiedRun: copied.max(),
            poemsWithCopiedLine: poems.isEmpty ? nil : copies.map { Double($0) / Double(poems.count) },
            keywords: VerseMeasures.coverage(
                of: poems.map { (words: Array($0.example.keywords.prefix(keywordCount)), lines: $0.lines) }))
    }

    /// The characters of a poem, ends of lines left out; those that the poet does not know are `[UNK]`.
    private func characters(_ lines: [String]) -> [UInt16] {
        lines.joined().map { UInt16(truncatingIfNeeded: vocabulary.id(of: $0) ?? vocabulary.unknown) }
    }

    private func constraint(for example: PoemExample, _ tones: TonePolicy) throws -> MetreConstraint {
        try MetreConstraint(
            form: example.form, tones: tones, book: example.form.defaultBook, rhymeGroup: example.rhyme,
            vocabulary: writable)
    }

    /// Held-out poems with at least two keywords and a rhyme that the metre of their form admits, in an order that the
    /// seed gives: equally many of each form, and more of the others where one has too few.
    private func sample(_ count: Int) -> [PoemExample] {
        var random = SplitMix64(seed: seed ^ 0x5A3B_1E00)
        var byForm: [String: [PoemExample]] = [:]
        for example in heldOut.shuffled(using: &random) {
            guard example.keywords.count >= 2, example.rhyme != nil,
                (try? constraint(for: example, .strict)) != nil
            else { continue }
            byForm[PoetForms.name(of: example.form), default: []].append(example)
        }
        var chosen: [PoemExample] = []
        for place in 0..<(byForm.values.map(\.count).max() ?? 0) where chosen.count < count {
            let next = PoetForms.names.compactMap { byForm[$0]?.dropFirst(place).first }
            chosen += next.prefix(count - chosen.count)
        }
        return chosen
    }

    // MARK: - The mass that the constraint removes

    /// The probability that strict tones take away at a slot: along the held-out poems that keep to them, and along
    /// what was written under them; with the rhyme in the prompt and without.
    ///
    /// - Throws: `VerseError`, `GenerationError`.
    public func removedMass(_ written: [Written]) throws -> [RemovedMassRow] {
        var rows: [RemovedMassRow] = []
        var sources = [(name: "people", poems: heldOut.map { (example: $0, lines: $0.lines) })]
        if let strict = written.first(where: { $0.tones == .strict }) { sources.append(("poet", strict.poems)) }
        for source in sources {
            let poems = source.poems.compactMap { poem -> (PoemExample, [String], MetreConstraint)? in
                guard poem.example.rhyme != nil, let constraint = try? constraint(for: poem.example, .strict) else {
                    return nil
                }
                return (poem.example, poem.lines, constraint)
            }
            for rhyme in [true, false] {
                progress("mass that the constraint removes, \(source.name) …")
                let slots = try scorer.removedMass(
                    of: poems.map { example, lines, constraint in
                        let prompt = prompt(for: example, rhyme: rhyme, keywords: true)
                        return (.init(prompt: prompt, lines: lines), constraint)
                    }
                ).compactMap { $0 }
                rows.append(RemovedMassRow(poems: source.name, rhymeInPrompt: rhyme, slots: slots))
            }
        }
        return rows
    }

    // MARK: - Other people's judgements

    /// A prompt for lines of unknown origin: that of the quatrain with lines of this length, or one that names no form.
    private func prompt(forLines length: Int, theme: String? = nil) -> (prompt: PoemPrompt, namesForm: Bool) {
        let form = length == 5 ? Form.wujue : Form.qijue
        return (PoemPrompt(form: form, theme: theme), length == 5 || length == 7)
    }

    private func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(1, values.count)) }

    /// CCPM: how often the line with the highest probability per character is the right one of the four.
    ///
    /// Sentences of CCPM are themes in training, so an item counts only where no part of the right line stands in a
    /// training poem. Where the training poems are not known, all count, and none is called unseen.
    ///
    /// - Throws: `VerseError`, `GenerationError`.
    public func matching(_ items: [MatchingItem]) throws -> MatchingReport {
        let parts = items.map { item in item.choices.map { $0.split { !$0.isHan }.map(String.init) } }
        func isKnown(_ lines: [String]) -> Bool { lines.contains { known.isLine?($0) ?? false } }
        var counted = items.indices.filter { index in
            let choices = parts[index]
            // Longer ones would leave the poet no room.
            return items[index].translation.count <= 100 && choices.count > 1
                && choices.allSatisfy { !$0.isEmpty && $0.joined().count <= 40 }
                && !isKnown(choices[items[index].answer])
        }
        var random = SplitMix64(seed: seed)
        if let limit { counted = Array(counted.shuffled(using: &random).prefix(limit)) }

        func likelihoods(theme: Bool, _ name: String) throws -> [[Double]] {
            let texts = counted.flatMap { index in
                parts[index].map { lines in
                    let told = prompt(
                        forLines: lines.first?.count ?? 0, theme: theme ? items[index].translation : nil)
                    return PoemScorer.Text(prompt: told.prompt, namesForm: told.namesForm, lines: lines)
                }
            }
            let scores = try scorer.logProbabilities(of: texts) {
                self.progress("CCPM \(name)  \($0)/\(texts.count) …")
            }
            return grouped(zip(texts, scores).map { mean(characterScores($1, lines: $0.lines)) })
        }
        func grouped(_ values: [Double]) -> [[Double]] {
            var rest = values[...]
            return counted.map { index in
                let count = parts[index].count
                defer { rest = rest.dropFirst(count) }
                return Array(rest.prefix(count))
            }
        }
        let told = try likelihoods(theme: true, "with the sentence")
        let plain = try likelihoods(theme: false, "without the sentence")
        progress("CCPM, 5-gram …")
        let ngram = ngrams.map { ngrams in
            grouped(
                counted.flatMap { index in
                    parts[index].map { mean(characterScores(ngrams.logProbabilities(of: tokens($0)), lines: $0)) }
                })
        }
        func accuracies(_ among: [Int]) -> MatchingReport.Accuracies? {
            guard !among.isEmpty else { return nil }
            func accuracy(_ scores: (Int) -> [Double]) -> Double {
                let right = among.count { place in
                    let values = scores(place)
                    return values.indices.max { values[$0] < values[$1] } == items[counted[place]].answer
                }
                return Double(right) / Double(among.count)
            }
            return .init(
                items: among.count, withSentence: accuracy { told[$0] }, withoutSentence: accuracy { plain[$0] },
                gain: accuracy { place in zip(told[place], plain[place]).map { $0 - $1 } },
                ngram: ngram.map { ngram in accuracy { ngram[$0] } })
        }
        let all = accuracies(Array(counted.indices))
        guard known.isLine != nil else { return MatchingReport(items: items.count, all: all) }
        return MatchingReport(
            items: items.count, counted: all,
            unseen: accuracies(counted.indices.filter { !parts[counted[$0]].contains(where: isKnown) }))
    }

    /// PQED: how the mean log-probability of a character correlates with the marks that people gave.
    ///
    /// - Throws: `VerseError`, `GenerationError`.
    public func ratings(_ poems: [RatedPoem]) throws -> RatingsReport {
        let texts = poems.map { poem in
            let told = prompt(forLines: poem.lines.first?.count ?? 0)
            return PoemScorer.Text(prompt: told.prompt, namesForm: told.namesForm, lines: poem.lines)
        }
        let scores = try scorer.logProbabilities(of: texts) { self.progress("PQED  \($0)/\(texts.count) …") }
        let poet = zip(poems, scores).map { mean(characterScores($1, lines: $0.lines)) }
        let ngram = ngrams.map { ngrams in
            poems.map { mean(characterScores(ngrams.logProbabilities(of: tokens($0.lines)), lines: $0.lines)) }
        }
        func correlations(_ among: [Int]) -> RatingsReport.Correlations {
            var byPoet: [String: Double] = [:]
            var byNGram: [String: Double]? = ngram.map { _ in [:] }
            let names = poems.first?.marks.keys.sorted() ?? []
            let marks = names.map { name in (name, among.map { poems[$0].marks[name] ?? 0 }) }
            for (name, values) in marks + [
                ("mean", among.map { mean(poems[$0].marks.sorted { $0.key < $1.key }.map(\.value)) })
            ] {
                byPoet[name] = Correlation.spearman(among.map { poet[$0] }, values)
                if let ngram { byNGram?[name] = Correlation.spearman(among.map { ngram[$0] }, values) }
            }
            return .init(poems: among.count, poet: byPoet, ngram: byNGram)
        }
        return RatingsReport(
            all: correlations(Array(poems.indices)),
            unseen: known.isLine.map { isLine in
                correlations(poems.indices.filter { !poems[$0].lines.contains(where: isLine) })
            })
    }
}
