import Foundation

/// One operating system thread as the executor of an actor that owns a model.
///
/// libtorch keeps its gradient mode, its thread count and its OpenMP team per calling thread, and a call blocks: none of that
/// belongs on Swift's shared pool. An actor whose `unownedExecutor` is this thread runs all of its work here, with
/// gradients off and the thread count set once. The thread ends when the executor is released.
public final class TorchThread: SerialExecutor {
    private let queue = JobQueue()

    /// Starts the thread.
    ///
    /// - Parameters:
    ///   - name: what Foundation's `Thread.current.name` says there
    ///   - intraOpThreads: threads that one libtorch operation may use; nil leaves libtorch's choice
    public init(name: String, intraOpThreads: Int? = nil) {
        let thread = Thread { [queue] in
            if let intraOpThreads { Runtime.threadCount = intraOpThreads }
            withoutGradients { queue.drain() }
        }
        thread.name = name
        thread.stackSize = 16 << 20
        thread.start()
    }

    deinit { queue.finish() }

    /// Runs `job` after those before it.
    public func enqueue(_ job: consuming ExecutorJob) {
        queue.append(UnownedJob(job), on: self)
    }
}

/// The jobs of one thread. The thread holds the queue, not the executor, so that releasing the executor can end it.
private final class JobQueue: @unchecked Sendable {  // everything mutable is guarded by `condition`
    private let condition = NSCondition()
    // The executor is kept as long as its jobs: the last of them may release the actor that held it.
    private var jobs: [(job: UnownedJob, executor: TorchThread)] = []
    private var finished = false

    func append(_ job: UnownedJob, on executor: TorchThread) {
        condition.withLock {
            jobs.append((job, executor))
            condition.signal()
        }
    }

    func finish() {
        condition.withLock {
            finished = true
            condition.signal()
        }
    }

    /// Runs jobs until `finish`.
    func drain() {
        while let next = next() { next.job.runSynchronously(on: next.executor.asUnownedSerialExecutor()) }
    }

    private func next() -> (job: UnownedJob, executor: TorchThread)? {
        condition.withLock {
            while jobs.isEmpty, !finished { condition.wait() }
            return jobs.isEmpty ? nil : jobs.removeFirst()
        }
    }
}
