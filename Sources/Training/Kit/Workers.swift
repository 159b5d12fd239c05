import Dispatch
import Synchronization
import TihuaNN
import TihuaTorch

/// One batch of an epoch.
struct BatchPlace: Sendable {
    let epoch: Int
    let batch: Int
}

/// Computes batches at the same time, each on a thread and a model of its own over the same parameters (as PyTorch's
/// DistributedDataParallel does with processes), and sums their gradients in the order of the batches.
///
/// One operation of a small model is too short to be shared among threads; two batches are not.
final class Workers<Task: TrainingTask> {
    /// What a batch came to, as numbers.
    struct Result: Sendable {
        let loss: Double
        let units: Int
        let operations: Double
    }

    private let tasks: [Task]
    /// The trained parameters of each task, in one order.
    private let parameters: [[Tensor]]

    /// - Parameter trained: names of the parameters whose gradients are wanted
    /// - Throws: `TrainingError.option` where the recipe computes one batch at a time; what making a replica throws.
    init(_ task: Task, count: Int, trained: [String]) throws {
        var tasks = [task]
        while tasks.count < count {
            guard let replica = try task.replica() else {
                throw TrainingError.option(
                    "workers", "\(count)", "1 for this recipe, whose batches come one after the other")
            }
            tasks.append(replica)
        }
        self.tasks = tasks
        parameters = tasks.map { task in
            let tensors = Dictionary(uniqueKeysWithValues: task.store.parameters.map { ($0.name, $0.tensor) })
            return trained.compactMap { tensors[$0] }
        }
        for tensor in parameters.dropFirst().joined() { tensor.requiresGradient = true }
    }

    /// Adds the gradients of the batches' losses, each times `scale`, to those of the first task.
    ///
    /// - Parameter places: as many as there are workers
    /// - Returns: in the order of the batches
    /// - Throws: the first error of a batch.
    func backward(_ places: [BatchPlace], scale: Double) throws -> [Result] {
        let results = Mutex<[Swift.Result<Result, any Error>?]>(places.map { _ in nil })
        // Each worker touches its own task alone; the shared parameters are only read.
        nonisolated(unsafe) let tasks = tasks
        @Sendable func run(_ index: Int) {
            let result = Swift.Result { try Self.backward(tasks[index], places[index], scale: scale) }
            results.withLock { $0[index] = result }
        }
        if places.count == 1 { run(0) } else { DispatchQueue.concurrentPerform(iterations: places.count, execute: run) }
        for replica in parameters.dropFirst() {
            for (sum, tensor) in zip(parameters[0], replica) {
                guard let gradient = tensor.gradient else { continue }
                withoutGradients { sum.addGradient(gradient) }
                tensor.clearGradient()
            }
        }
        return try results.withLock { try $0.compactMap { try $0?.get() } }
    }

    private static func backward(_ task: Task, _ place: BatchPlace, scale: Double) throws -> Result {
        let batch = try task.loss(epoch: place.epoch, batch: place.batch)
        try (batch.loss * scale).backward()
        try Runtime.checkMemory()
        return Result(loss: batch.loss.item, units: batch.units, operations: batch.operations)
    }
}
