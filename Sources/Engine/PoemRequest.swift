public import TihuaGeneration
public import TihuaProsody
import TihuaTokenizers
import TihuaVerse

/// What is asked of the poet besides the picture.
public struct PoemRequest: Sendable {
    /// The forms to write in; candidates are divided among them.
    public var forms: [Form] = [.qijue]
    /// How many poems are given back.
    public var count = 3
    /// How many are written, of which the best are given back.
    public var candidates = 50
    /// The name of a rhyme group, such as 七阳; nil leaves it to the poet.
    public var rhyme: String?
    /// How strictly the tone pattern is kept.
    public var tones = TonePolicy.loose
    /// The rhyme book; nil takes each form's own.
    public var book: RhymeBook?
    /// One head for each line.
    public var acrostic = ""
    /// A first line that is given; nil leaves it to the poet.
    public var firstLine: String?
    /// What the poem is about, in a sentence. Where it mentions an occasion (a wedding, a birthday, thanks to a
    /// mother), what would wound there is not written, and words that suit it are asked for beside those of the
    /// picture.
    public var theme: String?
    /// Words instead of those that the picture calls up.
    public var keywords: [String] = []
    /// How the pictures come to the poet.
    public var through = Through.keywords
    /// Characters that are not to be written, such as those that no typeface has; what is given (an acrostic, a first
    /// line) may hold them.
    public var withheld: Set<Character> = []
    /// How tokens are drawn.
    public var sampling = Sampling()
    /// Equal requests with equal seeds give equal poems.
    public var seed: UInt64 = 0
    /// What the theme is written for, as `simplified` finds it.
    private(set) var occasion: Occasion?

    /// How pictures come to the poet.
    public enum Through: String, Sendable, CaseIterable {
        /// By words of the bank in the prompt, and by their caption as its theme.
        case keywords
        /// By embeddings in the prompt that the pack's mapping network makes of them; no word is named.
        case prefix
        /// Half of the candidates each way.
        case both
    }

    /// Three poems of 七绝 out of 50 candidates; set the properties for anything else.
    public init() {}

    /// The most candidates of one request.
    public static let mostCandidates = 1000
    /// Groups with fewer characters are not rhymed in unless asked for: in one of five, every poem would end alike.
    static let smallestGroup = 24
    /// The most characters of a theme, a keyword, a line.
    static let longestText = 100

    /// The request with its texts in simplified characters.
    ///
    /// - Throws: `PipelineError.text` for anything but Chinese characters (and, in the theme, punctuation),
    ///   `.setting` for numbers out of range, `GenerationError.sampling`, `TokenizerError.conversion`.
    func simplified(_ converter: ChineseConverter) throws -> PoemRequest {
        var request = self
        for (name, value, range) in [
            ("the number of poems", count, 1...Self.mostCandidates),
            ("the number of candidates", candidates, 1...Self.mostCandidates),
            ("the number of forms", forms.count, 1...16),
        ] where !range.contains(value) {
            throw PipelineError.setting(
                name: name, value: "\(value)", range: "\(range.lowerBound) to \(range.upperBound)")
        }
        guard keywords.isEmpty || through != .prefix else {
            throw PipelineError.setting(
                name: "the way to the poem", value: "prefix", range: "keywords or both where words are given")
        }
        try sampling.validate()
        request.candidates = max(candidates, count)
        func chinese(_ name: String, _ text: String, punctuation: Bool = false) throws -> String {
            let text = try converter.simplified(text.filter { !$0.isWhitespace })
            for character in text where !character.isHan && !(punctuation && character.isPunctuation) {
                throw PipelineError.text(name: name, character: character)
            }
            // A poet reads some 40 tokens of prompt; attention over thousands would take all memory.
            guard text.count <= Self.longestText else {
                let range = "at most \(Self.longestText)"
                throw PipelineError.setting(name: "the length of \(name)", value: "\(text.count)", range: range)
            }
            return text
        }
        request.acrostic = try chinese("the acrostic", acrostic)
        request.firstLine = try firstLine.map { try chinese("the first line", $0.filter { !$0.isPunctuation }) }
        request.theme = try theme.map { try chinese("the theme", $0, punctuation: true) }
        for (name, text) in [("the first line", request.firstLine), ("the theme", request.theme)] {
            // Nothing asked for is nil; a text that says nothing is a mistake, such as an unset variable of a script.
            guard text?.contains(where: \.isHan) != false else {
                throw PipelineError.setting(name: name, value: "empty", range: "a text of Chinese characters")
            }
        }
        request.keywords = try keywords.map { try chinese("the keyword", $0) }.filter { !$0.isEmpty }
        if let theme = request.theme {
            let given = request.keywords.joined() + request.acrostic + (request.firstLine ?? "")
            request.occasion = Occasion(theme: theme, given: given)
            request.withheld.formUnion(request.occasion?.withheld ?? [])
        }
        return request
    }

    /// What every candidate of a form obeys.
    ///
    /// - Throws: `ProsodyError` where the request cannot be met.
    func constraint(for form: Form, vocabulary: Set<Character>) throws -> MetreConstraint {
        let book = book ?? form.defaultBook
        return try MetreConstraint(
            form: form, tones: tones, book: book, rhymeGroup: try rhyme.map { try book.group(named: $0, for: form) },
            acrostic: Array(acrostic), fixedLines: firstLine.map { [0: $0] } ?? [:],
            minimumGroupSize: Self.smallestGroup,
            vocabulary: vocabulary.subtracting(withheld))
    }

    /// What the candidates are asked for: each another choice of one to three of the keywords, the better ones more
    /// often.
    ///
    /// - Parameters:
    ///   - prefix: what the pack's mapping network makes of the pictures; empty through keywords
    ///   - uses: what the poet has read; words and rhymes that it knows well are asked for more often
    func plans(
        keywords: [Keyword], caption: String? = nil, prefix: [Float] = [], constraints: [MetreConstraint],
        uses: WordFrequencies? = nil
    ) -> [PoemPlan] {
        var random = SplitMix64(seed: seed)
        return (0..<candidates).map { index in
            // One form after the other each way.
            let turn = index / constraints.count
            let isPrefixed = through == .prefix || through == .both && turn % 2 == 1
            let isTold = through == .both ? turn % 4 == 2 : index % 2 == 1
            let constraint = constraints[index % constraints.count]
            let asked = rhyme.flatMap { try? constraint.book.group(named: $0, for: constraint.form) }
            let group = asked ?? suggestedRhyme(constraint, uses, &random)
            let words = suiting(subset(of: keywords.map(\.word), uses, &random), &random)
            let prompt = PoemPrompt(
                form: constraint.form, rhyme: group, keywords: isPrefixed ? [] : words,
                // Half of those with words know what happens too; words alone are the safer half where the caption
                // errs.
                theme: theme ?? (isTold && !isPrefixed ? caption : nil))
            return PoemPlan(
                prompt: prompt, constraint: constraint, prefix: isPrefixed ? prefix : [], seed: random.next())
        }
    }

    /// A rhyme to aim at where none is asked for, as often as the poems that the poet has read rhyme so (larger
    /// groups more often where that is not known): who knows the rhyme from the start leads up to it. The constraint
    /// stays open, so that what is settled (an acrostic, a first line) may still decide otherwise.
    private func suggestedRhyme(
        _ constraint: MetreConstraint, _ uses: WordFrequencies?, _ random: inout SplitMix64
    ) -> RhymeGroup? {
        guard constraint.book == constraint.form.defaultBook else { return nil }
        // Where level and oblique characters rhyme, not every group has both.
        let open = MetreState(constraint).rhymeGroups.first
        let groups = constraint.book.groups.filter {
            constraint.form.rhymeTones.contains($0.tone) && $0.members.count >= Self.smallestGroup
                && (constraint.form.kind != .ci || open?.contains($0.id) ?? true)
        }
        let read = uses.map { uses in groups.map { uses.rhymes(in: $0) } } ?? []
        let weights = read.contains { $0 > 0 } ? read : groups.map(\.members.count)
        var target = random.uniform() * Double(weights.reduce(0, +))
        return zip(groups, weights).first { _, weight in
            target -= Double(weight)
            return target < 0
        }?.0
    }

    /// Two in three times with a word that suits the occasion, as the last of at most three.
    private func suiting(_ words: [String], _ random: inout SplitMix64) -> [String] {
        // The user's own words are not joined by a guess.
        guard let occasion, keywords.isEmpty, random.next() % 3 > 0 else { return words }
        let kept = words.prefix(2)
        let fitting = occasion.words.filter { word in
            !kept.contains { SeasonAndHour.clash($0, word) || !Set($0).isDisjoint(with: word) }
        }
        guard !fitting.isEmpty else { return words }
        return kept + [fitting[Int(random.next() % UInt64(fitting.count))]]
    }

    private func subset(
        of words: [String], _ uses: WordFrequencies?, _ random: inout SplitMix64
    ) -> [String] {
        // The user named at most four words: use all of them.
        if !keywords.isEmpty, words.count <= 4 { return words }
        // A false word harms more than a missing one.
        let size = min(words.count, 1 + Int(random.next() % 3))
        var left = words
        var chosen: [String] = []
        while chosen.count < size {
            // The k-th of those left has weight 1/(k + 1).
            let weights = left.enumerated().map { (uses?.familiarity(of: $1) ?? 1) / Double($0 + 1) }
            var target = random.uniform() * weights.reduce(0, +)
            let index = weights.firstIndex { weight in
                target -= weight
                return target < 0
            }
            let word = left.remove(at: index ?? left.count - 1)
            chosen.append(word)
            // One season, one hour; and a poem has little room for a character twice.
            left.removeAll { SeasonAndHour.clash($0, word) || !Set($0).isDisjoint(with: word) }
            if left.isEmpty { break }
        }
        return chosen
    }
}

/// What happens while poems are written, in this order.
public enum PoemEvent: Sendable {
    /// The pictures went through the image tower.
    case seen(pictures: Int)
    /// The words that they call up, or that were asked for, and what happens in the first of them.
    case words([Keyword], caption: String?)
    /// So many of all candidates are written; those of a batch advance together, line by line.
    case draft(Int, of: Int)
    /// The best are chosen.
    case done(PoemResult)
}

/// What the poet gives back for one picture, or for several together.
public struct PoemResult: Sendable, Equatable, Codable {
    /// What the pictures called up, or what was asked for.
    public let keywords: [Keyword]
    /// What happens in the first picture, as the pack's captioner says it; nil without one.
    public let caption: String?
    /// Best first.
    public let poems: [RankedPoem]
    /// The seed of the request.
    public let seed: UInt64
}

/// A poem with what it was chosen for.
public struct RankedPoem: Sendable, Equatable, Codable {
    /// The name of the form, such as 七绝.
    public let form: String
    /// The rhyme group; the first where its rhymes change.
    public let rhyme: String
    /// The groups of all rhymes, in the order in which they begin: one but for tunes whose rhymes change.
    public let rhymes: [String]
    /// The lines, without punctuation.
    public let lines: [String]
    /// The lines, from 0, before which a blank line stands: where a ci's second half begins. Empty for other forms.
    public let breaks: [Int]
    /// Why it stands where it does.
    public let scores: PoemScores
}
