public import Foundation
import TihuaFiles
public import TihuaWeightFiles

// The bridge between files of weights and tensors.

extension DType {
    /// The element type of a file.
    public init(_ type: ElementType) {
        self =
            switch type {
            case .float64: .float64
            case .float32: .float32
            case .float16: .float16
            case .bfloat16: .bfloat16
            case .int64: .int64
            case .int32: .int32
            case .int16: .int16
            case .int8: .int8
            case .uint8: .uint8
            case .bool: .bool
            }
    }

    /// The same type in a file.
    public var elementType: ElementType {
        switch self {
        case .float64: .float64
        case .float32: .float32
        case .float16: .float16
        case .bfloat16: .bfloat16
        case .int64: .int64
        case .int32: .int32
        case .int16: .int16
        case .int8: .int8
        case .uint8: .uint8
        case .bool: .bool
        }
    }
}

extension Tensor {
    /// The elements of a mapped file, without a copy where the file aligns them. For reading only: an operation in
    /// place would fault or change the file's other readers.
    ///
    /// - Throws: `TorchError.operation` if libtorch refuses the shape.
    public static func borrowing(_ view: TensorView) throws(TorchError) -> Tensor {
        let dtype = DType(view.elementType)
        guard view.elementCount > 0 else { return .empty(view.shape, dtype: dtype) }
        guard view.isAligned else {
            let bytes = AlignedBytes(view.contiguousBytes())
            return try borrowing(bytes.start, view.shape, dtype: dtype, owner: bytes)
        }
        return try view.withUnsafeBytes { (bytes) throws(TorchError) in
            guard let start = bytes.baseAddress else { return .empty(view.shape, dtype: dtype) }
            return try borrowing(start, view.shape, strides: view.strides, dtype: dtype, owner: view.owner)
        }
    }
}

/// A copy of bytes that starts where any element may.
private final class AlignedBytes {
    let start: UnsafeRawPointer

    init(_ bytes: [UInt8]) {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(1, bytes.count), alignment: 64)
        bytes.withUnsafeBytes {
            memory.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(memory), byteCount: $0.count)
        }
        start = UnsafeRawPointer(memory)
    }

    deinit { start.deallocate() }
}

/// Files of tensors by name.
public enum TensorFile {
    /// Writes a safetensors file, whole or not at all, replacing an older one. Tensors are fetched and converted one at
    /// a time.
    ///
    /// - Parameters:
    ///   - tensors: in any order; names are unique
    ///   - dtype: of the floating point tensors in the file; as they are if nil
    ///   - keeping: names of tensors that stay as they are
    ///   - metadata: `format: pt` is what transformers asks for
    ///   - url: the file
    /// - Throws: `WeightFileError` for a full disk, a missing permission or equal names.
    public static func write(
        _ tensors: [(name: String, tensor: Tensor)], dtype: DType? = nil, keeping: Set<String> = [],
        metadata: [String: String] = ["format": "pt"], to url: URL
    ) throws {
        let sources = tensors.map { name, tensor in
            let isKept = keeping.contains(name) || !tensor.dtype.isFloatingPoint
            let stored = isKept ? tensor.dtype : dtype ?? tensor.dtype
            return SafetensorsWriter.Source(name: name, elementType: stored.elementType, shape: tensor.shape) { sink in
                let values = withoutGradients { tensor.detached().to(stored, .cpu).contiguous() }
                try values.withUnsafeBytes { try sink.write($0) }
            }
        }
        try SafetensorsWriter.write(sources, metadata: metadata, to: url)
    }
}
