import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch

@testable import TihuaModels

@Suite struct GPT2Tests {
    static let fixtures = ["gpt2", "gpt2_old"]

    private func model(_ name: String = "gpt2", dtype: DType = .float32) throws -> GPT2 {
        try GPT2.open(folder(name), dtype: dtype).model
    }

    private func run(_ model: GPT2, _ ids: Tensor, cache: KeyValueCache? = nil) -> Tensor {
        withoutGradients { model.logits(model.hidden(ids, cache: cache)) }
    }

    private func greedy(_ model: GPT2, _ prompt: Tensor, count: Int, cached: Bool) -> [Int] {
        let cache = cached ? model.makeCache(capacity: prompt.size(1) + count) : nil
        var sequence = prompt
        var input = prompt
        var found: [Int] = []
        for _ in 0..<count {
            let logits = run(model, cached ? input : sequence, cache: cache)
            let next = logits.narrowed(1, logits.size(1) - 1..<logits.size(1)).argmax(-1)  // [1, 1]
            found += next.ids
            sequence = .concatenated([sequence, next], 1)
            input = next
        }
        return found
    }

    @Test(arguments: fixtures)
    func logitsAreThoseOfTransformers(_ name: String) throws {
        let golden = try Golden(name)
        try expectClose(run(model(name), golden["ids"]), golden["logits"])
    }

    @Test(arguments: fixtures, [true, false])
    func greedyIDsAreThoseOfTransformers(_ name: String, cached: Bool) throws {
        let golden = try Golden(name)
        #expect(try greedy(model(name), golden["prompt"], count: 16, cached: cached) == golden["greedy"].ids)
    }

    @Test func aBatchIsItsRowsOneByOne() throws {
        let golden = try Golden("gpt2")
        let model = try model()
        let ids = try golden["ids"]
        let rows = (0..<2).map { run(model, ids.narrowed(0, $0..<$0 + 1)) }
        expectClose(.concatenated(rows, 0), run(model, ids))
    }

    @Test(arguments: [[12], [5, 7], [1, 1, 10], [4, 3, 1, 4], Array(repeating: 1, count: 12)])
    func tokensInPiecesAreTokensAtOnce(_ pieces: [Int]) throws {
        let golden = try Golden("gpt2")
        let model = try model()
        let ids = try golden["ids"]
        let cache = model.makeCache(capacity: 12)
        var start = 0
        let logits = pieces.map { piece in
            defer { start += piece }
            return run(model, ids.narrowed(1, start..<start + piece), cache: cache)
        }
        #expect(cache.length == 12)
        try expectClose(.concatenated(logits, 1), golden["logits"])
    }

    @Test func paddingOnTheLeftChangesNothing() throws {
        let golden = try Golden("gpt2")
        let model = try model()
        let (ids, present) = try (golden["ids"], golden["present"])
        let logits = withoutGradients {
            model.logits(
                model.hidden(
                    ids, positions: positionIDs(present: present), mask: causalMask(present: present, last: 12)))
        }
        try expectClose(logits.narrowed(1, 5..<12), golden["padded_logits"])
        let alone = run(model, ids.narrowed(0, 0..<1).narrowed(1, 5..<12))
        expectClose(logits.narrowed(0, 0..<1).narrowed(1, 5..<12), alone)
        #expect(logits.isFinite().to(.float32).mean().item == 1)
    }

    @Test func paddedRowsContinueFromACache() throws {
        let golden = try Golden("gpt2")
        let model = try model()
        let (ids, present) = try (golden["ids"], golden["present"])
        let cache = model.makeCache(capacity: 12)
        let positions = positionIDs(present: present)
        let logits = withoutGradients {
            [0..<9, 9..<10, 10..<12].map { piece in
                let mask = causalMask(present: present.narrowed(1, 0..<piece.upperBound), last: piece.count)
                return model.logits(
                    model.hidden(
                        ids.narrowed(1, piece), positions: positions.narrowed(1, piece), mask: mask, cache: cache))
            }
        }
        try expectClose(Tensor.concatenated(logits, 1).narrowed(1, 5..<12), golden["padded_logits"])
    }

    @Test func aPromptServesEveryCandidate() throws {
        let golden = try Golden("gpt2")
        let model = try model()
        let prompt = try golden["prompt"]
        let tails = Tensor.ids([3, 9, 20, 5, 6, 60], [3, 2])
        let cache = model.makeCache(capacity: 6)
        _ = run(model, prompt, cache: cache)
        cache.expand(batch: 3)
        let found = run(model, tails, cache: cache)
        let whole = run(model, .concatenated([prompt.expanded(3, -1), tails], 1))
        expectClose(found, whole.narrowed(1, 4..<6))
    }

    @Test func candidatesChangePlaces() throws {
        let golden = try Golden("gpt2")
        let model = try model()
        let ids = try golden["ids"]
        let cache = model.makeCache(capacity: 12)
        _ = run(model, ids.narrowed(1, 0..<11), cache: cache)
        let order = Tensor.ids([1, 1, 0], [3])
        cache.reorder(by: order)
        let last = ids.narrowed(1, 11..<12).gatheringSlices(0, at: order)
        let expected = try golden["logits"].narrowed(1, 11..<12).gatheringSlices(0, at: order)
        expectClose(run(model, last, cache: cache), expected)
    }

    @Test func forgottenTokensLeaveNoTrace() throws {
        let golden = try Golden("gpt2")
        let model = try model()
        let ids = try golden["ids"]
        let cache = model.makeCache(capacity: 12)
        _ = run(model, ids.narrowed(1, 0..<6), cache: cache)
        _ = run(model, .ids([7, 7, 7, 7], [2, 2]), cache: cache)
        cache.truncate(6)
        #expect(cache.length == 6)
        try expectClose(run(model, ids.narrowed(1, 6..<12), cache: cache), golden["logits"].narrowed(1, 6..<12))
    }

    @Test func aPrefixOfEmbeddingsIsAPrefixOfTokens() throws {
        let golden = try Golden("gpt2")
        let model = try model()
        let ids = try golden["ids"]
        let logits = withoutGradients {
            model.logits(
                model.hidden(ids.narrowed(1, 4..<12), context: .init(prefix: model.embed(ids.narrowed(1, 0..<4)))))
        }
        try expectClose(logits, golden["logits"])
    }

    @Test(arguments: [DType.float32, .bfloat16])
    func gradientsReachEveryParameter(_ computeType: DType) throws {
        let golden = try Golden("gpt2")
        let store = ParameterStore(seed: 1)
        let model = GPT2(try folder("gpt2").configuration(), computeType: computeType, at: store.root)
        store.requireGradients()
        let ids = try golden["ids"]
        let generator = Generator(seed: 2)
        let hidden = model.hidden(ids.narrowed(1, 0..<11), dropout: Dropout(0.1, generator: generator))
        #expect(hidden.dtype == computeType)
        let logits = model.logits(hidden)
        #expect(logits.dtype == .float32)
        try Kernels.crossEntropy(logits.reshaped(22, 64), ids.narrowed(1, 1..<12).reshaped(22)).backward()
        for entry in store.parameters {
            let gradient = try #require(entry.tensor.gradient, "\(entry.name)")
            // The bias of the keys shifts all scores of a query alike, so its gradient is zero, up to rounding.
            #expect(gradient.abs().max().item > 0, "\(entry.name)")
            #expect(gradient.isFinite().to(.float32).mean().item == 1, "\(entry.name)")
        }
    }

    @Test func aFewStepsOfTrainingLowerTheLoss() throws {
        let golden = try Golden("gpt2")
        let store = ParameterStore(seed: 1)
        let model = GPT2(try folder("gpt2").configuration(), at: store.root)
        let optimizer = AdamW(store)
        let ids = try golden["ids"]
        var losses: [Double] = []
        for _ in 0..<20 {
            let logits = model.logits(model.hidden(ids.narrowed(1, 0..<11)))
            let loss = Kernels.crossEntropy(logits.reshaped(22, 64), ids.narrowed(1, 1..<12).reshaped(22))
            try loss.backward()
            try optimizer.step(learningRate: 0.01)
            losses.append(loss.item)
        }
        let (first, last) = try (#require(losses.first), #require(losses.last))
        #expect(abs(first - log(64)) < 0.2)  // a new model knows nothing
        #expect(last < 0.5 * first)
    }

    @Test func bfloat16IsNearFloat32() throws {
        let golden = try Golden("gpt2")
        let expected = try golden["logits"]
        let found = try run(model(dtype: .bfloat16), golden["ids"])
        let error = (found - expected).square().mean().sqrt().item / expected.square().mean().sqrt().item
        #expect(error < 0.03)
        #expect(error > 1e-5, "not in bfloat16 at all")
    }

    @Test func theConfigurationSurvivesItsFile() throws {
        var configuration: GPT2Configuration = try folder("gpt2").configuration()
        configuration.activation = .relu
        configuration.eosTokenID = nil
        let copy = try JSONDecoder().decode(GPT2Configuration.self, from: JSONEncoder().encode(configuration))
        #expect(copy == configuration)
    }

    @Test func tokensOutsideTheVocabularyAreNone() throws {
        let configuration: GPT2Configuration = try folder("gpt2_old").configuration()
        #expect(configuration.eosTokenID == nil && configuration.bosTokenID == nil)
        #expect(configuration.positionCount == 32)  // from n_ctx
    }

    /// Python's json writes these words, and newer files of transformers hold lists of tokens.
    @Test func whatPythonWritesIsRead() throws {
        try withTemporaryFolder { url in
            func read(_ rest: String) throws -> GPT2Configuration {
                let json = #"{"model_type": "gpt2", "vocab_size": 10, \#(rest)}"#
                try Data(json.utf8).write(to: url.appending(path: "config.json"))
                return try ModelFolder(at: url).configuration()
            }
            let odd = try read(
                #""attn_pdrop": NaN, "x": [Infinity, -Infinity], "name": "a \"NaN\" -Infinity", "eos_token_id": [3, 99, 1]"#
            )
            #expect(odd.attentionDropout == 0.1 && odd.eosTokenIDs == [3, 1] && odd.eosTokenID == 3)
            #expect(try JSONDecoder().decode(GPT2Configuration.self, from: JSONEncoder().encode(odd)) == odd)
            #expect(try read(#""eos_token_id": null, "bos_token_id": [4]"#).bosTokenID == 4)
            let broken = failure { _ = try read(#""attn_pdrop": Nan"#) }
            #expect(isOneLine(broken) && broken.contains("JSON"), "\(broken)")
        }
        let t5 = #"{"vocab_size": 10, "eos_token_id": [1, 5], "pad_token_id": [0]}"#
        #expect(try JSONDecoder().decode(T5Configuration.self, from: Data(t5.utf8)).eosTokenIDs == [1, 5])
    }

    @Test(arguments: [
        #"{"activation_function": "swish"}"#, #"{"n_embd": 10, "n_head": 3}"#, #"{"n_layer": 0}"#,
        #"{"n_embd": -4, "n_head": 2}"#, #"{"n_embd": 9000000000000000000}"#, #"{"tie_word_embeddings": false}"#,
        #"{"scale_attn_by_inverse_layer_idx": true}"#, #"{"layer_norm_epsilon": "small"}"#, #"{"n_head": 1.5}"#,
    ])
    func refusesConfigurationsItCannotRun(_ json: String) throws {
        try withTemporaryFolder { url in
            var text = json
            text.replace("{", with: #"{"model_type": "gpt2", "#, maxReplacements: 1)
            try Data(text.utf8).write(to: url.appending(path: "config.json"))
            let folder = try ModelFolder(at: url)
            let message = failure { _ = try folder.configuration(as: GPT2Configuration.self) }
            #expect(isOneLine(message), "\(message)")
        }
    }
}
