import Testing
import TihuaEvaluation

@Suite struct PreferenceTests {
    private typealias Choice = Preference.Choice

    /// The first term decides, the second is noise.
    private let choices = (0..<40).map { index in
        Choice(
            difference: [0.2 + Double(index % 5) / 5, Double((index * 7) % 11) / 5 - 1], group: "\(index % 8)")
    }

    @Test func theTermThatDecidesGetsTheWeight() {
        let weights = Preference.weights(choices)
        #expect(weights.count == 2 && weights[0] > 1 && abs(weights[1]) < weights[0] / 3)
        #expect(Preference.agreement(choices, weights) > Preference.agreement(choices, [0, 1]))
        #expect(Preference.agreement(choices, [1, 0]) == 1 && Preference.agreement(choices, [-1, 0]) == 0)
        #expect(Preference.agreement(choices, [0, 0]) == 0.5)
    }

    /// The optimum of the penalised likelihood: one term, difference 1, n choices: n / (1 + e^w) = w.
    @Test func theWeightIsTheOptimum() {
        let weight = Preference.weights((0..<3).map { Choice(difference: [1], group: "\($0)") })[0]
        #expect(abs(weight - 0.8797) < 1e-3)
    }

    @Test func aGroupIsJudgedByTheOthers() {
        // Each group contradicts the other: what one teaches is wrong for the other.
        let divided = [Choice(difference: [1], group: "a"), Choice(difference: [-1], group: "b")]
        #expect(Preference.crossValidatedAgreement(divided) == 0)
        #expect(Preference.crossValidatedAgreement(choices) > 0.9)
        #expect(Preference.weights([]).isEmpty && Preference.crossValidatedAgreement([]) == 0)
    }
}
