import Foundation
import Glibc
import TihuaFiles

/// A path as the system has it: bytes, which in names from other systems need not be UTF-8, so that `URL` cannot hold
/// them.
struct BytePath: Sendable, Hashable {
    let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    init(_ url: URL) { bytes = Array(url.path.utf8) }

    /// What a path names. Arguments of a program come with U+FFFD in place of bytes that are not UTF-8; then it may
    /// name several files, each of which has that name when it is read so.
    static func matches(_ url: URL) -> [BytePath] {
        let path = BytePath(url)
        guard path.status == nil, url.path.contains("\u{FFFD}") else { return [path] }
        var found = [BytePath([UInt8(ascii: "/")])]
        for part in url.path.split(separator: "/") {
            found = found.flatMap { folder -> [BytePath] in
                let plain = folder.appending(Array(part.utf8))
                guard plain.status == nil, part.contains("\u{FFFD}") else { return [plain] }
                let names = (try? folder.names()) ?? []
                return names.filter { String(decoding: $0, as: UTF8.self) == part }.sorted(by: Self.precedes)
                    .map(folder.appending)
            }
        }
        return found.isEmpty ? [path] : found
    }

    func appending(_ name: [UInt8]) -> BytePath {
        BytePath(bytes.last == UInt8(ascii: "/") ? bytes + name : bytes + [UInt8(ascii: "/")] + name)
    }

    /// The path as text for people.
    var text: String { PictureName.text(bytes) }

    /// The last part.
    var name: [UInt8] { Array(bytes[((bytes.lastIndex(of: UInt8(ascii: "/")) ?? -1) + 1)...]) }

    /// The status of what the path leads to, links followed; nil where there is nothing.
    var status: stat? {
        var status = stat()
        return stat(cString, &status) == 0 ? status : nil
    }

    /// The folders that a file lies in: that of its name, and, where the name is a link, that of what it leads to.
    var homes: [FileIdentity] {
        let target = realpath(cString, nil).map { real in
            defer { free(real) }
            return BytePath(Array(UnsafeRawBufferPointer(start: real, count: strlen(real))))
        }
        return [self, target].compactMap { path in
            guard let path else { return nil }
            let end = path.bytes.lastIndex(of: UInt8(ascii: "/"))
            let folder = end.map { Array(path.bytes[...$0]) } ?? [UInt8(ascii: ".")]
            return BytePath(folder).status.map { FileIdentity($0) }
        }
    }

    /// The bytes of a regular file; nil for a pipe, a device and the like, whose reading might never end.
    var regularSize: Int? { status.flatMap { $0.st_mode & S_IFMT == S_IFREG ? Int($0.st_size) : nil } }

    var isFolder: Bool { status.map { $0.st_mode & S_IFMT == S_IFDIR } ?? false }

    /// The path as functions of the system take it.
    var cString: [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }

    /// Opens a regular file; what could block or never end is refused.
    func open() throws(DataFileError) -> FileHandle {
        do {
            return try UserFile.open(cString, name: text)
        } catch {
            throw .unreadable(file: text, reason: error.reason)
        }
    }

    func unreadable(_ code: Int32) -> DataFileError {
        .unreadable(file: text, reason: code == ENOENT ? "no such file" : String(cString: strerror(code)))
    }

    /// What stands in a folder, without `.` and `..`, in no order.
    func names() throws(DataFileError) -> [[UInt8]] {
        guard let stream = opendir(cString) else { throw unreadable(errno) }
        defer { closedir(stream) }
        var names: [[UInt8]] = []
        let offset = MemoryLayout<dirent>.offset(of: \dirent.d_name) ?? 0
        while let entry = readdir(stream) {
            // Not the whole array: an entry is only as long as its name.
            let start = UnsafeRawPointer(entry).advanced(by: offset)
            let name = Array(
                UnsafeRawBufferPointer(start: start, count: strlen(start.assumingMemoryBound(to: CChar.self))))
            if name != [0x2E], name != [0x2E, 0x2E] { names.append(name) }
        }
        return names
    }

    /// Everything of a folder and the folders in it that is no folder, in the order of the paths, without what is
    /// hidden.
    ///
    /// Links are followed, to each folder once and after the folders that truly lie there, so that they keep their
    /// names and links that lead round in a circle end.
    ///
    /// - Parameter unread: told of folders in it that cannot be read
    func contents(
        unread: (DataFileError) -> Void = { _ in }
    ) throws(DataFileError) -> [(relative: [UInt8], path: BytePath)] {
        struct Folder {
            let path: BytePath
            let relative: [UInt8]
        }
        var found: [(relative: [UInt8], path: BytePath)] = []
        var (folders, links): ([Folder], [Folder]) = ([Folder(path: self, relative: [])], [])
        var seen: Set<FileIdentity> = []
        while let folder = folders.popLast() ?? links.popLast() {
            guard let status = folder.path.status, seen.insert(FileIdentity(status)).inserted else { continue }
            let names: [[UInt8]]
            do throws(DataFileError) {
                names = try folder.path.names()
            } catch {
                guard !folder.relative.isEmpty else { throw error }
                unread(error)
                continue
            }
            for name in names where name.first != UInt8(ascii: ".") {
                let path = folder.path.appending(name)
                let relative = folder.relative.isEmpty ? name : folder.relative + [UInt8(ascii: "/")] + name
                guard path.isFolder else {
                    found.append((relative, path))
                    continue
                }
                var status = stat()
                let isLink = lstat(path.cString, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
                if isLink {
                    links.append(Folder(path: path, relative: relative))
                } else {
                    folders.append(Folder(path: path, relative: relative))
                }
            }
            if folders.isEmpty { links.sort { Self.precedes($1.relative, $0.relative) } }
        }
        return found.sorted { Self.precedes($0.relative, $1.relative) }
    }

    private static func precedes(_ first: [UInt8], _ second: [UInt8]) -> Bool {
        first.lexicographicallyPrecedes(second)
    }
}
