import Foundation
import Glibc

/// One operating system thread as the executor of an actor that owns a model.
///
/// libtorch keeps its gradient mode, its thread count and its OpenMP team per calling thread, and a call blocks: none
/// of that belongs on Swift's shared pool. An actor whose `unownedExecutor` is this thread runs all of its work here,
/// with gradients off and the thread count set once. The thread ends when the executor is released.
public final class TorchThread: SerialExecutor {
    private let queue = JobQueue()

    /// Starts the thread.
    ///
    /// - Parameters:
    ///   - name: of the thread, for the system and for errors
    ///   - intraOpThreads: threads that one libtorch operation may use; nil leaves libtorch's choice
    /// - Throws: `TorchError.noThread` where the system has none left.
    public init(name: String, intraOpThreads: Int? = nil) throws(TorchError) {
        // Not Foundation's Thread, whose start that fails is silent: the jobs would wait for ever.
        let body = Unmanaged.passRetained(
            ThreadBody { [queue] in
                Thread.current.name = name
                if let intraOpThreads { Runtime.threadCount = intraOpThreads }
                withoutGradients { queue.drain() }
            })
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 16 << 20)
        var thread = pthread_t()
        let status = pthread_create(
            &thread, &attributes,
            { context in
                if let context { Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().run() }
                return nil
            }, body.toOpaque())
        guard status == 0 else {
            body.release()
            throw .noThread(name)
        }
    }

    deinit { queue.finish() }

    /// Runs `job` after those before it.
    public func enqueue(_ job: consuming ExecutorJob) {
        queue.append(UnownedJob(job), on: self)
    }
}

/// What a thread does, in a box that crosses C.
private final class ThreadBody {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
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
