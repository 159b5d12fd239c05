public import Foundation

/// A safetensors file, mapped: eight bytes of header length, a JSON header, the tensors' bytes.
///
/// The header is checked as the reference implementation does (safetensors 0.8, `SafeTensors::read_metadata`): at most
/// 100 MB, offsets without gap or overlap from 0 to the end of the file, bytes equal to shape times element size. Two
/// equal names are an error here too.
public struct SafetensorsFile: Sendable {
    /// The path as it was given.
    public let path: String
    /// The `__metadata__` of the header; empty if there is none.
    public let metadata: [String: String]
    /// The tensors in the order of the file.
    public let tensors: [TensorView]
    private let index: [String: Int]

    /// The largest header that is read, in bytes.
    static let maximumHeader = 100_000_000
    /// The most tensors of one file; the largest published models have fewer in all their files.
    static let maximumTensors = 100_000

    /// Maps and checks the file at a URL. Throws `WeightFileError`.
    public init(contentsOf url: URL) throws(WeightFileError) {
        try self.init(MappedFile(contentsOf: url))
    }

    /// Checks a mapped file. Throws `WeightFileError`.
    public init(_ file: MappedFile) throws(WeightFileError) {
        // An initialiser owns its arguments and may drop them after their last mention, with the memory.
        defer { withExtendedLifetime(file) {} }
        var reader = ByteReader(file)
        guard reader.remaining >= 8 else {
            throw reader.malformed("\(file.count) bytes are too few for a safetensors file")
        }
        let length = try reader.integer(UInt64.self)
        guard length <= Self.maximumHeader else {
            throw .limit(path: file.path, what: "the header of \(length) bytes", limit: Self.maximumHeader)
        }
        guard length <= reader.remaining else {
            throw reader.malformed("the header claims \(length) bytes where the file has \(reader.remaining) left")
        }
        let json = try reader.take(Int(length))
        guard json.first == UInt8(ascii: "{") else { throw reader.malformed("the header does not start with '{'") }
        let data = try reader.take(reader.remaining)
        let header = try Self.parse(json, path: file.path)

        var end = 0
        var tensors: [TensorView] = []
        tensors.reserveCapacity(header.entries.count)
        var index: [String: Int] = [:]
        index.reserveCapacity(header.entries.count)
        for entry in header.entries.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
            guard entry.begin == end, entry.end >= entry.begin, entry.end <= data.count else {
                throw reader.malformed(
                    "tensor \(quoted(entry.name)) lies at \(entry.begin)..<\(entry.end) where bytes from \(end) to at most "
                        + "\(data.count) are free")
            }
            guard let size = extent(of: entry.shape, entry.type), size.bytes == entry.end - entry.begin else {
                throw reader.malformed(
                    "tensor \(quoted(entry.name)) of \(entry.type.rawValue) \(entry.shape) does not take "
                        + "\(entry.end - entry.begin) bytes")
            }
            end = entry.end
            index[entry.name] = tensors.count
            tensors.append(
                TensorView(
                    name: entry.name, elementType: entry.type, shape: entry.shape,
                    strides: rowMajorStrides(entry.shape),
                    elementCount: size.elements, owner: file,
                    span: UnsafeRawBufferPointer(rebasing: data[entry.begin..<entry.end])))
        }
        guard end == data.count else { throw reader.malformed("\(data.count - end) bytes follow the last tensor") }
        path = file.path
        metadata = header.metadata
        self.tensors = tensors
        self.index = index
    }

    /// The tensor of that name; nil if there is none.
    public subscript(name: String) -> TensorView? {
        index[name].map { tensors[$0] }
    }

    private struct Entry {
        var name: String
        var type: ElementType
        var shape: [Int]
        var begin: Int
        var end: Int
    }

    private static func parse(
        _ json: UnsafeRawBufferPointer, path: String
    ) throws(WeightFileError) -> (entries: [Entry], metadata: [String: String]) {
        var entries: [Entry] = []
        var metadata: [String: String] = [:]
        var scanner = JSONScanner(json, path: path)
        try scanner.object { scanner, name throws(WeightFileError) in
            if name == "__metadata__" {
                try scanner.object { scanner, key throws(WeightFileError) in metadata[key] = try scanner.string() }
            } else {
                guard entries.count < maximumTensors else {
                    throw .limit(path: path, what: "the number of tensors", limit: maximumTensors)
                }
                entries.append(try entry(name, &scanner, path: path))
            }
        }
        try scanner.expectEnd()
        return (entries, metadata)
    }

    private static func entry(
        _ name: String, _ scanner: inout JSONScanner, path: String
    ) throws(WeightFileError) -> Entry {
        var typeName: String?
        var shape: [Int]?
        var offsets: [Int]?
        try scanner.object { scanner, key throws(WeightFileError) in
            switch key {
            case "dtype": typeName = try scanner.string()
            case "shape": shape = try scanner.counts()
            case "data_offsets": offsets = try scanner.counts()
            default: try scanner.skipValue()
            }
        }
        guard let typeName, let shape, let offsets, offsets.count == 2 else {
            throw .malformed(path: path, problem: "tensor \(quoted(name)) lacks dtype, shape or two data_offsets")
        }
        guard let type = ElementType(rawValue: typeName) else {
            throw .unsupported(
                path: path, feature: "tensor \(quoted(name)) of type \(quoted(typeName))",
                advice: "convert it to F32, F16 or BF16")
        }
        return Entry(name: name, type: type, shape: shape, begin: offsets[0], end: offsets[1])
    }
}
