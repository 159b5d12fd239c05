/// The type of a tensor's elements; the raw value is the name that safetensors uses.
public enum ElementType: String, Sendable, CaseIterable {
    case float64 = "F64"
    case float32 = "F32"
    case float16 = "F16"
    case bfloat16 = "BF16"
    case int64 = "I64"
    case int32 = "I32"
    case int16 = "I16"
    case int8 = "I8"
    case uint8 = "U8"
    case bool = "BOOL"

    /// Bytes of one element.
    public var byteCount: Int {
        switch self {
        case .float64, .int64: 8
        case .float32, .int32: 4
        case .float16, .bfloat16, .int16: 2
        case .int8, .uint8, .bool: 1
        }
    }
}

/// The number of elements of a shape and its bytes; nil where a dimension is negative or a product overflows.
func extent(of shape: [Int], _ type: ElementType) -> (elements: Int, bytes: Int)? {
    var elements = 1
    for dimension in shape {
        let (product, overflow) = elements.multipliedReportingOverflow(by: dimension)
        guard dimension >= 0, !overflow else { return nil }
        elements = product
    }
    let (bytes, overflow) = elements.multipliedReportingOverflow(by: type.byteCount)
    return overflow ? nil : (elements, bytes)
}

/// Row-major strides of a shape, in elements. The shape must have passed `extent(of:_:)`.
func rowMajorStrides(_ shape: [Int]) -> [Int] {
    var strides = [Int](repeating: 1, count: shape.count)
    for axis in shape.indices.dropLast().reversed() {
        // Wrapping, since [0, 2⁴⁰, 2⁴⁰] is a valid empty shape; its strides are never used.
        strides[axis] = strides[axis + 1] &* max(shape[axis + 1], 1)
    }
    return strides
}
