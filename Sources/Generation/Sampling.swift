import Foundation
import TihuaTorch
import TihuaVerse

/// How a token is drawn from the scores of a model.
public struct Sampling: Sendable, Equatable {
    /// What the scores are divided by; 0 takes the most probable token.
    public var temperature: Double
    /// How many of the most probable tokens may be drawn; 0 is all.
    public var topK: Int
    /// The share of the probability that the drawn tokens have together: of the most probable tokens no more than reach
    /// it may be drawn; 1 is all.
    public var topP: Double

    /// - Precondition: see `validate` for the ranges.
    public init(temperature: Double = 0.75, topK: Int = 40, topP: Double = 0.95) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
    }

    /// The most probable token every time.
    public static let greedy = Sampling(temperature: 0, topK: 1, topP: 1)

    /// - Throws: `GenerationError.sampling` for a value out of range.
    public func validate() throws(GenerationError) {
        try require(temperature >= 0 && temperature <= 10, "temperature", temperature, "0 to 10")
        try require(topK >= 0, "top-k", topK, "0 (all) or more")
        try require(topP > 0 && topP <= 1, "top-p", topP, "more than 0, at most 1")
    }

    /// How many scores `draw` has to see.
    func width(of vocabularySize: Int) -> Int {
        temperature == 0 ? min(8, vocabularySize) : topK == 0 ? vocabularySize : min(topK, vocabularySize)
    }

    /// Draws an index.
    ///
    /// - Parameter scores: logits, descending; minus infinity for what is forbidden.
    /// - Returns: nil if everything is forbidden.
    func draw(from scores: some RandomAccessCollection<Float>, _ random: inout SplitMix64) -> Int? {
        guard let best = scores.first, best > -.infinity else { return nil }
        guard temperature > 0 else { return 0 }
        var weights: [Double] = []
        weights.reserveCapacity(scores.count)
        var total = 0.0
        for score in scores {
            guard score > -.infinity else { break }
            let weight = exp(Double(score - best) / temperature)
            weights.append(weight)
            total += weight
        }
        if topP < 1 {
            var kept = 0.0
            let nucleus = weights.firstIndex { weight in
                kept += weight
                return kept >= topP * total
            }
            if let nucleus {
                weights.removeSubrange((nucleus + 1)...)
                total = kept
            }
        }
        var target = random.uniform() * total
        for (index, weight) in weights.enumerated() {
            target -= weight
            if target < 0 { return index }
        }
        return weights.count - 1
    }

    /// Draws a token for each row, without looking at the rows one by one.
    ///
    /// A row's draw depends on its own scores and number only: tokens are taken in descending order of probability,
    /// however many are looked at (in the order of their ids where all may be drawn, which needs no order).
    ///
    /// - Parameters:
    ///   - scores: float32 `[B, V]`; minus infinity for what is forbidden; a row that forbids everything draws anything
    ///   - uniforms: a number of 0..<1 for each row
    /// - Returns: int64 `[B]`
    func draw(from scores: Tensor, uniforms: [Double]) -> Tensor {
        guard temperature > 0 else { return scores.argmax(-1) }
        let vocabularySize = scores.size(1)
        let scaled = temperature == 1 ? scores : scores / temperature
        let target = Tensor(uniforms, [uniforms.count, 1]).to(nil, scores.device)
        if topK == 0, topP == 1 {
            let cumulative = scaled.softmax(1).to(.float64).cumulativeSum(1)  // [B, V]
            let mass = cumulative.narrowed(1, vocabularySize - 1..<vocabularySize)
            return Self.place(of: target * mass, in: cumulative).squeezed(1)
        }
        // A trained model's nucleus is a few dozen tokens; only where it is not is the vocabulary put in order.
        var width = topK == 0 ? min(128, vocabularySize) : min(topK, vocabularySize)
        while true {
            let best = scaled.topK(width, 1)  // [B, K]
            let total = topK == 0 ? scaled.logSumExp(1, keep: true) : best.values.logSumExp(1, keep: true)
            let cumulative = (best.values - total).exp().to(.float64).cumulativeSum(1)
            let last = cumulative.narrowed(1, width - 1..<width)  // [B, 1]
            if topK == 0, width < vocabularySize, last.less(than: topP).to(.int64).sum().item > 0 {
                width = width >= 1024 ? vocabularySize : min(8 * width, vocabularySize)
                continue
            }
            // The nucleus ends with the token that brings it to its share.
            let share = topP == 1 ? last : last.clamped(maximum: topP)
            let end = cumulative.less(than: share).to(.int64).sum(1, keep: true).clamped(maximum: Double(width - 1))
            let mass = cumulative.gathered(1, end.to(.int64))
            return best.indices.gathered(1, Self.place(of: target * mass, in: cumulative)).squeezed(1)
        }
    }

    /// The first index whose sum exceeds the target. target `[B, 1]`, cumulative `[B, K]` -> int64 `[B, 1]`
    private static func place(of target: Tensor, in cumulative: Tensor) -> Tensor {
        let width = cumulative.size(1)
        return cumulative.lessOrEqual(target).to(.int64).sum(1, keep: true).clamped(maximum: Double(width - 1)).to(
            .int64)
    }
}
