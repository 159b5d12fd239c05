import Foundation
import Models
import Testing
import Torch

@testable import Generation

@Suite struct TextStyleTests {
    private static let end: Int32 = 1
    private static let sentences: [[Int32]] = [[28, 34, 38, 9], [28, 34, 50, 9, 12], [28, 34, 38, 12], [60, 9, 12]]
    private static let searches: [Decoding.Method] = [
        .sampling(.greedy), .sampling(Sampling(temperature: 1, topK: 0, topP: 1)), .beam(BeamSearch(width: 3)),
        .contrastive(ContrastiveSearch()),
    ]

    private func style(_ weight: Double, order: Int = 3) throws -> TextStyle {
        try TextStyle(sentences: Self.sentences, end: Self.end, vocabularySize: 64, weight: weight, order: order)
    }

    private func write(_ model: String, _ method: Decoding.Method, _ style: TextStyle?, count: Int = 1) throws
        -> [[GeneratedText]]
    {
        let prompts =
            model.hasPrefix("gpt2")
            ? [TextPrompt(ids: [28, 34], seed: 4), TextPrompt(ids: [35], seed: 5)]
            : [TextPrompt(ids: [0, 28, 34], seed: 4), TextPrompt(ids: [0], seed: 5)]
        let rules = TokenRules(stop: [Self.end], maximumLength: 8)
        return try TinyModel(model).generator(style: style).generate(
            prompts, Decoding(method, count: count, rules: rules))
    }

    @Test(arguments: ["gpt2", "gpt2-prefix", "t5_relu"])
    func noWeightChangesNothing(model: String) throws {
        for method in Self.searches {
            let plain = try write(model, method, nil)
            #expect(try write(model, method, style(0)) == plain, "\(method)")
            #expect(try write(model, method, style(3)) != plain, "\(method)")
        }
    }

    /// The more weight, the likelier are texts by the n-grams of the sentences; at last they are recited.
    @Test(arguments: ["gpt2", "gpt2-prefix", "t5_gated"])
    func moreWeightMakesTextsMoreLikeTheSentences(model: String) throws {
        let measure = try style(1)
        let sampling = Decoding.Method.sampling(Sampling(temperature: 1, topK: 0, topP: 1))
        let means = try [0, 0.5, 1, 2, 10].map { weight in
            let texts = try write(model, sampling, style(weight), count: 60)[0]
            return texts.reduce(0.0) {
                $0 + measure.meanLogProbability(of: $1.ids + ($1.stop.map { [$0] } ?? []), after: [28, 34])
            } / 60
        }
        #expect(means == means.sorted(), "\(means)")
        #expect(means[4] > means[0] + 1)
        let greedy = try write(model, .sampling(.greedy), style(10))
        #expect([[38, 9], [38, 12], [38, 9, 12]].contains(greedy[0][0].ids) && greedy[0][0].stop == Self.end)
    }

    /// By the definition: the scores of one token, from the n-grams alone.
    @Test(arguments: [1, 3, 5])
    func scoresAreThoseOfTheModelAndOfTheSentences(order: Int) throws {
        let style = try style(0.7, order: order)
        let scores = Tensor.randn([2, 64], generator: Generator(seed: 5))
        let texts: [[Int32]] = [[28, 34], []]
        let leaned = style.leaned(scores, texts: texts.map { $0[...] }).floats
        for (row, text) in texts.enumerated() {
            var total = 0.0
            for token in 0..<64 {
                let logProbability = style.meanLogProbability(of: [Int32(token)], after: text)
                total += exp(logProbability)
                let expected = Double(scores.floats[64 * row + token]) + 0.7 * logProbability
                #expect(abs(Double(leaned[64 * row + token]) - expected) < 1e-4)
            }
            #expect(abs(total - 1) < 1e-9)
        }
    }

    @Test func logProbabilityStaysThatOfTheModel() throws {
        let tiny = try TinyModel("gpt2")
        let texts = try write("gpt2", .beam(BeamSearch(width: 3)), style(2))
        let text = try #require(texts[0].first)
        let new = text.ids + (text.stop.map { [$0] } ?? [])
        let scores = withoutGradients { tiny.source.scores(of: [28, 34] + new).logSoftmax(-1) }.floats
        let expected = new.indices.reduce(0.0) { $0 + Double(scores[($1 + 1) * 64 + Int(new[$1])]) }
        #expect(abs(text.logProbability - expected) < 1e-3)
    }

    @Test func oddSentencesAreNoTrap() throws {
        for sentences: [[Int32]] in [[], [[]], [[5]], [[64, -1, 5]]] {
            let style = try TextStyle(sentences: sentences, end: 1, vocabularySize: 64, weight: 1)
            let scores = style.leaned(Tensor.zeros([1, 64]), texts: [[5, 64, 63]]).floats
            #expect(scores.allSatisfy(\.isFinite))
            #expect(style.meanLogProbability(of: []) == 0)
        }
        for (weight, order) in [(-1, 3), (.nan, 3), (11, 3), (1, 0), (1, 9)] as [(Double, Int)] {
            #expect(throws: GenerationError.self) { try style(weight, order: order) }
        }
    }
}
