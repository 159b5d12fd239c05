import CTihuaTorch

/// An n-dimensional array of libtorch.
///
/// A class over one opaque handle: copies share storage, as in PyTorch, and operations whose names end in an underscore
/// change it in place. Not `Sendable`: libtorch tensors share storage, version counters and gradients, so a model and
/// its tensors stay on one thread and values (`[Float]`, token ids) cross.
///
/// Operators trap on wrong shapes, which are errors of the program; constructors and everything that reads a file
/// throw.
public final class Tensor {
    // Read only in functions that receive the tensor as `self` or as a parameter: the caller then keeps it alive.
    let handle: ct_tensor

    init(adopting handle: ct_tensor) {
        self.handle = handle
    }

    deinit { ct_free(handle) }

    /// Wraps the result of a C function that cannot fail for a correct program.
    static func make(
        _ function: StaticString = #function, _ body: (UnsafeMutablePointer<ct_tensor?>) -> ct_status
    ) -> Tensor {
        var out: ct_tensor?
        must(body(&out), function)
        return Tensor(adopting: out!)
    }

    /// Calls `body` with the handles of `tensors`, which live until it returns.
    static func withHandles<Result>(
        _ tensors: [Tensor], _ body: (UnsafePointer<ct_tensor?>?, Int32) -> Result
    ) -> Result {
        withExtendedLifetime(tensors) {
            let handles: [ct_tensor?] = tensors.map(\.handle)
            return handles.withUnsafeBufferPointer { body($0.baseAddress, Int32($0.count)) }
        }
    }
}

// MARK: - Creation

extension Tensor {
    /// A tensor with the elements of `values` in row-major order.
    ///
    /// - Precondition: `shape` has as many elements as `values`.
    public convenience init<Element: TensorElement>(_ values: [Element], _ shape: [Int]) {
        precondition(shape.reduce(1, *) == values.count, "shape \(shape) does not hold \(values.count) elements")
        var out: ct_tensor?
        let status = values.withUnsafeBytes { bytes in
            withShape(shape) { ct_from_data(bytes.baseAddress, bytes.count, $0, $1, Element.dtype.rawValue, &out) }
        }
        must(status, "Tensor.init")
        self.init(adopting: out!)
    }

    /// A vector of `values`.
    public convenience init<Element: TensorElement>(_ values: [Element]) {
        self.init(values, [values.count])
    }

    /// Int64 ids, the type that embeddings and losses ask for.
    ///
    /// - Precondition: `shape` has as many elements as `values`.
    public static func ids(_ values: [Int32], _ shape: [Int]) -> Tensor {
        Tensor(values.map(Int64.init), shape)
    }

    /// Memory that is owned elsewhere (a mapped file), not copied. `owner` lives as long as the storage does.
    ///
    /// - Parameters:
    ///   - memory: the first element
    ///   - shape: the size of each dimension
    ///   - strides: of every dimension, in elements; nil for row-major order
    ///   - dtype: what lies there
    ///   - owner: what keeps the memory, released with the last tensor that shares it
    /// - Throws: `TorchError.operation` if libtorch refuses the shape.
    public static func borrowing(
        _ memory: UnsafeRawPointer, _ shape: [Int], strides: [Int]? = nil, dtype: DType, owner: AnyObject
    ) throws(TorchError) -> Tensor {
        guard strides == nil || strides?.count == shape.count else {
            throw .operation("shape \(shape) needs one stride for each dimension, given \(strides ?? [])")
        }
        var out: ct_tensor?
        let context = Unmanaged.passRetained(owner)
        let release: @convention(c) (UnsafeMutableRawPointer?) -> Void = { context in
            if let context { Unmanaged<AnyObject>.fromOpaque(context).release() }
        }
        let wideStrides = strides.map { $0.map(Int64.init) }
        let status = withShape(shape) { sizes, rank in
            if let wideStrides {
                wideStrides.withUnsafeBufferPointer {
                    ct_from_borrowed(
                        memory, sizes, $0.baseAddress, rank, dtype.rawValue, release, context.toOpaque(), &out)
                }
            } else {
                ct_from_borrowed(memory, sizes, nil, rank, dtype.rawValue, release, context.toOpaque(), &out)
            }
        }
        if status != 0 { defer { context.release() }; try check(status) }
        return Tensor(adopting: out!)
    }

    /// Every element `value`.
    public static func full(_ shape: [Int], _ value: Double, dtype: DType = .float32, device: Device = .cpu) -> Tensor {
        make { out in withShape(shape) { ct_full($0, $1, value, dtype.rawValue, device.index, out) } }
    }

    /// Every element 0.
    public static func zeros(_ shape: [Int], dtype: DType = .float32, device: Device = .cpu) -> Tensor {
        full(shape, 0, dtype: dtype, device: device)
    }

    /// Every element 1.
    public static func ones(_ shape: [Int], dtype: DType = .float32, device: Device = .cpu) -> Tensor {
        full(shape, 1, dtype: dtype, device: device)
    }

    /// Memory that is not initialised.
    public static func empty(_ shape: [Int], dtype: DType = .float32, device: Device = .cpu) -> Tensor {
        make { out in withShape(shape) { ct_empty($0, $1, dtype.rawValue, device.index, out) } }
    }

    /// The integers of `range`. `[count]`
    public static func arange(_ range: Range<Int>, dtype: DType = .int64, device: Device = .cpu) -> Tensor {
        make { ct_arange(Int64(range.lowerBound), Int64(range.upperBound), dtype.rawValue, device.index, $0) }
    }

    /// Normal(0, 1).
    public static func randn(
        _ shape: [Int], generator: Generator, dtype: DType = .float32, device: Device = .cpu
    ) -> Tensor {
        make { out in
            generator.withHandle { generator in
                withShape(shape) { ct_randn($0, $1, generator, dtype.rawValue, device.index, out) }
            }
        }
    }

    /// Uniform in [0, 1).
    public static func rand(
        _ shape: [Int], generator: Generator, dtype: DType = .float32, device: Device = .cpu
    ) -> Tensor {
        make { out in
            generator.withHandle { generator in
                withShape(shape) { ct_rand($0, $1, generator, dtype.rawValue, device.index, out) }
            }
        }
    }
}

// MARK: - Access

extension Tensor {
    /// The number of dimensions.
    public var rank: Int {
        var rank: Int32 = 0
        must(ct_rank(handle, &rank), #function)
        return Int(rank)
    }

    /// The size of each dimension; empty for a scalar.
    public var shape: [Int] {
        var sizes = [Int64](repeating: 0, count: rank)
        must(ct_shape(handle, &sizes), #function)
        return sizes.map(Int.init)
    }

    /// The size of one dimension; negative ones count from the end.
    public func size(_ dimension: Int) -> Int {
        let shape = shape
        let index = dimension < 0 ? shape.count + dimension : dimension
        precondition(shape.indices.contains(index), "shape \(shape) has no dimension \(dimension)")
        return shape[index]
    }

    /// The number of elements.
    public var count: Int { shape.reduce(1, *) }

    /// The element type.
    public var dtype: DType {
        var raw: Int32 = 0
        must(ct_dtype(handle, &raw), #function)
        guard let dtype = DType(rawValue: raw) else { fatalError("libtorch element type \(raw) is not in DType") }
        return dtype
    }

    /// Where the elements live.
    public var device: Device {
        var index: ct_device = -1
        must(ct_device_of(handle, &index), #function)
        return Device(index: index)
    }

    /// The value of a tensor with one element. Integers above 2⁵³ are rounded; `array` gives them exactly.
    public var item: Double {
        var value = 0.0
        must(ct_item(handle, &value), #function)
        return value
    }

    /// The elements in row-major order, converted to `Element`.
    public func array<Element: TensorElement>(of type: Element.Type = Element.self) -> [Element] {
        let count = count
        return [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
            let bytes = count * MemoryLayout<Element>.stride
            must(ct_copy_out(handle, Element.dtype.rawValue, buffer.baseAddress, bytes), "array")
            initialized = count
        }
    }

    /// The elements as float32.
    public var floats: [Float] { array(of: Float.self) }

    /// The raw bytes of a contiguous tensor on the CPU, without a copy.
    ///
    /// - Throws: `TorchError.operation` for a tensor that is not contiguous or not on the CPU; and what `body` throws.
    public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        var pointer: UnsafeMutableRawPointer?
        try check(ct_data_pointer(handle, &pointer))
        return try withExtendedLifetime(self) {
            try body(UnsafeRawBufferPointer(start: pointer, count: count * dtype.size))
        }
    }

    /// This tensor in another element type or on another device; itself where nothing changes.
    public func to(_ dtype: DType? = nil, _ device: Device? = nil) -> Tensor {
        let dtype = dtype ?? self.dtype
        let device = device ?? self.device
        if dtype == self.dtype, device == self.device { return self }
        return .make { ct_to(handle, dtype.rawValue, device.index, $0) }
    }

    /// A copy with its own storage.
    public func clone() -> Tensor { .make { ct_clone(handle, $0) } }
    /// The same elements in row-major order; itself where they are already.
    public func contiguous() -> Tensor { .make { ct_contiguous(handle, $0) } }
    /// `[B, C, H, W]` with the channels innermost in memory, which convolutions on processors prefer.
    public func channelsLast() -> Tensor { .make { ct_channels_last(handle, $0) } }
}

// MARK: - Gradients

extension Tensor {
    /// Whether autograd records what is computed from this tensor. Only floating point leaves may change it.
    public var requiresGradient: Bool {
        get {
            var value = false
            must(ct_requires_grad(handle, &value), #function)
            return value
        }
        set { must(ct_set_requires_grad(handle, newValue), #function) }
    }

    /// The gradient that `backward` accumulated, nil before.
    public var gradient: Tensor? {
        var out: ct_tensor?
        must(ct_grad(handle, &out), #function)
        return out.map(Tensor.init(adopting:))
    }

    /// Adds to the gradient, as `backward` does. Where there is none yet, `other` becomes it.
    public func addGradient(_ other: Tensor) {
        if let gradient { gradient.add_(other) } else { must(ct_set_grad(handle, other.handle), #function) }
    }

    /// Forgets the gradient, so that `gradient` is nil.
    public func clearGradient() { must(ct_clear_grad(handle), #function) }

    /// Accumulates gradients in every leaf that led to this scalar.
    ///
    /// - Throws: `TorchError.operation` if nothing in the graph requires gradients, or if this is not a scalar.
    public func backward() throws(TorchError) { try check(ct_backward(handle)) }

    /// The same storage without history.
    public func detached() -> Tensor { .make { ct_detach(handle, $0) } }
}

extension Tensor: CustomStringConvertible {
    /// Type, shape and device, not the elements.
    public var description: String { "Tensor(\(dtype) \(shape) \(device))" }
}

/// Hands a shape to C.
func withShape<Result>(_ shape: [Int], _ body: (UnsafePointer<Int64>?, Int32) -> Result) -> Result {
    // A rank above 8 does not occur; the copy is on the stack for the usual ones.
    withUnsafeTemporaryAllocation(of: Int64.self, capacity: max(1, shape.count)) { buffer in
        for (index, size) in shape.enumerated() { buffer.initializeElement(at: index, to: Int64(size)) }
        return body(UnsafePointer(buffer.baseAddress), Int32(shape.count))
    }
}
