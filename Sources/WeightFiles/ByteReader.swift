/// Reads little-endian values from memory in order; every step is checked against the end.
///
/// The memory must outlive the reader: its maker holds the file.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    /// The file, for messages.
    let path: String
    private(set) var offset: Int
    /// One past the last readable byte.
    private(set) var end: Int

    init(_ file: MappedFile) {
        bytes = file.bytes
        path = file.path
        offset = 0
        end = file.bytes.count
    }

    var remaining: Int { end - offset }

    func malformed(_ problem: String) -> WeightFileError {
        .malformed(path: path, problem: problem)
    }

    /// Moves to an offset of the file.
    mutating func seek(_ target: Int) throws(WeightFileError) {
        guard target >= 0, target <= end else { throw malformed("it ends before byte \(target)") }
        offset = target
    }

    /// Nothing beyond this many bytes from here can be read.
    mutating func limit(to count: Int) {
        end = offset + min(max(count, 0), remaining)
    }

    mutating func skip(_ count: Int) throws(WeightFileError) {
        _ = try take(count)
    }

    /// The next bytes.
    mutating func take(_ count: Int) throws(WeightFileError) -> UnsafeRawBufferPointer {
        guard count >= 0, count <= remaining else {
            throw malformed("it ends at byte \(end) where \(count) more bytes are needed from byte \(offset)")
        }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
    }

    /// The next integer of a fixed width, little-endian.
    mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) throws(WeightFileError) -> T {
        T(littleEndian: try take(MemoryLayout<T>.size).loadUnaligned(as: T.self))
    }

    /// The next unsigned 64-bit length as `Int`.
    mutating func length64() throws(WeightFileError) -> Int {
        guard let length = Int(exactly: try integer(UInt64.self)) else {
            throw malformed("a length at byte \(offset - 8) is beyond any file")
        }
        return length
    }

    /// The next bytes as UTF-8.
    mutating func string(_ count: Int) throws(WeightFileError) -> String {
        guard let text = String(validating: try take(count), as: UTF8.self) else {
            throw malformed("text at byte \(offset - count) is not UTF-8")
        }
        return text
    }

    /// The bytes up to the next line feed as UTF-8, without it.
    mutating func line() throws(WeightFileError) -> String {
        guard let feed = bytes[offset..<min(end, offset + 1024)].firstIndex(of: 0x0a) else {
            throw malformed("a line that starts at byte \(offset) does not end")
        }
        let text = try string(feed - offset)
        try skip(1)
        return text
    }
}
