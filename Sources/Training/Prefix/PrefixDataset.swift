public import TihuaCorpora
import TihuaFiles
import TihuaTorch
public import TihuaVerse

/// Poems with embeddings of texts that say what they show: a gloss in modern Chinese, descriptions of the bank's words
/// that stand in them, and a couplet of their own. Poems with neither gloss nor such a word are left out.
public struct PrefixDataset: Sendable {
    /// A poem and the rows of `vectors` that it may be written from.
    struct Example: Sendable {
        let poem: PoemExample
        let rows: [Int]
    }

    /// The tokens of the poet.
    public let vocabulary: PoetVocabulary
    let training: [Example]
    let validation: [Example]
    /// The embeddings of texts, `[rows, E]`, of length 1.
    let vectors: [Float]
    /// Numbers of one embedding (E).
    public let width: Int
    /// How many poems were left out, by reason.
    public let dropped: [String: Int]

    /// Builds the examples and embeds their texts.
    ///
    /// - Parameters:
    ///   - poems: of the corpus; those whose form has no metre in `Prosody` are left out
    ///   - themes: a classical line to sentences that say the same in modern Chinese
    ///   - descriptions: a word of the bank to what a picture of it shows, in modern Chinese
    ///   - vocabulary: of the poet
    ///   - embedTexts: the embeddings of texts in the space of the pictures, of length 1
    /// - Throws: `TrainingError` for options that make no sense and if nothing is left to train on, with the reasons;
    ///   what `embedTexts` throws.
    public init(
        poems: [CorpusPoem], themes: [String: [String]], descriptions: [String: [String]], vocabulary: PoetVocabulary,
        options: PrefixOptions, embedTexts: ([String]) async throws -> [[Float]]
    ) async throws {
        try options.validate()
        let short = poems.filter { poem in
            poem.lines.reduce(0) { $0 + $1.unicodeScalars.count } <= options.longestPoem
        }
        let words = descriptions.keys.sorted()
        let dataset = PoemDataset(
            poems: short, words: words, themes: themes, descriptions: descriptions, vocabulary: vocabulary,
            options: .init(holdOut: options.holdOut))
        var dropped = dataset.dropped
        dropped["too long", default: 0] += poems.count - short.count
        func shown(_ examples: [PoemExample]) -> [PoemExample] {
            examples.filter { $0.theme != nil || !$0.descriptions.isEmpty }
        }
        var random = SplitMix64(0x9F1E)
        let all = shown(dataset.training).shuffled(using: &random)
        let chosen = (all.filter { $0.theme != nil } + all.filter { $0.theme == nil }).prefix(options.poems)
        let held = shown(dataset.validation)
        dropped["nothing to be seen"] =
            dataset.training.count + dataset.validation.count - all.count - held.count
        dropped["more than asked for"] = all.count - chosen.count
        dropped = dropped.filter { $0.value > 0 }
        guard !chosen.isEmpty else {
            throw TrainingError.nothingLeft("the corpus", "no poems", dropped: dropped, heldOut: held.count)
        }

        var rows: [String: Int] = [:]
        var texts: [String] = []
        func example(_ poem: PoemExample) -> Example {
            let found = Self.texts(of: poem, using: &random).map { text in
                if let row = rows[text] { return row }
                rows[text] = texts.count
                texts.append(text)
                return texts.count - 1
            }
            return Example(poem: poem, rows: found)
        }
        training = chosen.map(example)
        validation = held.map(example)
        // Texts of about equal length stand together, so that little is padding.
        let order = texts.indices.sorted { (texts[$0].utf8.count, $0) < (texts[$1].utf8.count, $1) }
        let embedded = try await embedTexts(order.map { texts[$0] })
        guard let width = embedded.first?.count, width > 0, embedded.count == texts.count,
            embedded.allSatisfy({ $0.count == width })
        else {
            throw TrainingError.data(path: "the embeddings of texts", reason: "are not one for each text, all as wide")
        }
        self.vocabulary = vocabulary
        self.width = width
        self.dropped = dropped
        var vectors = [Float](repeating: 0, count: texts.count * width)
        for (place, row) in zip(order, embedded) {
            vectors.replaceSubrange(place * width..<(place + 1) * width, with: row)
        }
        self.vectors = vectors
    }

    /// What is said of a poem, one text of each kind that there is.
    private static func texts(of poem: PoemExample, using random: inout SplitMix64) -> [String] {
        let couplet = 2 * Int.random(in: 0..<max(1, poem.lines.count / 2), using: &random)
        var texts = [poem.lines[couplet..<min(couplet + 2, poem.lines.count)].joined(separator: "，")]
        if let theme = poem.theme { texts.append(theme) }
        if !poem.descriptions.isEmpty {
            // One to three, as a caption speaks of one thing or of a few.
            let count = Int.random(in: 1...3, using: &random)
            texts.append(poem.descriptions.shuffled(using: &random).prefix(count).joined(separator: "，"))
        }
        return texts
    }

    /// Poems to train on, poems that are held out, and the embedded texts.
    public var counts: (training: Int, validation: Int, texts: Int) {
        (training.count, validation.count, vectors.count / width)
    }

    /// The mean of the embeddings.
    var mean: [Float] {
        var sum = [Float](repeating: 0, count: width)
        for (index, value) in vectors.enumerated() { sum[index % width] += value }
        return sum.map { $0 / Float(vectors.count / width) }
    }

    /// A number that differs where the examples differ.
    var fingerprint: String {
        var state = stableHash(vocabulary.tokens.joined(separator: "\n"))
        for example in training {
            state = stableHash(example.poem.lines.joined(), from: state)
            for row in example.rows { state = (state ^ UInt64(row)) &* 0x100_0000_01b3 }
        }
        for value in vectors { state = (state ^ UInt64(value.bitPattern)) &* 0x100_0000_01b3 }
        return String(state, radix: 16)
    }

    /// The embeddings of some rows, float32 `[rows, E]`.
    func embeddings(_ rows: [Int]) -> Tensor {
        Tensor(rows.flatMap { vectors[$0 * width..<($0 + 1) * width] }, [rows.count, width])
    }
}
