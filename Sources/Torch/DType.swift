import CTorch

/// The element type of a tensor.
public enum DType: Int32, Sendable, CaseIterable, CustomStringConvertible {
    case uint8 = 0
    case int8 = 1
    case int16 = 2
    case int32 = 3
    case int64 = 4
    case float16 = 5
    case float32 = 6
    case float64 = 7
    case bool = 11
    case bfloat16 = 15

    /// Bytes of one element.
    public var size: Int {
        switch self {
        case .uint8, .int8, .bool: 1
        case .int16, .float16, .bfloat16: 2
        case .int32, .float32: 4
        case .int64, .float64: 8
        }
    }

    public var isFloatingPoint: Bool {
        switch self {
        case .float16, .float32, .float64, .bfloat16: true
        default: false
        }
    }

    public var description: String {
        switch self {
        case .uint8: "uint8"
        case .int8: "int8"
        case .int16: "int16"
        case .int32: "int32"
        case .int64: "int64"
        case .float16: "float16"
        case .float32: "float32"
        case .float64: "float64"
        case .bool: "bool"
        case .bfloat16: "bfloat16"
        }
    }
}

/// A Swift type whose arrays have the memory layout of a tensor's elements.
public protocol TensorElement: BitwiseCopyable, Sendable {
    static var dtype: DType { get }
}

extension UInt8: TensorElement { public static var dtype: DType { .uint8 } }
extension Int8: TensorElement { public static var dtype: DType { .int8 } }
extension Int16: TensorElement { public static var dtype: DType { .int16 } }
extension Int32: TensorElement { public static var dtype: DType { .int32 } }
extension Int64: TensorElement { public static var dtype: DType { .int64 } }
extension Float: TensorElement { public static var dtype: DType { .float32 } }
extension Double: TensorElement { public static var dtype: DType { .float64 } }
extension Bool: TensorElement { public static var dtype: DType { .bool } }

/// Where a tensor lives.
public enum Device: Hashable, Sendable, CustomStringConvertible {
    case cpu
    case cuda(Int)

    init(index: ct_device) {
        self = index < 0 ? .cpu : .cuda(Int(index))
    }

    var index: ct_device {
        switch self {
        case .cpu: -1
        case .cuda(let index): ct_device(index)
        }
    }

    /// The device that a person names: `cpu`, `cuda`, `cuda:1`, or `auto` (a GPU where there is one).
    ///
    /// - Throws: `TorchError.noDevice` for any other name, and for a GPU that is not there.
    public init(named name: String) throws(TorchError) {
        let count = Runtime.cudaDeviceCount
        if name == "cpu" || (name == "auto" && count == 0) {
            self = .cpu
        } else if name == "auto" {
            self = .cuda(0)
        } else {
            let parts = name.split(separator: ":", omittingEmptySubsequences: false)
            let index = parts.count == 1 ? 0 : Int(parts[1])
            guard parts[0] == "cuda", parts.count <= 2, let index, (0..<count).contains(index) else {
                throw .noDevice(name)
            }
            self = .cuda(index)
        }
    }

    public var description: String {
        switch self {
        case .cpu: "cpu"
        case .cuda(let index): "cuda:\(index)"
        }
    }
}
