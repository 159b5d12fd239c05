public import Foundation
public import TihuaProsody
import TihuaTokenizers

/// What is asked of the poet, in the one text format that training and use share.
///
///     [CLS] [七绝] [韵:七阳] 孤 舟 [KW] 远 山 [TOPIC] 江 面 上 有 一 条 小 船 [SEP] first line [LINE] second line ... [EOS]
///
/// Every part between `[CLS]` and `[SEP]` but the form may be missing. Keywords keep their boundaries: `[KW]` stands
/// between them. The rhyme token names a group of the form's own book (平水韵 for shi, 词林正韵 for ci).
public struct PoemPrompt: Sendable, Equatable {
    /// The form of the poem.
    public var form: Form
    /// The group of the rhymes, of the first where they change; nil leaves it to the poet.
    public var rhyme: RhymeGroup?
    /// Words that the poem shall hold or hint at.
    public var keywords: [String]
    /// A sentence in modern or classical Chinese.
    public var theme: String?

    /// A prompt of these parts.
    public init(form: Form, rhyme: RhymeGroup? = nil, keywords: [String] = [], theme: String? = nil) {
        self.form = form
        self.rhyme = rhyme
        self.keywords = keywords
        self.theme = theme
    }
}

/// The tokens of a poet: special tokens, forms, rhyme groups, and one token for each character.
public struct PoetVocabulary: Sendable {
    /// `vocab.txt`, one token a line; the id is the line number from 0.
    public let tokens: [String]
    /// `[PAD]`, which fills up short rows.
    public let padding: Int32
    /// `[UNK]`, for characters that have no token; never written.
    public let unknown: Int32
    /// `[CLS]`, which begins a prompt.
    public let start: Int32
    /// `[SEP]`, between prompt and poem.
    public let separator: Int32
    /// `[EOS]`, which ends a poem.
    public let end: Int32
    /// `[KW]`, between two keywords.
    public let keywordBoundary: Int32
    /// `[TOPIC]`, before the theme.
    public let topic: Int32
    /// `[LINE]`, between two lines.
    public let lineBoundary: Int32

    private let ids: [String: Int32]
    private let characterIDs: [Character: Int32]

    private static let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[EOS]", "[KW]", "[TOPIC]", "[LINE]"]

    /// The tokens of a new poet: special tokens, every form and rhyme group, then `characters` in their order.
    public init(characters: [Character]) {
        let forms = Form.all.map(Self.token(of:))
        let rhymes = [RhymeBook.pingshui, .cilin].flatMap { $0.groups.map(Self.token(of:)) }
        // Checked by construction: every special token is there.
        try! self.init(tokens: Self.special + forms + rhymes + characters.map(String.init))
    }

    /// The tokens of a `vocab.txt`.
    ///
    /// - Throws: `VerseError.missingToken` if it is not the vocabulary of a poet.
    public init(tokens: [String]) throws {
        self.tokens = tokens
        var ids: [String: Int32] = [:]
        var characterIDs: [Character: Int32] = [:]
        ids.reserveCapacity(tokens.count)
        characterIDs.reserveCapacity(tokens.count)
        for (index, token) in tokens.enumerated() {
            ids[token] = Int32(index)
            if token.count == 1, let character = token.first { characterIDs[character] = Int32(index) }
        }
        func required(_ token: String) throws -> Int32 {
            guard let id = ids[token] else { throw VerseError.missingToken(token) }
            return id
        }
        padding = try required("[PAD]")
        unknown = try required("[UNK]")
        start = try required("[CLS]")
        separator = try required("[SEP]")
        end = try required("[EOS]")
        keywordBoundary = try required("[KW]")
        topic = try required("[TOPIC]")
        lineBoundary = try required("[LINE]")
        self.ids = ids
        self.characterIDs = characterIDs
    }

    /// The tokens of a `vocab.txt` file, one a line.
    ///
    /// - Throws: `VerseError`, or `TokenizerError` if the file cannot be read.
    public init(contentsOf url: URL) throws {
        try self.init(tokens: vocabularyTokens(at: url))
    }

    /// The token of a form, such as `[七绝]`.
    public static func token(of form: Form) -> String { "[\(form.name)]" }

    /// The token of a rhyme group, such as `[韵:七阳]`.
    public static func token(of group: RhymeGroup) -> String { "[韵:\(group.name)]" }

    /// The number of tokens.
    public var count: Int { tokens.count }

    /// The id of a character, nil where the poet does not know it.
    public func id(of character: Character) -> Int32? { characterIDs[character] }

    /// The id of a token, nil where there is none.
    public func id(of token: String) -> Int32? { ids[token] }

    /// The character of an id, nil for special tokens.
    public func character(of id: Int32) -> Character? {
        guard tokens.indices.contains(Int(id)) else { return nil }
        let token = tokens[Int(id)]
        return token.count == 1 ? token.first : nil
    }

    /// The characters that the poet can write.
    public var characters: Set<Character> { Set(characterIDs.keys) }

    /// The ids of a text, `[UNK]` for characters that are not known.
    public func encode(_ text: some StringProtocol) -> [Int32] {
        text.map { characterIDs[$0] ?? unknown }
    }

    /// The ids of a prompt, `[CLS]` to `[SEP]`.
    ///
    /// - Throws: `VerseError.unknownForm` if the poet has no token for the form, nor for any ci where it is one.
    public func encode(_ prompt: PoemPrompt) throws -> [Int32] {
        let (head, tail) = try parts(of: prompt)
        return head + tail
    }

    /// The ids of a prompt up to where its keywords stand, and from there on.
    ///
    /// - Throws: `VerseError.unknownForm` if the poet has no token for the form.
    public func parts(of prompt: PoemPrompt) throws -> (head: [Int32], tail: [Int32]) {
        guard let form = formID(prompt.form) else { throw VerseError.unknownForm(prompt.form.name) }
        var head = [start, form]
        if let rhyme = prompt.rhyme, let id = ids[Self.token(of: rhyme)] { head.append(id) }
        var tail: [Int32] = []
        for (index, keyword) in prompt.keywords.enumerated() {
            if index > 0 { tail.append(keywordBoundary) }
            tail += encode(keyword)
        }
        if let theme = prompt.theme, !theme.isEmpty { tail += [topic] + encode(theme) }
        tail.append(separator)
        return (head, tail)
    }

    /// The token of a form; a tune that the poet has not learned goes by the known one whose lines are most like its
    /// own, for the metre does the rest.
    func formID(_ form: Form) -> Int32? {
        if let id = ids[Self.token(of: form)] { return id }
        guard form.kind == .ci else { return nil }
        let known = Form.all.filter { $0.kind == .ci && ids[Self.token(of: $0)] != nil }
        let nearest = known.min { distance($0, form) < distance($1, form) }
        return nearest.flatMap { ids[Self.token(of: $0)] }
    }

    /// How many lines have to be added, taken away or changed, over the lines of the longer form; none for a form of
    /// the same tune.
    private func distance(_ one: Form, _ other: Form) -> Double {
        guard one.tune != other.tune else { return 0 }
        // A line's length as a letter.
        func letters(_ form: Form) -> String {
            String(String.UnicodeScalarView(form.lineLengths.compactMap { UnicodeScalar(0x61 + $0) }))
        }
        return editDistance(letters(one), letters(other))
    }

    /// The ids of a whole poem after its prompt: lines with `[LINE]` between them, `[EOS]` at the end.
    public func encode(lines: [String]) -> [Int32] {
        var result: [Int32] = []
        for (index, line) in lines.enumerated() {
            if index > 0 { result.append(lineBoundary) }
            result += encode(line)
        }
        return result + [end]
    }
}
