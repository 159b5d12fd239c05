import Foundation
import Testing
import TihuaEvaluation
import TihuaTestSupport

/// What `Scripts/make_caption_fixtures.py` wrote.
private struct Golden: Decodable {
    struct Case: Decodable {
        let name: String
        let candidates: [[String]]
        let references: [[[String]]]
        let bleu: [Double]
        let bleuEach: [[Double]]
        let rougeL: Double
        let rougeLEach: [Double]
        let cider: Double
        let ciderEach: [Double]
    }

    struct Text: Decodable {
        let text: String
        let tokens: [String]
    }

    let cases: [Case]
    let texts: [Text]
    let groups: [[[String]]]
    let selfBleu: Double

    static func load() throws -> Golden {
        try JSONDecoder().decode(Golden.self, from: Data(contentsOf: fixture("Evaluation/captions.json")))
    }
}

private func near(_ found: [Double], _ expected: [Double]) -> Bool {
    found.count == expected.count && zip(found, expected).allSatisfy { abs($0 - $1) < 1e-6 }
}

@Suite struct CaptionMetricsTests {
    @Test(
        "BLEU, ROUGE-L and CIDEr-D are those of pycocoevalcap",
        arguments: ["characters", "words", "one picture", "drawn"])
    func golden(name: String) throws {
        let golden = try #require(try Golden.load().cases.first { $0.name == name })
        let (candidates, references) = (golden.candidates, golden.references)
        let bleu = try CaptionMetrics.bleu(candidates: candidates, references: references)
        #expect(near(bleu.corpus, golden.bleu), "\(bleu.corpus) \(golden.bleu)")
        #expect(bleu.each.count == golden.bleuEach.count && zip(bleu.each, golden.bleuEach).allSatisfy(near))
        let rouge = try CaptionMetrics.rougeL(candidates: candidates, references: references)
        #expect(near(rouge.each + [rouge.mean], golden.rougeLEach + [golden.rougeL]))
        let cider = try CaptionMetrics.cider(candidates: candidates, references: references)
        #expect(near(cider.each + [cider.mean], golden.ciderEach + [golden.cider]), "\(cider.each) \(golden.ciderEach)")
    }

    @Test("self-BLEU is the mean of pycocoevalcap's BLEU-4 of each caption against its neighbours")
    func selfBleu() throws {
        let golden = try Golden.load()
        #expect(abs(try #require(CaptionDiversity.selfBleu(golden.groups)) - golden.selfBleu) < 1e-6)
        #expect(CaptionDiversity.selfBleu([[["一"]], []]) == nil)
        #expect(CaptionDiversity.selfBleu([[Array("abcde"), Array("abcde")]]).map { abs($0 - 1) < 1e-6 } == true)
    }

    @Test("the scorer gives a caption the score that the whole set gives it, whatever stands around it")
    func scorerIsReusable() throws {
        let golden = try #require(try Golden.load().cases.first { $0.name == "characters" })
        let scorer = try CiderScorer(references: golden.references)
        #expect(scorer.pictureCount == golden.references.count)
        for index in golden.candidates.indices.reversed() {
            #expect(abs(scorer.score(golden.candidates[index], at: index) - golden.ciderEach[index]) < 1e-6)
        }
        // Ids instead of characters: the same numbers.
        var ids: [String: Int32] = [:]
        func number(_ tokens: [String]) -> [Int32] {
            tokens.map { token in
                let id = ids[token] ?? Int32(ids.count)
                ids[token] = id
                return id
            }
        }
        let numbered = try CiderScorer(references: golden.references.map { $0.map(number) })
        for (index, candidate) in golden.candidates.enumerated() {
            #expect(abs(numbered.score(number(candidate), at: index) - golden.ciderEach[index]) < 1e-6)
        }
    }

    @Test("a caption equal to its only reference has the highest score of each measure")
    func perfectCaptions() throws {
        let captions = ["一只猫在睡觉", "两个孩子放风筝", "湖上有一条船"].map { CaptionSegmentation.characters.tokens(of: $0) }
        let references = captions.map { [$0] }
        #expect(near(try CaptionMetrics.bleu(candidates: captions, references: references).corpus, [1, 1, 1, 1]))
        #expect(near([try CaptionMetrics.rougeL(candidates: captions, references: references).mean], [1]))
        #expect(near([try CaptionMetrics.cider(candidates: captions, references: references).mean], [10]))
    }

    @Test("the order of references and of pictures changes nothing")
    func orderDoesNotMatter() throws {
        let golden = try #require(try Golden.load().cases.first { $0.name == "drawn" })
        let candidates = Array(golden.candidates.reversed())
        let references = golden.references.reversed().map { Array($0.reversed()) }
        #expect(near(try CaptionMetrics.bleu(candidates: candidates, references: references).corpus, golden.bleu))
        #expect(near([try CaptionMetrics.rougeL(candidates: candidates, references: references).mean], [golden.rougeL]))
        #expect(near([try CaptionMetrics.cider(candidates: candidates, references: references).mean], [golden.cider]))
    }

    @Test("what cannot be measured is an error in one line")
    func badInput() throws {
        #expect(throws: EvaluationError.nothing) { try CaptionMetrics.bleu(candidates: [[String]](), references: []) }
        #expect(throws: EvaluationError.counts(candidates: 1, references: 0)) {
            try CaptionMetrics.rougeL(candidates: [["一"]], references: [])
        }
        #expect(throws: EvaluationError.noReference(index: 1)) {
            try CaptionMetrics.cider(candidates: [["一"], ["二"]], references: [[["一"]], []])
        }
        for error in [EvaluationError.nothing, .counts(candidates: 1, references: 2), .noWords(file: "f")] {
            #expect(!error.description.contains("\n") && error.description.contains(";"))
        }
    }

    @Test("distinct-n counts different runs among all")
    func distinct() {
        let captions = [["一", "只", "猫"], ["一", "只", "狗"]]
        #expect(CaptionDiversity.distinct(1, of: captions) == 4.0 / 6)
        #expect(CaptionDiversity.distinct(2, of: captions) == 3.0 / 4)
        #expect(CaptionDiversity.distinct(4, of: captions) == nil)
    }

    @Test("CLIP scores are 2.5 cosines, none below 0, and harmonic means with the nearest reference")
    func clipScores() {
        let (picture, caption): ([Float], [Float]) = ([1, 0], [3, 4])
        #expect(abs(ClipScore.score(picture: picture, caption: caption) - 1.5) < 1e-9)
        #expect(ClipScore.score(picture: picture, caption: [-1, 0]) == 0)
        #expect(ClipScore.score(picture: [0, 0], caption: caption) == 0)
        let found = ClipScore.score(picture: picture, caption: caption, references: [[0, 1], [3, 4], [-3, -4]])
        #expect(abs(found - 2 * 1.5 * 1 / 2.5) < 1e-9)
        #expect(ClipScore.score(picture: picture, caption: caption, references: [[-3, -4]]) == 0)
        #expect(ClipScore.score(picture: picture, caption: caption, references: []) == 0)
    }
}

@Suite struct CaptionSegmentationTests {
    @Test("characters are those of the script that fed pycocoevalcap")
    func charactersMatchTheScript() throws {
        for text in try Golden.load().texts {
            #expect(CaptionSegmentation.characters.tokens(of: text.text) == text.tokens)
        }
    }

    @Test(
        arguments: [
            ("一只T恤，ＡＢ 12只。", ["一", "只", "t", "恤", "ab", "12", "只"]), ("", []), (" 。！ ", []), ("〇𠮷", ["〇", "𠮷"]),
            ("a dog's", ["a", "dog", "s"]),
        ] as [(String, [String])])
    func charactersAndRuns(text: String, tokens: [String]) {
        #expect(CaptionSegmentation.characters.tokens(of: text) == tokens)
    }

    @Test func spacesKeepWords() {
        #expect(CaptionSegmentation.spaces.tokens(of: "一 只 棕色 的 狗 。") == ["一", "只", "棕色", "的", "狗"])
    }

    @Test(
        arguments: [
            // Maximum matching from the front takes 研究生; from the back, as many words, of which fewer are single.
            ("研究生命的起源", ["研究", "生命", "的", "起源"]), ("他在草地上跑", ["他", "在", "草地上", "跑"]), ("x狗y", ["x", "狗", "y"]),
            ("草地，上", ["草地", "上"]),
        ] as [(String, [String])])
    func wordsAreTheLongestOfTheList(text: String, tokens: [String]) {
        let list = WordList(["研究", "研究生", "生命", "起源", "草地", "草地上", "狗", ""])
        #expect(list.count == 6)
        #expect(CaptionSegmentation.words(list).tokens(of: text) == tokens)
    }

    @Test("segmenting never loses or changes a character")
    func segmentationKeepsText() {
        var generator = SystemRandomNumberGenerator()
        let alphabet = Array("山水花鸟人")
        func word(_ length: Int) -> String {
            String((0..<length).map { _ in alphabet[Int.random(in: 0..<5, using: &generator)] })
        }
        for _ in 0..<50 {
            let list = WordList((0..<12).map { _ in word(Int.random(in: 1...4, using: &generator)) })
            let text = word(30)
            #expect(CaptionSegmentation.words(list).tokens(of: text).joined() == text)
        }
    }

    @Test func wordListsAreReadWithTheirFrequencies() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "words-\(UUID().uuidString).txt")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data("# 词\n草地 12 n\n自行车\t3\n\n狗\n".utf8).write(to: file)
        let list = try WordList(contentsOf: file)
        #expect(list.count == 2)
        // 草地 and 自行车 are words; 狗 stands for itself, and frequency, part of speech and comment are none.
        #expect(CaptionSegmentation.words(list).tokens(of: "草地上自行车狗词 12 n") == ["草地", "上", "自行车", "狗", "词", "12", "n"])
        try Data("狗\n".utf8).write(to: file)
        #expect(throws: EvaluationError.noWords(file: file.path)) { try WordList(contentsOf: file) }
    }
}
