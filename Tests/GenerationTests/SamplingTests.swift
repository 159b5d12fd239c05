import Testing
import TihuaVerse

@testable import TihuaGeneration

@Suite struct SamplingTests {
    private let scores: [Float] = [2, 1, 0, -1, -.infinity]

    /// How often each index is drawn.
    private func counts(_ sampling: Sampling, draws: Int = 4000) -> [Int] {
        var random = SplitMix64(seed: 5)
        var counts = [Int](repeating: 0, count: scores.count)
        for _ in 0..<draws {
            if let index = sampling.draw(from: scores, &random) { counts[index] += 1 }
        }
        return counts
    }

    @Test func frequenciesAreThoseOfTheSoftmax() {
        let counts = counts(Sampling(temperature: 1, topK: 0, topP: 1))
        // softmax of 2 1 0 -1
        for (count, share) in zip(counts, [0.6439, 0.2369, 0.0871, 0.0321]) {
            #expect(abs(Double(count) / 4000 - share) < 0.03)
        }
    }

    @Test func forbiddenTokensAreNeverDrawn() {
        #expect(counts(Sampling(temperature: 10, topK: 0, topP: 1))[4] == 0)
        var random = SplitMix64(seed: 1)
        #expect(Sampling().draw(from: [Float](repeating: -.infinity, count: 3), &random) == nil)
        #expect(Sampling().draw(from: [Float](), &random) == nil)
    }

    @Test func nucleusKeepsTheFewestThatReachItsShare() {
        // 0.64 < 0.7 <= 0.64 + 0.24
        let counts = counts(Sampling(temperature: 1, topK: 0, topP: 0.7))
        #expect(counts[0] > 0 && counts[1] > 0 && counts[2...].allSatisfy { $0 == 0 })
    }

    @Test func greedyTakesTheBest() {
        #expect(counts(.greedy, draws: 50)[0] == 50)
    }

    @Test(arguments: [
        Sampling(temperature: -1), Sampling(temperature: .nan), Sampling(topK: -1), Sampling(topP: 0),
        Sampling(topP: 1.5),
    ])
    func valuesOutOfRangeAreErrorsOfOneLine(sampling: Sampling) throws {
        let error = #expect(throws: GenerationError.self) { try sampling.validate() }
        #expect(try #require(error).description.contains("give"))
    }
}
