import TihuaFiles
public import TihuaProsody
public import TihuaVerse

/// The poems of a corpus as examples, split by poem into training and held-out ones.
///
/// A poem that stands twice is on one side. Poems that begin with the same line as a held-out one, or share a line of
/// five or more characters with it (variants, quotations), are left out of the training ones.
public struct PoemDataset: Sendable {
    /// Which poems of a corpus become examples.
    public struct Options: Sendable, Equatable {
        /// The longest sequence, prompt included; longer poems are left out.
        public var positionCount: Int
        /// Characters that occur less often get no token, and poems with them are left out.
        public var minimumCharacterCount: Int
        /// One poem in so many is held out; 0 holds none out.
        public var holdOut: Int

        /// The defaults are those of a new poet.
        public init(positionCount: Int = 192, minimumCharacterCount: Int = 20, holdOut: Int = 200) {
            self.positionCount = positionCount
            self.minimumCharacterCount = minimumCharacterCount
            self.holdOut = holdOut
        }
    }

    /// The tokens of the poet.
    public let vocabulary: PoetVocabulary
    /// What is trained on.
    public let training: [PoemExample]
    /// What is held out.
    public let validation: [PoemExample]
    /// How many poems were left out, by reason.
    public let dropped: [String: Int]

    /// Builds the examples.
    ///
    /// - Parameters:
    ///   - poems: of any form; those whose form has no metre in `Prosody` are left out
    ///   - words: what keywords may be: imagery, word lists
    ///   - themes: a classical line to sentences that say the same in modern Chinese
    ///   - descriptions: a word to what a picture of it shows, in modern Chinese
    ///   - vocabulary: of a poet that is trained on; nil makes one from the poems
    public init(
        poems: [CorpusPoem], words: [String], themes: [String: [String]] = [:], descriptions: [String: [String]] = [:],
        vocabulary given: PoetVocabulary? = nil, options: Options
    ) {
        var dropped: [String: Int] = [:]
        var kept: [(poem: CorpusPoem, form: Form)] = []
        for poem in poems {
            if let form = Self.form(of: poem) {
                kept.append((poem, form))
            } else {
                dropped["form without a metre", default: 0] += 1
            }
        }
        var counts: [Character: Int] = [:]
        for (poem, _) in kept {
            for line in poem.lines { for character in line { counts[character, default: 0] += 1 } }
        }
        for texts in themes.values {
            for text in texts { for character in text { counts[character, default: 0] += 1 } }
        }
        // Few descriptions stand for many prompts.
        for texts in descriptions.values {
            for character in texts.joined() { counts[character, default: 0] += options.minimumCharacterCount }
        }
        let vocabulary =
            given
            ?? PoetVocabulary(
                characters: counts.filter { $0.value >= options.minimumCharacterCount && $0.key.isHan }
                    .sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { $0.key })
        let extractor = KeywordExtractor(words: words, poems: kept.map(\.poem.lines))
        var training: [PoemExample] = []
        var validation: [PoemExample] = []
        let known = vocabulary.characters
        for (poem, form) in kept {
            // A poet that has no token for a tune would learn it under another's name.
            guard vocabulary.id(of: PoetVocabulary.token(of: form)) != nil else {
                dropped["forms without a token", default: 0] += 1
                continue
            }
            guard poem.lines.allSatisfy({ $0.allSatisfy(known.contains) }) else {
                dropped["rare characters", default: 0] += 1
                continue
            }
            // Prompts take at most some 40 tokens.
            guard form.characterCount + form.lineCount + 40 <= options.positionCount else {
                dropped["too long", default: 0] += 1
                continue
            }
            let keywords = poem.keywords ?? extractor.keywords(of: poem.lines, limit: 6).map(\.word)
            let example = PoemExample(
                form: form, lines: poem.lines, rhyme: Self.rhyme(of: poem.lines, form: form), keywords: keywords,
                theme: poem.lines.lazy.compactMap { themes[$0]?.first }.first,
                descriptions: keywords.flatMap { descriptions[$0] ?? [] })
            // By a hash of the poem, so that the same poem is always on the same side.
            if isHeldOut(poem.lines.joined(), oneIn: options.holdOut) {
                validation.append(example)
            } else {
                training.append(example)
            }
        }
        let heldOpenings = Set(validation.compactMap(\.lines.first))
        let heldLines = Set(validation.flatMap(\.lines).filter { $0.count >= 5 })
        let all = training.count
        training.removeAll { example in
            example.lines.first.map(heldOpenings.contains) == true || example.lines.contains(where: heldLines.contains)
        }
        if training.count < all { dropped["too like a held-out poem"] = all - training.count }
        self.vocabulary = vocabulary
        self.training = training
        self.validation = validation
        self.dropped = dropped
    }

    /// A number that differs where the training poems or what their prompts say differ.
    package var fingerprint: String {
        var state = stableHash(vocabulary.tokens.joined(separator: "\n"))
        for example in training {
            state = stableHash(example.lines.joined(), from: state)
            state = stableHash(example.keywords.joined(separator: " ") + (example.theme ?? ""), from: state)
            for text in example.descriptions { state = stableHash(text, from: state) }
        }
        return String(state, radix: 16)
    }

    /// The form of a poem by its label and the lengths of its lines; nil where `Prosody` has no such form.
    public static func form(of poem: CorpusPoem) -> Form? {
        let lengths = poem.lines.map(\.count)
        if let tune = poem.tune {
            return Form.all.first { $0.kind == .ci && $0.name == tune && $0.lineLengths == lengths }
        }
        return shiForms[lengths]
    }

    private static let shiForms: [[Int]: Form] = Dictionary(
        [Form.wujue, .qijue, .wulv, .qilv].map { ($0.lineLengths, $0) }, uniquingKeysWith: { first, _ in first })

    /// The group that all rhyming lines share, of the form's own book; nil where they share none.
    public static func rhyme(of lines: [String], form: Form) -> RhymeGroup? {
        let book = form.defaultBook
        var shared: RhymeGroupSet?
        for index in form.rhymingLines where lines.indices.contains(index) {
            guard let last = lines[index].last else { return nil }
            let found = groups(of: last, in: book)
            shared = shared?.intersection(found) ?? found
        }
        guard let id = shared?.ids.first else { return nil }
        return book.groups[id]
    }
}

/// What was left out, as people read it: how many, and why, in the order of the reasons.
package func reasons(_ dropped: [String: Int]) -> [String] {
    dropped.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
}
