import Foundation

/// Weights of terms from choices between two things (Bradley and Terry 1952, on linear scores).
public enum Preference {
    /// A choice between two things.
    public struct Choice: Sendable, Equatable {
        /// The terms of what was chosen less those of what was not.
        public var difference: [Double]
        /// Choices of one group, such as a picture, stand or fall together in cross-validation.
        public var group: String

        /// A choice.
        public init(difference: [Double], group: String) {
            self.difference = difference
            self.group = group
        }
    }

    /// The weights under which the choices are likeliest, with a Gaussian prior around 0.
    ///
    /// - Parameter strength: of the prior, above 0; so many choices weigh as much as the prior at a difference of 1
    /// - Returns: as many as the differences have terms; none for no choices
    public static func weights(_ choices: [Choice], strength: Double = 1) -> [Double] {
        guard let count = choices.first?.difference.count else { return [] }
        var weights = [Double](repeating: 0, count: count)
        // The curvature is at most a quarter of the summed squares, so this step always descends.
        let squares = choices.reduce(0) { $0 + $1.difference.reduce(0) { $0 + $1 * $1 } }
        let rate = 1 / (squares / 4 + strength)
        for _ in 0..<5000 {
            var gradient = weights.map { -strength * $0 }
            for choice in choices {
                let surprise = 1 / (1 + exp(score(choice, weights)))
                for term in gradient.indices { gradient[term] += surprise * choice.difference[term] }
            }
            for term in weights.indices { weights[term] += rate * gradient[term] }
        }
        return weights
    }

    /// The share of choices that the weights make too; equal scores count half.
    public static func agreement(_ choices: [Choice], _ weights: [Double]) -> Double {
        let agreed = choices.reduce(0.0) { sum, choice in
            let score = score(choice, weights)
            return sum + (score > 0 ? 1 : score == 0 ? 0.5 : 0)
        }
        return choices.isEmpty ? 0 : agreed / Double(choices.count)
    }

    /// The agreement with the choices of each group under weights from the other groups.
    public static func crossValidatedAgreement(_ choices: [Choice], strength: Double = 1) -> Double {
        let groups = Dictionary(grouping: choices, by: \.group)
        let agreed = groups.reduce(0.0) { sum, group in
            let others = choices.filter { $0.group != group.key }
            return sum + agreement(group.value, weights(others, strength: strength)) * Double(group.value.count)
        }
        return choices.isEmpty ? 0 : agreed / Double(choices.count)
    }

    private static func score(_ choice: Choice, _ weights: [Double]) -> Double {
        zip(choice.difference, weights).reduce(0) { $0 + $1.0 * $1.1 }
    }
}
