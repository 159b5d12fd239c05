public import Foundation
import TihuaFiles

/// BERT's WordPiece, token for token what the slow `BertTokenizer` of Hugging Face transformers 4.46 gives.
///
/// Special tokens are cut out first; then control characters go, Chinese characters stand alone, the text is
/// lower-cased and freed of accents (NFD without category Mn), cut at whitespace and punctuation, and each word becomes
/// its longest pieces from the left. What is assigned and what is punctuation follows the Unicode tables of the Swift
/// runtime, which may be newer than Python's.
public struct BertTokenizer: Sendable {
    /// The choices that `tokenizer_config.json` makes.
    public struct Options: Sendable, Equatable {
        /// Lower-case the text; removes accents as well unless `strippingAccents` says otherwise.
        public var lowercase = true
        /// Remove accents; nil follows `lowercase`.
        public var strippingAccents: Bool?
        /// Put every Chinese character on its own.
        public var splittingHan = true
        /// Words of more characters are `[UNK]`: 100 in transformers, 200 in Chinese-CLIP's own tokenizer.
        public var maximumWordLength = 100
        /// Further special tokens, such as `[七绝]` or `[EOS]`; those that the vocabulary lacks get the ids after its
        /// end.
        public var additionalSpecialTokens: [String] = []

        /// The defaults of `BertTokenizer`.
        public init(
            lowercase: Bool = true, strippingAccents: Bool? = nil, splittingHan: Bool = true,
            maximumWordLength: Int = 100, additionalSpecialTokens: [String] = []
        ) {
            self.lowercase = lowercase
            self.strippingAccents = strippingAccents
            self.splittingHan = splittingHan
            self.maximumWordLength = maximumWordLength
            self.additionalSpecialTokens = additionalSpecialTokens
        }
    }

    /// How `decode` sets spaces.
    public enum Spacing: Sendable {
        /// Spaces only between words that are not Chinese: for people.
        case chinese
        /// A space between all tokens, removed before English punctuation: what `BertTokenizer.decode` gives.
        case reference
    }

    /// The options it was made with.
    public let options: Options
    /// The id of `[UNK]`.
    public let unknownID: Int32
    /// The id of `[CLS]`.
    public let classificationID: Int32
    /// The id of `[SEP]`.
    public let separatorID: Int32
    /// The id of `[PAD]`.
    public let paddingID: Int32
    /// The id of `[MASK]`; nil where the vocabulary has none.
    public let maskID: Int32?
    /// The ids that `decode` leaves out on request.
    public let specialIDs: Set<Int32>

    private let table: TokenTable
    private let added: AddedTokens
    private let specialSpellings: Set<[UInt8]>
    /// The ids of U+4E00 to U+9FFF, most of what is asked for in Chinese.
    private let ideographIDs: [Int32]

    /// Reads `vocab.txt`: one token per line, its id is the number of the line from 0.
    ///
    /// Of a token that stands on several lines the last is found, as in `transformers`; the ids of the other lines
    /// stay. Throws `TokenizerError` for a file that cannot be read, is empty, is not UTF-8, or lacks `[UNK]`, `[CLS]`,
    /// `[SEP]` or `[PAD]`.
    public init(vocabularyAt url: URL, options: Options = Options()) throws {
        try self.init(table: TokenTable(vocabularyAt: url), options: options, file: url.lastPathComponent)
    }

    /// Reads `vocab.txt` with or without lower-casing.
    public init(vocabularyAt url: URL, lowercase: Bool) throws {
        try self.init(vocabularyAt: url, options: Options(lowercase: lowercase))
    }

    /// Reads a Hugging Face folder: `vocab.txt`, and where they exist `tokenizer_config.json`,
    /// `special_tokens_map.json` and `added_tokens.json`.
    public init(folder: URL) throws {
        try self.init(
            vocabularyAt: folder.appending(path: "vocab.txt"), options: Options(readingFolder: folder))
    }

    /// Takes the tokens in the order of their ids. Throws as the reading of a file does.
    public init(tokens: [String], options: Options = Options()) throws {
        var table = TokenTable(capacity: tokens.count)
        for token in tokens {
            let bytes = Array(token.utf8)
            table.appendLine(bytes, 0..<bytes.count)
        }
        try self.init(table: table, options: options, file: "vocabulary")
    }

    private init(table: TokenTable, options: Options, file: String) throws {
        guard table.count > 0 else { throw TokenizerError.emptyVocabulary(file: file) }
        func required(_ token: String) throws -> Int32 {
            guard let id = table.id(of: token) else {
                throw TokenizerError.missingSpecialToken(token, file: file)
            }
            return id
        }
        unknownID = try required("[UNK]")
        separatorID = try required("[SEP]")
        paddingID = try required("[PAD]")
        classificationID = try required("[CLS]")
        maskID = table.id(of: "[MASK]")

        var table = table
        var special: [(String, Int32)] = [
            ("[UNK]", unknownID), ("[SEP]", separatorID), ("[PAD]", paddingID), ("[CLS]", classificationID),
        ]
        if let maskID { special.append(("[MASK]", maskID)) }
        for token in options.additionalSpecialTokens where !token.isEmpty {
            let bytes = Array(token.utf8)
            let id = table.id(of: token) ?? table.append(bytes, 0..<bytes.count)
            if !special.contains(where: { $0.1 == id }) { special.append((token, id)) }
        }
        self.options = options
        self.table = table
        added = AddedTokens(special)
        specialIDs = Set(special.map(\.1))
        specialSpellings = Set(special.map { Array($0.0.utf8) })
        let unknownID = unknownID
        ideographIDs = (0x4E00...0x9FFF).map { (value: UInt32) in
            Unicode.Scalar(value).flatMap { table.id(of: String($0)) } ?? unknownID
        }
    }

    /// How many ids there are: the embedding of a model must have at least as many rows.
    public var vocabularySize: Int { table.count }

    /// The id of exactly this token, nil where the vocabulary lacks it.
    public func id(of token: String) -> Int32? { table.id(of: token) }

    /// The token of an id, nil outside of the vocabulary.
    public func token(_ id: Int32) -> String? { table.token(id) }

    /// The tokens of a text; what is not in the vocabulary is `[UNK]`.
    public func tokenize(_ text: String) -> [String] { ids(of: text).compactMap(table.token) }

    /// The ids of a text, with `[CLS]` before and `[SEP]` after it on request.
    ///
    /// `maximumLength` counts the special tokens; what is too long loses its end, never its `[SEP]`.
    public func encode(
        _ text: String, maximumLength: Int? = nil, addingSpecialTokens: Bool = true
    ) -> [Int32] {
        var ids = ids(of: text)
        if let maximumLength {
            let room = max(0, maximumLength - (addingSpecialTokens ? 2 : 0))
            if ids.count > room { ids.removeLast(ids.count - room) }
        }
        return addingSpecialTokens ? [classificationID] + ids + [separatorID] : ids
    }

    /// Encodes texts and fills the shorter ones with `[PAD]` on the right, up to the longest or up to `length`.
    public func encode(
        batch texts: [String], maximumLength: Int? = nil, addingSpecialTokens: Bool = true, paddedTo length: Int? = nil
    ) -> TokenBatch {
        TokenBatch(
            texts.map { encode($0, maximumLength: maximumLength, addingSpecialTokens: addingSpecialTokens) },
            padding: paddingID, length: length)
    }

    /// The text of ids; ids outside of the vocabulary are left out.
    public func decode(
        _ ids: [Int32], skippingSpecialTokens: Bool = true, spacing: Spacing = .chinese
    ) -> String {
        let tokens = ids.filter { !(skippingSpecialTokens && specialIDs.contains($0)) }.compactMap(table.token)
        switch spacing {
        case .reference:
            var text = tokens.joined(separator: " ").replacingScalars(" ##", with: "")
            for (found, put) in [
                (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
                (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
            ] { text = text.replacingScalars(found, with: put) }
            return text.trimmingCharacters(in: .whitespacesAndNewlines)
        case .chinese:
            var text = ""
            for token in tokens {
                if token.unicodeScalars.starts(with: "##".unicodeScalars), token.unicodeScalars.count > 2 {
                    text.unicodeScalars.append(contentsOf: token.unicodeScalars.dropFirst(2))
                    continue
                }
                if let last = text.unicodeScalars.last, let first = token.unicodeScalars.first,
                    isWordPart(last), isWordPart(first)
                {
                    text += " "
                }
                text += token
            }
            return text
        }
    }

    private func isWordPart(_ scalar: Unicode.Scalar) -> Bool {
        !UnicodeClasses.isHan(scalar) && !UnicodeClasses.isPunctuation(scalar) && scalar.value < 0x2E80
    }

    // MARK: - From text to ids

    private func ids(of text: String) -> [Int32] {
        var ids: [Int32] = []
        for piece in added.split(options.lowercase ? added.lowercased(text) : text) {
            switch piece {
            case .token(let id): ids.append(id)
            case .text(let part): appendWords(of: part, to: &ids)
            }
        }
        return ids
    }

    private func appendWords(of text: String, to ids: inout [Int32]) {
        if text.unicodeScalars.allSatisfy(isPlain) { return appendPlainWords(of: text, to: &ids) }
        var cleaned: [Unicode.Scalar] = []
        var isInert = true
        for scalar in text.unicodeScalars {
            if scalar.value == 0 || scalar.value == 0xFFFD || UnicodeClasses.isControl(scalar) { continue }
            isInert = isInert && UnicodeClasses.isNormalisationInert(scalar)
            if UnicodeClasses.isSpace(scalar) {
                cleaned.append(" ")
            } else if options.splittingHan && UnicodeClasses.isHan(scalar) {
                cleaned.append(contentsOf: [" ", scalar, " "])
            } else {
                cleaned.append(scalar)
            }
        }
        if !isInert { cleaned = Array(string(cleaned).precomposedStringWithCanonicalMapping.unicodeScalars) }
        for word in cleaned.split(whereSeparator: UnicodeClasses.isSplit) {
            appendParts(of: isInert ? Array(word) : withoutAccents(Array(word)), to: &ids)
        }
    }

    /// Characters for which the short way is the same as the long one: printable ASCII, the main block of ideographs,
    /// and the common full-width punctuation.
    private func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x20..<0x7F, 0x3001, 0x3002, 0xFF0C, 0xFF1A, 0xFF1B, 0xFF01, 0xFF1F: true
        case 0x4E00...0x9FFF: options.splittingHan
        default: false
        }
    }

    /// The short way: no normalisation, and most characters are words by themselves.
    private func appendPlainWords(of text: String, to ids: inout [Int32]) {
        var word: [Unicode.Scalar] = []
        func close() {
            if !word.isEmpty { appendParts(of: word, to: &ids) }
            word.removeAll(keepingCapacity: true)
        }
        for scalar in text.unicodeScalars {
            if (0x4E00...0x9FFF).contains(scalar.value) {
                close()
                ids.append(ideographIDs[Int(scalar.value) - 0x4E00])
            } else if scalar == " " {
                close()
            } else {
                word.append(scalar)
            }
        }
        close()
    }

    private func withoutAccents(_ word: [Unicode.Scalar]) -> [Unicode.Scalar] {
        guard options.strippingAccents ?? options.lowercase else { return word }
        return string(word).decomposedStringWithCanonicalMapping.unicodeScalars.filter {
            $0.properties.generalCategory != .nonspacingMark
        }
    }

    /// Cuts a word at its punctuation, every sign on its own.
    private func appendParts(of word: [Unicode.Scalar], to ids: inout [Int32]) {
        if word.count > 1, specialSpellings.contains(Array(string(word).utf8)) {
            return appendPieces(of: word[...], to: &ids)
        }
        var start = 0
        for (index, scalar) in word.enumerated() where UnicodeClasses.isPunctuation(scalar) {
            if index > start { appendPieces(of: word[start..<index], to: &ids) }
            appendPieces(of: word[index...index], to: &ids)
            start = index + 1
        }
        if start < word.count { appendPieces(of: word[start...], to: &ids) }
    }

    /// Greedy longest match from the left; `[UNK]` for the whole word when any part of it is not in the vocabulary.
    private func appendPieces(of word: ArraySlice<Unicode.Scalar>, to ids: inout [Int32]) {
        if word.count == 1, let value = word.first?.value, (0x4E00...0x9FFF).contains(value) {
            return ids.append(ideographIDs[Int(value) - 0x4E00])
        }
        guard word.count <= options.maximumWordLength else { return ids.append(unknownID) }
        var bytes: [UInt8] = []
        var boundaries = [0]
        for scalar in word {
            bytes.append(contentsOf: UTF8.encode(scalar) ?? .init())
            boundaries.append(bytes.count)
        }
        var found: [Int32] = []
        var start = 0
        while start < word.count {
            let source = start == 0 ? bytes : Array("##".utf8) + bytes[boundaries[start]...]
            let shift = source.count - bytes.count
            var end = word.count
            var id: Int32?
            while end > start {
                id = table.id(in: source, 0..<(boundaries[end] + shift))
                if id != nil { break }
                end -= 1
            }
            guard let id else { return ids.append(unknownID) }
            found.append(id)
            start = end
        }
        ids.append(contentsOf: found)
    }

    private func string(_ scalars: [Unicode.Scalar]) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }
}

extension String {
    /// Replaces scalars as Python does, even where the next one combines with the last of `found`.
    func replacingScalars(_ found: String, with replacement: String) -> String {
        replacingOccurrences(of: found, with: replacement, options: .literal)
    }
}

extension TokenTable {
    fileprivate init(vocabularyAt url: URL) throws {
        let bytes = try readBytes(of: url)
        self.init(capacity: bytes.count / 6 + 1)
        try forEachLine(of: bytes, file: url.lastPathComponent) { range, _ in appendLine(bytes, range) }
    }

    /// An empty line takes up an id, as in the reference, and is never found.
    fileprivate mutating func appendLine(_ source: [UInt8], _ range: Range<Int>) {
        append(source, range, findable: !range.isEmpty, lastWins: true)
    }
}

/// The lines of a `vocab.txt`, whose numbers from 0 are the ids of the tokens: an empty line is a token too.
///
/// - Throws: `TokenizerError` for a file that cannot be read, is empty, or is not UTF-8.
public func vocabularyTokens(at url: URL) throws -> [String] {
    var tokens: [String] = []
    try forEachLine(of: readBytes(of: url), file: url.lastPathComponent) { tokens.append($1) }
    return tokens
}

private func forEachLine(of bytes: [UInt8], file: String, _ body: (Range<Int>, String) -> Void) throws {
    guard !bytes.isEmpty else { throw TokenizerError.emptyVocabulary(file: file) }
    var start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    var line = 0
    while start < bytes.count {
        line += 1
        var end = start
        while end < bytes.count, bytes[end] != 0x0A { end += 1 }
        let next = end + 1
        if end > start, bytes[end - 1] == 0x0D { end -= 1 }
        guard let token = String(validating: bytes[start..<end], as: UTF8.self) else {
            throw TokenizerError.notUTF8(file: file, line: line)
        }
        body(start..<end, token)
        start = next
    }
}

/// The bytes of a file, or a `TokenizerError` that says why not.
func readBytes(of url: URL) throws -> [UInt8] {
    do {
        return try UserFile.bytes(of: url, limit: 1 << 28)
    } catch {
        throw TokenizerError.unreadable(file: url.path(percentEncoded: false), reason: error.reason)
    }
}

extension BertTokenizer.Options {
    /// What the files beside `vocab.txt` say; each of them may be missing.
    init(readingFolder folder: URL) throws {
        self.init()
        func object(_ name: String) throws -> [String: Any] {
            let url = folder.appending(path: name)
            guard FileManager.default.fileExists(atPath: url.path(percentEncoded: false)) else { return [:] }
            let data = Data(try readBytes(of: url))
            guard let object = try? JSONSerialization.jsonObject(with: withoutPythonNumbers(data)) as? [String: Any]
            else {
                throw TokenizerError.badConfiguration(file: name, reason: "not a JSON object")
            }
            return object
        }
        /// A token is written as a string or as an object with its `content`.
        func content(_ value: Any?) -> String? {
            value as? String ?? (value as? [String: Any])?["content"] as? String
        }
        let configuration = try object("tokenizer_config.json")
        if let value = configuration["do_lower_case"] as? Bool { lowercase = value }
        if let value = configuration["strip_accents"] as? Bool { strippingAccents = value }
        if let value = configuration["tokenize_chinese_chars"] as? Bool { splittingHan = value }

        var extra: [String] = []
        for source in [configuration, try object("special_tokens_map.json")] {
            for key in ["bos_token", "eos_token"] { extra += [content(source[key])].compactMap { $0 } }
            extra += (source["additional_special_tokens"] as? [Any] ?? []).compactMap(content)
        }
        let numbered =
            (configuration["added_tokens_decoder"] as? [String: Any] ?? [:]).compactMap { key, value in
                content(value).flatMap { token in Int(key).map { ($0, token) } }
            }
            + (try object("added_tokens.json")).compactMap { key, value in (value as? Int).map { ($0, key) } }
        // In the order of their ids, so that those past the end of the vocabulary get the ids that they had.
        let inOrder = numbered.sorted { $0.0 < $1.0 }.map(\.1)
        var seen: Set<String> = []
        additionalSpecialTokens = (inOrder + extra).filter { seen.insert($0).inserted }
    }
}
