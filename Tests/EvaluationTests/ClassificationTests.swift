import Testing

@testable import TihuaEvaluation

@Suite struct ClassificationTests {
    @Test func accuracyAndConfusionsAreThoseCountedByHand() {
        let labels = ["sea", "hill", "street"]
        let scores: [Float] = [
            0.9, 0.1, 0.2,  // sea, right
            0.3, 0.5, 0.2,  // sea, taken for hill
            0.3, 0.5, 0.1,  // sea, taken for hill
            0.1, 0.4, 0.6,  // hill, taken for street
            0.2, 0.7, 0.7,  // hill, a tie with street, which is wrong
        ]
        let result = Classification(scores: scores, truths: [0, 0, 0, 1, 1], labels: labels)
        #expect(result.pictures == 5 && abs(result.accuracy - 0.2) < 1e-12 && result.top5 == nil)
        #expect(result.classes.map(\.label) == ["sea", "hill"] && result.classes.map(\.pictures) == [3, 2])
        #expect(abs(result.classes[0].accuracy - 1.0 / 3) < 1e-12 && result.classes[1].accuracy == 0)
        #expect(
            result.confusions == [
                .init(label: "sea", takenFor: "hill", pictures: 2),
                .init(label: "hill", takenFor: "street", pictures: 2),
            ])
        let one = Classification(scores: scores, truths: [0, 0, 0, 1, 1], labels: labels, confusionCount: 1)
        #expect(one.confusions.count == 1)
    }

    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func theTopFiveHoldTheTopOneAndAllPicturesAreCounted(seed: UInt64) throws {
        var random = Xorshift(state: seed)
        let truths = (0..<40).map { _ in Int(random.next() % 8) }
        let scores = (0..<320).map { _ in Float(random.next() % 1000) }
        let labels = (0..<8).map { "\($0)" }
        let result = Classification(scores: scores, truths: truths, labels: labels, confusionCount: 100)
        let top5 = try #require(result.top5)
        #expect(result.accuracy <= top5 && top5 <= 1)
        #expect(result.classes.reduce(0) { $0 + $1.pictures } == 40)
        let wrong = result.confusions.reduce(0) { $0 + $1.pictures }
        #expect(abs(result.accuracy - Double(40 - wrong) / 40) < 1e-12)
        #expect(result.confusions.allSatisfy { $0.label != $0.takenFor })
        // The fifth best of eight, by a sorted list.
        let among = truths.indices.filter { picture in
            let row = scores[picture * 8..<picture * 8 + 8]
            return row.filter { $0 >= row[picture * 8 + truths[picture]] }.count <= 5
        }
        #expect(abs(top5 - Double(among.count) / 40) < 1e-12)
    }

    @Test func equalScoresAreNoAnswer() {
        let result = Classification(
            scores: .init(repeating: 1, count: 14), truths: [0, 6], labels: (0..<7).map { "\($0)" })
        #expect(result.accuracy == 0 && result.top5 == 0)
    }
}
