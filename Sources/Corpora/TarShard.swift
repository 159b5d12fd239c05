public import Foundation

/// The pictures of a tar archive in WebDataset layout: members `KEY.jpg`, in a fixed order, read one by one or at random.
///
/// Opening it reads the headers only; the pictures stay in the file.
public final class TarShard: Sendable {
    /// One picture.
    public struct Entry: Sendable, Equatable {
        /// The path of the member without its extension.
        public let key: String
        /// The extension, in lower case.
        public let fileExtension: String
        /// Where its bytes begin.
        public let offset: Int
        /// How many bytes it has.
        public let size: Int

        /// The folder part of the key, which is the label in shards of labelled folders; nil where there is none.
        public var label: String? {
            key.lastIndex(of: "/").map { String(key[..<$0]) }
        }
    }

    /// The pictures in the order of the archive.
    public let entries: [Entry]
    private let url: URL

    /// Reads the headers of the archive, which must not be compressed.
    ///
    /// `extensions`: which members are pictures; others are left out, as are hidden files. Throws `CorporaError` for a file
    /// that is no tar archive or is cut off, for a picture above `maximumMemberSize` bytes, for a key that stands twice, and
    /// for an archive without pictures.
    public init(
        contentsOf url: URL, extensions: Set<String> = ["jpg", "jpeg", "png", "webp"],
        maximumMemberSize: Int = 64 << 20
    ) throws {
        self.url = url
        let source = try ByteSource(url)
        var tar = TarReader(source, maximumMemberSize: maximumMemberSize)
        var entries: [Entry] = []
        var keys: Set<String> = []
        while let member = try tar.next() {
            let file = member.path.split(separator: "/").last ?? ""
            guard member.isFile, !file.hasPrefix("."), let dot = file.lastIndex(of: ".") else { continue }
            let fileExtension = file[file.index(after: dot)...].lowercased()
            guard extensions.contains(fileExtension) else { continue }
            guard member.size <= maximumMemberSize else {
                throw CorporaError.memberTooLarge(
                    file: source.name, member: member.path, bytes: member.size, limit: maximumMemberSize)
            }
            var path = member.path[..<member.path.index(member.path.endIndex, offsetBy: -(fileExtension.count + 1))]
            if path.hasPrefix("./") { path = path.dropFirst(2) }
            guard keys.insert(String(path)).inserted else {
                throw CorporaError.badArchive(
                    file: source.name, offset: member.offset, reason: "the key \(path) stands twice")
            }
            entries.append(
                Entry(key: String(path), fileExtension: fileExtension, offset: member.offset, size: member.size))
        }
        guard !entries.isEmpty else {
            throw CorporaError.nothingFound(file: source.name, expected: "pictures (KEY.jpg)")
        }
        self.entries = entries
    }

    /// The bytes of one picture. `entry` must be of this shard; throws `CorporaError` where the file has changed since.
    public func bytes(of entry: Entry) throws -> Data {
        let name = url.path(percentEncoded: false)
        do {
            let handle = try FileHandle(forReadingFrom: url)
            defer { try? handle.close() }
            try handle.seek(toOffset: UInt64(entry.offset))
            let data = try handle.read(upToCount: entry.size) ?? Data()
            if data.count == entry.size { return data }
        } catch {
            throw CorporaError.unreadable(file: name, reason: (error as NSError).localizedDescription)
        }
        throw CorporaError.badArchive(
            file: name, offset: entry.offset, reason: "the archive is cut off in \(entry.key)")
    }

    /// Hands every picture to `body`, in order.
    public func forEach(_ body: (Entry, Data) throws -> Void) throws {
        for entry in entries { try body(entry, try bytes(of: entry)) }
    }
}
