import Foundation
import Testing
import TihuaCorpora

@Suite struct KeywordExtractorTests {
    private static let poems: [[String]] =
        Array(repeating: ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"], count: 3)
        + Array(repeating: ["千里江陵一日还", "两岸猿声啼不住"], count: 5)
        + Array(repeating: ["千山鸟飞绝", "万径人踪灭", "孤舟蓑笠翁", "独钓寒江雪"], count: 2)
    private let extractor = KeywordExtractor(
        words: ["白日", "黄河", "千里", "日依", "孤舟", "寒江雪", "寒江", "江雪", "山", "雪", "江", "一层楼", "四个汉字", ""],
        poems: KeywordExtractorTests.poems, minimumFrequency: 2)

    @Test func frequenciesAreCountedOncePerPoem() {
        #expect(extractor.poemCount == 10)
        #expect(extractor.frequency(of: "千里") == 8 && extractor.frequency(of: "孤舟") == 2)
        #expect(extractor.frequency(of: "猿声") == nil && extractor.frequency(of: "四个汉字") == nil)
    }

    @Test func wordsDoNotCrossTheCaesura() {
        #expect(extractor.frequency(of: "日依") == 0)
        #expect(!extractor.keywords(of: Self.poems[0], limit: 9).contains { $0.word == "日依" })
    }

    @Test func theRarerWordComesFirstAndNoneShareCharacters() {
        let words = extractor.keywords(of: ["白日依千里", "千里依白日", "独钓寒江雪", "孤舟蓑笠翁"], limit: 10)
        #expect(words.map(\.word).contains("寒江雪") && !words.map(\.word).contains("寒江"))
        #expect(!words.map(\.word).contains("雪") && !words.map(\.word).contains("江"))
        let scores = words.map(\.score)
        #expect(scores == scores.sorted(by: >))
        let place = { (word: String) in words.firstIndex { $0.word == word } ?? 99 }
        #expect(place("白日") < place("千里"))
    }

    @Test(arguments: 0...5) func theLimitHoldsAndTheResultIsAlwaysTheSame(limit: Int) {
        let poem = Self.poems[9]
        let words = extractor.keywords(of: poem, limit: limit)
        #expect(words.count <= limit)
        #expect(words == extractor.keywords(of: poem, limit: limit))
        #expect(words.allSatisfy { poem[$0.line].contains($0.word) })
    }

    @Test func preferredWordsComeFirst() {
        let extractor = KeywordExtractor(
            words: ["孤舟", "寒江"], preferred: ["千里"], poems: Self.poems, minimumFrequency: 1)
        let poem = ["孤舟依千里", "独钓寒江雪"]
        #expect(extractor.frequency(of: "千里") == 8)
        let strong = KeywordExtractor(words: ["千里"], preferred: ["孤舟"], poems: Self.poems, minimumFrequency: 1)
        let plain = KeywordExtractor(words: ["千里", "孤舟"], poems: Self.poems, minimumFrequency: 1)
        #expect(strong.keywords(of: poem, limit: 1)[0].score > plain.keywords(of: poem, limit: 1)[0].score)
    }

    @Test func rareWordsAreNotPicked() {
        let strict = KeywordExtractor(words: ["孤舟", "千里"], poems: Self.poems, minimumFrequency: 3)
        #expect(strict.keywords(of: ["孤舟蓑笠翁", "欲穷千里目"], limit: 4).map(\.word) == ["千里"])
    }

    @Test func pairsThatHoldTogetherAreFound() {
        var poems: [[String]] = []
        for index in 0..<400 {
            let other = Unicode.Scalar(UInt32(0x4E00 + index)).map(String.init) ?? ""
            poems.append(["明月\(other)上\(other)", "\(other)风过\(other)水"])
        }
        let pairs = KeywordExtractor.frequentPairs(in: poems, minimumCount: 100, minimumAssociation: 1)
        #expect(pairs == ["明月"])
    }
}
