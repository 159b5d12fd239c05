import Foundation
import TihuaTorch

/// What the tool does about memory: it compares the limit with what a command needs before it starts, and says in one
/// line what runs out later.
enum Memory {
    /// Bytes of address space that a command with a small model takes on top of what the process has when it starts:
    /// the stacks and heaps of its threads, libtorch's buffers, the decoders of pictures. Below it something fails that
    /// cannot report it, such as a library that loads another one. A container's memory counts pages that are used: a
    /// third.
    static let need = 450 << 20

    /// Memory that is set aside for an operation that finds none.
    private static let reserve = 32 << 20

    /// - Parameter checkingLimit: whether the command works with a model, so that the limit is compared
    /// - Throws: `MemoryError` where the limit leaves less than such a command needs.
    static func prepare(checkingLimit: Bool) throws {
        // Swift's arrays, and libraries that do not check what they get, end in a signal where memory is short.
        for number in [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGABRT] { signal(number, endForMemory) }
        if checkingLimit {
            Runtime.keepMemory()
            for limit in limits() where limit.bytes - limit.used < limit.need { throw MemoryError(limit: limit) }
        }
        try probeThreads()
        Runtime.onFailure { message in end("Error: \(message)\n") }
        try Runtime.reserveMemory(reserve)
    }

    /// Starts as many threads at the same time as a command may come to, and lets them end: Swift's own pool would wait
    /// for ever for one that the system refuses.
    ///
    /// - Throws: `TorchError.noThread`.
    private static func probeThreads() throws {
        let count = 2 * min(ProcessInfo.processInfo.activeProcessorCount, 64) + 3
        var gate = pthread_rwlock_t()
        pthread_rwlock_init(&gate, nil)
        pthread_rwlock_wrlock(&gate)
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setstacksize(&attributes, 64 << 10)
        var threads: [pthread_t] = []
        withUnsafeMutablePointer(to: &gate) { gate in
            while threads.count < count {
                var thread = pthread_t()
                let status = pthread_create(
                    &thread, &attributes,
                    { gate in
                        // Wait until all threads have started.
                        if let gate = gate?.assumingMemoryBound(to: pthread_rwlock_t.self) {
                            pthread_rwlock_rdlock(gate)
                            pthread_rwlock_unlock(gate)
                        }
                        return nil
                    }, gate)
                guard status == 0 else { break }
                threads.append(thread)
            }
            pthread_rwlock_unlock(gate)
            for thread in threads { pthread_join(thread, nil) }
            pthread_rwlock_destroy(gate)
        }
        pthread_attr_destroy(&attributes)
        guard threads.count == count else { throw TorchError.noThread("the \(count) that a command may need") }
    }

    /// One line on standard error, and the end of the process, from any thread and in any state.
    private static func end(_ line: String) -> Never {
        var line = line
        line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
        _exit(1)
    }

    struct Limit {
        let name: String
        let bytes: Int
        /// Bytes that are used already.
        let used: Int
        /// Bytes that a command needs besides.
        let need: Int
    }

    /// The limits that there are: of the address space (`ulimit -v`), and of the control group.
    private static func limits() -> [Limit] {
        var limits: [Limit] = []
        let pages = ((try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? "").split(separator: " ")
            .compactMap { Int($0) }
        guard pages.count > 1 else { return [] }
        let page = Int(getpagesize())
        var space = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &space) == 0, space.rlim_cur < rlim_t(Int.max) {
            // Without this, every thread reserves address space for a heap of its own.
            Runtime.limitHeaps(2)
            limits.append(
                Limit(
                    name: "the limit of address space (ulimit -v)", bytes: Int(space.rlim_cur), used: pages[0] * page,
                    need: need))
        }
        if let bytes = groupLimit() {
            limits.append(
                Limit(name: "the memory of this container", bytes: bytes, used: pages[1] * page, need: need / 3))
        }
        return limits
    }

    /// The least limit of this process's control group and those above it.
    private static func groupLimit() -> Int? {
        guard let text = try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8) else { return nil }
        var limits: [Int] = []
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3, fields[1].isEmpty || fields[1].split(separator: ",").contains("memory") else {
                continue
            }
            let (root, file) =
                fields[1].isEmpty
                ? ("/sys/fs/cgroup", "memory.max") : ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            var path = String(fields[2])
            while true {
                let value = try? String(contentsOfFile: "\(root)\(path)/\(file)", encoding: .utf8)
                if let limit = value.flatMap({ Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }) {
                    limits.append(limit)
                }
                guard path.count > 1, let slash = path.lastIndex(of: "/") else { break }
                path = String(path[..<slash])
            }
        }
        return limits.min()
    }
}

/// Where memory is short, ends the process with a line that says so; elsewhere lets the signal end it.
private func endForMemory(_ number: Int32) {
    // A signal handler may make system calls only.
    let size = 128 << 20
    let probe = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard probe == MAP_FAILED else {
        signal(number, SIG_DFL)
        raise(number)
        return
    }
    let line: StaticString = "Error: out of memory; end other programs, raise the limit, or ask for less at a time\n"
    _ = write(STDERR_FILENO, line.utf8Start, line.utf8CodeUnitCount)
    _exit(1)
}

/// A command that loads no model.
protocol TorchFree {}
extension CheckCommand: TorchFree {}
extension DoctorCommand: TorchFree {}
extension DataCommand.Poems: TorchFree {}
extension DataCommand.Lines: TorchFree {}
extension DataCommand.Captions: TorchFree {}
extension DataCommand.Labels: TorchFree {}
extension DataCommand.Statistics: TorchFree {}
extension DataCommand.Words: TorchFree {}
extension ModelsCommand.Inspect: TorchFree {}

/// Too little memory for what was asked.
struct MemoryError: Error, CustomStringConvertible {
    let limit: Memory.Limit

    var description: String {
        "\(limit.name) is \(limit.bytes >> 20) MB, and a command with a model needs"
            + " \((limit.used + limit.need) >> 20) MB or more; raise it"
    }
}
