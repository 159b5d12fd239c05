import Testing

@testable import TihuaEvaluation

@Suite struct RetrievalTests {
    /// Three pictures; captions 0 and 1 are of the first, 2 of the second, 3 and 4 of the third.
    private static let owners = [0, 0, 1, 2, 2]
    private static let scores: [Float] = [
        0.9, 0.1, 0.5, 0.3, 0.2,  // caption 0 is first
        0.8, 0.7, 0.4, 0.6, 0.1,  // caption 2 stands behind 0, 1 and 3
        0.2, 0.6, 0.6, 0.1, 0.6,  // caption 4 ties with 1 and 2, which stand before it
    ]

    @Test func ranksAreThoseCountedByHand() {
        let ranks = Retrieval.ranks(scores: Self.scores, owners: Self.owners, pictureCount: 3)
        #expect(ranks.captions == [1, 4, 3])
        // Down the columns: 0.9 first; 0.1 behind 0.7 and 0.6; 0.4 behind 0.5 and 0.6; 0.1 behind both; 0.6 first.
        #expect(ranks.pictures == [1, 3, 3, 3, 1])
        let found = Retrieval(scores: Self.scores, owners: Self.owners, pictureCount: 3)
        #expect(found.pictures == 3 && found.captions == 5)
        #expect(found.pictureToCaption == .init(ranks: [1, 4, 3]))
        #expect(abs(found.pictureToCaption.recallAt1 - 1.0 / 3) < 1e-12 && found.pictureToCaption.recallAt5 == 1)
        #expect(found.pictureToCaption.medianRank == 3)
        #expect(abs(found.captionToPicture.recallAt1 - 0.4) < 1e-12 && found.captionToPicture.medianRank == 3)
    }

    @Test func anEvenNumberOfRanksHasTheMeanOfTheMiddleTwo() {
        let direction = Retrieval.Direction(ranks: [11, 1, 6, 5])
        #expect(direction.medianRank == 5.5)
        #expect(direction.recallAt1 == 0.25 && direction.recallAt5 == 0.5 && direction.recallAt10 == 0.75)
    }

    /// Random scores with ties, of three captions for some pictures and one for others.
    private struct Random {
        let owners: [Int]
        let scores: [Float]
        let count: Int

        init(seed: UInt64) {
            var random = Xorshift(state: seed)
            count = 2 + Int(random.next() % 9)
            owners = (0..<count).flatMap { [Int](repeating: $0, count: $0 % 2 == 0 ? 3 : 1) }.shuffled(using: &random)
            scores = (0..<count * owners.count).map { _ in Float(random.next() % 23) / 23 }
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func ranksAreThoseOfASortedList(seed: UInt64) {
        let data = Random(seed: seed)
        let ranks = Retrieval.ranks(scores: data.scores, owners: data.owners, pictureCount: data.count)
        let width = data.owners.count
        for picture in 0..<data.count {
            let list = data.owners.indices.sorted {
                let (a, b) = (data.scores[picture * width + $0], data.scores[picture * width + $1])
                return a == b ? data.owners[$0] != picture && data.owners[$1] == picture : a > b
            }
            #expect(list.firstIndex { data.owners[$0] == picture } == ranks.captions[picture] - 1)
        }
        for (caption, owner) in data.owners.enumerated() {
            let list = (0..<data.count).sorted {
                let (a, b) = (data.scores[$0 * width + caption], data.scores[$1 * width + caption])
                return a == b ? $0 != owner && $1 == owner : a > b
            }
            #expect(list.firstIndex(of: owner) == ranks.pictures[caption] - 1)
        }
    }

    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func onlyTheOrderOfTheScoresCounts(seed: UInt64) {
        let data = Random(seed: seed)
        let plain = Retrieval(scores: data.scores, owners: data.owners, pictureCount: data.count)
        let bent = Retrieval(
            scores: data.scores.map { 7 * $0 * $0 * $0 - 2 }, owners: data.owners, pictureCount: data.count)
        #expect(plain == bent)
        // Recall grows with K, and a better score of a right answer never hurts.
        #expect(plain.pictureToCaption.recallAt1 <= plain.pictureToCaption.recallAt5)
        #expect(plain.captionToPicture.recallAt5 <= plain.captionToPicture.recallAt10)
        var raised = data.scores
        raised[data.owners[0] * data.owners.count] += 1
        let better = Retrieval(scores: raised, owners: data.owners, pictureCount: data.count)
        #expect(better.pictureToCaption.medianRank <= plain.pictureToCaption.medianRank)
        #expect(better.captionToPicture.recallAt1 >= plain.captionToPicture.recallAt1)
    }

    @Test func scoresThatTellNothingFindNothing() {
        for value in [Float(0), .nan, -.infinity] {
            let scores = [Float](repeating: value, count: 400)
            let found = Retrieval(scores: scores, owners: Array(0..<20), pictureCount: 20)
            #expect(found.pictureToCaption.recallAt10 == 0 && found.captionToPicture.medianRank == 20, "\(value)")
        }
    }
}

/// A small generator of random numbers with a seed.
struct Xorshift: RandomNumberGenerator {
    var state: UInt64

    init(state: UInt64) { self.state = state &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
