import Foundation

/// One member of a tar archive.
struct TarMember {
    let path: String
    let size: Int
    /// Where its bytes begin, from the start of the (unpacked) archive.
    let offset: Int
    let isFile: Bool
}

/// Reads a tar archive (ustar, GNU long names, pax paths) in order, once.
///
/// Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
struct TarReader {
    private let source: ByteSource
    private let maximumMemberSize: Int
    /// Bytes of the current member that nobody has read yet, padding included.
    private var left = 0
    private var current: TarMember?

    init(_ source: ByteSource, maximumMemberSize: Int) {
        self.source = source
        self.maximumMemberSize = maximumMemberSize
    }

    /// The next file or folder; nil at the end mark. Throws for an archive that ends before it.
    mutating func next() throws -> TarMember? {
        try skip()
        var longPath: String?
        while true {
            let start = source.offset
            let header = try source.read(512)
            guard header.count == 512 else {
                throw CorporaError.badArchive(
                    file: source.name, offset: start,
                    reason: start == 0 ? "not a tar archive" : "the archive is cut off")
            }
            if header.allSatisfy({ $0 == 0 }) { return nil }
            guard checksum(header) == octal(header[148..<156]), let size = size(header) else {
                throw CorporaError.badArchive(file: source.name, offset: start, reason: "not a tar header")
            }
            let kind = header[156]
            switch kind {
            case UInt8(ascii: "L"), UInt8(ascii: "x"), UInt8(ascii: "g"):
                let body = try read(size, path: "header", limit: 1 << 20)
                if kind == UInt8(ascii: "L") {
                    longPath = text(body[...])
                } else if kind == UInt8(ascii: "x") {
                    longPath = paxPath(body) ?? longPath
                }
            default:
                var path = text(header[0..<100])
                let prefix = text(header[345..<500])
                if header[257..<262].elementsEqual("ustar".utf8), header[262] == 0, !prefix.isEmpty {
                    path = prefix + "/" + path
                }
                let isFile = kind == UInt8(ascii: "0") || kind == 0
                let member = TarMember(
                    path: longPath ?? path, size: isFile ? size : 0, offset: source.offset, isFile: isFile)
                left = padded(size)
                current = member
                return member
            }
        }
    }

    /// The bytes of the member that `next` returned last.
    mutating func readMember() throws -> [UInt8] {
        guard let member = current else { return [] }
        current = nil
        left = 0
        return try read(member.size, path: member.path, limit: maximumMemberSize)
    }

    private mutating func skip() throws {
        current = nil
        while left > 0 {
            let count = min(left, 1 << 20)
            guard try source.read(count).count == count else {
                throw CorporaError.badArchive(
                    file: source.name, offset: source.offset, reason: "the archive is cut off")
            }
            left -= count
        }
    }

    private func read(_ size: Int, path: String, limit: Int) throws -> [UInt8] {
        guard size <= limit else {
            throw CorporaError.memberTooLarge(file: source.name, member: path, bytes: size, limit: limit)
        }
        var bytes = try source.read(padded(size))
        guard bytes.count == padded(size) else {
            throw CorporaError.badArchive(
                file: source.name, offset: source.offset, reason: "the archive is cut off in \(path)")
        }
        bytes.removeLast(bytes.count - size)
        return bytes
    }

    private func padded(_ size: Int) -> Int { (size + 511) / 512 * 512 }

    private func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    private func octal(_ bytes: ArraySlice<UInt8>) -> Int? {
        let digits = bytes.drop { $0 == 0x20 }.prefix { $0 != 0 && $0 != 0x20 }
        return digits.isEmpty ? 0 : Int(String(decoding: digits, as: UTF8.self), radix: 8)
    }

    /// The size: octal, or binary with the highest bit set for huge members.
    private func size(_ header: [UInt8]) -> Int? {
        let field = header[124..<136]
        guard field.first == 0x80 else {
            return octal(field).flatMap { (0...(1 << 40)).contains($0) ? $0 : nil }
        }
        let value = field.suffix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return value <= 1 << 40 ? Int(value) : nil
    }

    /// The sum of the header's bytes with the checksum itself taken as spaces.
    private func checksum(_ header: [UInt8]) -> Int {
        header.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 0x20 : Int($1.element)) }
    }

    /// The `path` of a pax header, whose records are `LENGTH KEY=VALUE\n`.
    private func paxPath(_ body: [UInt8]) -> String? {
        var rest = body[...]
        while let space = rest.firstIndex(of: 0x20),
            let length = Int(String(decoding: rest[..<space], as: UTF8.self)), length > space - rest.startIndex + 1,
            length <= rest.count
        {
            let record = rest[(space + 1)..<(rest.startIndex + length)]
            if record.starts(with: "path=".utf8) {
                return String(decoding: record.dropFirst(5).dropLast(), as: UTF8.self)
            }
            rest = rest.dropFirst(length)
        }
        return nil
    }
}
