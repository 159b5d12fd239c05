public import Foundation

/// The pictures of a tar archive in WebDataset layout: members `KEY.jpg`, in a fixed order, read one by one or at
/// random.
///
/// Opening it reads the headers only; the pictures stay in the file. A packed archive (`.tar.gz`, `.tgz`, `.tar.xz`, …)
/// is unpacked into a temporary file that has no name and goes away with the shard.
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
    }

    /// The pictures in the order of the archive, those of `PictureName.endings`.
    public let entries: [Entry]
    /// What a person should know: pictures that were left out, an archive without an end mark.
    public let notes: [String]
    /// The file as it was named.
    let name: String
    let path: BytePath
    /// What a packed archive was unpacked to.
    private let unpacked: FileHandle?

    /// Reads the headers of the archive.
    ///
    /// Members that are no pictures are left out, as are hidden files. Of members that differ in their endings only the
    /// one is taken whose ending comes first in `PictureName.endings`, of two with one name the later, as where it is
    /// unpacked.
    ///
    /// - Throws: `DataFileError` for a file that is no tar archive or is cut off, for a picture above
    ///   `maximumMemberSize` bytes, for a packed archive that takes more than `maximumUnpackedSize`, and for an archive
    ///   without pictures.
    public convenience init(
        contentsOf url: URL, maximumMemberSize: Int = PictureList.maximumSize, maximumUnpackedSize: Int = 64 << 30
    ) throws {
        try self.init(
            BytePath.matches(url).first ?? BytePath(url), maximumMemberSize: maximumMemberSize,
            maximumUnpackedSize: maximumUnpackedSize)
    }

    init(
        _ path: BytePath, maximumMemberSize: Int = PictureList.maximumSize, maximumUnpackedSize: Int = 64 << 30
    ) throws {
        self.path = path
        var source = try ByteSource(path)
        name = source.name
        unpacked = source.isPacked ? try Self.unpack(source, limit: maximumUnpackedSize) : nil
        if let unpacked { source = ByteSource(unpacked, name: name) }
        var tar = TarReader(source, maximumMemberSize: maximumMemberSize)
        var found: [Entry] = []
        /// Where each file's bytes lie, for hard links to it.
        var places: [String: (offset: Int, size: Int)] = [:]
        var links: [String] = []
        while let member = try tar.next() {
            let file = member.path.split(separator: "/").last ?? ""
            guard !file.hasPrefix("."), let (stem, rank) = PictureName.split(Array(member.path.utf8)) else { continue }
            var place = (offset: member.offset, size: member.size)
            if let link = member.link, link.isHard, let target = places[link.target] {
                place = target
            } else if member.link != nil {
                links.append(member.path)
                continue
            } else if !member.isFile {
                continue
            }
            guard place.size <= maximumMemberSize else {
                throw DataFileError.memberTooLarge(
                    file: name, member: member.path, bytes: place.size, limit: maximumMemberSize)
            }
            places[member.path] = place
            var key = String(decoding: stem, as: UTF8.self)
            if key.hasPrefix("./") { key.removeFirst(2) }
            found.append(
                Entry(key: key, fileExtension: PictureName.endings[rank], offset: place.offset, size: place.size))
        }
        guard !found.isEmpty else {
            throw DataFileError.nothingFound(file: name, expected: "pictures (KEY.jpg)")
        }
        let (kept, twins) = PictureName.withoutTwins(
            found, in: source.name, laterWins: true, name: { "\($0.key).\($0.fileExtension)" }, key: \.key,
            rank: { PictureName.endings.firstIndex(of: $0.fileExtension) ?? 0 })
        entries = kept
        var notes = [twins, tar.note.map { "\(source.name): \($0)" }].compactMap { $0 }
        if let first = links.first {
            notes.append(
                "\(name): left out \(links.count) that are links (tar -h packs what they lead to), such as \(first)")
        }
        self.notes = notes
    }

    /// Everything that the program which unpacks it says, in a file without a name.
    private static func unpack(_ source: ByteSource, limit: Int) throws -> FileHandle {
        let folder = FileManager.default.temporaryDirectory.path
        func failed(_ reason: String) -> DataFileError {
            .unreadable(file: source.name, reason: "unpacked into \(folder): \(reason); unpack it yourself")
        }
        var name = Array("\(folder)/tihua-XXXXXX".utf8CString)
        let descriptor = mkstemp(&name)
        guard descriptor >= 0 else { throw failed(String(cString: strerror(errno))) }
        unlink(name)
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        while case let bytes = try source.read(1 << 20), !bytes.isEmpty {
            guard source.offset <= limit else { throw failed("more than \(limit) bytes") }
            do { try file.write(contentsOf: bytes) } catch { throw failed((error as NSError).localizedDescription) }
        }
        try file.seek(toOffset: 0)
        return file
    }

    /// The bytes of one picture. `entry` must be of this shard; throws `DataFileError` where the file has changed
    /// since.
    public func bytes(of entry: Entry) throws -> Data {
        let file = try unpacked ?? path.open()
        var data = Data(count: entry.size)
        let count = data.withUnsafeMutableBytes { buffer in
            var done = 0
            while done < buffer.count {
                let count = pread(
                    file.fileDescriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done,
                    off_t(entry.offset + done))
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return count < 0 ? -1 : done }
                done += count
            }
            return done
        }
        guard count >= 0 else { throw path.unreadable(errno) }
        guard count == entry.size else {
            throw DataFileError.badArchive(
                file: name, offset: entry.offset, reason: "the archive is cut off in \(entry.key)")
        }
        return data
    }

    /// Hands every picture to `body`, in order.
    public func forEach(_ body: (Entry, Data) throws -> Void) throws {
        for entry in entries { try body(entry, try bytes(of: entry)) }
    }
}
