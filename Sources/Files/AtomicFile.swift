public import Foundation

/// Writes files that appear whole or not at all. Everything that this package writes goes through it.
///
/// One rule for what is there already: a link is followed, also one that points at nothing yet, and what it points at
/// is replaced; an older file keeps its permissions and, as far as the system allows, its owner; a pipe or a character
/// device (`/dev/null`, `/dev/stdout`) is written straight; folders, disks and sockets are refused.
public enum AtomicFile {
    /// Calls the closure with a sink, then puts what it wrote in the place of the file, replacing an older one.
    ///
    /// The bytes go to a temporary file beside the target, are flushed to the disk and renamed. Whatever fails (no
    /// permission, disk full, an error of the closure), the temporary file is removed and the older file stays as it
    /// was. Throws `FileError.system` or `.notAFile`, and whatever the closure throws.
    public static func write(to url: URL, _ body: (FileSink) throws -> Void) throws {
        try write(to: url, open: { Glibc.open($0, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666) }, body)
    }

    /// Writes these bytes; throws as `write(to:_:)`.
    public static func write(_ bytes: some Sequence<UInt8>, to url: URL) throws {
        try write(to: url) { try $0.write(Array(bytes)) }
    }

    /// Calls the closure with a new folder beside the target, which must not be there yet, flushes it to the disk and
    /// moves it to its place. Where the closure throws, nothing stays behind.
    ///
    /// Throws Foundation's errors for the folders, `FileError`, and whatever the closure throws.
    public static func folder(at url: URL, _ body: (URL) throws -> Void) throws {
        let manager = FileManager.default
        let partial = temporary(for: url)
        do {
            try manager.createDirectory(at: partial, withIntermediateDirectories: true)
            try body(partial)
            syncFolder(partial)
            try manager.moveItem(at: partial, to: url)
            syncFolder(url.deletingLastPathComponent())
        } catch {
            try? manager.removeItem(at: partial)
            throw error
        }
    }

    /// Flushes the names in a folder to the disk: a rename survives a power cut only then. A folder that cannot be is
    /// no error.
    public static func syncFolder(_ url: URL) {
        let folder = Glibc.open(url.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { return }
        fsync(folder)
        close(folder)
    }

    /// What stands between the name of a file and a number in the name of its temporary file: `.NAME.partial-NUMBER`.
    public static let partialMark = ".partial-"

    /// A name of its own beside the target.
    private static func temporary(for url: URL) -> URL {
        url.deletingLastPathComponent()
            .appending(path: ".\(url.lastPathComponent)\(partialMark)\(UInt32.random(in: .min ... .max))")
    }

    /// As `write(to:_:)`, with the call that makes the temporary file; tests hand in a descriptor of a full disk.
    static func write(to url: URL, open: (String) -> Int32, _ body: (FileSink) throws -> Void) throws {
        let path = url.path(percentEncoded: false)
        var status = stat()
        let isThere = stat(path, &status) == 0
        guard isThere || errno == ENOENT else { throw FileError.system(path, "write") }
        if isThere, let kind = irregularKind(status) {
            guard [S_IFIFO, S_IFCHR].contains(status.st_mode & S_IFMT) else {
                throw FileError.notAFile(path: path, what: kind)
            }
            return try writeStraight(to: path, body)
        }
        let target = try destination(path)
        let temporary = temporary(for: URL(filePath: target)).path(percentEncoded: false)
        let descriptor = open(temporary)
        guard descriptor >= 0 else { throw FileError.system(path, "write") }
        var isOpen = true
        do {
            if isThere {
                // Another owner's file keeps its owner where this process may give files away.
                _ = fchown(descriptor, status.st_uid, status.st_gid)
                guard fchmod(descriptor, status.st_mode & 0o7777) == 0 else { throw FileError.system(path, "write") }
            }
            try body(FileSink(descriptor: descriptor, path: path))
            // EINVAL: a file system without fsync.
            guard fsync(descriptor) == 0 || errno == EINVAL else { throw FileError.system(path, "write") }
            isOpen = false
            guard close(descriptor) == 0, rename(temporary, target) == 0 else { throw FileError.system(path, "write") }
        } catch {
            if isOpen { close(descriptor) }
            unlink(temporary)
            throw error
        }
        syncFolder(URL(filePath: target).deletingLastPathComponent())
    }

    /// Where the links at the end of a path lead, whether there is something or not.
    private static func destination(_ path: String) throws(FileError) -> String {
        var url = URL(filePath: path)
        for _ in 0..<40 {
            var link = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
            let count = readlink(url.path(percentEncoded: false), &link, Int(PATH_MAX))
            guard count > 0 else { return url.path(percentEncoded: false) }
            let target = link[..<count].withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
            url =
                target.hasPrefix("/")
                ? URL(filePath: target) : url.deletingLastPathComponent().appending(path: target)
        }
        throw .system(path: path, operation: "write", reason: String(cString: strerror(ELOOP)))
    }

    /// Writes to a pipe or a character device, which cannot be replaced.
    private static func writeStraight(to path: String, _ body: (FileSink) throws -> Void) throws {
        // A pipe that nobody reads would block here without O_NONBLOCK.
        let descriptor = Glibc.open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw errno == ENXIO
                ? FileError.system(path: path, operation: "write", reason: "nobody reads this pipe")
                : FileError.system(path, "write")
        }
        defer { close(descriptor) }
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        try body(FileSink(descriptor: descriptor, path: path))
    }
}

/// Where a writer puts its bytes, in order.
public final class FileSink {
    private let descriptor: Int32
    private let path: String
    /// Bytes written so far.
    public private(set) var count = 0

    /// Writes behind what a file that is open holds already, as far as it is opened so; `path` is for messages.
    package init(descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    /// Writes all the bytes; throws `FileError.system`, for instance on a full disk.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw .system(path, "write") }
            rest = rest.dropFirst(written)
            count += written
        }
    }

    /// Writes all the bytes; throws as above.
    public func write(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try write($0) }
    }
}
