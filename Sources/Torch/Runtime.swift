import CTihuaTorch
import Synchronization

/// Facts and settings of libtorch itself.
public enum Runtime {
    /// The version of libtorch that the package was compiled against, such as `2.13.0`.
    public static var version: String { String(cString: ct_version()) }

    /// The instruction set of libtorch's own kernels: `AVX512`, `AVX2`, `DEFAULT`.
    public static var cpuCapability: String {
        var name: UnsafePointer<CChar>?
        guard ct_cpu_capability(&name) == 0, let name else { return "unknown" }
        return String(cString: name)
    }

    /// Kernels on the CPU, each level with what the ones below have.
    public enum KernelLevel: Int32, Comparable, CaseIterable, Sendable, CustomStringConvertible {
        /// libtorch's own operations where the others have fused layers, as on a GPU.
        case libtorch
        /// Compiled for every processor of the kind.
        case portable
        case avx2, avx512

        /// A level is less than another if it needs less of the processor.
        public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

        /// As it is written in `TIHUA_PLAIN_KERNELS`, which lowers the level of the whole process; `1` is `portable`.
        public var description: String {
            switch self {
            case .libtorch: "libtorch"
            case .portable: "portable"
            case .avx2: "avx2"
            case .avx512: "avx512"
            }
        }
    }

    /// The kernels that the calling thread uses: what the processor has, or less.
    public static var kernelLevel: KernelLevel {
        var level: Int32 = 0
        must(ct_kernels(&level), #function)
        return KernelLevel(rawValue: level) ?? .portable
    }

    /// Runs `body` with kernels of at most `level` on this thread.
    public static func withKernels<Result>(_ level: KernelLevel, _ body: () throws -> Result) rethrows -> Result {
        var (before, lowered): (Int32, Int32) = (-1, 0)
        must(ct_set_kernels(level.rawValue, &before), #function)
        defer { must(ct_set_kernels(before, &lowered), #function) }
        return try body()
    }

    /// What multiplies bfloat16 in hardware on the CPU, such as `AMX`; nil where float32 is all there is.
    public static var bfloat16Units: String? {
        var units: Int32 = 0
        must(ct_bfloat16_units(&units), #function)
        return switch ct_bfloat16(UInt32(units)) {
        case CT_BFLOAT16_AMX: "AMX"
        case CT_BFLOAT16_AVX512: "AVX512"
        default: nil
        }
    }

    /// Reserves memory that is given to the first operation that finds none: operations do not throw, but the next
    /// `checkMemory` does.
    ///
    /// - Parameter bytes: as much as one operation may need; 0 gives it back
    /// - Throws: `TorchError.outOfMemory` if there is not even so much.
    public static func reserveMemory(_ bytes: Int) throws(TorchError) { try check(ct_reserve(max(0, bytes))) }

    /// Limits the heaps that threads of the process share; each reserves 64 MB of address space.
    public static func limitHeaps(_ count: Int) { must(ct_limit_heaps(Int32(clamping: count)), #function) }

    /// Keeps freed memory for the next operation, for the whole process and as far as its allocator can: given back to
    /// the system and asked for anew, each page of a large tensor is set to zero again, which takes as long as a step
    /// of training a convolutional network itself. To be called early, before there are threads.
    public static func keepMemory() { must(ct_keep_memory(), #function) }

    /// Asked between the parts of a long computation, so that memory that ran out ends it with an error.
    ///
    /// - Throws: `TorchError.outOfMemory` if an operation needed the reserve since the last call.
    public static func checkMemory() throws(TorchError) {
        var isShort = false
        try check(ct_memory_is_short(false, &isShort))
        guard isShort else { return }
        try check(ct_memory_is_short(true, &isShort))
        throw .outOfMemory("an operation had to take the reserve")
    }

    private static let failureHandler = Mutex<(@Sendable (String) -> Never)?>(nil)

    /// Sets what ends the process when an operation fails that cannot throw, for programs that end with a line and an
    /// exit status rather than a trap.
    public static func onFailure(_ handler: (@Sendable (String) -> Never)?) { failureHandler.withLock { $0 = handler } }

    static func fail(_ message: String) -> Never {
        if let handler = failureHandler.withLock({ $0 }) { handler(message) }
        // Not preconditionFailure, which says nothing in a release build.
        fatalError(message)
    }

    /// Usable CUDA devices. libtorch_cuda is looked for at the first call; where it is missing the answer is 0.
    public static let cudaDeviceCount: Int = {
        var count: Int32 = 0
        return ct_cuda_device_count(&count) == 0 ? Int(count) : 0
    }()

    /// Tensors alive in the process. For tests of leaks.
    public static var liveTensorCount: Int { Int(ct_live()) }

    /// Threads of one operation, at least 1. Set, it holds for the calling thread and for threads whose first call into
    /// libtorch comes later; threads that have already used libtorch keep theirs.
    public static var threadCount: Int {
        get {
            var count: Int32 = 1
            must(ct_get_num_threads(&count), #function)
            return Int(count)
        }
        set { must(ct_set_num_threads(Int32(clamping: max(1, newValue))), #function) }
    }

    /// Whether autograd records what the calling thread computes: not within `withoutGradients`.
    public static var recordsGradients: Bool {
        var value = true
        must(ct_grad_enabled(&value), #function)
        return value
    }

    /// Waits for a GPU's queue; returns at once on the CPU.
    public static func synchronize(_ device: Device) {
        must(ct_synchronize(device.index), #function)
    }
}

/// Runs `body` without recording gradients on this thread, and restores the mode afterwards.
///
/// The mode is thread-local in libtorch, so the closure is synchronous: an `await` inside could continue elsewhere.
public func withoutGradients<Result>(_ body: () throws -> Result) rethrows -> Result {
    let before = Runtime.recordsGradients
    must(ct_set_grad_enabled(false), #function)
    defer { must(ct_set_grad_enabled(before), #function) }
    return try body()
}

/// A stream of random numbers. Every random operation names one, so that equal seeds give equal results.
public final class Generator {
    fileprivate let handle: ct_generator

    /// A stream that starts at `seed`, for tensors of `device`, which must exist.
    public init(seed: UInt64, device: Device = .cpu) {
        var out: ct_generator?
        must(ct_generator_new(device.index, seed, &out), "Generator")
        handle = out!
    }

    deinit { ct_generator_free(handle) }

    /// The whole state, as a uint8 tensor `[bytes]` on the CPU; what a checkpoint stores.
    public var state: Tensor {
        Tensor.make { ct_generator_state(handle, $0) }
    }

    /// Continues from a stored state.
    ///
    /// - Throws: `TorchError.operation` if the tensor is not a state of this kind of generator.
    public func restore(_ state: Tensor) throws(TorchError) {
        try check(ct_generator_set_state(handle, state.handle))
    }

    func withHandle<Result>(_ body: (ct_generator) -> Result) -> Result {
        withExtendedLifetime(self) { body(handle) }
    }
}
