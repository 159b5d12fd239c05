import Foundation

extension CaptionMetrics {
    /// BLEU-1 to BLEU-4.
    public struct Bleu: Sendable, Equatable {
        /// BLEU-1 to BLEU-4 of the whole set, 0...1: matches and lengths are summed before they are divided.
        public let corpus: [Double]
        /// BLEU-1 to BLEU-4 of each candidate by itself.
        public let each: [[Double]]
    }

    /// BLEU with the closest reference length, as `pycocoevalcap` computes it: clipped matches plus 1e-15 over possible
    /// ones plus 1e-9 instead of smoothing, so that a candidate without a common 4-gram scores nearly 0.
    ///
    /// Source: Papineni et al. 2002; `pycocoevalcap/bleu/bleu_scorer.py` 1.2, option `closest`.
    ///
    /// - Throws: `EvaluationError` for nothing, lists of different lengths, or a candidate without references.
    public static func bleu<Token: Hashable & Sendable>(
        candidates: [[Token]], references: [[[Token]]]
    ) throws(EvaluationError) -> Bleu {
        var total = BleuCounts()
        let each = try number(candidates, references).map { candidate, references in
            let counts = BleuCounts(candidate, references)
            total.add(counts)
            return counts.scores
        }
        return Bleu(corpus: total.scores, each: each)
    }
}

/// What BLEU counts, of one candidate or of many.
private struct BleuCounts {
    private var correct = [0, 0, 0, 0]
    private var possible = [0, 0, 0, 0]
    private var length = 0
    private var referenceLength = 0

    init() {}

    init(_ candidate: [Int32], _ references: [[Int32]]) {
        length = candidate.count
        // The closest; of two equally close ones the shorter.
        referenceLength =
            references.map(\.count).min { (abs($0 - candidate.count), $0) < (abs($1 - candidate.count), $1) } ?? 0
        var most: [NGram: Int] = [:]
        for reference in references {
            most.merge(countNGrams(reference)) { max($0, $1) }
        }
        for (gram, count) in countNGrams(candidate) { correct[gram.order - 1] += min(count, most[gram] ?? 0) }
        for order in 0..<4 { possible[order] = max(0, candidate.count - order) }
    }

    mutating func add(_ other: BleuCounts) {
        for order in 0..<4 {
            correct[order] += other.correct[order]
            possible[order] += other.possible[order]
        }
        length += other.length
        referenceLength += other.referenceLength
    }

    var scores: [Double] {
        let (small, tiny) = (1e-9, 1e-15)
        let ratio = (Double(length) + tiny) / (Double(referenceLength) + small)
        let brevity = ratio < 1 ? exp(1 - 1 / ratio) : 1
        var product = 1.0
        return (0..<4).map { order in
            product *= (Double(correct[order]) + tiny) / (Double(possible[order]) + small)
            return pow(product, 1 / Double(order + 1)) * brevity
        }
    }
}
