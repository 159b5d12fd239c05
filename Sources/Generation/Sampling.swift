import Foundation

/// How a token is drawn from the scores of a model.
public struct Sampling: Sendable, Equatable {
    /// What the scores are divided by; 0 takes the most probable token.
    public var temperature: Double
    /// Only so many of the most probable tokens; 0 takes all.
    public var topK: Int
    /// Of these, the fewest whose probabilities reach this share; 1 takes all.
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
        guard temperature >= 0, temperature <= 10 else {
            throw .sampling(setting: "temperature", value: "\(temperature)", range: "0 to 10")
        }
        guard topK >= 0 else { throw .sampling(setting: "top-k", value: "\(topK)", range: "0 (all) or more") }
        guard topP > 0, topP <= 1 else {
            throw .sampling(setting: "top-p", value: "\(topP)", range: "more than 0, at most 1")
        }
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
}
