public import Foundation
public import TihuaFiles

/// Writes safetensors files, byte for byte as Python's `safetensors` writes them: widest elements first, then by name.
public enum SafetensorsWriter {
    /// One tensor to write. Its bytes are asked for when their turn comes, so only one need be in memory at a time.
    public struct Source {
        /// The name in the file.
        public var name: String
        /// The type of the elements.
        public var elementType: ElementType
        /// The dimensions, outermost first.
        public var shape: [Int]
        fileprivate var emit: (FileSink) throws -> Void

        /// A tensor whose closure writes its elements, row-major and little-endian, in one or more pieces.
        public init(
            name: String, elementType: ElementType, shape: [Int], writing emit: @escaping (FileSink) throws -> Void
        ) {
            self.name = name
            self.elementType = elementType
            self.shape = shape
            self.emit = emit
        }

        /// A tensor of another file.
        public init(_ view: TensorView) {
            self.init(name: view.name, elementType: view.elementType, shape: view.shape) { sink in
                if view.isContiguous {
                    try view.withUnsafeBytes { try sink.write($0) }
                } else {
                    try sink.write(view.contiguousBytes())
                }
            }
        }
    }

    /// Writes the file whole or not at all, replacing an older one.
    ///
    /// Throws `WeightFileError.unwritable` (two equal names, a source whose bytes do not fit its shape), `FileError`
    /// (disk full, no permission), and whatever a source throws.
    public static func write(_ tensors: [Source], metadata: [String: String] = [:], to url: URL) throws {
        let ordered = tensors.sorted { (rank($0.elementType), $0.name) < (rank($1.elementType), $1.name) }
        func unwritable(_ problem: String) -> WeightFileError { .unwritable(path: url.path, problem: problem) }

        var header: [UInt8] = [UInt8(ascii: "{")]
        if !metadata.isEmpty {
            let pairs = metadata.sorted { $0.key < $1.key }.map { "\(jsonString($0.key)):\(jsonString($0.value))" }
            header += Array("\"__metadata__\":{\(pairs.joined(separator: ","))}".utf8)
        }
        var names: Set<String> = ["__metadata__"]
        var sizes: [Int] = []
        var offset = 0
        for tensor in ordered {
            guard names.insert(tensor.name).inserted else {
                throw unwritable("the name \(quoted(tensor.name)) stands twice or is reserved")
            }
            guard let size = extent(of: tensor.shape, tensor.elementType)?.bytes,
                case let (end, overflow) = offset.addingReportingOverflow(size), !overflow
            else {
                throw unwritable("tensor \(quoted(tensor.name)) has the impossible shape \(tensor.shape)")
            }
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            header += Array(
                """
                \(header.count > 1 ? "," : "")\(jsonString(tensor.name)):{"dtype":"\(tensor.elementType.rawValue)",\
                "shape":[\(shape)],"data_offsets":[\(offset),\(end)]}
                """.utf8)
            sizes.append(size)
            offset = end
        }
        header.append(UInt8(ascii: "}"))
        // The data starts on a multiple of eight, so that every element of a mapped file is aligned.
        header += [UInt8](repeating: 0x20, count: (8 - header.count % 8) % 8)
        guard header.count <= SafetensorsFile.maximumHeader else {
            throw unwritable("the names take more than \(SafetensorsFile.maximumHeader) bytes")
        }

        try AtomicFile.write(to: url) { sink in
            try withUnsafeBytes(of: UInt64(header.count).littleEndian) { try sink.write($0) }
            try sink.write(header)
            for (tensor, size) in zip(ordered, sizes) {
                let start = sink.count
                try tensor.emit(sink)
                guard sink.count - start == size else {
                    throw unwritable(
                        "tensor \(quoted(tensor.name)) of \(tensor.elementType.rawValue) \(tensor.shape) gave "
                            + "\(sink.count - start) bytes instead of \(size)")
                }
            }
        }
    }

    /// The place of an element type in the reference's order (`Dtype` of safetensors 0.8, descending).
    private static func rank(_ type: ElementType) -> Int {
        let order: [ElementType] = [
            .int64, .float64, .float32, .int32, .bfloat16, .float16, .int16, .int8, .uint8, .bool,
        ]
        return order.firstIndex(of: type) ?? order.count
    }

    private static func jsonString(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\u{8}": result += "\\b"
            case "\u{c}": result += "\\f"
            case ..<"\u{20}":
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
