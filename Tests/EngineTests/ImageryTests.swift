import Foundation
import Testing

@testable import Tihua

/// A file that goes away with the test.
private final class TextFile {
    let url = FileManager.default.temporaryDirectory.appending(path: "tihua-bank-\(UUID().uuidString).tsv")

    init(_ text: String) throws { try Data(text.utf8).write(to: url) }

    init(bytes: [UInt8]) throws { try Data(bytes).write(to: url) }

    deinit { try? FileManager.default.removeItem(at: url) }
}

@Suite struct ImageryBankTests {
    @Test func tableHasWordsCategoriesAndDescriptions() throws {
        let file = try TextFile("word\tcategory\tdescriptions\n明月\t天象\t圆月 | 月亮照着大地\n# note\n\n孤舟\t器物\t一条小船\r\n")
        let bank = try ImageryBank(contentsOf: file.url)
        #expect(
            bank.entries == [
                Imagery(word: "明月", category: "天象", descriptions: ["圆月", "月亮照着大地"]),
                Imagery(word: "孤舟", category: "器物", descriptions: ["一条小船"]),
            ])
        #expect(ImageryBank.prompts(for: bank.entries[0]).count == 6)
    }

    @Test func kindAndGroupMayFollow() throws {
        let file = try TextFile(
            "word\tcategory\tdescriptions\tkind\tgroup\n明月\t天象\t圆月\t-\t明月\n少年\t人事\t男孩\tperson\t-\n孤舟\t器物\t小船\n")
        let bank = try ImageryBank(contentsOf: file.url)
        #expect(bank.entries.map(\.word) == ["明月", "少年", "孤舟"])
        #expect(bank.entries.map(\.kind) == [nil, .person, nil])
        #expect(bank.entries.map(\.group) == ["明月", nil, nil])
    }

    @Test func flatListDescribesEachWordByItself() throws {
        let file = try TextFile("山\n流水\n山\n")
        let bank = try ImageryBank(contentsOf: file.url)
        #expect(bank.entries.map(\.word) == ["山", "流水"])
        #expect(bank.entries.map(\.descriptions) == [["山"], ["流水"]])
    }

    @Test func mergedEntriesReplaceThoseOfTheSameWord() {
        func bank(_ words: [String], _ category: String) -> ImageryBank {
            ImageryBank(entries: words.map { Imagery(word: $0, category: category, descriptions: [$0]) })
        }
        let merged = bank(["山", "水"], "a").merging(bank(["水", "云"], "b"))
        #expect(merged.entries.map { $0.word + $0.category } == ["山a", "水b", "云b"])
    }

    @Test(arguments: [
        ("明月\t天象\n", "line 1: 2 columns"), ("a\tb\tc\n", "line 1: “a” is not written"),
        ("明月\t天象\t圆月\n孤舟\t器物\t \n", "line 2: “孤舟” has no description"),
        ("\t天象\t圆月\n", "line 1: the word is empty"),
        ("明月\t天象\t圆月\tloud\t-\n", "line 1: “loud” is no kind of word"),
        ("明月\t天象\t圆月\t-\t-\t-\n", "line 1: 6 columns"), ("一二三四五六七八九\n", "line 1: “一二三四五六七八九” is longer"),
        ("\n\n", "no entries"),
    ])
    func badRowIsNamedWithItsLine(text: String, expected: String) throws {
        let file = try TextFile(text)
        let error = #expect(throws: PipelineError.self) { try ImageryBank(contentsOf: file.url) }
        let description = try #require(error).description
        #expect(description.contains(expected) && description.contains(file.url.path) && !description.contains("\n"))
    }

    @Test func fileThatIsNoTextIsRefused() throws {
        let file = try TextFile(bytes: [0xFF, 0xFE, 0x00, 0xD8])
        #expect(throws: PipelineError.unreadable(path: file.url.path, reason: "line 1 is not UTF-8")) {
            try ImageryBank(contentsOf: file.url)
        }
        #expect(throws: PipelineError.self) { try ImageryBank(contentsOf: URL(filePath: "/nowhere.tsv")) }
    }

    @Test func bankOfTheRepositoryLoads() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let bank = try ImageryBank(contentsOf: root.appending(path: "Weights/mini/imagery.tsv"))
        #expect(bank.entries.count >= 600)
        #expect(Set(bank.entries.map(\.category)).count == 9)
        let words = Dictionary(uniqueKeysWithValues: bank.entries.map { ($0.word, $0) })
        for word in ["青楼", "白人", "阳光", "花园", "沐浴"] { #expect(words[word] == nil) }
        // Each group is named after a word of it.
        for entry in bank.entries {
            if let group = entry.group { #expect(words[group]?.group == group) }
        }
        #expect(words["日光"]?.group == words["晴日"]?.group && words["老翁"]?.kind == .person)
    }
}

@Suite struct ImageryIndexTests {
    /// Unit vectors at angles in a plane: the picture lies at 0.
    private func index(_ entries: [(word: String, category: String, degrees: Float)]) -> ImageryIndex {
        let rows = entries.map { [cos($0.degrees * .pi / 180), sin($0.degrees * .pi / 180), 0] }
        return ImageryIndex(
            bank: ImageryBank(
                entries: entries.map { Imagery(word: $0.word, category: $0.category, descriptions: [$0.word]) }),
            embeddings: rows)
    }

    @Test func nearestWordsComeFirstWithScoresOfAProbability() {
        let index = index([("山", "a", 50), ("水", "b", 10), ("云", "c", 30)])
        let keywords = index.keywords(from: index.cosines(with: [1, 0, 0]), count: 3, scale: 10)
        #expect(keywords.map(\.word) == ["水", "云", "山"])
        #expect(abs(keywords.map(\.score).reduce(0, +) - 1) < 1e-6)
        #expect(keywords[0].score > keywords[1].score)
    }

    @Test func atMostFourOfACategoryAndTwoOfACharacter() {
        let index = index([
            ("明月", "天", 1), ("孤月", "天", 2), ("残月", "天", 3), ("夕阳", "天", 4), ("朝霞", "天", 5), ("白云", "天", 6),
            ("远山", "地", 40), ("流水", "地", 41),
        ])
        let words = index.keywords(from: index.cosines(with: [1, 0, 0]), count: 8, scale: 10).map(\.word)
        #expect(Set(words).count == words.count && words.count == 6)
        #expect(Set(words).isSuperset(of: ["明月", "孤月", "远山", "流水"]) && !words.contains("残月"))
    }

    @Test func wordsOfACrowdedCategoryDoNotKeepOthersOut() {
        let crowd = (0..<60).map { number in
            (
                word: String(UnicodeScalar(UInt32(0x4E00 + number)).map(Character.init) ?? "一"), category: "人",
                degrees: Float(1)
            )
        }
        let index = index(crowd + [("远山", "地", 80), ("流水", "水", 85)])
        let words = index.keywords(from: index.cosines(with: [1, 0, 0]), count: 5, scale: 10)
        #expect(words.map(\.category) == ["人", "人", "人", "人", "地"])
    }
}

@Suite struct RankingTests {
    private func scores(picture: Double, fluency: Double) -> PoemScores {
        PoemScores(picture: picture, imagery: 0, fluency: fluency, tone: 1, coverage: 1, repetition: 0, novelty: 1)
    }

    @Test func betterInEverythingIsBetterInTotal() {
        let candidates = [
            scores(picture: 0.1, fluency: -3), scores(picture: 0.3, fluency: -2), scores(picture: 0.2, fluency: -2.5),
        ]
        let totals = PoemRanking.total(candidates, named: [true, true, true]).map(\.total)
        #expect(totals[1] > totals[2] && totals[2] > totals[0])
        #expect(abs(totals.reduce(0, +)) < 1e-9)
    }

    @Test func whoIsToldMoreIsNotBetterForIt() {
        // The same candidates, half of them likelier because words were named.
        let candidates = [-3, -2.5, -2, -1.5].map { scores(picture: 0, fluency: $0) }
        let mixed = PoemRanking.total(candidates, named: [false, false, true, true])
        #expect(abs(mixed[0].total - mixed[2].total) < 1e-9 && abs(mixed[1].total - mixed[3].total) < 1e-9)
        #expect(mixed[1].total > mixed[0].total)
        // What is told of a poem stays its own.
        #expect(mixed.map(\.fluency) == candidates.map(\.fluency))
        let alike = PoemRanking.total(candidates, named: [false, false, false, false])
        #expect(alike == PoemRanking.total(candidates, named: [true, true, true, true]))
    }

    @Test func likePoemsDoNotStandSideBySide() {
        let poems = [["春江花月", "孤舟一叶"], ["春江花月", "孤舟一去"], ["远山如黛", "白鸟双飞"], ["春江花月", "孤舟一叶"], ["不知", "所云"]]
        let chosen = PoemRanking.select(poems, totals: [1, 0.99, 0.9, 1, 0], count: 5)
        #expect(chosen == [0, 2, 1, 4])
    }

    @Test func coverageCountsWordsThatStandApartByHalf() {
        #expect(PoemRanking.coverage(of: ["孤舟", "远山"], in: "孤舟过远 山") == 0.75)
        #expect(PoemRanking.coverage(of: ["明月"], in: "孤舟") == 0)
        #expect(PoemRanking.coverage(of: [], in: "孤舟") == 1)
    }

    @Test func reduplicationIsNoRepetition() {
        #expect(PoemRanking.repetition(in: ["青青河畔草"]) == 0)
        #expect(PoemRanking.repetition(in: ["春江春水"]) == 0.25)
    }
}
