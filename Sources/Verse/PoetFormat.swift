import TihuaProsody

/// In which text format a poet is asked, found from its vocabulary: Tihua's own, or that of Image2Poem.
///
/// Image2Poem (github.com/weiji-Feng/Image2Poem at 0b34182, `data_process/dataset.py`) has no tokens for form, rhyme or
/// theme, so these act through the metre alone.
public struct PoetFormat: Sendable {
    /// The formats.
    public enum Kind: String, Sendable {
        /// `PoemPrompt`.
        case tihua
        /// `关键词：` and keywords; lines end with `|` (GPT2) or are written one by one (T5).
        case image2poem
    }

    /// Which of the formats it is.
    public let kind: Kind
    /// `vocab.txt`, one token a line; the id is the line number from 0.
    public let tokens: [String]
    /// The number of tokens.
    public var tokenCount: Int { tokens.count }
    /// The token that fills up short rows.
    public let padding: Int32
    /// The token that stands for characters without one; it is never written.
    public let unknown: Int32
    /// `[CLS]`.
    public let start: Int32
    /// `[MASK]`, which Image2Poem's training reads in place of some characters; `unknown` where there is none.
    public let mask: Int32
    /// The token between two lines of a decoder's poem.
    public let lineBoundary: Int32
    /// The token that ends a decoder's poem.
    public let end: Int32
    /// The token that ends a line of an encoder-decoder's poem.
    public let lineEnd: Int32
    /// The character of each id, nil for special tokens and longer ones.
    package let characters: [Character?]

    private let ids: [Character: Int32]
    private let vocabulary: PoetVocabulary?
    private let colonWord: [Int32]

    /// - Parameter tokens: `vocab.txt`, one token a line.
    /// - Throws: `VerseError.unknownFormat`, `VerseError.missingToken`.
    public init(tokens: [String]) throws {
        var named: [String: Int32] = [:]
        var ids: [Character: Int32] = [:]
        for (index, token) in tokens.enumerated() {
            named[token] = Int32(index)
            if token.count == 1, let character = token.first { ids[character] = Int32(index) }
        }
        self.tokens = tokens
        characters = tokens.map { $0.count == 1 ? $0.first : nil }
        self.ids = ids
        let masked = named["[MASK]"]
        // One of these tokens tells a Tihua poet, whose vocabulary must then be whole.
        if ["[KW]", "[LINE]", "[TOPIC]"].contains(where: { named[$0] != nil }) {
            let vocabulary = try PoetVocabulary(tokens: tokens)
            kind = .tihua
            self.vocabulary = vocabulary
            (padding, unknown, start) = (vocabulary.padding, vocabulary.unknown, vocabulary.start)
            mask = masked ?? unknown
            (lineBoundary, end, lineEnd) = (vocabulary.lineBoundary, vocabulary.end, vocabulary.end)
            colonWord = []
            return
        }
        let needed = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[EOS]"]
        let missing = needed.filter { named[$0] == nil }
        guard let padding = named["[PAD]"], let unknown = named["[UNK]"], let start = named["[CLS]"],
            let separator = named["[SEP]"], let end = named["[EOS]"]
        else { throw VerseError.unknownFormat(missing: missing) }
        kind = .image2poem
        vocabulary = nil
        (self.padding, self.unknown, self.start, mask) = (padding, unknown, start, masked ?? unknown)
        self.end = separator
        lineBoundary = named["|"] ?? end
        lineEnd = end
        colonWord = Self.keywordsLabel.map { ids[$0] ?? unknown }
    }

    /// The format of a new Image2Poem model, whose vocabulary (`data_process/vocab.py`) is six special tokens and every
    /// character of the examples and of the format itself, most frequent first, equal ones by code point.
    public init(image2poem examples: [PoemExample]) {
        var counts: [Character: Int] = [:]
        for example in examples {
            let text = Self.keywordsLabel + example.keywords.prefix(4).joined() + example.lines.joined(separator: "|")
            for character in text { counts[character, default: 0] += 1 }
        }
        let characters = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { String($0.key) }
        // Every token that the format needs is there.
        try! self.init(tokens: ["[PAD]", "[UNK]", "[SEP]", "[CLS]", "[MASK]", "[EOS]"] + characters)
    }

    private static let keywordsLabel = "关键词："

    /// The id of a character, nil where the poet does not know it.
    public func id(of character: Character) -> Int32? { ids[character] }

    /// The Han characters that the poet can write.
    public var writable: Set<Character> { Set(ids.keys.filter(\.isHan)) }

    private func encode(_ text: String) -> [Int32] { text.map { ids[$0] ?? unknown } }

    /// What a decoder continues with the first line.
    ///
    /// - Throws: `VerseError.unknownForm`.
    public func prompt(_ prompt: PoemPrompt) throws -> [Int32] {
        let (head, tail) = try parts(of: prompt)
        return head + tail
    }

    /// The same prompt in two parts: up to where keywords stand, and from there on. A prefix stands between them.
    package func parts(of prompt: PoemPrompt) throws -> (head: [Int32], tail: [Int32]) {
        if let vocabulary { return try vocabulary.parts(of: prompt) }
        // [CLS] 关键词：k1k2 [EOS]; the training data had the keywords without their spaces.
        return ([start] + colonWord, encode(prompt.keywords.joined()) + [lineEnd])
    }

    /// A decoder's whole poem: lines with `lineBoundary` between them, `end` after the last.
    package func poem(_ lines: [String]) -> [Int32] { continuation(after: lines).dropLast() + [end] }

    /// The tokens of a decoder's poem between its prompt and its next line.
    package func continuation(after lines: [String]) -> [Int32] {
        lines.flatMap { encode($0) + [lineBoundary] }
    }

    /// What an encoder reads before the line that follows `lines`.
    ///
    /// Tihua: the prompt, then each line with `[LINE]` after it. Image2Poem: as its training data had it, which its own
    /// inference did not keep to: before the first line there are two `[EOS]`, and the keywords (at most four) keep
    /// boundaries, which the character tokenizer drops like all spaces.
    ///
    /// - Throws: `VerseError.unknownForm`.
    public func encoderInput(_ prompt: PoemPrompt, lines: [String]) throws -> [Int32] {
        if let vocabulary { return try vocabulary.encode(prompt) + continuation(after: lines) }
        let keywords = prompt.keywords.prefix(4).joined()
        var result = [start] + colonWord + encode(keywords) + [lineEnd]
        if lines.isEmpty { result.append(lineEnd) }
        for line in lines { result += encode(line) + [lineEnd] }
        return result + [end]
    }

    /// What the decoder of an encoder-decoder starts a line with, given its start token.
    ///
    /// Image2Poem's targets begin with `[CLS]` besides; its inference forbade that token by `no_repeat_ngram_size=1`,
    /// so that the first character was drawn from what was left (`img2poem.py` line 93). Here it is forced.
    public func decoderStart(_ startToken: Int32) -> [Int32] {
        kind == .tihua ? [startToken] : [startToken, start]
    }

    /// What the decoder of an encoder-decoder writes for a line, after its start token.
    package func decoderOutput(_ line: String) -> [Int32] {
        kind == .tihua ? encode(line) + [lineEnd] : [start] + encode(line) + [lineEnd, end]
    }

    /// What the encoder reads and the decoder writes for a line of an example.
    ///
    /// - Parameter chances: which conditions stand in the prompt; Image2Poem's holds the keywords always, and no others
    /// - Throws: `VerseError.unknownForm`.
    package func pair(
        _ example: PoemExample, line: Int, _ chances: PromptChances, _ random: inout SplitMix64
    ) throws -> (input: [Int32], output: [Int32]) {
        let prompt =
            kind == .tihua
            ? chances.prompt(for: example, using: &random)
            : PoemPrompt(form: example.form, keywords: example.keywords)
        return (
            try encoderInput(prompt, lines: Array(example.lines[..<line])), decoderOutput(example.lines[line])
        )
    }
}
