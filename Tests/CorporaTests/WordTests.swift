import Foundation
import Testing
import TihuaCorpora

@Suite struct LineFilterTests {
    private static let lines = (0..<20_000).map { "第\($0)句山水" }

    @Test func endingsAreWhatLinesOftenEndIn() throws {
        let lines = ["春风花草香", "野草香", "百草香", "小院花草香", "满园花草香", "千山鸟飞绝", "鸟飞绝"]
        let twice = LineFilter(endingsOf: lines, minimum: 2)
        // A line of three characters is a phrase and does not count.
        #expect(twice.count == 1 && twice.contains("草香") && !twice.contains("飞绝"))
        let once = LineFilter(endingsOf: lines, minimum: 1)
        #expect(once.count == 2 && once.contains("飞绝"))
        #expect(LineFilter(endingsOf: [String]()).count == 0)
    }

    @Test func everyLineIsFoundAndFewOthers() {
        let filter = LineFilter(lines: Self.lines + Self.lines.prefix(500))
        #expect(filter.count == 20_000)
        #expect(Self.lines.allSatisfy(filter.contains))
        let mistaken = (0..<50_000).count { filter.contains("另\($0)句山水") }
        #expect(filter.falsePositiveRate < 0.0025)
        // 125 are expected at the most; five standard deviations more never come.
        #expect(mistaken < 190, "\(mistaken) of 50,000")
        #expect(filter.byteCount < 20_000 * 14 / 8)
    }

    @Test(arguments: [0.0005, 0.004, 0.05]) func theRateIsAsAsked(rate: Double) {
        let filter = LineFilter(lines: Self.lines, falsePositiveRate: rate)
        #expect(Self.lines.allSatisfy(filter.contains))
        #expect(abs(filter.falsePositiveRate - rate) < rate * 0.15)
        let mistaken = Double((0..<50_000).count { filter.contains("另\($0)句山水") })
        let expected = rate * 50_000
        #expect(abs(mistaken - expected) < 5 * expected.squareRoot() + expected * 0.15)
    }

    @Test func anEmptyFilterKnowsNothing() {
        let filter = LineFilter(lines: [])
        #expect(!filter.contains("") && !filter.contains("山水") && filter.count == 0)
    }

    @Test func aFilterReadsBackAndDamageIsSeen() throws {
        let scratch = try Scratch()
        let url = scratch.url.appending(path: "lines.bloom")
        let filter = LineFilter(lines: Self.lines)
        try filter.write(to: url)
        #expect(try LineFilter(contentsOf: url) == filter)
        let bytes = try Data(contentsOf: url)
        for length in [0, 7, 31, 39, 47, bytes.count - 1] {
            let cut = try scratch.write(bytes.prefix(length), to: "cut")
            #expect(throws: CorporaError.self) { try LineFilter(contentsOf: cut) }
        }
        for position in [3, 9, 17, 25, 33, bytes.count / 2] {
            var damaged = bytes
            damaged[position] ^= 0x80
            let file = try scratch.write(damaged, to: "damaged")
            #expect(throws: CorporaError.self) { try LineFilter(contentsOf: file) }
        }
        #expect(throws: (any Error).self) { try filter.write(to: URL(filePath: "/nonexistent/x")) }
    }
}

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
