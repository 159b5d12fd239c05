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

@Suite struct SurenessTests {
    private static let curves: [(slope: Double, offset: Double)] = WordClass.allCases.map { _ in (20, -10) }

    /// Entries whose cosines with the picture are given.
    private func index(_ entries: [(entry: Imagery, cosine: Float)]) -> (index: ImageryIndex, cosines: [Float]) {
        let rows = entries.map { [$0.cosine, (1 - $0.cosine * $0.cosine).squareRoot()] }
        let index = ImageryIndex(bank: ImageryBank(entries: entries.map(\.entry)), embeddings: rows)
        return (index, index.cosines(with: [1, 0]))
    }

    private func entry(
        _ word: String, _ category: String, _ kind: Imagery.Kind? = nil, group: String? = nil
    ) -> Imagery {
        Imagery(word: word, category: category, descriptions: [word], kind: kind, group: group)
    }

    private func words(_ entries: [(entry: Imagery, cosine: Float)], count: Int = 5, isFitted: Bool = true) -> [String]
    {
        let (index, cosines) = index(entries)
        let sureness = isFitted ? Sureness(curves: Self.curves) : nil
        return index.keywords(from: cosines, count: count, scale: 10, sureness: sureness).map(\.word)
    }

    @Test func onlySureWordsAreSaidAndPersonsMustBeSurest() {
        // Probabilities of 0.83, 0.65, 0.65, 0.65, 0.35, in this order.
        let seen: [(entry: Imagery, cosine: Float)] = [
            (entry("青山", "山水"), 0.58), (entry("老翁", "人事", .person), 0.531), (entry("垂钓", "人事"), 0.531),
            (entry("白鹭", "鸟兽"), 0.531), (entry("石桥", "建筑"), 0.47),
        ]
        #expect(Set(words(seen)) == ["青山", "垂钓", "白鹭"])
        // Unfitted, nothing is known to be unsure.
        #expect(words(seen, isFitted: false).count == 5)
    }

    @Test func charactersOfAllSureWordsMayStand() {
        let seen: [(entry: Imagery, cosine: Float)] = [
            (entry("老树", "草木", group: "古木"), 0.6), (entry("古木", "草木", group: "古木"), 0.61),
            (entry("老翁", "人事", .person), 0.53), (entry("素色", "光色", .mute), 0.9),
        ]
        let (index, cosines) = index(seen)
        let characters = index.sureCharacters(from: cosines, Sureness(curves: Self.curves))
        #expect(characters == ["老", "树", "古", "木"])
    }

    @Test func whereNothingIsSureLightAndPlaceAlone() {
        let seen: [(entry: Imagery, cosine: Float)] = [
            (entry("老翁", "人事", .person), 0.49), (entry("白鹭", "鸟兽"), 0.48), (entry("孤舟", "器物"), 0.47),
            (entry("夕阳", "天象"), 0.3), (entry("春色", "时令"), 0.2), (entry("石桥", "建筑"), 0.1),
        ]
        #expect(words(seen) == ["夕阳", "春色"])
        #expect(words(seen, count: 1) == ["夕阳"])
        // A bank of beasts alone still says the likeliest.
        #expect(words(Array(seen[1...1])) == ["白鹭"])
    }

    @Test func oneOfAGroupOneMediumAndNoMuteWord() {
        let seen: [(entry: Imagery, cosine: Float)] = [
            (entry("画图", "器物", .medium), 0.9), (entry("丹青", "器物", .medium), 0.89), (entry("素色", "光色", .mute), 0.88),
            (entry("日光", "光色", group: "日光"), 0.8), (entry("晴日", "时令", group: "日光"), 0.79),
            (entry("青山", "山水"), 0.7),
        ]
        for isFitted in [true, false] {
            #expect(Set(words(seen, isFitted: isFitted)) == ["画图", "日光", "青山"], "\(isFitted)")
        }
    }

    @Test func curvesTellHowOftenAWordIsRight() throws {
        // Of 400 pictures with one word each way, birds are right where the cosine is above 0.4 in nine of ten, below
        // in one of ten; things are right at random.
        let bank = ImageryBank(entries: [entry("飞鸟", "鸟兽"), entry("孤舟", "器物"), entry("素色", "光色", .mute)])
        var cosines: [[Float]] = []
        var right: [Set<String>] = []
        for index in 0..<400 {
            let cosine = Float(index) / 500
            cosines.append([cosine, cosine, 0.9])
            var words: Set<String> = index % 2 == 0 ? ["孤舟"] : []
            if (cosine > 0.4) != (index % 10 == 0) { words.insert("飞鸟") }
            right.append(words)
        }
        let sureness = Sureness(fitting: cosines, right: right, bank: bank)
        #expect(sureness.probability(of: 0.7, .animal) > 0.85 && sureness.probability(of: 0.1, .animal) < 0.15)
        #expect(abs(sureness.probability(of: 0.1, .thing) - 0.5) < 0.05)
        // The mean of the probabilities is the share of right words: what a likeliest curve has.
        // Up to the one example of either kind that is added.
        let mean = cosines.map { sureness.probability(of: $0[0], .animal) }.reduce(0, +) / 400
        #expect(abs(mean - Double(right.count { $0.contains("飞鸟") }) / 400) < 0.01)
        // Nothing was seen of persons, so nobody is sure of one.
        #expect(sureness.probability(of: 1, .person) < 0.2)
        #expect(Sureness(values: sureness.values) == sureness)
        #expect(Sureness(values: Array(sureness.values.dropLast())) == nil)
        #expect(Sureness(values: sureness.values.map { _ in .nan }) == nil)
    }

    @Test func wordsThatALinePartsAreSureAndFinite() {
        let bank = ImageryBank(entries: [entry("飞鸟", "鸟兽")])
        let cosines = (0..<20).map { [Float($0) / 20] }
        let right: [Set<String>] = (0..<20).map { $0 >= 10 ? ["飞鸟"] : [] }
        let sureness = Sureness(fitting: cosines, right: right, bank: bank)
        #expect(sureness.values.allSatisfy { $0.isFinite })
        #expect(
            (0.8..<0.99).contains(sureness.probability(of: 0.9, .animal))
                && sureness.probability(of: 0.1, .animal) < 0.2)
    }
}

@Suite struct OccasionTests {
    @Test func aWeddingKeepsSorrowAway() throws {
        let occasion = try #require(Occasion(theme: "祝贺朋友新婚"))
        #expect(occasion.names == ["wedding"])
        #expect(occasion.withheld.isSuperset(of: "亡老愁散离"))
        #expect(occasion.words.contains("鸳鸯"))
        #expect(!occasion.admits(["春风满画堂", "薄命不须伤"]) && occasion.admits(["春风满画堂", "明月照鸳鸯"]))
    }

    @Test func aMothersLoveIsNoFathers() throws {
        let occasion = try #require(Occasion(theme: "母亲的恩情"))
        #expect(occasion.withheld.isSuperset(of: "父老亡") && !occasion.withheld.contains("母"))
        #expect(!occasion.admits(["归路无情水"]) && occasion.words.contains("萱草"))
        let both = try #require(Occasion(theme: "感谢父母养育"))
        #expect(both.withheld.isDisjoint(with: "父母") && both.withheld.contains("亡"))
    }

    @Test func griefIsNoFeast() throws {
        let occasion = try #require(Occasion(theme: "母亲去世后的第一个生日"))
        #expect(occasion.names == ["mourning"])
        #expect(occasion.withheld.contains("喜") && !occasion.withheld.contains("泪"))
    }

    @Test func whatIsSaidOrGivenMayStand() throws {
        let friend = try #require(Occasion(theme: "祝老友生日快乐"))
        #expect(!friend.withheld.contains("老"))
        // 老师 is no age.
        let teacher = try #require(Occasion(theme: "感谢老师"))
        #expect(teacher.withheld.contains("老") && teacher.words.contains("桃李"))
        let given = try #require(Occasion(theme: "新婚", given: "离亭"))
        #expect(!given.withheld.contains("离") && given.withheld.contains("散"))
        let father = try #require(Occasion(theme: "祝父亲生日快乐"))
        #expect(father.names == ["birthday", "father"] && !father.words.isEmpty)
        for word in father.words { #expect(father.withheld.isDisjoint(with: word)) }
    }

    @Test(arguments: ["江上有船", "山中访友不遇", "秋夜独坐", "花谢了"])
    func mostThemesAreNoOccasion(theme: String) { #expect(Occasion(theme: theme) == nil) }

    @Test func wordsOfOccasionsAreOfTheBank() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let bank = Set(
            try ImageryBank(contentsOf: root.appending(path: "Weights/mini/imagery.tsv")).entries.map(\.word))
        for theme in [
            "结婚", "爱情", "生日", "出生", "新年", "乔迁", "开业", "毕业", "康复", "感谢", "母亲", "父亲", "送别", "中秋", "去世",
        ] {
            let words = try #require(Occasion(theme: theme), "\(theme)").words
            #expect(words.count >= 3 && bank.isSuperset(of: words), "\(theme): \(words)")
        }
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
