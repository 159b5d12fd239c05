import Testing

@testable import TihuaEvaluation

@Suite struct ImageryCheckTests {
    private static let text = """
        # shard, key, expected, forbidden
        intel-train\tsea/1\t海 沧海  潮\t雪山

        flickr8k-val\tdog_2\t犬\t
        flickr8k-val\tman_3\t行人
        """

    @Test func rowsAreReadWithTheirLines() throws {
        let rows = try ImageryCheck(Self.text, file: "x.tsv").rows
        #expect(rows.map(\.line) == [2, 4, 5])
        #expect(rows[0].shard == "intel-train" && rows[0].key == "sea/1")
        #expect(rows[0].expected == ["海", "沧海", "潮"] && rows[0].forbidden == ["雪山"])
        #expect(rows[1].forbidden.isEmpty && rows[2].forbidden.isEmpty)
    }

    @Test(arguments: [
        ("a\tb", 1, "2 columns"), ("\na\tb\tc\td\te", 2, "5 columns"), ("a\tb\t \td", 1, "no word"),
        ("a\tb\t山\t水 山", 1, "山 is both"), ("a\tb\t山\n#\na\tb\t水", 3, "b stands in line 1"),
    ])
    func aBadLineIsNamed(text: String, line: Int, message: String) {
        let error = #expect(throws: EvaluationError.self) { try ImageryCheck(text, file: "x.tsv") }
        let description = error?.description ?? ""
        #expect(description.hasPrefix("x.tsv, line \(line): ") && description.contains(message), "\(description)")
    }

    @Test func halvesAreAllAndAlikeWhateverTheirLastBits() throws {
        let text = (0..<400).map { "a\tsea/\($0)\t海" }.joined(separator: "\n")
        let check = try ImageryCheck(text, file: "x.tsv")
        let halves = [true, false].compactMap { check.half(isFirst: $0)?.rows }
        #expect(halves.count == 2 && halves.allSatisfy { (150...250).contains($0.count) })
        #expect(Set(halves.flatMap { $0.map(\.key) }).count == 400)
        #expect(check.half(isFirst: true)?.rows == halves[0])
        let one = try ImageryCheck("a\tb\t海", file: "x.tsv")
        #expect([true, false].compactMap { one.half(isFirst: $0) } == [one])
    }

    @Test func aFileWithoutPicturesIsAnError() {
        #expect(throws: EvaluationError.nothingFound(file: "x.tsv", expected: "pictures with their words")) {
            try ImageryCheck("# nothing\n\n", file: "x.tsv")
        }
    }

    @Test func theScoreIsThatCountedByHand() throws {
        let rows = try ImageryCheck(Self.text, file: "x.tsv").rows
        let score = ImageryScore(rows, said: [["海", "雪山", "潮", "云"], ["鹤", "山"], ["犬", "行人"]])
        #expect(score.pictures == 3 && score.words == 8 && score.expectedShare == 3.0 / 8)
        #expect(abs(score.anyExpectedShare - 2.0 / 3) < 1e-12)
        #expect(score.forbidden == [.init(shard: "intel-train", key: "sea/1", word: "雪山")])
        let nothing = ImageryScore(rows, said: [[], [], []])
        #expect(nothing.expectedShare == 0 && nothing.anyExpectedShare == 0 && nothing.forbidden.isEmpty)
    }
}
