import CTihuaTorch

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

    /// Whether gradients can flow through it.
    public var isFloatingPoint: Bool {
        switch self {
        case .float16, .float32, .float64, .bfloat16: true
        default: false
        }
    }

    /// PyTorch's name, such as `float32`.
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
    /// The element type of a tensor made from an array of these.
    static var dtype: DType { get }
}

extension UInt8: TensorElement {
    /// `uint8`
    public static var dtype: DType { .uint8 }
}
extension Int8: TensorElement {
    /// `int8`
    public static var dtype: DType { .int8 }
}
extension Int16: TensorElement {
    /// `int16`
    public static var dtype: DType { .int16 }
}
extension Int32: TensorElement {
    /// `int32`
    public static var dtype: DType { .int32 }
}
extension Int64: TensorElement {
    /// `int64`
    public static var dtype: DType { .int64 }
}
extension Float16: TensorElement {
    /// `float16`
    public static var dtype: DType { .float16 }
}
extension Float: TensorElement {
    /// `float32`
    public static var dtype: DType { .float32 }
}
extension Double: TensorElement {
    /// `float64`
    public static var dtype: DType { .float64 }
}
extension Bool: TensorElement {
    /// `bool`
    public static var dtype: DType { .bool }
}

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
        if name == "cpu" {  // asked first: looking for a GPU opens a library of gigabytes
            self = .cpu
        } else if name == "auto" {
            self = Runtime.cudaDeviceCount == 0 ? .cpu : .cuda(0)
        } else {
            let parts = name.split(separator: ":", omittingEmptySubsequences: false)
            let index = parts.count == 1 ? 0 : Int(parts[1])
            guard parts[0] == "cuda", parts.count <= 2, let index, (0..<Runtime.cudaDeviceCount).contains(index) else {
                throw .noDevice(name)
            }
            self = .cuda(index)
        }
    }

    /// The name that `init(named:)` takes.
    public var description: String {
        switch self {
        case .cpu: "cpu"
        case .cuda(let index): "cuda:\(index)"
        }
    }
}
