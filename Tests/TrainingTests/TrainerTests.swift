import Foundation
import Testing
import TihuaCorpora
import TihuaFiles
import TihuaModels
import TihuaNN
import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

@testable import TihuaTraining

@Suite struct TrainerTests {
    /// Every tensor and the place in the data, as bytes.
    private func content(of folder: URL) throws -> (tensors: [String: [UInt8]], metadata: [String: String]) {
        let file = try SafetensorsFile(contentsOf: folder.appending(path: "checkpoint.safetensors"))
        let tensors = file.tensors.map { ($0.name, $0.contiguousBytes()) }
        return (Dictionary(tensors, uniquingKeysWith: { first, _ in first }), file.metadata)
    }

    private func expectEqualCheckpoints(_ first: URL, _ second: URL) throws {
        let (a, b) = (try content(of: first), try content(of: second))
        let different = Set(a.tensors.keys).union(b.tensors.keys).filter { a.tensors[$0] != b.tensors[$0] }
        #expect(different.isEmpty, "\(different.sorted().prefix(5))")
        #expect(a.metadata == b.metadata)
        for part in ["model/", "first/", "second/", "average/"] {
            #expect(a.tensors.keys.contains { $0.hasPrefix(part) }, "\(part)")
        }
    }

    /// Parameters, moments, averages, generators, the place in the data and the best validation; over the end of an
    /// epoch.
    @Test(arguments: Toy.allCases)
    func aContinuedRunIsBitForBitTheUninterruptedOne(toy: Toy) throws {
        let scratch = try Scratch()
        let run = toyRun()
        #expect(try train(toy.task(run, in: scratch), run, in: scratch["whole"]) == .finished)
        #expect(try train(toy.task(run, in: scratch), run, in: scratch["parts"], interruptedAt: 3) == .interrupted)
        let middle = try content(of: scratch["parts"])
        #expect(middle.metadata["progress"]?.contains("\"step\":3") == true)
        #expect(try train(toy.task(run, in: scratch), run, in: scratch["parts"], resume: true) == .finished)
        try expectEqualCheckpoints(scratch["whole"], scratch["parts"])
        if [.gpt2, .t5, .image2poemGPT2, .image2poemT5].contains(toy) {
            #expect(middle.tensors["generator/dropout"] != nil)
            #expect(
                try content(of: scratch["parts"]).tensors["generator/dropout"] != middle.tensors["generator/dropout"])
        }
    }

    @Test(arguments: Toy.allCases)
    func aSeedNamesARun(toy: Toy) throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 2)
        try train(toy.task(run, in: scratch), run, in: scratch["a"])
        try train(toy.task(run, in: scratch), run, in: scratch["b"])
        try expectEqualCheckpoints(scratch["a"], scratch["b"])
        run.seed = 2
        try train(toy.task(run, in: scratch), run, in: scratch["c"])
        let (a, c) = (try content(of: scratch["a"]).tensors, try content(of: scratch["c"]).tensors)
        #expect(a.keys == c.keys && a != c)
    }

    @Test(arguments: [Toy.gpt2, .t5, .image2poemGPT2, .image2poemT5, .clipResNet])
    func theLossFalls(toy: Toy) throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 20)
        run.learningRate = 0.01
        run.accumulation = 1
        run.averageDecay = 0
        let task = try toy.task(run, in: scratch)
        func mean() throws -> Double {
            try withoutGradients {
                let count = task.batchCount(epoch: 0)
                return try (0..<count).reduce(0) { try $0 + task.loss(epoch: 0, batch: $1).loss.item } / Double(count)
            }
        }
        Runtime.threadCount = 1
        let before = try mean()
        #expect(before.isFinite)
        try train(task, run, in: scratch["run"])
        let after = try mean()
        #expect(after < 0.9 * before, "\(before) -> \(after)")
    }

    @Test(arguments: [Toy.gpt2, .t5, .image2poemGPT2, .image2poemT5])
    func theSavedPoetLoadsWithItsVocabulary(toy: Toy) throws {
        let scratch = try Scratch()
        let run = toyRun(steps: 2)
        try train(toy.task(run, in: scratch), run, in: scratch["run"])
        let folder = try ModelFolder(at: scratch["run"].appending(path: "best"))
        let vocabulary = try String(contentsOf: #require(folder.file("vocab.txt")), encoding: .utf8)
        let tokens = vocabulary.split(separator: "\n").map(String.init)
        let format = try PoetFormat(tokens: tokens)
        #expect(format.kind == (toy == .gpt2 || toy == .t5 ? .tihua : .image2poem))
        if toy == .gpt2 || toy == .image2poemGPT2 {
            let model = try GPT2.open(folder).model
            #expect(model.configuration.vocabularySize == tokens.count)
            #expect(model.configuration.bosTokenID == tokens.firstIndex(of: "[CLS]"))
            #expect(model.configuration.eosTokenID == tokens.firstIndex(of: toy == .gpt2 ? "[EOS]" : "[SEP]"))
        } else {
            let model = try T5.open(folder).model
            #expect(model.configuration.vocabularySize == tokens.count)
            #expect(model.configuration.startTokenID == tokens.firstIndex(of: "[CLS]"))
            #expect(model.configuration.eosTokenID == tokens.firstIndex(of: toy == .t5 ? "[EOS]" : "[SEP]"))
        }
        if toy == .gpt2 { #expect(try PoetVocabulary(contentsOf: #require(folder.file("vocab.txt"))).tokens == tokens) }
    }

    @Test(arguments: [Toy.clipResNet, .clipTransformer])
    func theSavedTowersLoad(toy: Toy) throws {
        let scratch = try Scratch()
        let run = toyRun(steps: 2)
        try train(toy.task(run, in: scratch), run, in: scratch["run"])
        let folder = try ModelFolder(at: scratch["run"].appending(path: "best"))
        let model = try ChineseCLIP.open(folder.url).model
        #expect(model.configuration.imageSize == 32)
        #expect(folder.file("vocab.txt") != nil && folder.file("preprocessor_config.json") != nil)
    }

    /// Batches of equal size: their mean is the mean over all their tokens.
    @Test func twoHalfBatchesAreOneBatch() throws {
        let scratch = try Scratch()
        func moments(batchTokens: Int, accumulation: Int) throws -> [String: [Float]] {
            var run = toyRun(steps: 1)
            run.accumulation = accumulation
            let task = try Toy.gpt2.task(run, in: scratch) {
                $0.batchTokens = batchTokens
                $0.dropout = 0
                $0.holdOut = 0
            }
            #expect(task.batchCount(epoch: 0) == accumulation)
            let folder = scratch["\(accumulation)"]
            try train(task, run, in: folder)
            let file = try SafetensorsFile(contentsOf: folder.appending(path: "checkpoint.safetensors"))
            return Dictionary(
                uniqueKeysWithValues: file.tensors.filter { $0.name.hasPrefix("first/") }.map {
                    ($0.name, $0.floats() ?? [])
                })
        }
        // 48 quatrains of about 40 tokens.
        let whole = try moments(batchTokens: 48 * 40, accumulation: 1)
        let halves = try moments(batchTokens: 24 * 40, accumulation: 2)
        #expect(!whole.isEmpty && whole.keys == halves.keys)
        for (name, values) in whole {
            let largest = values.map(abs).max() ?? 0
            let difference = zip(values, halves[name] ?? []).map { abs($0 - $1) }.max() ?? .infinity
            #expect(difference <= 1e-4 * largest + 1e-9, "\(name): \(difference) of \(largest)")
        }
    }

    /// Two batches at the same time are the same run as one after the other, with either optimiser.
    @Test(arguments: TrainingOptions.OptimizerName.allCases)
    func workersChangeNothingButTheTime(optimizer: TrainingOptions.OptimizerName) throws {
        let scratch = try Scratch()
        func tensors(workers: Int) throws -> [String: [UInt8]] {
            var run = toyRun(steps: 3)
            run.accumulation = 2
            run.workers = workers
            run.optimizer = optimizer
            let task = try Toy.gpt2.task(run, in: scratch) { $0.dropout = 0 }
            try train(task, run, in: scratch["\(workers)"])
            return try content(of: scratch["\(workers)"]).tensors
        }
        let (one, two) = (try tensors(workers: 1), try tensors(workers: 2))
        #expect(one.keys.contains { $0.hasPrefix(optimizer == .muon ? "mean/" : "second/") })
        #expect(one.filter { two[$0.key] != $0.value }.keys.sorted() == [] && one.count == two.count)
    }

    /// Towers too; but of batch normalisation each worker keeps statistics of its own batches, and the first one's
    /// count.
    @Test(arguments: [Toy.clipResNet, .clipTransformer])
    func workersChangeNothingButTheStatistics(_ toy: Toy) throws {
        let scratch = try Scratch()
        func tensors(workers: Int) throws -> [String: [UInt8]] {
            var run = toyRun(steps: 2)
            run.workers = workers
            try train(try toy.task(run, in: scratch), run, in: scratch["\(workers)"])
            return try content(of: scratch["\(workers)"]).tensors
        }
        let (one, two) = (try tensors(workers: 1), try tensors(workers: 2))
        let others = one.filter { two[$0.key] != $0.value }.keys.filter {
            !$0.contains("running_") && !$0.contains("num_batches_tracked")
        }
        #expect(others.sorted() == [] && one.count == two.count)
        #expect(one.keys.contains { $0.contains("running_") } == (toy == .clipResNet))
    }

    @Test func workersNeedARecipeThatCan() throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 1)
        run.accumulation = 2
        run.workers = 2
        #expect(throws: TrainingError.self) {
            try train(Toy.t5.task(run, in: scratch), run, in: scratch["run"])
        }
        run.accumulation = 3
        #expect(throws: TrainingError.option("workers", "2", "a divisor of accumulation, 3")) { try run.validate() }
    }

    @Test func theBestModelIsKeptAndStaleValidationsEndTheRun() throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 100)
        run.accumulation = 1
        run.averageDecay = 0
        run.validateEvery = 1
        run.patience = 2
        let task = ScriptedTask(validations: [3, 2, 2.5, 2.4, 1])
        #expect(try train(task, run, in: scratch["run"]) == .stoppedEarly)
        #expect(try String(contentsOf: scratch["run"].appending(path: "best/step"), encoding: .utf8) == "2")
        #expect(try content(of: scratch["run"]).metadata["progress"]?.contains("\"step\":4") == true)
    }

    /// The task says what keeps its value, and the trainer asks it, with either optimiser.
    @Test(arguments: TrainingOptions.OptimizerName.allCases)
    func whatATaskFreezesStays(optimizer: TrainingOptions.OptimizerName) throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 3)
        run.optimizer = optimizer
        let task = ScriptedTask(frozen: ["v"])
        try train(task, run, in: scratch["run"])
        #expect(task.store["v"]?.floats == [1, 1] && task.store["w"]?.floats != [1, 1])
        let moments = try content(of: scratch["run"]).tensors.keys.filter { !$0.hasPrefix("model/") }
        #expect(moments.contains("first/w") && !moments.contains("first/v"))
    }

    /// Epochs of ten batches come before the steps of the options, in the run and in its checkpoint.
    @Test func theEpochsOfATaskAreItsSteps() throws {
        let scratch = try Scratch()
        try train(ScriptedTask(epochs: 2), toyRun(steps: 3), in: scratch["run"])
        #expect(RunCheckpoint(folder: scratch["run"]).options?.steps == 20)
        #expect(try content(of: scratch["run"]).metadata["progress"]?.contains("\"step\":20") == true)
    }

    @Test func withoutHeldOutDataTheLastModelIsKept() throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 5)
        run.accumulation = 1
        run.patience = 1
        #expect(try train(ScriptedTask(validations: []), run, in: scratch["run"]) == .finished)
        #expect(try String(contentsOf: scratch["run"].appending(path: "best/step"), encoding: .utf8) == "5")
    }

    @Test(arguments: [ScriptedTask.Fault.loss, .gradient])
    func divergenceStopsTheRunAndLeavesTheLastCheckpoint(fault: ScriptedTask.Fault) throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 9)
        run.accumulation = 1
        run.checkpointEvery = 1
        do {
            try train(ScriptedTask(fault: fault, at: 4), run, in: scratch["run"])
            Issue.record("a run that diverged went on")
        } catch TrainingError.diverged(let step, let quantity, let value) {
            #expect(step == 3 && quantity == (fault == .loss ? "loss" : "gradient norm") && !value.isFinite)
        }
        let kept = try content(of: scratch["run"])
        #expect(kept.metadata["progress"]?.contains("\"step\":3") == true)
        let file = try SafetensorsFile(contentsOf: scratch["run"].appending(path: "checkpoint.safetensors"))
        #expect(file["model/w"]?.floats()?.allSatisfy(\.isFinite) == true)
    }

    @Test func anAbsurdLearningRateEndsInOneClearLine() throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 60)
        run.learningRate = 1e6
        let error = #expect(throws: TrainingError.self) {
            try train(Toy.gpt2.task(run, in: scratch), run, in: scratch["run"])
        }
        let text = error?.description ?? ""
        #expect(text.contains("lower the learning rate") && !text.contains("\n"), "\(text)")
    }

    @Test func aFolderInUseIsRefused() throws {
        let scratch = try Scratch()
        let run = toyRun(steps: 1)
        try train(ScriptedTask(), run, in: scratch["run"])
        #expect(throws: TrainingError.folderInUse(scratch["run"].path)) {
            try train(ScriptedTask(), run, in: scratch["run"])
        }
    }

    @Test func aForeignCheckpointIsRefusedAndStays() throws {
        let scratch = try Scratch()
        let run = toyRun(steps: 1)
        let file = scratch["run"].appending(path: "checkpoint.safetensors")
        try train(Toy.gpt2.task(run, in: scratch), run, in: scratch["run"])
        let before = try Data(contentsOf: file)
        func expectRefusal(_ word: String, _ task: some TrainingTask, _ run: TrainingOptions) throws {
            let error = #expect(throws: TrainingError.self, "\(word)") {
                try train(task, run, in: scratch["run"], resume: true)
            }
            let text = error?.description ?? ""
            #expect(text.contains(file.path) && text.contains(word) && !text.contains("\n"), "\(text)")
        }
        // More steps are no other run; another rate, recipe, size or corpus is.
        var other = toyRun(steps: 2)
        other.learningRate = 1
        try expectRefusal("other options", Toy.gpt2.task(other, in: scratch), other)
        try expectRefusal("image2poem-gpt2", Toy.image2poemGPT2.task(run, in: scratch), run)
        try expectRefusal("hiddenSize", Toy.gpt2.task(run, in: scratch) { $0.hiddenSize = 16 }, run)
        let options = toyPoetOptions()
        let dataset = PoemDataset(poems: toyPoems(40), words: [], options: options.dataset)
        try expectRefusal("other data", PoetTask(dataset: dataset, options: options, training: run), run)
        #expect(try Data(contentsOf: file) == before)
        try before.prefix(before.count / 2).write(to: file)
        #expect(throws: WeightFileError.self) {
            try train(Toy.gpt2.task(run, in: scratch), run, in: scratch["run"], resume: true)
        }
        try SafetensorsWriter.write([.init(name: "x", elementType: .uint8, shape: [1]) { try $0.write([1]) }], to: file)
        try expectRefusal("not a checkpoint", Toy.gpt2.task(run, in: scratch), run)
    }

    @Test func tensorBoardGetsEveryCurve() throws {
        let scratch = try Scratch()
        let run = toyRun(steps: 2)
        try train(Toy.gpt2.task(run, in: scratch), run, in: scratch["run"])
        let names = try FileManager.default.contentsOfDirectory(atPath: scratch["run"].path)
        let events = try #require(names.first { $0.contains("tfevents") })
        let bytes = try Data(contentsOf: scratch["run"].appending(path: events))
        let tags = [
            "train/loss", "train/learning_rate", "train/gradient_norm", "train/tokens_per_second", "validation/loss",
            "validation/loss_plain",
        ]
        for tag in tags { #expect(bytes.range(of: Data(tag.utf8)) != nil, "\(tag)") }
        #expect(names.contains("log.txt") && names.contains("run.json"))
    }
}

/// A model of two parameters whose losses and validations are given.
final class ScriptedTask: TrainingTask {
    enum Fault: Sendable { case none, loss, gradient }

    let store = ParameterStore(seed: 1)
    let unit = "tokens"
    let identity = "scripted"
    let epochs: Int
    private let weights: [Tensor]
    private let frozen: Set<String>
    private let fault: Fault
    private let faultStep: Int
    private var validations: [Double]
    private var steps = 0

    init(
        validations: [Double] = [1], fault: Fault = .none, at step: Int = 0, frozen: Set<String> = [], epochs: Int = 0
    ) {
        weights = [store.root.parameter("w", [2], .ones), store.root.parameter("v", [2], .ones)]
        self.frozen = frozen
        self.epochs = epochs
        self.validations = validations
        self.fault = fault
        faultStep = step
    }

    func isFrozen(_ name: String) -> Bool { frozen.contains(name) }

    func batchCount(epoch: Int) -> Int { 10 }

    func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let square = (weights[0] * weights[0] + weights[1] * weights[1]).sum()
        let loss: Tensor
        switch fault {
        case .loss where steps + 1 == faultStep: loss = square * .nan
        // The slope of a root at 0 is infinite.
        case .gradient where steps + 1 == faultStep: loss = (square * 0).sqrt()
        default: loss = square
        }
        return BatchLoss(loss: loss, units: 1, operations: 1)
    }

    func validate() throws -> [(name: String, value: Double)] {
        guard let first = validations.first else { return [] }
        if validations.count > 1 { validations.removeFirst() }
        return [("loss", first)]
    }

    func save(to folder: URL, tensor: @escaping (String) -> Tensor?) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data("\(steps)".utf8).write(to: folder.appending(path: "step"))
    }

    func didStep() { steps += 1 }
}
