import Foundation
import Testing
import TihuaModels
import TihuaTorch
import TihuaVerse

@testable import TihuaGeneration

/// Searches with rules of every kind, so that a property holds with them too.
private let rules = TokenRules(
    stop: [1, 7, 23, 40], suppressed: [3], minimumLength: 3, maximumLength: 12, repetitionPenalty: 1.2, noRepeatNGram: 3
)
private let searches: [(name: String, decoding: Decoding)] = [
    ("greedy", .greedy(rules: rules)),
    ("nucleus", Decoding(.sampling(Sampling(temperature: 1, topK: 0, topP: 0.8)), count: 5, rules: rules)),
    ("top-k", Decoding(.sampling(Sampling(temperature: 1.5, topK: 9, topP: 0.9)), count: 5, rules: rules)),
    ("all", Decoding(.sampling(Sampling(temperature: 1, topK: 0, topP: 1)), count: 5, rules: rules)),
    ("beams", Decoding(.beam(BeamSearch(width: 4)), count: 4, rules: rules)),
    ("contrastive", Decoding(.contrastive(ContrastiveSearch()), rules: rules)),
]
private let models = ["gpt2", "gpt2-prefix", "t5_relu", "t5_gated"]

/// Equal tokens and nearly equal probabilities.
private func expectEqual(
    _ a: [[GeneratedText]], _ b: [[GeneratedText]], _ comment: Comment? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(a.map { $0.map(\.ids) } == b.map { $0.map(\.ids) }, comment, sourceLocation: sourceLocation)
    #expect(a.map { $0.map(\.stop) } == b.map { $0.map(\.stop) }, comment, sourceLocation: sourceLocation)
    for (a, b) in zip(a.joined(), b.joined()) {
        #expect(abs(a.logProbability - b.logProbability) < 1e-3, comment, sourceLocation: sourceLocation)
        #expect(abs(a.score - b.score) < 1e-3, comment, sourceLocation: sourceLocation)
    }
}

@Suite struct TextGeneratorTests {
    /// Prompts of different lengths, and one that is shorter than an n-gram.
    private func prompts(_ model: String) -> [TextPrompt] {
        model.hasPrefix("gpt2")
            ? [TextPrompt(ids: [28, 34, 38, 38, 40], seed: 4), TextPrompt(ids: [35, 48], seed: 5)]
            : [TextPrompt(ids: [0, 9], seed: 4), TextPrompt(ids: [0, 30, 8, 11], seed: 5)]
    }

    @Test(arguments: models)
    func cacheChangesNothing(model: String) throws {
        let tiny = try TinyModel(model)
        for (name, decoding) in searches {
            let cached = try tiny.generator().generate(prompts(model), decoding)
            #expect(cached.count == 2 && cached.allSatisfy { $0.count == decoding.count }, "\(name)")
            expectEqual(cached, try tiny.generator(caching: false).generate(prompts(model), decoding), "\(name)")
        }
    }

    @Test(arguments: models)
    func textDoesNotDependOnItsBatch(model: String) throws {
        let tiny = try TinyModel(model)
        let prompts = prompts(model)
        for (name, decoding) in searches {
            let together = try tiny.generator().generate(prompts, decoding)
            let alone = try prompts.indices.flatMap {
                try tiny.generator(only: $0).generate([prompts[$0]], decoding)
            }
            expectEqual(together, alone, "\(name)")
        }
    }

    @Test func firstSamplesAreThoseOfASmallerNumber() throws {
        let tiny = try TinyModel("gpt2")
        var decoding = searches[1].decoding
        let many = try tiny.generator().generate(prompts("gpt2"), decoding)
        decoding.count = 2
        expectEqual(many.map { Array($0.prefix(2)) }, try tiny.generator().generate(prompts("gpt2"), decoding))
    }

    @Test func morePromptsThanABatchHolds() throws {
        let tiny = try TinyModel("gpt2")
        let prompts = (0..<31).map { TextPrompt(ids: [28, 34, Int32($0)], seed: UInt64($0)) }
        let texts = try tiny.generator().generate(prompts, searches[1].decoding)
        #expect(texts.count == 31)
        expectEqual([texts[29]], try tiny.generator().generate([prompts[29]], searches[1].decoding))
    }

    @Test(arguments: models)
    func searchesThatHaveNoChoiceAreGreedy(model: String) throws {
        let tiny = try TinyModel(model)
        // Beams penalise log-probabilities, so the penalty would differ.
        var rules = rules
        rules.repetitionPenalty = 1
        let greedy = try tiny.generator().generate(prompts(model), .greedy(rules: rules))
        let methods: [Decoding.Method] = [
            .beam(BeamSearch(width: 1)), .contrastive(ContrastiveSearch(candidates: 5, penalty: 0)),
            .contrastive(ContrastiveSearch(candidates: 1, penalty: 0.6)),
            .sampling(Sampling(temperature: 1, topK: 1, topP: 1)),
            .sampling(Sampling(temperature: 1, topK: 0, topP: 1e-9)),
            .sampling(Sampling(temperature: 0.001, topK: 0, topP: 1)),
            .sampling(Sampling(temperature: 0.001, topK: 0, topP: 0.9)),
        ]
        for method in methods {
            expectEqual(
                greedy, try tiny.generator().generate(prompts(model), Decoding(method, rules: rules)), "\(method)")
        }
    }

    @Test func moreBeamsFindNothingLessProbable() throws {
        let tiny = try TinyModel("gpt2")
        let rules = TokenRules(maximumLength: 6)
        let found = try [1, 4, 64].map { width in
            let search = BeamSearch(width: width, lengthPenalty: 0, ending: .certain)
            return try #require(
                try tiny.generator().generate([TextPrompt(ids: [35, 48])], Decoding(.beam(search), rules: rules))
                    .first?.first?.logProbability)
        }
        #expect(found[0] <= found[1] + 1e-4 && found[1] <= found[2] + 1e-4)
    }

    @Test(arguments: models)
    func logProbabilityIsThatOfTheModel(model: String) throws {
        let tiny = try TinyModel(model)
        let prompt = prompts(model)[0]
        for (name, decoding) in searches {
            let texts = try tiny.generator(only: 0).generate([prompt], decoding)
            for text in texts[0] {
                let new = text.ids + (text.stop.map { [$0] } ?? [])
                let all = prompt.ids + new
                let scores = withoutGradients { tiny.source.prompts(0..<1).scores(of: all).logSoftmax(-1) }
                #expect(scores.shape == [all.count, 64])
                let values = scores.floats
                let expected = new.indices.reduce(0.0) { sum, index in
                    sum + Double(values[(prompt.ids.count + index - 1) * 64 + Int(new[index])])
                }
                #expect(abs(text.logProbability - expected) < 1e-3, "\(name)")
                #expect(text.tokenCount == new.count)
                #expect(abs(text.meanLogProbability * Double(new.count) - expected) < 1e-3)
            }
        }
    }

    @Test(arguments: models)
    func rulesHold(model: String) throws {
        let tiny = try TinyModel(model)
        var rules = rules
        (rules.noRepeatNGram, rules.repetitionPenalty) = (2, 1)
        for (name, var decoding) in searches {
            decoding.rules = rules
            for (prompt, texts) in zip(
                prompts(model), try tiny.generator().generate(prompts(model), decoding))
            {
                for text in texts {
                    #expect(!text.ids.contains(3), "\(name)")
                    #expect(text.ids.allSatisfy { !rules.stop.contains($0) })
                    #expect(text.stop == nil ? text.ids.count == 12 : text.ids.count >= 3, "\(name) \(text)")
                    let all = prompt.ids + text.ids
                    let new = zip(all, all.dropFirst()).map { [$0, $1] }
                    #expect(Set(new.dropFirst(prompt.ids.count - 1)).count == text.ids.count, "\(name)")
                }
            }
        }
    }

    @Test func rulesThatForbidEverythingEndTheText() throws {
        let tiny = try TinyModel("gpt2")
        for (name, var decoding) in searches {
            let others = (0..<64).filter { $0 != 9 }.map(Int32.init)
            decoding.rules = TokenRules(suppressed: others, maximumLength: 6, noRepeatNGram: 2)
            // 9 may follow 35 and itself, once each.
            let texts = try tiny.generator().generate([TextPrompt(ids: [35])], decoding)
            #expect(texts[0].first?.ids == [9, 9], "\(name)")
            #expect(texts[0].first?.stop == nil)
            decoding.rules.suppressed = Array(0..<64)
            let nothing = try tiny.generator().generate([TextPrompt(ids: [35])], decoding)
            #expect(nothing[0].allSatisfy { $0.ids.isEmpty && $0.meanLogProbability == 0 }, "\(name)")
        }
    }

    @Test func presetIsThatOfClipCapChinese() throws {
        var decoding = Decoding.clipCapChinese(stop: 1, unknown: 3)
        #expect(decoding.count == 10 && decoding.rules.maximumLength == 101)
        #expect(decoding.method == .sampling(Sampling(temperature: 1, topK: 0, topP: 0.8)))
        decoding.rules.maximumLength = 20
        let tiny = try TinyModel("gpt2-prefix")
        let texts = try tiny.generator().generate([TextPrompt(seed: 1), TextPrompt(seed: 1)], decoding)
        #expect(texts.allSatisfy { $0.count == 10 })
        #expect(Set(texts[0].map(\.ids)).count > 5)
        #expect(texts[0].map(\.ids) != texts[1].map(\.ids))  // another prefix
    }

    @Test(
        arguments: [
            (Decoding(.beam(BeamSearch(width: 3)), count: 4), "3"), (.greedy(), ""),
            (Decoding(.beam(BeamSearch(width: 0))), "beams"), (Decoding(.sampling(.greedy), count: 2), "greedy"),
            (Decoding(.contrastive(ContrastiveSearch(penalty: 1.1))), "penalty"),
            (Decoding(.contrastive(ContrastiveSearch(candidates: 0))), "candidates"),
            (Decoding(.beam(BeamSearch(lengthPenalty: .nan))), "length penalty"),
            (Decoding(.sampling(Sampling()), rules: TokenRules(repetitionPenalty: 0)), "repetition"),
            (Decoding(.sampling(Sampling()), rules: TokenRules(maximumLength: 0)), "maximum"),
            (Decoding(.sampling(Sampling()), rules: TokenRules(minimumLength: 101)), "minimum"),
            (Decoding(.sampling(Sampling()), rules: TokenRules(noRepeatNGram: -1)), "n-gram"),
        ] as [(Decoding, String)])
    func settingsOutOfRangeAreErrorsOfOneLine(decoding: Decoding, message: String) throws {
        guard !message.isEmpty else { return try decoding.validate() }
        let error = try #require(#expect(throws: GenerationError.self) { try decoding.validate() })
        #expect(error.description.contains(message) && error.description.contains("give"))
        #expect(!error.description.contains("\n"))
    }

    @Test func badPromptsAreErrors() throws {
        let tiny = try TinyModel("gpt2")
        func failure(_ ids: [Int32], length: Int = 5) -> GenerationError? {
            #expect(throws: GenerationError.self) {
                try tiny.generator().generate(
                    [TextPrompt(ids: ids)], .greedy(rules: TokenRules(maximumLength: length)))
            }
        }
        #expect(failure([]) == .emptyPrompt)
        #expect(failure([5, 64]) == .token(id: 64, vocabularySize: 64))
        #expect(failure([-1]) == .token(id: -1, vocabularySize: 64))
        #expect(failure([5], length: 32) == .noRoom(prompt: 1, new: 32, positions: 32))
        #expect(try tiny.generator().generate([], .greedy()).isEmpty)
    }
}

@Suite struct TensorDrawTests {
    /// What the draw of one row would be with the whole vocabulary in order, by the definition.
    private func expected(_ scores: [Float], _ sampling: Sampling, _ uniform: Double) -> Set<Int> {
        let order = scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
        var weights = order.map { exp(Double(scores[$0] - scores[order[0]]) / sampling.temperature) }
        if sampling.topK > 0 { weights.removeLast(max(0, weights.count - sampling.topK)) }
        var total = weights.reduce(0, +)
        if sampling.topP < 1 {
            var (kept, end) = (0.0, 0)
            while kept < sampling.topP * total {
                kept += weights[end]
                end += 1
            }
            (weights, total) = (Array(weights.prefix(end)), kept)
        }
        // All whose stretch holds the number, give or take rounding.
        var (sum, found) = (0.0, Set<Int>())
        for (place, weight) in weights.enumerated() {
            if uniform * total < sum + weight + 1e-5, uniform * total > sum - 1e-5 { found.insert(order[place]) }
            sum += weight
        }
        return found
    }

    @Test(arguments: [0.1, 1, 8], [(0, 0.8), (0, 0.999), (50, 1), (50, 0.5), (3, 0.9)])
    func drawIsThatOfTheDefinition(width: Double, filter: (topK: Int, topP: Double)) {
        // Flat rows need the whole vocabulary, peaked ones a few of its tokens.
        let scores = Tensor.randn([6, 2000], generator: Generator(seed: 3)) * width
        let sampling = Sampling(temperature: 0.9, topK: filter.topK, topP: filter.topP)
        let uniforms = [0, 0.2, 0.5, 0.77, 0.95, 0.9999999]
        let drawn = sampling.draw(from: scores, uniforms: uniforms).array(of: Int64.self)
        for (row, uniform) in uniforms.enumerated() {
            let possible = expected(scores.selected(0, row).floats, sampling, uniform)
            #expect(possible.contains(Int(drawn[row])), "row \(row)")
        }
    }

    @Test(arguments: [(0, 1.0), (0, 0.7), (3, 1.0)])
    func frequenciesAreThoseOfTheSoftmax(filter: (topK: Int, topP: Double)) {
        var random = SplitMix64(seed: 8)
        let draws = 4000
        let scores = Tensor([Float](arrayLiteral: 0, 2, -.infinity, 1, -1), [1, 5]).expanded(draws, -1)
        let sampling = Sampling(temperature: 1, topK: filter.topK, topP: filter.topP)
        let drawn = sampling.draw(from: scores, uniforms: (0..<draws).map { _ in random.uniform() })
            .array(of: Int64.self)
        var shares = [0.0871, 0.6439, 0, 0.2369, 0.0321]
        if filter.topP < 1 { shares[0] = 0 }
        if filter.topP < 1 || filter.topK > 0 { shares[4] = 0 }
        let total = shares.reduce(0, +)
        for (token, share) in shares.enumerated() {
            let found = Double(drawn.count { $0 == token }) / Double(draws)
            #expect(abs(found - share / total) < 0.03 && (share > 0 || found == 0), "token \(token)")
        }
    }
}
