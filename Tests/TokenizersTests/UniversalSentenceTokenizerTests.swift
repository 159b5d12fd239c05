import Foundation
import Testing
import TihuaTestSupport
import TihuaTokenizers
import TihuaWeightFiles

/// What Scripts/make_sentence_fixtures.py wrote: texts, and the ids that the reference gives them.
private func goldens(_ url: URL) throws -> [(text: String, ids: [Int32])] {
    let file = try SafetensorsFile(contentsOf: url)
    let texts = try JSONDecoder().decode([String].self, from: Data((file.metadata["texts"] ?? "").utf8))
    func integers(_ name: String) throws -> [Int32] {
        try #require(file[name]).contiguousBytes().withUnsafeBytes { Array($0.bindMemory(to: Int32.self)) }
    }
    var flat = try integers("ids")[...]
    let rows = try integers("lengths").map { length in
        defer { flat = flat.dropFirst(Int(length)) }
        return Array(flat.prefix(Int(length)))
    }
    try #require(rows.count == texts.count && flat.isEmpty)
    return Array(zip(texts, rows))
}

private let fullFolder = ProcessInfo.processInfo.environment["TIHUA_SENTENCES"].map { URL(filePath: $0) }

@Suite struct UniversalSentenceTokenizerTests {
    private static let model = fixture("Models/sentences/sp.model")

    @Test func idsEqualTheReference() throws {
        let tokenizer = try UniversalSentenceTokenizer(folder: Self.model.deletingLastPathComponent())
        let cases = try goldens(fixture("Models/sentences.golden.safetensors"))
        #expect(cases.count > 60)
        for (text, ids) in cases { #expect(tokenizer.encode(text) == ids, "\(text.debugDescription)") }
        #expect(tokenizer.encode(cases.map(\.text)) == cases.map(\.ids))
    }

    @Test(
        .enabled(
            if: fullFolder != nil, "needs TIHUA_SENTENCES, a folder of Scripts/make_sentence_fixtures.py --full"))
    func publishedModelGivesTheReferencesIds() throws {
        let folder = try #require(fullFolder)
        let tokenizer = try UniversalSentenceTokenizer(folder: folder)
        #expect(tokenizer.vocabularySize == 128_000)
        let cases = try goldens(folder.appending(path: "sentences.golden.safetensors"))
        #expect(cases.count > 2_000)
        for (text, ids) in cases { #expect(tokenizer.encode(text) == ids, "\(text.debugDescription)") }
    }

    @Test func beginAndEndStandAroundTheText() throws {
        let tokenizer = try UniversalSentenceTokenizer(modelAt: Self.model)
        #expect((tokenizer.beginID, tokenizer.endID, tokenizer.unknownID) == (1, 2, 0))
        #expect(tokenizer.piece(1) == "<s>" && tokenizer.id(of: "</s>") == 2 && tokenizer.piece(-1) == nil)
        for text in ["", " ", "\u{3000}\n", "\u{FEFF}"] { #expect(tokenizer.encode(text) == [1, 0, 2]) }
        // Each unknown character for itself, which sentencepiece would join.
        let space = try #require(tokenizer.id(of: "▁"))
        #expect(tokenizer.encode("龘龘") == [1, space, 0, 0, 2])
    }

    /// Texts cannot begin, end or leave out anything.
    @Test(arguments: ["<s>", "</s>", "<unk>", "一只狗</s>", "</s><s>"])
    func specialPiecesInATextAreText(text: String) throws {
        let tokenizer = try UniversalSentenceTokenizer(modelAt: Self.model)
        let ids = tokenizer.encode(text)
        #expect(ids.first == 1 && ids.last == 2 && !ids.dropFirst().dropLast().contains { (1...2).contains($0) })
        #expect(ids.count > 4)
    }

    @Test func longTextsLoseTheirEnd() throws {
        let tokenizer = try UniversalSentenceTokenizer(modelAt: Self.model)
        let whole = tokenizer.encode("春山如画水如烟，一叶轻舟到岸边。")
        for length in 3...whole.count + 2 {
            let ids = tokenizer.encode("春山如画水如烟，一叶轻舟到岸边。", maximumLength: length)
            #expect(ids == (length < whole.count ? whole.prefix(length - 1) + [2] : whole))
        }
    }

    @Test func otherModelsAreRefused() throws {
        func error(_ body: () throws -> Void) -> String? {
            do { try body() } catch { return (error as? TokenizerError)?.description }
            return nil
        }
        // A model of T5 has no piece that begins a sentence.
        let other = error { _ = try UniversalSentenceTokenizer(modelAt: fixture("Tokenizers/spiece.model")) }
        #expect(other?.contains("<s>") == true)
        let missing = error { _ = try UniversalSentenceTokenizer(folder: URL.temporaryDirectory) }
        #expect(missing?.contains("sp.model") == true)
        let bytes = Array(try Data(contentsOf: Self.model))
        var refused = 0
        for length in stride(from: 0, to: bytes.count, by: 29) {
            if error({ _ = try UniversalSentenceTokenizer(model: Array(bytes[..<length])).encode("春山") }) != nil {
                refused += 1
            }
        }
        #expect(refused > 50)
        var fuzz = Fuzz(seed: 12)
        for _ in 0..<Fuzz.count(500) {
            _ = error { _ = try UniversalSentenceTokenizer(model: fuzz.damaged(bytes)).encode("一只狗 a dog ＡＢ 龘") }
        }
    }
}
