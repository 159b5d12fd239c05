import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch

/// The optimiser, schedules, averages and the store of parameters.
@Suite struct TrainingToolsTests {
    @Test func adamWIsPyTorchs() throws {
        let golden = try Golden("adamw")
        let store = ParameterStore(seed: 1)
        let layer = Linear(3, 4, at: store.root)
        try store.load(names: ["weight", "bias"]) { try golden[$0] }
        let optimizer = AdamW(store, .init(beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.3))
        let (x, y) = (try golden["x"], try golden["y"])
        var losses: [Double] = []
        var norms: [Double] = []
        for step in 0..<20 {
            let loss = (layer(x) - y).square().mean()
            try loss.backward()
            norms.append(optimizer.clipGradients(maximum: 0.8))
            losses.append(loss.item)
            if step == 0 {
                #expect(difference(try #require(layer.weight.gradient), try golden["clippedWeight"]) == nil)
                #expect(difference(try #require(layer.bias?.gradient), try golden["clippedBias"]) == nil)
            }
            try optimizer.step(learningRate: 0.05)
            #expect(layer.weight.gradient == nil)
        }
        #expect(norms.contains { $0 > 0.8 } && norms.contains { $0 < 0.8 }, "both sides of the limit")
        #expect(difference(Tensor(losses), try golden["losses"]) == nil)
        #expect(difference(Tensor(norms), try golden["norms"], rtol: 1e-4) == nil)
        #expect(difference(layer.weight, try golden["finalWeight"]) == nil)
        #expect(difference(try #require(layer.bias), try golden["finalBias"]) == nil)
        let moments = try #require(optimizer.moments.first { $0.name == "weight" })
        #expect(difference(moments.first, try golden["firstMoment"], rtol: 1e-4) == nil)
        #expect(difference(moments.second, try golden["secondMoment"], rtol: 1e-4) == nil)
        #expect(optimizer.step == 20)
    }

    /// torch.optim.Muon, up to the bfloat16 of its orthogonalisation (the steps sum to 0.2 and more), however the
    /// matrices are shared out, and in either type.
    @Test(arguments: [1, 2], [DType.bfloat16, .float32])
    func muonIsPyTorchs(workers: Int, computeType: DType) throws {
        let golden = try Golden("muon")
        let store = ParameterStore(seed: 1)
        let wide = store.root.parameter("wide", [4, 10], .zeros)
        let tall = store.root.parameter("tall", [9, 3], .zeros)
        let bias = store.root.parameter("bias", [2], .ones)
        try store.load(names: ["wide", "tall", "bias"]) { $0 == "bias" ? .ones([2]) : try golden[$0] }
        let optimizer = Muon(store, .init(weightDecay: 0.3), momentum: 0.9, workers: workers, computeType: computeType)
        #expect(Set(optimizer.state.map(\.name)) == ["mean/wide", "mean/tall", "first/bias", "second/bias"])
        for step in 0..<6 {
            wide.addGradient(try golden["wideGradients"].selected(0, step).contiguous())
            tall.addGradient(try golden["tallGradients"].selected(0, step).contiguous())
            bias.addGradient(.ones([2]))
            try optimizer.step(learningRate: 0.05)
        }
        #expect(difference(wide, try golden["finalWide"], atol: 5e-3) == nil)
        #expect(difference(tall, try golden["finalTall"], atol: 5e-3) == nil)
        #expect(bias.floats.allSatisfy { $0 < 1 }, "what is no matrix goes by AdamW")
        #expect(optimizer.step == 6 && wide.gradient == nil && bias.gradient == nil)
    }

    @Test func gradientsThatAreNotFiniteAreNotScaled() throws {
        let store = ParameterStore(seed: 1)
        let weight = store.root.parameter("w", [2], .ones)
        let optimizer = AdamW(store)
        try (weight * Tensor([Float.infinity, 1])).sum().backward()
        #expect(optimizer.clipGradients(maximum: 1) == .infinity)
        #expect(weight.gradient?.floats == [.infinity, 1])
    }

    @Test func frozenParametersStay() throws {
        let store = ParameterStore(seed: 1)
        let (a, b) = (Linear(2, 2, bias: false, at: store.root / "a"), Linear(2, 2, bias: false, at: store.root / "b"))
        let before = (a.weight.floats, b.weight.floats)
        let optimizer = AdamW(store, frozen: { $0.hasPrefix("a.") })
        try b(a(.ones([1, 2]))).sum().backward()
        try optimizer.step(learningRate: 0.1)
        #expect(a.weight.floats == before.0)
        #expect(b.weight.floats != before.1)
        #expect(optimizer.moments.map(\.name) == ["b.weight"])
    }

    @Test func aRestoredOptimizerContinuesBitForBit() throws {
        func made() throws -> (Linear, AdamW, ParameterStore) {
            let store = ParameterStore(seed: 4)
            let layer = Linear(3, 2, at: store.root)
            return (layer, AdamW(store), store)
        }
        func train(_ layer: Linear, _ optimizer: AdamW, _ steps: Int) throws {
            for _ in 0..<steps {
                try layer(.ones([1, 3])).square().sum().backward()
                try optimizer.step(learningRate: 0.01)
            }
        }
        let (layer, optimizer, _) = try made()
        try train(layer, optimizer, 3)
        let (copy, other, store) = try made()
        try store.load(names: ["weight", "bias"]) { $0 == "weight" ? layer.weight : try #require(layer.bias) }
        let stored = Dictionary(uniqueKeysWithValues: optimizer.moments.map { ($0.name, $0) })
        try other.restore(step: 3) { name in
            let moments = try #require(stored[name])
            return (moments.first, moments.second)
        }
        try train(layer, optimizer, 3)
        try train(copy, other, 3)
        #expect(copy.weight.floats == layer.weight.floats)
        #expect(throws: ParameterError.shape(name: "weight", expected: [2, 3], found: [1])) {
            try other.restore(step: 9) { _ in (.ones([1]), .ones([1])) }
        }
        #expect(other.step == 6)
    }

    // MARK: - Schedules

    @Test(arguments: [
        ("linear", Schedule.linear(peak: 3e-4, warmup: 10, total: 50)),
        ("constant", .constant(peak: 3e-4, warmup: 10)),
        ("cosine", .cosine(peak: 3e-4, warmup: 10, total: 50, floor: 0.1)),
    ]) func schedulesAreLambdaLRs(_ name: String, _ schedule: Schedule) throws {
        let rates = Tensor((0..<60).map(schedule.rate(at:)))
        #expect(difference(rates, try Golden("schedules")[name], rtol: 1e-12, atol: 0) == nil)
    }

    @Test func schedulesReachTheirEnds() {
        let cosine = Schedule.cosine(peak: 1, warmup: 0, total: 10, floor: 0.2)
        #expect(cosine.rate(at: 0) == 1)
        #expect(abs(cosine.rate(at: 5) - 0.6) < 1e-12)
        #expect(abs(cosine.rate(at: 10) - 0.2) < 1e-12 && cosine.rate(at: 1000) == cosine.rate(at: 10))
        #expect(Schedule.linear(peak: 1, warmup: 4, total: 8).rate(at: 8) == 0)
        let trapezoid = Schedule.trapezoid(peak: 2, warmup: 10, total: 100)
        #expect(trapezoid.rate(at: 4) == 1 && trapezoid.rate(at: 10) == 2 && trapezoid.rate(at: 70) == 2)
        #expect(abs(trapezoid.rate(at: 85) - 1) < 1e-12 && trapezoid.rate(at: 100) == 0 && trapezoid.rate(at: 101) == 0)
        // What is learned before the fall does not depend on the length of the run.
        let longer = Schedule.trapezoid(peak: 2, warmup: 10, total: 1000)
        #expect((0...70).allSatisfy { longer.rate(at: $0) == trapezoid.rate(at: $0) })
        #expect(Schedule.linear(peak: 1, warmup: 4, total: 4).rate(at: 9) == 0, "no steps after the warm-up")
    }

    // MARK: - Averages

    @Test func averagesFollowTheFormula() {
        let store = ParameterStore(seed: 1)
        let weight = store.root.parameter("w", [1], .zeros)
        let average = ExponentialMovingAverage(store, decay: 0.9)
        var expected = 0.0
        for step in 1...200 {
            withoutGradients { weight.fill_(Double(step)) }
            average.update(step: step)
            let decay = min(0.9, Double(1 + step) / Double(10 + step))
            expected = decay * expected + (1 - decay) * Double(step)
        }
        #expect(abs((average.shadows["w"]?.item ?? 0) - expected) < 1e-3)
    }

    @Test func averagesStandInTheModelOnlyWhileAsked() {
        struct Stop: Error {}
        let store = ParameterStore(seed: 1)
        let weight = store.root.parameter("w", [2], .ones)
        store.requireGradients()
        let average = ExponentialMovingAverage(store, decay: 0.5)
        withoutGradients { weight.fill_(5) }
        #expect(average.withAverages { weight.floats } == [1, 1])
        #expect(weight.floats == [5, 5])
        #expect(throws: Stop.self) { try average.withAverages { throw Stop() } }
        #expect(weight.floats == [5, 5] && average.shadows["w"]?.floats == [1, 1])
        #expect(weight.requiresGradient)
    }

    // MARK: - The store

    private func store() -> ParameterStore {
        let store = ParameterStore(seed: 7)
        _ = Linear(2, 3, at: store.root / "layer" / 0)
        _ = BatchNorm(3, at: store.root / "norm")
        return store
    }

    private static let names = [
        "layer.0.weight", "layer.0.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
        "norm.num_batches_tracked",
    ]

    @Test func namesAndGroupsAreThoseOfPyTorch() {
        let store = store()
        #expect(store.entries.map(\.name) == Self.names)
        #expect(store.parameters.map(\.name) == Array(Self.names.prefix(4)))
        #expect(store.entries.filter { $0.group == .decayed }.map(\.name) == ["layer.0.weight"])
        #expect(store.parameterCount == 15)
        #expect(store["norm.num_batches_tracked"]?.dtype == .int64)
        #expect(store["nothing"] == nil)
    }

    @Test func aSeedGivesTheSameModel() {
        let (a, b) = (store(), store())
        #expect(a["layer.0.weight"]?.floats == b["layer.0.weight"]?.floats)
        let spread = ParameterStore(seed: 1).root.parameter("w", [100, 100], .normal(std: 0.02)).floats
        #expect(abs(spread.reduce(0) { $0 + Double($1 * $1) } / 10_000 - 0.0004) < 2e-5)
        let bounded = ParameterStore(seed: 1).root.parameter("w", [1000], .uniform(bound: 0.5)).floats
        #expect(
            bounded.allSatisfy { abs($0) <= 0.5 } && bounded.contains { $0 > 0.4 } && bounded.contains { $0 < -0.4 })
    }

    @Test func loadingTakesEverything() throws {
        let (source, target) = (store(), ParameterStore(seed: nil))
        _ = Linear(2, 3, at: target.root / "layer" / 0)
        _ = BatchNorm(3, at: target.root / "norm")
        try target.load(names: Self.names) { try #require(source[$0]) }
        for name in Self.names {
            #expect(try difference(#require(target[name]), #require(source[name])) == nil)
        }
    }

    @Test func missingUnexpectedAndMisshapenAreThreeErrors() throws {
        let store = store()
        let before = store["layer.0.weight"]?.floats
        func load(_ names: [String], _ shape: [String: [Int]] = [:]) -> ParameterError? {
            do {
                try store.load(names: names) { name in
                    .zeros(shape[name] ?? store[name]?.shape ?? [])
                }
                return nil
            } catch { return error as? ParameterError }
        }
        #expect(load(Array(Self.names.dropFirst(2))) == .missing(["layer.0.weight", "layer.0.bias"]))
        #expect(load(Self.names + ["z", "head.weight"]) == .unexpected(["head.weight", "z"]))
        // A [1] would broadcast into a [3], a [3, 1] into a [3, 2].
        #expect(
            load(Self.names, ["layer.0.weight": [3, 1]])
                == .shape(name: "layer.0.weight", expected: [3, 2], found: [3, 1]))
        #expect(store["layer.0.weight"]?.floats == before)
        #expect(load(Self.names, ["norm.bias": [1]]) == .shape(name: "norm.bias", expected: [3], found: [1]))
        #expect(
            load(Self.names, ["norm.num_batches_tracked": [1]])
                == .shape(name: "norm.num_batches_tracked", expected: [], found: [1]))
        #expect(load(Self.names) == nil)
    }

    @Test func errorsListAtMostEightNamesOnOneLine() {
        let text = ParameterError.missing((0..<20).map { "w\($0)" }).description
        #expect(text == "the checkpoint lacks 20 parameters: w0, w1, w2, w3, w4, w5, w6, w7, ...")
        #expect(
            ParameterError.shape(name: "w", expected: [2], found: [1]).description
                == "parameter w: expected shape [2], found [1]")
    }

    @Test(.enabled(if: exitTestsWork, "needs processes of its own")) func declaringANameTwiceTraps() async throws {
        let result = try await #require(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let store = ParameterStore(seed: 1)
            _ = Linear(1, 1, at: store.root / "a")
            _ = Linear(1, 1, at: store.root / "a")
        }
        let text = String(decoding: result.standardErrorContent, as: UTF8.self)
        #expect(text.contains("parameter a.weight is declared twice"))
    }

    @Test func layersComputeInTheTypeOfTheirInput() {
        let store = ParameterStore(seed: 2)
        let block = Block(width: 8, heads: 2, at: store.root)
        let x = Tensor.randn([1, 4, 8], generator: Generator(seed: 1))
        let wide = block(x)
        let narrow = block(x.to(.bfloat16))
        #expect(wide.dtype == .float32 && narrow.dtype == .bfloat16)
        #expect(difference(narrow, wide, rtol: 0.03, atol: 0.03) == nil)
    }

    @Test func batchNormCountsItsBatches() {
        let store = ParameterStore(seed: 2)
        let norm = BatchNorm(3, at: store.root)
        let x = Tensor.randn([4, 3, 2, 2], generator: Generator(seed: 1))
        _ = norm(x, train: true)
        let mean = norm.runningMean.floats
        _ = norm(x, train: false)
        #expect(norm.batchesTracked.item == 1)
        #expect(norm.runningMean.floats == mean && mean != [0, 0, 0])
    }
}
