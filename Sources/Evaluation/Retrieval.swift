/// How well pictures and captions find each other by their scores (recall at K, as Chinese-CLIP and CLIP report it).
public struct Retrieval: Sendable, Equatable, Encodable {
    /// One direction of the search.
    public struct Direction: Sendable, Equatable, Encodable {
        /// The share of queries whose first right answer is the first, 0...1.
        public let recallAt1: Double
        /// The share whose first right answer is among the first five.
        public let recallAt5: Double
        /// The share whose first right answer is among the first ten.
        public let recallAt10: Double
        /// The median rank of the first right answer, from 1.
        public let medianRank: Double

        /// The measures of ranks, of which there is at least one.
        init(ranks: [Int]) {
            func recall(_ limit: Int) -> Double { Double(ranks.count { $0 <= limit }) / Double(ranks.count) }
            recallAt1 = recall(1)
            recallAt5 = recall(5)
            recallAt10 = recall(10)
            let sorted = ranks.sorted()
            medianRank = Double(sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
        }
    }

    /// How many pictures there are.
    public let pictures: Int
    /// How many captions there are.
    public let captions: Int
    /// Each picture searches all captions; any of its own is right.
    public let pictureToCaption: Direction
    /// Each caption searches all pictures; its own is right.
    public let captionToPicture: Direction

    /// Measures a matrix of scores. A wrong answer with an equal score stands before the right one, so that scores that
    /// tell nothing find nothing; so does every answer where a score is not a number.
    ///
    /// - Parameters:
    ///   - scores: `[pictureCount, owners.count]`, row by row; higher is better
    ///   - owners: the picture of each caption
    ///   - pictureCount: at least 1
    ///   - asks: whether a picture and its captions search, one of them at least; all are searched
    public init(scores: [Float], owners: [Int], pictureCount: Int, asks: (_ picture: Int) -> Bool = { _ in true }) {
        let ranks = Self.ranks(scores: scores, owners: owners, pictureCount: pictureCount)
        pictures = pictureCount
        captions = owners.count
        pictureToCaption = Direction(ranks: ranks.captions.indices.filter(asks).map { ranks.captions[$0] })
        captionToPicture = Direction(ranks: owners.indices.filter { asks(owners[$0]) }.map { ranks.pictures[$0] })
    }

    /// The rank of each picture's best own caption among the captions, and of each caption's picture among the
    /// pictures.
    static func ranks(scores: [Float], owners: [Int], pictureCount: Int) -> (captions: [Int], pictures: [Int]) {
        precondition(
            pictureCount > 0 && !owners.isEmpty && scores.count == pictureCount * owners.count
                && owners.allSatisfy((0..<pictureCount).contains),
            "\(scores.count) scores of \(pictureCount) pictures and \(owners.count) captions")
        let count = owners.count
        var best = [Float](repeating: -.infinity, count: pictureCount)
        for (caption, owner) in owners.enumerated() { best[owner] = max(best[owner], scores[owner * count + caption]) }
        let own = owners.indices.map { scores[owners[$0] * count + $0] }
        // One more than the wrong answers that do not stand behind.
        var captions = [Int](repeating: 1, count: pictureCount)
        var pictures = [Int](repeating: 1, count: count)
        scores.withUnsafeBufferPointer { scores in
            for picture in 0..<pictureCount {
                let (row, limit) = (picture * count, best[picture])
                var before = 0
                for caption in 0..<count where owners[caption] != picture {
                    let score = scores[row + caption]
                    if !(score < limit) { before += 1 }
                    if !(score < own[caption]) { pictures[caption] += 1 }
                }
                captions[picture] += before
            }
        }
        return (captions, pictures)
    }
}
