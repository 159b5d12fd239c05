public import Foundation

/// A file of `numpy.savez` or `savez_compressed`: a ZIP archive of arrays.
///
/// Arrays are unpacked into memory, each at most once. Object arrays are pickles and are refused. Source: NumPy's
/// `numpy/lib/format.py`, versions 1.0 to 3.0 of the format.
public struct NumPyArchive: Sendable {
    /// The path as it was given.
    public let path: String
    /// The arrays by their names, without `.npy`, in the order of the names.
    public let tensors: [TensorView]

    /// The most bytes that all arrays may take in memory.
    static let maximumSize = 2 << 30
    private static let magic = [0x93] + Array("NUMPY".utf8)
    private static let suffix = ".npy"

    /// Reads the file at a URL. Throws `WeightFileError`.
    public init(contentsOf url: URL) throws(WeightFileError) {
        try self.init(MappedFile(contentsOf: url))
    }

    /// Reads a mapped file. Throws `WeightFileError`.
    public init(_ file: MappedFile) throws(WeightFileError) {
        try self.init(ZipArchive(file), path: file.path)
    }

    init(_ archive: ZipArchive, path: String) throws(WeightFileError) {
        self.path = path
        var tensors: [TensorView] = []
        var left = Self.maximumSize
        for name in archive.names.sorted() {
            guard name.hasSuffix(Self.suffix), let bytes = try archive.content(of: name, limit: left) else {
                throw .malformed(path: path, problem: "the archive's entry \(quoted(name)) is no array")
            }
            left -= bytes.count
            tensors.append(try Self.array(bytes, name: String(name.dropLast(Self.suffix.count)), path: path))
        }
        guard !tensors.isEmpty else { throw .malformed(path: path, problem: "the archive holds no array") }
        self.tensors = tensors
    }

    /// Whether an archive is of this kind, judged by the names in it.
    static func isOne(_ archive: ZipArchive) -> Bool {
        let names = archive.names
        return !names.isEmpty && names.allSatisfy { $0.hasSuffix(suffix) }
    }

    /// Memory of a heap block that views keep alive.
    private final class Block: @unchecked Sendable {
        // Sendable: never written after init.
        let bytes: UnsafeMutableRawBufferPointer

        init(_ content: ArraySlice<UInt8>) {
            bytes = .allocate(byteCount: max(1, content.count), alignment: 64)
            bytes.copyBytes(from: content)
        }

        deinit { bytes.deallocate() }
    }

    private static func array(_ bytes: [UInt8], name: String, path: String) throws(WeightFileError) -> TensorView {
        func damaged(_ problem: String) -> WeightFileError {
            .malformed(path: path, problem: "array \(quoted(name)): \(problem)")
        }
        guard bytes.starts(with: magic), bytes.count >= 12, (1...3).contains(bytes[6]) else {
            throw damaged("no header of NumPy")
        }
        // Version 1.0 counts the header in two bytes, later ones in four.
        let width = bytes[6] == 1 ? 2 : 4
        let length = (0..<width).reduce(0) { $0 | Int(bytes[8 + $1]) << (8 * $1) }
        let start = 8 + width
        guard length <= bytes.count - start, length <= 1 << 16,
            let header = String(validating: bytes[start..<start + length], as: UTF8.self)
        else { throw damaged("its header is cut off") }
        guard let (type, isFortran, shape) = try parse(header, name: name, path: path) else {
            throw damaged("a header that is none: \(quoted(header))")
        }
        let data = bytes[(start + length)...]
        guard shape.count <= 64, let size = extent(of: shape, type), size.bytes == data.count else {
            throw damaged("the header says \(shape) of \(type.rawValue), and \(data.count) bytes follow")
        }
        let block = Block(data)
        let strides = isFortran ? rowMajorStrides(shape.reversed()).reversed() : rowMajorStrides(shape)
        return TensorView(
            name: name, elementType: type, shape: shape, strides: strides, elementCount: size.elements, owner: block,
            span: UnsafeRawBufferPointer(rebasing: block.bytes[..<data.count]))
    }

    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`, a literal of Python; nil for another one.
    private static func parse(
        _ header: String, name: String, path: String
    ) throws(WeightFileError) -> (ElementType, isFortran: Bool, shape: [Int])? {
        let form =
            /\s*\{\s*'descr':\s*'(?<type>[^']*)',\s*'fortran_order':\s*(?<fortran>True|False),\s*'shape':\s*\((?<shape>[\d, ]*)\),?\s*\}\s*/
        guard let match = header.wholeMatch(of: form) else {
            // A structured type is a list of fields.
            guard header.contains("'descr': [") else { return nil }
            throw .unsupported(
                path: path, feature: "the structured array \(quoted(name))", advice: "save each field as an array")
        }
        let types: [Substring: ElementType] = [
            "<f8": .float64, "<f4": .float32, "<f2": .float16, "<i8": .int64, "<i4": .int32, "<i2": .int16,
            "|i1": .int8,
            "|u1": .uint8, "|b1": .bool,
        ]
        guard let type = types[match.type] else {
            throw .unsupported(
                path: path, feature: "array \(quoted(name)) of type \(quoted(String(match.type)))",
                advice: "save it as float32, or as another plain type, little-endian")
        }
        var shape: [Int] = []
        for field in match.shape.split(separator: ",") where !field.allSatisfy({ $0 == " " }) {
            guard let size = Int(field.trimmingPrefix(" ")) else { return nil }
            shape.append(size)
        }
        return (type, match.fortran == "True", shape)
    }
}
