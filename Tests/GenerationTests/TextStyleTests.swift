import Foundation
import Testing
import TihuaModels
import TihuaTorch

@testable import TihuaGeneration

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
            #expect(try write(model, method, style(1)) != plain, "\(method)")
        }
    }

    /// The more weight, the likelier are texts by the n-grams of the sentences.
    @Test(arguments: ["gpt2", "gpt2-prefix", "t5_gated"])
    func moreWeightMakesTextsMoreLikeTheSentences(model: String) throws {
        let measure = try style(1)
        let sampling = Decoding.Method.sampling(Sampling(temperature: 1, topK: 0, topP: 1))
        let means = try [0, 0.25, 0.5, 0.75, 1].map { weight in
            let texts = try write(model, sampling, style(weight), count: 60)[0]
            return texts.reduce(0.0) {
                $0 + measure.meanLogProbability(of: $1.ids + ($1.stop.map { [$0] } ?? []), after: [28, 34])
            } / 60
        }
        // A little less is the draw of the samples.
        #expect(zip(means, means.dropFirst()).allSatisfy { $0 < $1 + 0.1 }, "\(means)")
        #expect(means[4] > means[0] + 1, "\(means)")
    }

    /// After 34 stands 38 twice and 50 once. Too few counts for estimates: of 2 is taken 1, of 1 a half, which leaves
    /// 1/3 and 1/6 of the probability, and the rest, a half, to the language model.
    @Test(arguments: [0.3, 0.7, 1])
    func scoresAreThoseOfTheModelAndOfTheSentences(weight: Double) throws {
        let style = try style(weight, order: 2)
        let scores = Tensor.randn([2, 64], generator: Generator(seed: 5))
        let lean = try #require(style.lean(scores, texts: [[28, 34], [28, 63]]))
        let (own, leaned) = (scores.logSoftmax(1).floats, (scores + lean).logSoftmax(1).floats)
        let expected = (0..<64).map { token in
            let share = token == 38 ? 1.0 / 3 : token == 50 ? 1.0 / 6 : 0
            return (1 - weight) * Double(own[token]) + weight * log(share + exp(Double(own[token])) / 2)
        }
        let total = log(expected.reduce(0) { $0 + exp($1) })
        #expect(zip(leaned, expected).allSatisfy { abs(Double($0) - $1 + total) < 1e-4 })
        // Where the sentences know nothing, nothing changes; nowhere does the sum over the vocabulary.
        #expect(zip(leaned[64...], own[64...]).allSatisfy { abs($0 - $1) < 1e-5 })
        #expect(zip((scores + lean).logSumExp(1).floats, scores.logSumExp(1).floats).allSatisfy { abs($0 - $1) < 1e-4 })
    }

    @Test func logProbabilityStaysThatOfTheModel() throws {
        let tiny = try TinyModel("gpt2")
        let texts = try write("gpt2", .beam(BeamSearch(width: 3)), style(0.8))
        let text = try #require(texts[0].first)
        let new = text.ids + (text.stop.map { [$0] } ?? [])
        let scores = withoutGradients { tiny.source.scores(of: [28, 34] + new).logSoftmax(-1) }.floats
        let expected = new.indices.reduce(0.0) { $0 + Double(scores[($1 + 1) * 64 + Int(new[$1])]) }
        #expect(abs(text.logProbability - expected) < 1e-3)
    }

    @Test func oddSentencesAreNoTrap() throws {
        for sentences: [[Int32]] in [[], [[]], [[5]], [[64, -1, 5]]] {
            let style = try TextStyle(sentences: sentences, end: 1, vocabularySize: 64, weight: 1)
            for text: [Int32] in [[], [5], [5, 64, 63], [-1]] {
                let lean = style.lean(Tensor.zeros([1, 64]), texts: [text[...]])
                #expect(lean?.floats.allSatisfy(\.isFinite) ?? true)
            }
            #expect(style.meanLogProbability(of: []) == 0)
        }
        for (weight, order) in [(-1, 3), (.nan, 3), (1.1, 3), (1, 0), (1, 9)] as [(Double, Int)] {
            #expect(throws: GenerationError.self) { try style(weight, order: order) }
        }
    }
}
