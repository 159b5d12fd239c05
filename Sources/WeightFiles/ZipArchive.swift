/// The directory of a ZIP file whose entries are stored without compression, as PyTorch writes it.
///
/// Source: PKWARE APPNOTE 6.3, sections 4.3 (layout) and 4.5.3 (ZIP64). Checksums are not compared, as PyTorch's own
/// reader does not for tensors: it would mean to read every byte of a file that is mapped to be read when needed.
struct ZipArchive {
    /// Where in the file the bytes of the stored entries lie, by name; every range is inside the file.
    private var entries: [String: Range<Int>] = [:]
    /// The entries that are compressed or encrypted: TorchScript compresses its code, so they are no error by themselves.
    private var packed: Set<String> = []
    private let path: String

    private static let maximumEntries = 200_000
    private static let endSize = 22

    /// Reads the central directory and every local header. Throws `WeightFileError`.
    init(_ file: MappedFile) throws(WeightFileError) {
        path = file.path
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
            guard entries[name] == nil, !packed.contains(name) else {
                throw reader.malformed("the archive's entry \(quoted(name)) stands twice")
            }
            if let content { entries[name] = content } else { packed.insert(name) }
        }
    }

    /// Where the bytes of an entry lie; nil if there is no such entry. Throws if it is compressed or encrypted.
    func range(of name: String) throws(WeightFileError) -> Range<Int>? {
        guard !packed.contains(name) else {
            throw .unsupported(
                path: path, feature: "the compressed or encrypted entry \(quoted(name))",
                advice: "PyTorch stores weights uncompressed; save them again with torch.save")
        }
        return entries[name]
    }

    /// The names of all entries.
    var names: [String] { Array(entries.keys) + packed }

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

    /// Reads one record of the central directory and finds its bytes; nil if they are compressed or encrypted.
    private static func entry(
        _ reader: inout ByteReader
    ) throws(WeightFileError) -> (name: String, content: Range<Int>?) {
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

        guard flags & 1 == 0, method == 0 else { return (name, nil) }
        guard packed == size else { throw reader.malformed("two sizes for the archive's entry \(quoted(name))") }
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
        try local.skip(size)
        return (name, start..<local.offset)
    }

    /// True for a relative name without `..`, backslashes or control characters.
    private static func isPlain(_ name: String) -> Bool {
        !name.isEmpty && !name.hasPrefix("/")
            && !name.utf8.contains { $0 == UInt8(ascii: "\\") || $0 < 0x20 || $0 == 0x7f }
            && !name.split(separator: "/").contains("..")
    }
}
