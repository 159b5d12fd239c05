import Foundation

extension CaptionMetrics {
    /// CIDEr-D, 0...10, with the document frequencies of these references; see `CiderScorer`.
    ///
    /// - Throws: `EvaluationError` for nothing, lists of different lengths, or a candidate without references.
    public static func cider<Token: Hashable & Sendable>(
        candidates: [[Token]], references: [[[Token]]]
    ) throws(EvaluationError) -> Scores {
        try check(candidates.count, references)
        let scorer = try CiderScorer(references: references)
        return Scores(each: candidates.enumerated().map { scorer.score($1, at: $0) })
    }
}

/// CIDEr-D against references that are counted once, so that a candidate costs microseconds: for self-critical
/// training.
///
/// The weight of a run of one to four tokens is how often it occurs times the logarithm of (pictures / pictures in
/// whose references it occurs). A candidate and a reference have the cosine of their weights, the candidate's clipped
/// to the reference's, times a Gaussian (sigma 6) of their difference in length; the mean over the four orders and the
/// references, times 10. With a single picture every weight is 0, and so is every score.
///
/// Source: Vedantam et al. 2015; `pycocoevalcap/cider/cider_scorer.py` 1.2, whose length is the number of pairs of
/// tokens.
public struct CiderScorer<Token: Hashable & Sendable>: Sendable {
    private let numbers: TokenNumbers<Token>
    private let index: CiderIndex

    /// Counts the references.
    ///
    /// - Parameter references: for each picture its captions, at least one, as tokens
    /// - Throws: `EvaluationError.nothing`, `.noReference`.
    public init(references: [[[Token]]]) throws(EvaluationError) {
        try CaptionMetrics.check(references.count, references)
        var numbers = TokenNumbers<Token>()
        index = CiderIndex(references.map { captions in captions.map { numbers.add($0) } })
        self.numbers = numbers
    }

    /// How many pictures there are.
    public var pictureCount: Int { index.pictures.count }

    /// The score of a caption for a picture, 0...10.
    ///
    /// - Parameter picture: the place of the picture in the references that were given, below `pictureCount`
    public func score(_ candidate: [Token], at picture: Int) -> Double {
        precondition(index.pictures.indices.contains(picture), "picture \(picture) of \(pictureCount)")
        return index.score(numbers.find(candidate), at: picture)
    }
}

/// The counted references.
private struct CiderIndex: Sendable {
    /// One reference: its runs of tokens by number, in order, with their weights.
    struct Reference: Sendable {
        var grams: [Int32] = []
        var weights: [Double] = []
        var norms = SIMD4<Double>()
        var length = 0
    }

    private var gramNumbers: [NGram: Int32] = [:]
    private var orders: [UInt8] = []
    private var rarity: [Double] = []
    private let logCount: Double
    private(set) var pictures: [[Reference]] = []

    init(_ references: [[[Int32]]]) {
        logCount = log(Double(references.count))
        let counts = references.map { $0.map(countNGrams) }
        var frequencies: [Int] = []
        for captions in counts {
            // In one order in every process, since sums follow the numbers.
            for gram in Set(captions.flatMap(\.keys)).sorted(by: { $0.precedes($1) }) {
                if let number = gramNumbers[gram] {
                    frequencies[Int(number)] += 1
                } else {
                    gramNumbers[gram] = Int32(frequencies.count)
                    frequencies.append(1)
                    orders.append(UInt8(gram.order - 1))
                }
            }
        }
        rarity = frequencies.map { logCount - log(Double($0)) }
        pictures = zip(references, counts).map { captions, counts in
            zip(captions, counts).map { reference($0, $1) }
        }
    }

    private func reference(_ tokens: [Int32], _ counts: [NGram: Int]) -> Reference {
        var result = Reference()
        result.length = max(0, tokens.count - 1)
        let known = counts.compactMap { gram, count in gramNumbers[gram].map { ($0, count) } }.sorted { $0.0 < $1.0 }
        for (gram, count) in known {
            let weight = Double(count) * rarity[Int(gram)]
            result.grams.append(gram)
            result.weights.append(weight)
            result.norms[Int(orders[Int(gram)])] += weight * weight
        }
        return result
    }

    func score(_ tokens: [Int32], at picture: Int) -> Double {
        let counts = countNGrams(tokens)
        var candidate = reference(tokens, counts)
        // What no reference holds has the full weight, which only the norm feels.
        var unknown = SIMD4<Int>()
        for (gram, count) in counts where gramNumbers[gram] == nil { unknown[gram.order - 1] += count * count }
        candidate.norms += SIMD4<Double>(unknown) * logCount * logCount
        var total = 0.0
        for reference in pictures[picture] {
            var products = SIMD4<Double>()
            var (left, right) = (0, 0)
            while left < candidate.grams.count, right < reference.grams.count {
                let (first, second) = (candidate.grams[left], reference.grams[right])
                if first == second {
                    products[Int(orders[Int(first)])] +=
                        min(candidate.weights[left], reference.weights[right]) * reference.weights[right]
                }
                if first <= second { left += 1 }
                if second <= first { right += 1 }
            }
            let delta = Double(candidate.length - reference.length)
            let penalty = exp(-delta * delta / 72)  // sigma 6
            for order in 0..<4 {
                let norm = (candidate.norms[order] * reference.norms[order]).squareRoot()
                total += (norm > 0 ? products[order] / norm : products[order]) * penalty
            }
        }
        return total / 4 / Double(pictures[picture].count) * 10
    }
}
