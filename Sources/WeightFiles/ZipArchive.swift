import CTihuaZlib

/// The directory of a ZIP file: entries that are stored without compression, as PyTorch writes them, or deflated, as
/// NumPy may.
///
/// Source: PKWARE APPNOTE 6.3, sections 4.3 (layout) and 4.5.3 (ZIP64). Checksums of stored entries are not compared,
/// as PyTorch's own reader does not for tensors: it would mean to read every byte of a file that is mapped to be read
/// when needed.
struct ZipArchive {
    private enum Entry {
        /// Where in the file the bytes lie; inside the file.
        case stored(Range<Int>)
        /// Where the deflated bytes lie, and how many they say to become.
        case deflated(Range<Int>, size: Int)
        /// Encrypted, or compressed in another way. TorchScript has such entries, so they are no error by themselves.
        case other
    }

    private var entries: [String: Entry] = [:]
    private let file: MappedFile

    private static let maximumEntries = 200_000
    private static let endSize = 22

    /// Reads the central directory and every local header. Throws `WeightFileError`.
    init(_ file: MappedFile) throws(WeightFileError) {
        self.file = file
        var reader = ByteReader(file)
        let directory = try Self.locateDirectory(&reader)
        guard directory.count <= Self.maximumEntries else {
            throw .limit(path: file.path, what: "the archive's \(directory.count) entries", limit: Self.maximumEntries)
        }
        entries.reserveCapacity(directory.count)
        try reader.seek(directory.offset)
        for _ in 0..<directory.count {
            let (name, content) = try Self.entry(&reader)
            guard !name.hasSuffix("/") else { continue }
            guard entries.updateValue(content, forKey: name) == nil else {
                throw reader.malformed("the archive's entry \(quoted(name)) stands twice")
            }
        }
    }

    /// Where the bytes of an entry lie; nil if there is no such entry. Throws if it is compressed or encrypted.
    func range(of name: String) throws(WeightFileError) -> Range<Int>? {
        switch entries[name] {
        case nil: return nil
        case .stored(let range): return range
        case .deflated, .other:
            throw .unsupported(
                path: file.path, feature: "the compressed or encrypted entry \(quoted(name))",
                advice: "PyTorch stores weights uncompressed; save them again with torch.save")
        }
    }

    /// The names of all entries.
    var names: [String] { Array(entries.keys) }

    /// The bytes of an entry, unpacked where it is deflated; nil if there is no such entry.
    ///
    /// - Parameter limit: the most bytes that it may become
    /// - Throws: `WeightFileError` for an entry that is larger, damaged, or packed in another way.
    func content(of name: String, limit: Int) throws(WeightFileError) -> [UInt8]? {
        let (range, size): (Range<Int>, Int)
        switch entries[name] {
        case nil: return nil
        case .stored(let stored): (range, size) = (stored, stored.count)
        case .deflated(let packed, let unpacked): (range, size) = (packed, unpacked)
        case .other:
            throw .unsupported(
                path: file.path, feature: "the entry \(quoted(name)), encrypted or packed in a rare way,",
                advice: "save it again with numpy.savez")
        }
        guard size <= limit else {
            throw .limit(path: file.path, what: "the entry \(quoted(name)) of \(size) bytes", limit: limit)
        }
        defer { withExtendedLifetime(file) {} }
        let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[range])
        guard case .deflated = entries[name] else { return Array(bytes) }
        // Deflate makes at most 1,032 bytes of one: whoever claims more gets no memory for it.
        guard size / 1032 <= bytes.count, let unpacked = inflated(bytes, size: size) else {
            throw .malformed(path: file.path, problem: "the entry \(quoted(name)) does not unpack to its \(size) bytes")
        }
        return unpacked
    }

    /// Finds the end record, which a comment of up to 65,535 bytes may follow, and its ZIP64 twin.
    private static func locateDirectory(
        _ reader: inout ByteReader
    ) throws(WeightFileError) -> (offset: Int, count: Int) {
        let size = reader.remaining
        var position = size - endSize
        let lowest = max(0, size - endSize - 65_535)
        while position >= lowest {
            try reader.seek(position)
            if try reader.integer(UInt32.self) == 0x0605_4b50 { break }
            position -= 1
        }
        guard position >= lowest else {
            throw reader.malformed("no end of a ZIP directory; the download may be cut short")
        }
        let disks = (try reader.integer(UInt16.self), try reader.integer(UInt16.self))
        try reader.skip(2)
        var count = Int(try reader.integer(UInt16.self))
        try reader.skip(4)
        var offset = Int(try reader.integer(UInt32.self))
        let needs64 = count == 0xffff || offset == 0xffff_ffff || disks == (0xffff, 0xffff)
        if needs64, position >= 20 {
            try reader.seek(position - 20)
            if try reader.integer(UInt32.self) == 0x0706_4b50 {
                try reader.skip(4)
                try reader.seek(try reader.length64())
                guard try reader.integer(UInt32.self) == 0x0606_4b50 else {
                    throw reader.malformed("no ZIP64 end record where its locator points")
                }
                try reader.skip(28)
                count = try reader.length64()
                try reader.skip(8)
                offset = try reader.length64()
            }
        }
        return (offset, count)
    }

    /// Reads one record of the central directory and finds its bytes.
    private static func entry(
        _ reader: inout ByteReader
    ) throws(WeightFileError) -> (name: String, content: Entry) {
        guard try reader.integer(UInt32.self) == 0x0201_4b50 else {
            throw reader.malformed("no ZIP directory record at byte \(reader.offset - 4)")
        }
        try reader.skip(4)
        let flags = try reader.integer(UInt16.self)
        let method = try reader.integer(UInt16.self)
        try reader.skip(8)
        var packed = Int(try reader.integer(UInt32.self))
        var size = Int(try reader.integer(UInt32.self))
        let nameLength = Int(try reader.integer(UInt16.self))
        let extraLength = Int(try reader.integer(UInt16.self))
        let commentLength = Int(try reader.integer(UInt16.self))
        try reader.skip(8)
        var headerOffset = Int(try reader.integer(UInt32.self))
        let name = try reader.string(nameLength)
        guard isPlain(name) else { throw reader.malformed("the archive's entry \(quoted(name)) has no plain name") }

        let extraEnd = reader.offset + extraLength
        while reader.offset + 4 <= extraEnd {
            let tag = try reader.integer(UInt16.self)
            let length = Int(try reader.integer(UInt16.self))
            let fieldEnd = reader.offset + length
            if tag == 1 {
                // Only the fields that do not fit in 32 bits are there, in this order.
                if size == 0xffff_ffff { size = try reader.length64() }
                if packed == 0xffff_ffff { packed = try reader.length64() }
                if headerOffset == 0xffff_ffff { headerOffset = try reader.length64() }
            }
            try reader.seek(fieldEnd)
        }
        try reader.seek(extraEnd)
        try reader.skip(commentLength)

        guard flags & 1 == 0, method == 0 || method == 8 else { return (name, .other) }
        guard packed == size || method == 8 else {
            throw reader.malformed("two sizes for the archive's entry \(quoted(name))")
        }
        var local = reader
        try local.seek(headerOffset)
        guard try local.integer(UInt32.self) == 0x0403_4b50 else {
            throw reader.malformed("no local header of the archive's entry \(quoted(name))")
        }
        try local.skip(22)
        let localNameLength = Int(try local.integer(UInt16.self))
        let localExtraLength = Int(try local.integer(UInt16.self))
        try local.skip(localNameLength + localExtraLength)
        let start = local.offset
        try local.skip(packed)
        return (name, method == 0 ? .stored(start..<local.offset) : .deflated(start..<local.offset, size: size))
    }

    /// True for a relative name without `..`, backslashes or control characters.
    private static func isPlain(_ name: String) -> Bool {
        !name.isEmpty && !name.hasPrefix("/")
            && !name.utf8.contains { $0 == UInt8(ascii: "\\") || $0 < 0x20 || $0 == 0x7f }
            && !name.split(separator: "/").contains("..")
    }
}

/// What deflated bytes (RFC 1951) become; nil if they are damaged or become another number of bytes than `size`.
private func inflated(_ bytes: UnsafeRawBufferPointer, size: Int) -> [UInt8]? {
    guard let start = bytes.baseAddress, bytes.count <= UInt32.max, size < UInt32.max else { return nil }
    var stream = z_stream()
    // A raw stream, without the header of zlib's own format.
    guard inflateInit2_(&stream, -MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
        return nil
    }
    defer { inflateEnd(&stream) }
    stream.next_in = UnsafeMutablePointer(mutating: start.assumingMemoryBound(to: UInt8.self))
    stream.avail_in = UInt32(bytes.count)
    var isWhole = false
    // One byte more than it says, so that what goes on beyond is seen.
    let result = [UInt8](unsafeUninitializedCapacity: size + 1) { buffer, count in
        stream.next_out = buffer.baseAddress
        stream.avail_out = UInt32(size + 1)
        isWhole = inflate(&stream, Z_FINISH) == Z_STREAM_END && Int(stream.total_out) == size
        count = isWhole ? size : 0
    }
    return isWhole ? result : nil
}
