import Foundation
import Glibc
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch

/// What belongs to the whole process or to one thread: counted in processes of their own, where no other test runs.
@Suite(.serialized) struct ProcessTests {
    @Test(.enabled(if: exitTestsWork, "needs processes of its own")) func everyTensorOfAStepIsFreed() async {
        await #expect(processExitsWith: .success) {
            let start = Runtime.liveTensorCount
            do {
                let store = ParameterStore(seed: 1)
                let (up, down) = (Linear(6, 12, at: store.root / "up"), Linear(12, 2, at: store.root / "down"))
                let optimizer = AdamW(store)
                let fixed = Runtime.liveTensorCount
                for _ in 0..<3 {
                    let y = down(up(.ones([4, 6])).relu())
                    try Kernels.crossEntropy(y, .ids([0, 1, 0, 1], [4])).backward()
                    optimizer.clipGradients(maximum: 1)
                    try optimizer.step(learningRate: 0.1)
                }
                #expect(Runtime.liveTensorCount == fixed)
            }
            #expect(Runtime.liveTensorCount == start)
            do {
                let store = ParameterStore(seed: 1)
                let block = Block(width: 8, heads: 2, at: store.root)
                store.requireGradients()
                let x = Tensor.randn([2, 5, 8], generator: Generator(seed: 1))
                try block(block(x)).square().mean().backward()
                #expect(store.parameters.allSatisfy { $0.tensor.gradient != nil })
                #expect(Runtime.liveTensorCount > start)
            }
            #expect(Runtime.liveTensorCount == start)
            #expect(throws: TorchError.self) { try Tensor([Float(1), 2]).backward() }
            #expect(Runtime.liveTensorCount == start)
        }
    }

    @Test(.enabled(if: exitTestsWork, "needs processes of its own")) func theThreadCountHoldsForThisThreadAndLaterOnes()
        async
    {
        await #expect(processExitsWith: .success) {
            /// The count that a new thread sees.
            func onNewThread(_ body: @escaping @Sendable () -> Void = {}) -> Int {
                nonisolated(unsafe) var count = 0
                let done = DispatchSemaphore(value: 0)
                Thread {
                    body()
                    count = Runtime.threadCount
                    done.signal()
                }.start()
                done.wait()
                return count
            }
            Runtime.threadCount = 3
            #expect(Runtime.threadCount == 3)
            #expect(onNewThread() == 3)
            #expect(onNewThread { Runtime.threadCount = 2 } == 2)
            #expect(Runtime.threadCount == 3, "this thread keeps its own")
            Runtime.threadCount = -5
            #expect(Runtime.threadCount == 1)
        }
    }

    @Test func theGradientModeBelongsToOneThread() {
        let x = Tensor([Float(1)])
        x.requiresGradient = true
        withoutGradients {
            nonisolated(unsafe) var recorded = false
            let done = DispatchSemaphore(value: 0)
            Thread {
                let y = Tensor([Float(1)])
                y.requiresGradient = true
                recorded = (y * 2).requiresGradient
                done.signal()
            }.start()
            done.wait()
            #expect(recorded)
            #expect(!(x * 2).requiresGradient)
        }
    }

    // MARK: - Memory

    @Test func aReserveThatCannotBeMadeIsAnError() {
        #expect {
            try Runtime.reserveMemory(1 << 60)
        } throws: { error in
            if case .outOfMemory = error as? TorchError { "\(error)".contains("out of memory") } else { false }
        }
        #expect(throws: Never.self) { try Runtime.checkMemory() }
    }

    @Test(.enabled(if: exitTestsWork, "needs processes of its own"))
    func anOperationWithoutMemoryEndsAsTheProgramWants() async {
        await #expect(processExitsWith: .exitCode(7)) {
            Runtime.onFailure { message in exit(message.hasPrefix("out of memory") ? 7 : 8) }
            try Runtime.reserveMemory(1 << 20)
            _ = Tensor.zeros([1 << 45])
        }
    }

    // MARK: - Devices

    @Test func theProcessorHasItsName() throws {
        #expect(try Device(named: "cpu") == .cpu)
        #expect("\(Device.cpu)" == "cpu" && "\(Device.cuda(1))" == "cuda:1")
        let automatic = try Device(named: "auto")
        #expect(automatic == (Runtime.cudaDeviceCount > 0 ? .cuda(0) : .cpu))
        Runtime.synchronize(.cpu)
        #expect(Runtime.version.hasPrefix("2."))
        #expect(!Runtime.cpuCapability.isEmpty)
    }

    @Test(arguments: ["gpu", "", "cuda:", "cuda:99", "cuda:-1", "cuda:0:0", "cuda:x", "CPU", "mps"])
    func anUnknownDeviceIsAnErrorThatSaysWhatToDo(_ name: String) {
        #expect(throws: TorchError.noDevice(name)) { try Device(named: name) }
        #expect(TorchError.noDevice(name).description.contains("compute on the CPU"))
    }

    @Test(.enabled(if: Runtime.cudaDeviceCount == 0, "this machine has a GPU")) func noGPUIsNoError() {
        #expect(Runtime.cudaDeviceCount == 0)
        #expect(throws: TorchError.noDevice("cuda")) { try Device(named: "cuda") }
        #expect(Tensor([Float(1)]).device == .cpu)
    }

    @Test(.enabled(if: Runtime.cudaDeviceCount > 0, "needs a GPU")) func aGPUComputesTheSame() throws {
        let device = try Device(named: "cuda")
        let store = ParameterStore(seed: 1)
        let moved = ParameterStore(seed: 1, device: device)
        let (block, other) = (Block(width: 16, heads: 4, at: store.root), Block(width: 16, heads: 4, at: moved.root))
        let x = Tensor.randn([2, 7, 16], generator: Generator(seed: 2))
        let (y, z) = (block(x), other(x.to(nil, device)))
        #expect(z.device == device)
        #expect(difference(z.to(nil, .cpu), y, rtol: 1e-3, atol: 1e-4) == nil)
        let draw = { Tensor.randn([9], generator: Generator(seed: 3, device: device), device: device).floats }
        #expect(draw() == draw())
        Runtime.synchronize(device)
    }

    // MARK: - TorchThread

    private actor Engine {
        private let executor: TorchThread
        private let weight: Tensor
        nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

        init(_ executor: TorchThread) {
            self.executor = executor
            weight = Tensor.ones([2])
            weight.requiresGradient = true
        }

        /// The thread, whether gradients are recorded there, and the threads of one operation.
        func work(_ x: Float) -> (thread: pthread_t, recorded: Bool, threads: Int, value: Double) {
            let y = (weight * Double(x)).sum()
            return (pthread_self(), y.requiresGradient, Runtime.threadCount, y.item)
        }

        /// The running thread under `/proc`, as `process/task/thread`.
        func task() throws -> String {
            try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self")
        }
    }

    @Test func manyJobsRunOnOneThreadWithoutGradients() async throws {
        let engine = Engine(try TorchThread(name: "engine", intraOpThreads: 1))
        let results = await withTaskGroup { group in
            for index in 0..<64 { group.addTask { await engine.work(Float(index)) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results.count == 64)
        #expect(Set(results.map(\.thread)).count == 1)
        #expect(results.allSatisfy { !$0.recorded && $0.threads == 1 })
        #expect(results.map(\.value).sorted() == (0..<64).map { Double(2 * $0) })
        #expect(pthread_equal(results[0].thread, pthread_self()) == 0)
    }

    @Test func theThreadEndsWhenItsActorIsReleased() async throws {
        weak var executor: TorchThread?
        let task: String
        do {
            let thread = try TorchThread(name: "engine", intraOpThreads: 1)
            executor = thread
            let engine = Engine(thread)
            task = try await engine.task()
            #expect(FileManager.default.fileExists(atPath: "/proc/\(task)"))
        }
        for _ in 0..<500 where executor != nil || FileManager.default.fileExists(atPath: "/proc/\(task)") {
            try await Task.sleep(for: .milliseconds(10))
        }
        #expect(executor == nil)
        #expect(!FileManager.default.fileExists(atPath: "/proc/\(task)"))
    }
}
