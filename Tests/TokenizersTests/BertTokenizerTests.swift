import Foundation
import Testing
import TihuaTestSupport
import TihuaTokenizers

/// What `Scripts/make_tokenizer_fixtures.py` wrote for one set of options.
struct BertGoldens: Decodable, CustomTestStringConvertible, Sendable {
    struct Options: Decodable {
        var do_lower_case: Bool?
        var strip_accents: Bool?
        var tokenize_chinese_chars: Bool?
        var additional_special_tokens: [String]?
    }
    struct Case: Decodable {
        let text: String
        let tokens: [String]
        let ids: [Int32]
        let short: [Int32]
        let decoded: String
    }
    let name: String
    let options: Options
    let size: Int
    let cases: [Case]

    var testDescription: String { name }

    var tokenizerOptions: BertTokenizer.Options {
        BertTokenizer.Options(
            lowercase: options.do_lower_case ?? true, strippingAccents: options.strip_accents,
            splittingHan: options.tokenize_chinese_chars ?? true,
            additionalSpecialTokens: options.additional_special_tokens ?? [])
    }

    static func read(_ url: URL) throws -> [BertGoldens] {
        try JSONDecoder().decode([BertGoldens].self, from: Data(contentsOf: url))
    }

    static let all = (try? read(fixture("Tokenizers/bert.json"))) ?? []
}

/// A folder that `make_tokenizer_fixtures.py --fuzz` wrote, for the long comparison.
let fuzzFolder = ProcessInfo.processInfo.environment["TIHUA_TOKENIZER_FUZZ"].map { URL(filePath: $0) }

@Suite struct BertTokenizerTests {
    let vocabulary = fixture("Tokenizers/vocab.txt")

    @Test func goldensAreThere() {
        #expect(BertGoldens.all.count == 6)
        #expect(BertGoldens.all.allSatisfy { $0.cases.count > 50 })
    }

    @Test(arguments: BertGoldens.all) func equalsTransformers(_ goldens: BertGoldens) throws {
        try compare(goldens, vocabulary: vocabulary)
    }

    @Test(.enabled(if: fuzzFolder != nil, "set TIHUA_TOKENIZER_FUZZ"))
    func equalsTransformersOnRandomTexts() throws {
        let folder = try #require(fuzzFolder)
        for goldens in try BertGoldens.read(folder.appending(path: "bert.json")) {
            try compare(goldens, vocabulary: folder.appending(path: "vocab.txt"))
        }
    }

    private func compare(_ goldens: BertGoldens, vocabulary: URL) throws {
        let tokenizer = try BertTokenizer(vocabularyAt: vocabulary, options: goldens.tokenizerOptions)
        #expect(tokenizer.vocabularySize == goldens.size)
        for example in goldens.cases {
            let text = example.text
            #expect(tokenizer.encode(text) == example.ids, "\(text.debugDescription)")
            // As scalars: Swift's == would let one normalisation form pass for another.
            #expect(
                tokenizer.tokenize(text).map { Array($0.unicodeScalars) }
                    == example.tokens.map { Array($0.unicodeScalars) }, "\(text.debugDescription)")
            #expect(tokenizer.encode(text, maximumLength: 6) == example.short, "\(text.debugDescription)")
            #expect(
                tokenizer.decode(example.ids, spacing: .reference) == example.decoded, "\(text.debugDescription)")
        }
    }

    @Test func aWholeBatchEqualsOneByOne() throws {
        let tokenizer = try BertTokenizer(vocabularyAt: vocabulary)
        let texts = ["床前明月光", "", "春"]
        let batch = tokenizer.encode(batch: texts)
        #expect(batch.count == 3 && batch.length == 7)
        for (row, text) in texts.enumerated() {
            let ids = tokenizer.encode(text)
            let range = (row * batch.length)..<((row + 1) * batch.length)
            #expect(Array(batch.ids[range].prefix(ids.count)) == ids)
            #expect(batch.ids[range].dropFirst(ids.count).allSatisfy { $0 == tokenizer.paddingID })
            #expect(batch.mask[range].reduce(0, +) == Int32(ids.count))
        }
        let cut = tokenizer.encode(batch: texts, paddedTo: 4)
        #expect(cut.ids.count == 12 && cut.mask == [1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0])
    }

    @Test(arguments: [-1, 0, 1, 2, 3, 7, 100]) func truncationKeepsTheSeparator(length: Int) throws {
        let tokenizer = try BertTokenizer(vocabularyAt: vocabulary)
        let ids = tokenizer.encode("床前明月光", maximumLength: length)
        #expect(ids.count == min(7, max(2, length)))
        #expect(ids.last == tokenizer.separatorID)
        let bare = tokenizer.encode("床前明月光", maximumLength: length, addingSpecialTokens: false)
        #expect(bare.count == min(5, max(0, length)))
    }

    @Test(arguments: [
        ("床前明月光，疑是地上霜。", "床前明月光，疑是地上霜。"), ("hello world 月", "hello world月"),
        ("unaffable 3.14", "unaffable 3.14"),
    ])
    func chineseDecodingSetsNoSpacesBetweenCharacters(text: String, expected: String) throws {
        let tokenizer = try BertTokenizer(
            tokens: [
                "[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "world", "un", "##aff", "##able", "3", "14", ".", "，", "。",
            ] + "床前明月光疑是地上霜".map(String.init))
        #expect(tokenizer.decode(tokenizer.encode(text)) == expected)
        #expect(tokenizer.decode([-5, 9999, tokenizer.classificationID]) == "")
    }

    @Test func aTokenAndItsCompatibilityFormAreTwo() throws {
        let tokenizer = try BertTokenizer(tokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "\u{F900}", "\u{8C48}"])
        #expect(tokenizer.id(of: "\u{F900}") == 4)
        #expect(tokenizer.id(of: "\u{8C48}") == 5)
        #expect(tokenizer.id(of: "") == nil && tokenizer.token(6) == nil && tokenizer.token(-1) == nil)
    }

    @Test func badVocabulariesAreNamed() throws {
        func failure(_ bytes: [UInt8]) throws -> TokenizerError? {
            let url = FileManager.default.temporaryDirectory.appending(path: "vocab-\(UUID().uuidString).txt")
            defer { try? FileManager.default.removeItem(at: url) }
            try Data(bytes).write(to: url)
            do {
                _ = try BertTokenizer(vocabularyAt: url)
                return nil
            } catch let error as TokenizerError {
                return error
            }
        }
        let head = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n"
        guard case .emptyVocabulary? = try failure([]) else { Issue.record("empty"); return }
        guard case .notUTF8(_, 5)? = try failure(Array(head.utf8) + [0xFF, 0xFE, 0x0A]) else {
            Issue.record("not UTF-8")
            return
        }
        guard case .missingSpecialToken("[UNK]", _)? = try failure(Array("[PAD]\n[CLS]\n".utf8)) else {
            Issue.record("special")
            return
        }
        #expect(try failure(Array((head + "月\r\n\n光").utf8)) == nil)
        let missing = #expect(throws: TokenizerError.self) {
            try BertTokenizer(vocabularyAt: URL(filePath: "/nonexistent/vocab.txt"))
        }
        #expect(missing?.description.contains("no such file") == true)
    }

    /// As `load_vocab` of `transformers` fills its dictionary: `vocab[token] = index`, line by line.
    @Test func theLastLineOfATokenWinsAndIdsStay() throws {
        let url = FileManager.default.temporaryDirectory.appending(path: "vocab-\(UUID().uuidString).txt")
        defer { try? FileManager.default.removeItem(at: url) }
        let lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "月", "光", "", "月", "山"]
        try Data((lines.joined(separator: "\r\n") + "\r\n").utf8).write(to: url)
        let listed = try vocabularyTokens(at: url)
        #expect(listed == lines)
        for tokenizer in [try BertTokenizer(vocabularyAt: url), try BertTokenizer(tokens: lines)] {
            #expect(tokenizer.vocabularySize == lines.count)
            #expect(tokenizer.id(of: "月") == 7 && tokenizer.id(of: "光") == 5 && tokenizer.id(of: "山") == 8)
            #expect(tokenizer.encode("月光山", addingSpecialTokens: false) == [7, 5, 8])
            #expect(tokenizer.decode([4, 7]) == "月月" && tokenizer.token(4) == "月")
        }
    }

    @Test func aFolderTellsItsOptions() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "bert-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try FileManager.default.copyItem(at: vocabulary, to: folder.appending(path: "vocab.txt"))
        try Data(
            #"{"do_lower_case": false, "strip_accents": true, "added_tokens_decoder": {"8": {"content": "[七绝]"}}}"#.utf8
        ).write(to: folder.appending(path: "tokenizer_config.json"))
        try Data(#"{"eos_token": {"content": "[EOS]"}, "additional_special_tokens": ["[new]"]}"#.utf8)
            .write(to: folder.appending(path: "special_tokens_map.json"))
        let tokenizer = try BertTokenizer(folder: folder)
        #expect(!tokenizer.options.lowercase && tokenizer.options.strippingAccents == true)
        #expect(tokenizer.tokenize("[七绝]Hello[EOS][new]") == ["[七绝]", "Hello", "[EOS]", "[new]"])
        #expect(tokenizer.tokenize("[七绝]春[new]") == ["[七绝]", "春", "[new]"])

        try Data("[]".utf8).write(to: folder.appending(path: "added_tokens.json"))
        #expect(throws: TokenizerError.badConfiguration(file: "added_tokens.json", reason: "not a JSON object")) {
            try BertTokenizer(folder: folder)
        }
    }

    @Test func aFullVocabularyLoadsQuickly() throws {
        let head = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        let tokens = head + (0x4E00..<0x9F00).compactMap { Unicode.Scalar($0).map(String.init) }
        let url = FileManager.default.temporaryDirectory.appending(path: "vocab-\(UUID().uuidString).txt")
        defer { try? FileManager.default.removeItem(at: url) }
        try Data(tokens.joined(separator: "\n").utf8).write(to: url)
        let start = ContinuousClock.now
        let tokenizer = try BertTokenizer(vocabularyAt: url)
        // A debug build takes some hundredth of a second, a release build a few milliseconds.
        #expect(ContinuousClock.now - start < .seconds(2))
        #expect(tokenizer.vocabularySize == tokens.count)
        #expect(tokens.enumerated().allSatisfy { tokenizer.id(of: $1) == Int32($0) })
    }
}
