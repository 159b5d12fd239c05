public import Foundation
import TihuaFiles
public import TihuaNN
public import TihuaTorch
import TihuaWeightFiles

/// What is trained: a model, its batches, its loss. The trainer knows nothing else of it.
///
/// Batches depend on the seed, the epoch and their index alone, so that a run that continues sees what it would have
/// seen.
public protocol TrainingTask: AnyObject, SendableMetatype {
    /// The parameters of the model.
    var store: ParameterStore { get }
    /// The recipe, its own options and its data in a few words: where two runs with equal `TrainingOptions` have equal
    /// identities, they are the same run. A checkpoint of another identity is not continued.
    var identity: String { get }
    /// Streams of random numbers that a checkpoint must keep, such as the one for dropout.
    var generators: [(name: String, generator: Generator)] { get }
    /// What is counted for the speed, such as `tokens` or `pictures`.
    var unit: String { get }
    /// Where above 0, the run takes as many steps as so many epochs have batches, whatever `TrainingOptions.steps`
    /// says.
    var epochs: Int { get }

    /// Whether a parameter keeps its value, such as those of a language model that is not tuned.
    func isFrozen(_ name: String) -> Bool
    /// Batches of one epoch, at least 1.
    func batchCount(epoch: Int) -> Int
    /// The loss of one batch, a scalar that is still on the graph.
    func loss(epoch: Int, batch: Int) throws -> BatchLoss
    /// A task whose model has the same parameters, in the same memory, and gradients of its own, for batches that are
    /// computed at the same time; nil where the recipe cannot.
    func replica() throws -> Self?
    /// Measures on held-out data; gradients are off. The first is what `best` is chosen by, lower is better. Empty
    /// where nothing is held out: `best` is the last model then.
    func validate() throws -> [(name: String, value: Double)]
    /// Writes the model as a folder that the rest of the package loads.
    ///
    /// - Parameter tensor: what to save for a parameter, such as its average; the parameter itself where it is nil
    func save(to folder: URL, tensor: @escaping (String) -> Tensor?) throws
    /// Is called after each optimiser step, for instance to clamp a parameter.
    func didStep()
}

extension TrainingTask {
    /// None: what the task draws depends on the seed, the epoch and the batch alone.
    public var generators: [(name: String, generator: Generator)] { [] }
    /// 0: the options say how many steps.
    public var epochs: Int { 0 }
    /// False: every parameter is trained.
    public func isFrozen(_ name: String) -> Bool { false }
    /// Nil: batches come one after the other.
    public func replica() throws -> Self? { nil }
    /// Does nothing: no parameter needs a correction.
    public func didStep() {}
}

/// The loss of a batch and what it cost.
public struct BatchLoss {
    /// The mean loss, a scalar that is still on the graph.
    public let loss: Tensor
    /// Tokens or pictures that were learned from.
    public let units: Int
    /// Multiplications and additions of forward and backward.
    public let operations: Double

    /// A loss and its cost.
    public init(loss: Tensor, units: Int, operations: Double) {
        self.loss = loss
        self.units = units
        self.operations = operations
    }
}

/// How a run came to its end.
public enum TrainingOutcome: Equatable, Sendable {
    case finished
    /// No better validation for `patience` validations.
    case stoppedEarly
    /// The person asked for it; the checkpoint is written.
    case interrupted
}

/// The loop: batches, gradients, steps, validation, checkpoints, logs.
///
/// A run lives in one folder: `run.json` (its options), `log.txt`, TensorBoard events, `checkpoint.safetensors` (to
/// continue) and `best/` (the model with the lowest validation). Every file appears whole or not at all.
public final class Trainer<Task: TrainingTask> {
    private let task: Task
    private let options: TrainingOptions
    private let folder: URL
    private let lock: FolderLock
    private let log: RunLog
    private let optimizer: any Optimizer
    private let workers: Workers<Task>
    private let average: ExponentialMovingAverage?
    private var progress = RunProgress()

    /// Prepares a run, or continues the one that the folder holds.
    ///
    /// - Parameters:
    ///   - resume: continue from the folder's checkpoint; a folder with a checkpoint is an error otherwise
    ///   - quiet: whether the log is written to the folder alone, and not to standard error too
    /// - Throws: `TrainingError`, `WeightFileError`.
    public init(_ task: Task, options: TrainingOptions, folder: URL, resume: Bool, quiet: Bool = false) throws {
        let device = task.store.device
        var options = options.resolvingPrecision(on: device)
        if task.epochs > 0 { options.steps = task.epochs * task.batchCount(epoch: 0) }
        try options.validate()
        self.task = task
        self.options = options
        self.folder = folder
        let checkpoint = RunCheckpoint(folder: folder)
        let orthogonalType = checkpoint.exists ? checkpoint.orthogonalType : options.precision.type(on: device)
        let configuration = AdamW.Configuration(beta2: options.beta2, weightDecay: options.weightDecay)
        optimizer =
            switch options.optimizer {
            case .adamw: AdamW(task.store, configuration, frozen: task.isFrozen)
            case .muon:
                Muon(
                    task.store, configuration, workers: options.workers, computeType: orthogonalType,
                    frozen: task.isFrozen)
            }
        workers = try Workers(task, count: options.workers, trained: optimizer.trained.map(\.name))
        average = options.averageDecay > 0 ? ExponentialMovingAverage(task.store, decay: options.averageDecay) : nil
        do {
            try AtomicFile.makeFolder(at: folder)
        } catch {
            throw TrainingError.data(path: folder.path, reason: "the folder of the run cannot be made there")
        }
        guard let lock = try FolderLock(folder: folder) else { throw TrainingError.folderLocked(folder.path) }
        self.lock = lock
        if checkpoint.exists, !resume { throw TrainingError.folderInUse(folder.path) }
        for place in [folder, folder.appending(path: "best")] { AtomicFile.removeLeftovers(in: place) }
        if checkpoint.exists {
            progress = try checkpoint.restore(
                store: task.store, optimizer: optimizer, average: average, generators: task.generators,
                options: options, identity: task.identity)
        } else {
            try Self.write(options, to: folder)
        }
        log = try RunLog(folder: folder, resumingAfter: checkpoint.exists ? progress.step : nil, quiet: quiet)
        if progress.step > 0 { try log.line("continuing at step \(progress.step) of \(options.steps)") }
    }

    /// Trains until the last step, an early stop, or `interrupted` says so.
    ///
    /// - Parameter interrupted: asked after every step.
    /// - Throws: `TrainingError.diverged`, or an error of the task or of the disk. The last checkpoint stays.
    @discardableResult
    public func run(interrupted: () -> Bool = { false }) throws -> TrainingOutcome {
        let device = task.store.device
        let peak = MatrixSpeed.measure(options.precision.type(on: device), on: device) * Double(options.workers)
        let parameters = task.store.parameterCount
        try log.line(
            "\(parameters) parameters, \(options.steps) steps, \(options.precisionNote(on: device)), "
                + "\(options.workers) x \(Runtime.threadCount) threads, matrix speed \(Int(peak / 1e9)) GFLOP/s")
        var window = Window()
        while progress.step < options.steps {
            let rate = options.rates.rate(at: progress.step)
            var lossSum = 0.0
            for _ in 0..<options.accumulation / options.workers {
                let places = (0..<options.workers).map { _ in nextPlace() }
                for batch in try workers.backward(places, scale: 1 / Double(options.accumulation)) {
                    lossSum += batch.loss
                    window.units += batch.units
                    window.operations += batch.operations
                }
            }
            let loss = lossSum / Double(options.accumulation)
            guard loss.isFinite else {
                throw TrainingError.diverged(step: progress.step, quantity: "loss", value: loss)
            }
            let norm = optimizer.clipGradients(maximum: options.gradientClip > 0 ? options.gradientClip : .infinity)
            // A step along such a gradient would spoil every parameter.
            guard norm.isFinite else {
                throw TrainingError.diverged(step: progress.step, quantity: "gradient norm", value: norm)
            }
            try optimizer.step(learningRate: rate)
            task.didStep()
            average?.update(step: progress.step)
            try Runtime.checkMemory()
            progress.step += 1
            window.losses.append(loss)

            if progress.step % options.logEvery == 0 || progress.step == options.steps {
                try report(&window, rate: rate, norm: norm, peak: peak)
            }
            let isLast = progress.step == options.steps
            if progress.step % options.validateEvery == 0 || isLast {
                try validate()
                window.restart()
            }
            let stale = options.patience > 0 && progress.staleValidations >= options.patience
            let stop = interrupted()
            if progress.step % options.checkpointEvery == 0 || isLast || stale || stop {
                try saveCheckpoint()
                window.restart()
            }
            if stop, !isLast {
                try log.line("interrupted at step \(progress.step); the checkpoint continues from here")
                return .interrupted
            }
            if stale {
                try log.line(
                    "no better validation for \(options.patience) validations; stopping at step \(progress.step)")
                return .stoppedEarly
            }
        }
        return .finished
    }

    /// The next batch, which then counts as seen.
    private func nextPlace() -> BatchPlace {
        let place = BatchPlace(epoch: progress.epoch, batch: progress.batch)
        progress.batch += 1
        if progress.batch >= task.batchCount(epoch: progress.epoch) {
            progress.epoch += 1
            progress.batch = 0
        }
        return place
    }

    private func validate() throws {
        let metrics = try withAverages { try withoutGradients { try task.validate() } }
        for metric in metrics { try log.scalar("validation/\(metric.name)", metric.value, step: progress.step) }
        let text = metrics.map { "\($0.name) \(format($0.value))" }.joined(separator: "  ")
        guard let first = metrics.first else {
            try saveBest()
            try log.line("step \(progress.step)  nothing is held out; best/ is the model of this step")
            return
        }
        let better = first.value < (progress.best ?? .infinity)
        if better {
            progress.best = first.value
            progress.staleValidations = 0
            try saveBest()
        } else {
            progress.staleValidations += 1
        }
        try log.line("step \(progress.step)  validation  \(text)\(better ? "  (best)" : "")")
    }

    private func saveBest() throws {
        try task.save(to: folder.appending(path: "best")) { [average] in average?.shadows[$0] }
    }

    private func withAverages<Result>(_ body: () throws -> Result) rethrows -> Result {
        guard let average else { return try body() }
        return try average.withAverages(body)
    }

    private func saveCheckpoint() throws {
        try RunCheckpoint(folder: folder).write(
            progress, store: task.store, optimizer: optimizer, average: average, generators: task.generators,
            options: options, identity: task.identity)
        try log.flush()
    }

    private func report(_ window: inout Window, rate: Double, norm: Double, peak: Double) throws {
        let seconds = window.seconds
        let loss = window.losses.reduce(0, +) / Double(window.losses.count)
        let speed = Double(window.units) / seconds
        let share = window.operations / seconds / peak
        let left = Double(options.steps - progress.step) * seconds / Double(window.losses.count)
        try log.scalar("train/loss", loss, step: progress.step)
        try log.scalar("train/learning_rate", rate, step: progress.step)
        try log.scalar("train/gradient_norm", norm, step: progress.step)
        try log.scalar("train/\(task.unit)_per_second", speed, step: progress.step)
        try log.line(
            "step \(progress.step)/\(options.steps)  epoch \(progress.epoch)  loss \(format(loss))  "
                + "rate \(format(rate))  norm \(format(norm))  \(Int(speed)) \(task.unit)/s  \(Int(share * 100)) % of matrix speed  "
                + "\(duration(left)) left")
        window.restart()
    }

    private static func write(_ options: TrainingOptions, to folder: URL) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        let json = try encoder.encode(options)
        try AtomicFile.write(json, to: folder.appending(path: "run.json"))
    }
}

/// What was measured since the last line of the log.
private struct Window {
    var losses: [Double] = []
    var units = 0
    var operations = 0.0
    private var start = ContinuousClock.now

    var seconds: Double { max(1e-9, (ContinuousClock.now - start) / .seconds(1)) }

    mutating func restart() { self = Window() }
}

func format(_ value: Double) -> String {
    abs(value) >= 0.01 || value == 0 ? String(format: "%.4f", value) : String(format: "%.3e", value)
}

func duration(_ seconds: Double) -> String {
    guard seconds.isFinite else { return "?" }
    let minutes = Int(seconds / 60)
    return minutes >= 60
        ? "\(minutes / 60) h \(minutes % 60) min" : minutes > 0 ? "\(minutes) min" : "\(Int(seconds)) s"
}
