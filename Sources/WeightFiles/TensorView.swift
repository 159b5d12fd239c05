/// A tensor inside a mapped file: where its elements lie and how to walk them. Nothing is copied.
///
/// The view keeps its file alive. Elements are little-endian, as in the file.
public struct TensorView: @unchecked Sendable {
    // Sendable: the memory is read-only and `owner` keeps it valid.

    /// The tensor's name in the file; empty for a tensor without one.
    public let name: String
    /// The type of the elements.
    public let elementType: ElementType
    /// The dimensions, outermost first; empty for a scalar.
    public let shape: [Int]
    /// Elements to step for one step along each dimension; 0 where a dimension is expanded.
    public let strides: [Int]
    /// The number of elements, the product of the shape.
    public let elementCount: Int
    /// What keeps the memory valid: whoever takes the pointer out of `withUnsafeBytes` keeps this object too.
    public let owner: any AnyObject & Sendable

    /// The memory from the first element to the last one that the strides reach.
    private let span: UnsafeRawBufferPointer

    /// A view over memory that was already checked: `span` covers every element that shape and strides reach.
    init(
        name: String, elementType: ElementType, shape: [Int], strides: [Int], elementCount: Int,
        owner: any AnyObject & Sendable, span: UnsafeRawBufferPointer
    ) {
        self.name = name
        self.elementType = elementType
        self.shape = shape
        self.strides = strides
        self.elementCount = elementCount
        self.owner = owner
        self.span = span
    }

    /// The same tensor under another name.
    public func renamed(_ name: String) -> TensorView {
        TensorView(
            name: name, elementType: elementType, shape: shape, strides: strides, elementCount: elementCount,
            owner: owner, span: span)
    }

    /// Bytes of all elements, laid out without gaps.
    public var byteCount: Int { elementCount * elementType.byteCount }

    /// True if the elements lie in row-major order without gaps.
    public var isContiguous: Bool {
        guard elementCount > 1 else { return true }
        var expected = 1
        for (dimension, stride) in zip(shape, strides).reversed() where dimension != 1 {
            guard stride == expected else { return false }
            expected *= dimension
        }
        return true
    }

    /// True if the first element lies on a multiple of its size. Files of PyTorch before 1.6 do not align.
    public var isAligned: Bool {
        Int(bitPattern: span.baseAddress) % elementType.byteCount == 0
    }

    /// Calls the closure with the memory from the first element to the last one that the strides reach.
    ///
    /// For a contiguous tensor that is exactly `byteCount` bytes. The pointer stays valid as long as `owner` lives.
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        defer { withExtendedLifetime(owner) {} }
        return try body(span)
    }

    /// A copy of the elements in row-major order without gaps, `byteCount` bytes.
    public func contiguousBytes() -> [UInt8] {
        defer { withExtendedLifetime(owner) {} }
        guard !isContiguous else { return Array(span.prefix(byteCount)) }
        let size = elementType.byteCount
        return [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
            let target = UnsafeMutableRawBufferPointer(buffer)
            // The innermost dimension is a plain loop; the outer ones count like an odometer.
            let inner = shape[shape.count - 1]
            let innerStride = strides[strides.count - 1] * size
            var index = [Int](repeating: 0, count: shape.count - 1)
            var source = 0
            var written = 0
            while written < byteCount {
                if innerStride == size {
                    target[written..<written + inner * size].copyBytes(from: span[source..<source + inner * size])
                } else {
                    for step in 0..<inner {
                        let from = source + step * innerStride
                        let to = written + step * size
                        target[to..<to + size].copyBytes(from: span[from..<from + size])
                    }
                }
                written += inner * size
                for axis in index.indices.reversed() {
                    index[axis] += 1
                    source += strides[axis] * size
                    if index[axis] < shape[axis] { break }
                    source -= strides[axis] * size * shape[axis]
                    index[axis] = 0
                }
            }
            count = written
        }
    }

    /// The elements as `Float`, row-major; nil for integers and booleans. float64 is rounded.
    public func floats() -> [Float]? {
        func convert<Bits: FixedWidthInteger & BitwiseCopyable>(_ float: (Bits) -> Float) -> [Float] {
            contiguousBytes().withUnsafeBytes { bytes in
                (0..<elementCount).map {
                    let offset = $0 * MemoryLayout<Bits>.size
                    return float(Bits(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Bits.self)))
                }
            }
        }
        switch elementType {
        case .float64: return convert { (bits: UInt64) in Float(Double(bitPattern: bits)) }
        case .float32: return convert { (bits: UInt32) in Float(bitPattern: bits) }
        case .float16: return convert { (bits: UInt16) in Float(Float16(bitPattern: bits)) }
        case .bfloat16: return convert { (bits: UInt16) in Float(bitPattern: UInt32(bits) << 16) }
        case .int64, .int32, .int16, .int8, .uint8, .bool: return nil
        }
    }
}
