import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch

@testable import TihuaModels

@Suite struct T5Tests {
    static let fixtures = ["t5_relu", "t5_gated"]

    private func model(_ name: String, dtype: DType = .float32) throws -> T5 {
        try T5.open(folder(name), dtype: dtype).model
    }

    private func run(_ model: T5, _ golden: Golden) throws -> Tensor {
        let (source, present, ids) = try (golden["encoder_ids"], golden["present"], golden["ids"])
        return withoutGradients {
            let memory = model.encode(embeddings: model.embed(source), mask: present)
            return model.logits(model.hidden(ids, context: .init(memory: memory, memoryMask: present)))
        }
    }

    private func greedy(_ model: T5, _ source: Tensor, count: Int, cached: Bool) -> [Int] {
        withoutGradients {
            let memory = model.encode(embeddings: model.embed(source))
            let cache = cached ? model.makeCache(capacity: count) : nil
            var sequence = Tensor.ids([Int32(model.configuration.startTokenID)], [1, 1])
            var input = sequence
            var found: [Int] = []
            for _ in 0..<count {
                let hidden = model.hidden(cached ? input : sequence, context: .init(memory: memory), cache: cache)
                let logits = model.logits(hidden)
                input = logits.narrowed(1, logits.size(1) - 1..<logits.size(1)).argmax(-1)  // [1, 1]
                found += input.ids
                sequence = .concatenated([sequence, input], 1)
            }
            return found
        }
    }

    @Test(arguments: fixtures)
    func memoryAndLogitsAreThoseOfTransformers(_ name: String) throws {
        let golden = try Golden(name)
        let model = try model(name)
        let (source, present) = try (golden["encoder_ids"], golden["present"])
        let memory = withoutGradients { model.encode(embeddings: model.embed(source), mask: present) }
        // The padding's own states mean nothing, and the reference computes them its own way.
        try expectClose(memory.indexed(by: present), golden["memory"].indexed(by: present))
        try expectClose(run(model, golden), golden["logits"])
    }

    @Test(arguments: fixtures, [true, false])
    func greedyIDsAreThoseOfTransformers(_ name: String, cached: Bool) throws {
        let golden = try Golden(name)
        let source = try golden["encoder_ids"].narrowed(0, 0..<1)
        #expect(try greedy(model(name), source, count: 16, cached: cached) == golden["greedy"].ids)
    }

    @Test(arguments: fixtures, [[12], [5, 7], [1, 1, 10], Array(repeating: 1, count: 12)])
    func tokensInPiecesAreTokensAtOnce(_ name: String, pieces: [Int]) throws {
        let golden = try Golden(name)
        let model = try model(name)
        let (source, present, ids) = try (golden["encoder_ids"], golden["present"], golden["ids"])
        let cache = model.makeCache(capacity: 12)
        var start = 0
        let logits = withoutGradients {
            let memory = model.encode(embeddings: model.embed(source), mask: present)
            return pieces.map { piece in
                defer { start += piece }
                let tokens = ids.narrowed(1, start..<start + piece)
                return model.logits(
                    model.hidden(tokens, context: .init(memory: memory, memoryMask: present), cache: cache))
            }
        }
        #expect(cache.length == 12)
        try expectClose(.concatenated(logits, 1), golden["logits"])
    }

    @Test func paddingInTheSourceChangesNothing() throws {
        let golden = try Golden("t5_relu")
        let model = try model("t5_relu")
        let (source, ids) = try (golden["encoder_ids"], golden["ids"])
        let short = withoutGradients {
            let memory = model.encode(embeddings: model.embed(source.narrowed(0, 1..<2).narrowed(1, 0..<30)))
            return model.logits(model.hidden(ids.narrowed(0, 1..<2), context: .init(memory: memory)))
        }
        try expectClose(run(model, golden).narrowed(0, 1..<2), short)
    }

    @Test func aMemoryServesEveryCandidate() throws {
        let golden = try Golden("t5_gated")
        let model = try model("t5_gated")
        let source = try golden["encoder_ids"].narrowed(0, 1..<2)
        let present = try golden["present"].narrowed(0, 1..<2)
        let tails = Tensor.ids([3, 9, 20, 5, 6, 60], [3, 2])
        let start = Tensor.ids([0], [1, 1])
        let (found, moved, whole) = withoutGradients {
            let memory = model.encode(embeddings: model.embed(source), mask: present)
            let cache = model.makeCache(capacity: 3)
            _ = model.hidden(start, context: .init(memory: memory, memoryMask: present), cache: cache)
            cache.expand(batch: 3)
            let first = model.hidden(
                tails.narrowed(1, 0..<1), context: .init(memory: memory, memoryMask: present), cache: cache)
            let second = model.hidden(
                tails.narrowed(1, 1..<2), context: .init(memory: memory, memoryMask: present), cache: cache)
            cache.truncate(2)
            let order = Tensor.ids([2, 2, 0], [3])
            cache.reorder(by: order)
            let last = tails.narrowed(1, 1..<2).gatheringSlices(0, at: order)
            let moved = model.hidden(last, context: .init(memory: memory, memoryMask: present), cache: cache)
            let sequence = Tensor.concatenated([start.expanded(3, -1), tails], 1)
            let whole = model.hidden(
                sequence,
                context: .init(memory: memory.expanded(3, -1, -1), memoryMask: present.expanded(3, -1)))
            return (Tensor.concatenated([first, second], 1), moved, whole)
        }
        expectClose(found, whole.narrowed(1, 1..<3))
        expectClose(moved, whole.narrowed(1, 2..<3).gatheringSlices(0, at: .ids([2, 2, 0], [3])))
    }

    @Test(arguments: fixtures)
    func gradientsReachEveryParameter(_ name: String) throws {
        let golden = try Golden(name)
        let store = ParameterStore(seed: 1)
        let model = T5(try folder(name).configuration(), at: store.root)
        store.requireGradients()
        let (source, present, ids) = try (golden["encoder_ids"], golden["present"], golden["ids"])
        let dropout = Dropout(0.1, generator: Generator(seed: 2))
        let memory = model.encode(embeddings: model.embed(source), mask: present, dropout: dropout)
        let logits = model.logits(
            model.hidden(ids.narrowed(1, 0..<11), context: .init(memory: memory, memoryMask: present), dropout: dropout)
        )
        try Kernels.crossEntropy(logits.reshaped(22, 64), ids.narrowed(1, 1..<12).reshaped(22)).backward()
        for entry in store.parameters {
            let gradient = try #require(entry.tensor.gradient, "\(entry.name)")
            #expect(gradient.abs().max().item > 0, "\(entry.name)")
            #expect(gradient.isFinite().to(.float32).mean().item == 1, "\(entry.name)")
        }
    }

    @Test(arguments: fixtures, Runtime.KernelLevel.allCases)
    func bfloat16IsNearFloat32(_ name: String, level: Runtime.KernelLevel) throws {
        let golden = try Golden(name)
        let expected = try golden["logits"]
        let found = try Runtime.withKernels(level) { try run(model(name, dtype: .bfloat16), golden) }
        let error = (found - expected).square().mean().sqrt().item / expected.square().mean().sqrt().item
        #expect(error < 0.06)
        #expect(error > 1e-5, "not in bfloat16 at all")
    }

    @Test(arguments: [(32, 128), (8, 20), (16, 256)], [true, false])
    func bucketsAreThoseOfTransformers(_ shape: (Int, Int), bidirectional: Bool) throws {
        let golden = try Golden("t5_buckets")
        let expected = try golden["\(shape.0).\(shape.1).\(bidirectional)"].ids
        let found = try golden["distance"].ids.map {
            relativePositionBucket($0, bidirectional: bidirectional, count: shape.0, maximum: shape.1)
        }
        #expect(found == expected)
    }

    @Test(arguments: fixtures)
    func theConfigurationSurvivesItsFile(_ name: String) throws {
        let configuration: T5Configuration = try folder(name).configuration()
        let copy = try JSONDecoder().decode(T5Configuration.self, from: JSONEncoder().encode(configuration))
        #expect(copy == configuration)
        #expect(configuration.scalesOutput == (name == "t5_relu"))
        #expect(configuration.decoderLayerCount == (name == "t5_relu" ? 2 : 1))
    }

    @Test(arguments: [
        #"{"feed_forward_proj": "gated-swish"}"#, #"{"d_kv": 0}"#, #"{"num_layers": 100000000000}"#,
        #"{"relative_attention_num_buckets": 1}"#, #"{"relative_attention_max_distance": 0}"#, #"{"d_model": "wide"}"#,
    ])
    func refusesConfigurationsItCannotRun(_ json: String) throws {
        try withTemporaryFolder { url in
            var text = json
            text.replace("{", with: #"{"model_type": "t5", "#, maxReplacements: 1)
            try Data(text.utf8).write(to: url.appending(path: "config.json"))
            let folder = try ModelFolder(at: url)
            let message = failure { _ = try folder.configuration(as: T5Configuration.self) }
            #expect(isOneLine(message), "\(message)")
        }
    }
}
