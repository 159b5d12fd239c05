import Foundation

/// One member of a tar archive.
package struct TarMember {
    package let path: String
    let size: Int
    /// Where its bytes begin, from the start of the (unpacked) archive.
    let offset: Int
    package let isFile: Bool
    /// What a link leads to; nil for a member that is no link.
    var link: (target: String, isHard: Bool)?
}

/// Reads a tar archive (ustar, GNU long names, pax paths and sizes) in order, once.
///
/// Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
package struct TarReader {
    private let source: ByteSource
    private let maximumMemberSize: Int
    /// Bytes of the current member that nobody has read yet, padding included.
    private var left = 0
    /// How many of these only fill the last block.
    private var padding = 0
    private var current: TarMember?
    /// What is odd about the archive, but no damage; known at its end.
    private(set) var note: String?
    /// Whether the archive ended where it says that it does; known at its end.
    package private(set) var hasEndMark = true

    package init(_ source: ByteSource, maximumMemberSize: Int) {
        self.source = source
        self.maximumMemberSize = maximumMemberSize
    }

    /// The next file, folder or link; nil at the end mark, or, as GNU tar has it, at the end of a whole member without
    /// one.
    ///
    /// - Throws: `DataFileError` for an archive that is cut off in a member, or is none.
    package mutating func next() throws -> TarMember? {
        guard try skip() else { return endWithoutMark() }
        var (longPath, longLink): (String?, String?)
        var longSize: Int?
        let first = source.offset
        while true {
            let start = source.offset
            let header = try source.read(512)
            if header.isEmpty, start > 0, start == first { return endWithoutMark() }
            guard header.count == 512 || start == 0 else {
                throw DataFileError.badArchive(file: source.name, offset: start, reason: "the archive is cut off")
            }
            if header.count == 512, header.allSatisfy({ $0 == 0 }) { return try end() }
            guard header.count == 512, checksum(header) == octal(header[148..<156]), var size = size(header) else {
                // A damaged header of a tar archive is no other kind of file.
                guard start > 0 || header.dropFirst(257).starts(with: "ustar".utf8) else {
                    throw DataFileError.notAnArchive(file: source.name, found: contentKind(header))
                }
                throw DataFileError.badArchive(file: source.name, offset: start, reason: "not a tar header")
            }
            let kind = header[156]
            switch kind {
            case UInt8(ascii: "L"), UInt8(ascii: "K"), UInt8(ascii: "x"), UInt8(ascii: "g"):
                let body = try read(size, path: "header", limit: 1 << 20)
                switch kind {
                case UInt8(ascii: "L"): longPath = text(body[...])
                case UInt8(ascii: "K"): longLink = text(body[...])
                case UInt8(ascii: "x"):
                    let records = paxRecords(body)
                    longPath = records["path"].map { text($0) } ?? longPath
                    longLink = records["linkpath"].map { text($0) } ?? longLink
                    longSize = records["size"].flatMap { Int(String(decoding: $0, as: UTF8.self)) }
                default: break
                }
            default:
                if let longSize, (0...(1 << 40)).contains(longSize) { size = longSize }
                var path = text(header[0..<100])
                let prefix = text(header[345..<500])
                if header[257..<262].elementsEqual("ustar".utf8), header[262] == 0, !prefix.isEmpty {
                    path = prefix + "/" + path
                }
                let isFile = [UInt8(ascii: "0"), 0, UInt8(ascii: "7")].contains(kind)
                var member = TarMember(
                    path: longPath ?? path, size: isFile ? size : 0, offset: source.offset, isFile: isFile)
                if [UInt8(ascii: "1"), UInt8(ascii: "2")].contains(kind) {
                    member.link = (longLink ?? text(header[157..<257]), kind == UInt8(ascii: "1"))
                    size = 0
                }
                left = padded(size)
                padding = left - size
                current = member
                return member
            }
        }
    }

    /// The end mark was read.
    private mutating func end() throws -> TarMember? {
        // A writer fills its last record with zeros; two archives in one file look otherwise.
        if try source.read(1 << 20).contains(where: { $0 != 0 }) {
            note = "something stands behind its end mark and is not read (two archives in one file?)"
        }
        return nil
    }

    private mutating func endWithoutMark() -> TarMember? {
        hasEndMark = false
        note = "has no end mark; what it holds is whole, but if it was cut off just there, the rest is missing"
        return nil
    }

    /// The bytes of the member that `next` returned last.
    package mutating func readMember() throws -> [UInt8] {
        guard let member = current else { return [] }
        current = nil
        left = 0
        return try read(member.size, path: member.path, limit: maximumMemberSize)
    }

    /// Passes over the rest of the current member; false where the file ends in what only fills its last block.
    private mutating func skip() throws -> Bool {
        current = nil
        while left > 0 {
            let count = min(left, 1 << 20)
            let found = try source.read(count).count
            left -= found
            guard found < count else { continue }
            guard left <= padding else {
                throw DataFileError.badArchive(
                    file: source.name, offset: source.offset, reason: "the archive is cut off")
            }
            left = 0
            return false
        }
        return true
    }

    private func read(_ size: Int, path: String, limit: Int) throws -> [UInt8] {
        guard size <= limit else {
            throw DataFileError.memberTooLarge(file: source.name, member: path, bytes: size, limit: limit)
        }
        var bytes = try source.read(padded(size))
        guard bytes.count >= size else {
            throw DataFileError.badArchive(
                file: source.name, offset: source.offset, reason: "the archive is cut off in \(path)")
        }
        bytes.removeLast(bytes.count - size)
        return bytes
    }

    private func padded(_ size: Int) -> Int { (size + 511) / 512 * 512 }

    private func text(_ bytes: ArraySlice<UInt8>) -> String {
        PictureName.text(bytes.prefix { $0 != 0 })
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

    /// The records of a pax header, which are `LENGTH KEY=VALUE\n`.
    private func paxRecords(_ body: [UInt8]) -> [String: ArraySlice<UInt8>] {
        var records: [String: ArraySlice<UInt8>] = [:]
        var rest = body[...]
        while let space = rest.firstIndex(of: 0x20),
            let length = Int(String(decoding: rest[..<space], as: UTF8.self)), length > space - rest.startIndex + 1,
            length <= rest.count
        {
            let record = rest[(space + 1)..<(rest.startIndex + length - 1)]
            if let sign = record.firstIndex(of: UInt8(ascii: "=")) {
                records[String(decoding: record[..<sign], as: UTF8.self)] = record[(sign + 1)...]
            }
            rest = rest.dropFirst(length)
        }
        return records
    }
}
