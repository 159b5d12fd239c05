import Testing
import TihuaProsody
import TihuaVerse

@Suite struct PoetFormatTests {
    /// A poet that was trained before a tune had a pattern writes it under the name of the tune that is most like it.
    @Test func tunesWithoutATokenAreWrittenAllTheSame() throws {
        let old = PoetVocabulary(characters: []).tokens.filter { !["[菩萨蛮]", "[望江南·双调]", "[临江仙·五十八字]"].contains($0) }
        let vocabulary = try PoetVocabulary(tokens: old)
        for (name, token) in [("望江南·双调", "[望江南]"), ("临江仙·五十八字", "[临江仙]"), ("望江南", "[望江南]")] {
            let ids = try vocabulary.encode(PoemPrompt(form: Form(named: name)))
            #expect(ids == [vocabulary.start, try #require(vocabulary.id(of: token)), vocabulary.separator])
        }
        let ids = try vocabulary.encode(PoemPrompt(form: Form(named: "菩萨蛮")))
        #expect(ids.count == 3 && vocabulary.tokens[Int(ids[1])] != "[菩萨蛮]")
        let shi = try PoetVocabulary(tokens: old.filter { $0 != "[五律]" })
        #expect(throws: VerseError.unknownForm("五律")) { try shi.encode(PoemPrompt(form: .wulv)) }
    }

    @Test func vocabularyOfNoPoetIsRefused() {
        #expect(throws: VerseError.unknownFormat(missing: ["[EOS]"])) {
            try PoetFormat(tokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "山"])
        }
        #expect(throws: VerseError.missingToken("[TOPIC]")) {
            try PoetFormat(tokens: ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[EOS]", "[KW]", "[LINE]", "山"])
        }
    }

    @Test func image2PoemReadsAsItWasTrained() throws {
        let format = try PoetFormat(
            tokens: ["[PAD]", "[UNK]", "[SEP]", "[CLS]", "[MASK]", "[EOS]", "|", "：", "关", "键", "词"])
        let prompt = PoemPrompt(form: .wujue, keywords: ["关", "键"])
        // 0 [PAD] 1 [UNK] 2 [SEP] 3 [CLS] 4 [MASK] 5 [EOS] 6 | 7 ： 8 关 9 键 10 词
        let first: [Int32] = [3, 8, 9, 10, 7, 8, 9, 5, 5, 2]
        let second: [Int32] = [3, 8, 9, 10, 7, 8, 9, 5, 10, 5, 2]
        #expect(try format.encoderInput(prompt, lines: []) == first)
        #expect(try format.encoderInput(prompt, lines: ["词"]) == second)
        #expect(try format.prompt(prompt) == Array(first.prefix(8)))
        #expect(format.decoderStart(3) == [3, 3])
    }
}
