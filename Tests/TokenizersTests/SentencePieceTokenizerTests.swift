import Foundation
import Testing
import TihuaTestSupport
import TihuaTokenizers

private struct Golden: Decodable {
    let text: String
    let ids: [Int32]
    let plain: [Int32]
    let short: [Int32]
    let decoded: String
}

private func goldens(_ url: URL) throws -> [String: [Golden]] {
    try JSONDecoder().decode([String: [Golden]].self, from: Data(contentsOf: url))
}

@Suite struct SentencePieceTokenizerTests {
    let model = fixture("Tokenizers/spiece.model")

    @Test(arguments: ["spiece", "bytes"]) func equalsSentencePieceAndT5(name: String) throws {
        let cases = try #require(try goldens(fixture("Tokenizers/t5.json"))[name])
        #expect(cases.count > 50)
        try compare(cases, model: fixture("Tokenizers/\(name).model"))
    }

    @Test(.enabled(if: fuzzFolder != nil, "set TIHUA_TOKENIZER_FUZZ"))
    func equalsSentencePieceOnRandomTexts() throws {
        let folder = try #require(fuzzFolder)
        let cases = try #require(try goldens(folder.appending(path: "t5.json"))["spiece"])
        try compare(cases, model: folder.appending(path: "spiece.model"))
    }

    private func compare(_ cases: [Golden], model: URL) throws {
        let tokenizer = try SentencePieceTokenizer(modelAt: model)
        // Without sentinels and without special tokens in the text it is sentencepiece itself.
        for example in cases {
            let text = example.text
            #expect(tokenizer.encode(text) == example.ids, "\(text.debugDescription)")
            #expect(tokenizer.encode(text, maximumLength: 5) == example.short, "\(text.debugDescription)")
            if !text.contains("<") {
                #expect(
                    tokenizer.encode(text, addingSpecialTokens: false) == example.plain, "\(text.debugDescription)")
                #expect(
                    tokenizer.decode(example.plain, skippingSpecialTokens: false)
                        == example.decoded.trimmingCharacters(in: .whitespacesAndNewlines)
                        || example.plain.contains(tokenizer.unknownID), "\(text.debugDescription)")
            }
        }
    }

    @Test func sentinelsStandAtTheEndInReverse() throws {
        let tokenizer = try SentencePieceTokenizer(modelAt: model, extraIDs: 3)
        let size = Int32(tokenizer.vocabularySize)
        #expect(tokenizer.id(of: "<extra_id_0>") == size - 1)
        #expect(tokenizer.id(of: "<extra_id_2>") == size - 3)
        #expect(tokenizer.token(size - 2) == "<extra_id_1>" && tokenizer.token(size) == nil)
        #expect(tokenizer.encode(" <extra_id_1> ") == [size - 2, 1])
        #expect(tokenizer.decode([size - 1, 0, 1, 99999, -1]) == "")
    }

    @Test func textComesBack() throws {
        let tokenizer = try SentencePieceTokenizer(modelAt: fixture("Tokenizers/bytes.model"))
        for text in ["春山如画水如烟", "the river 😀 鱻 and the moon", "寒灯映雪夜将阑"] {
            #expect(tokenizer.decode(tokenizer.encode(text)) == text.replacing("，", with: ","))
        }
    }

    @Test func theTokenizerOfAFolderIsFoundByItsFile() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "tihua-tokenizer-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        #expect(try tokenizer(in: folder) == nil)
        try FileManager.default.copyItem(at: model, to: folder.appending(path: "spiece.model"))
        let pieces = try #require(try tokenizer(in: folder))
        let plain = try SentencePieceTokenizer(modelAt: model)
        #expect(pieces.vocabularySize == plain.vocabularySize && pieces.text(of: plain.encode("春山")) == "春山")
        #expect(pieces.source(of: "春山") == pieces.prompt(of: "春山") + [try #require(plain.endID)])
        // A vocabulary comes first.
        try "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n春\n山\n".write(
            to: folder.appending(path: "vocab.txt"), atomically: true, encoding: .utf8)
        let words = try #require(try tokenizer(in: folder))
        #expect(words.source(of: "春山") == [2, 5, 6, 3] && words.prompt(of: "春山") == [2, 5, 6])
        #expect(words.text(of: [2, 5, 6, 3]) == "春山" && words.vocabularySize == 7)
    }

    @Test func damagedModelsAreRefused() throws {
        let bytes = Array(try Data(contentsOf: model))
        func error(_ bytes: [UInt8]) -> TokenizerError? {
            do {
                _ = try SentencePieceTokenizer(model: bytes).encode("春山如画 the moon ＡＢ")
                return nil
            } catch { return error as? TokenizerError }
        }
        #expect(error([]) != nil)
        #expect(error(Array("not a model at all".utf8)) != nil)
        #expect(error(bytes) == nil)
        // Cut anywhere it is refused, or it ended at a field and is a smaller model; it never traps.
        for length in stride(from: 1, to: bytes.count, by: 37) { _ = error(Array(bytes[..<length])) }
        #expect(error(Array(bytes[..<(bytes.count - 3)])) != nil)
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            var damaged = bytes
            for _ in 0..<4 {
                damaged[Int.random(in: 0..<damaged.count, using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
            }
            _ = error(damaged)
        }
    }
}
