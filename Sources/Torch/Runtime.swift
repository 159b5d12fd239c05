import CTorch

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

    /// Waits for a GPU's queue; returns at once on the CPU.
    public static func synchronize(_ device: Device) {
        must(ct_synchronize(device.index), #function)
    }
}

/// Runs `body` without recording gradients on this thread, and restores the mode afterwards.
///
/// The mode is thread-local in libtorch, so the closure is synchronous: an `await` inside could continue elsewhere.
public func withoutGradients<Result>(_ body: () throws -> Result) rethrows -> Result {
    var before = true
    must(ct_grad_enabled(&before), #function)
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
