public import Foundation

/// Reads files that a person named. Nothing that could block or never end is opened: pipes, devices, sockets and
/// folders are refused, and a limit bounds what is read. Links are followed; one that points at nothing is called that.
public enum UserFile {
    /// Opens a regular file for reading.
    ///
    /// - Throws: `FileError.missing`, `.notAFile`, `.system`.
    public static func open(_ url: URL) throws(FileError) -> FileHandle {
        FileHandle(fileDescriptor: try descriptor(url.path(percentEncoded: false)).number, closeOnDealloc: true)
    }

    /// As `open(_:)`, for a path that need not be UTF-8; `name` stands for it in errors.
    public static func open(_ path: [CChar], name: String) throws(FileError) -> FileHandle {
        FileHandle(fileDescriptor: try descriptor(name, at: path).number, closeOnDealloc: true)
    }

    /// All bytes of a regular file.
    ///
    /// - Parameter limit: the most bytes that are accepted
    /// - Throws: `FileError.missing`, `.notAFile`, `.system`, `.tooLarge`.
    public static func bytes(of url: URL, limit: Int = 1 << 30) throws(FileError) -> [UInt8] {
        try bytes(atPath: url.path(percentEncoded: false), limit: limit)
    }

    /// As `bytes(of:limit:)`, for a path as it was typed.
    public static func bytes(atPath path: String, limit: Int = 1 << 30) throws(FileError) -> [UInt8] {
        let (number, size) = try descriptor(path)
        defer { close(number) }
        guard size <= limit else { throw .tooLarge(path: path, bytes: size, limit: limit) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size)
        var chunk = [UInt8](repeating: 0, count: min(max(size, 1) + 1, 1 << 20))
        while true {
            let count = chunk.withUnsafeMutableBytes { read(number, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .system(path, "read") }
            guard count > 0 else { return bytes }
            bytes.append(contentsOf: chunk[..<count])
            // Files of /proc say that they are empty, and others may grow while they are read.
            guard bytes.count <= limit else { throw .tooLarge(path: path, bytes: bytes.count, limit: limit) }
        }
    }

    /// The text of a regular file in UTF-8, without a byte order mark.
    ///
    /// - Parameter limit: the most bytes that are accepted
    /// - Throws: as `bytes(of:limit:)`; `FileError.notUTF8` with the first line that is none.
    public static func text(of url: URL, limit: Int = 1 << 30) throws(FileError) -> String {
        var bytes = try bytes(of: url, limit: limit)[...]
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            let lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
            let bad = lines.firstIndex { String(validating: $0, as: UTF8.self) == nil }
            throw .notUTF8(path: url.path(percentEncoded: false), line: (bad ?? 0) + 1)
        }
        return text
    }

    /// A descriptor of a regular file, and the file's size in bytes.
    private static func descriptor(
        _ path: String, at bytes: [CChar]? = nil
    ) throws(FileError) -> (number: Int32, size: Int) {
        let place = bytes ?? Array(path.utf8CString)
        // Opening a device can already do something (a tape rewinds), so it is looked at first.
        var status = stat()
        guard stat(place, &status) == 0 else { throw cannotOpen(path) }
        try requireRegular(path, status)
        // Without O_NONBLOCK a pipe put in place of the file since the check would wait for a writer.
        let descriptor = Glibc.open(place, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw cannotOpen(path) }
        do throws(FileError) {
            guard fstat(descriptor, &status) == 0 else { throw .system(path, "read its size") }
            try requireRegular(path, status)
        } catch {
            close(descriptor)
            throw error
        }
        return (descriptor, Int(status.st_size))
    }

    private static func cannotOpen(_ path: String) -> FileError {
        guard errno == ENOENT || errno == ENOTDIR else { return .system(path, "open") }
        var link = stat()
        return lstat(path, &link) == 0 ? .notAFile(path: path, what: "a link to nothing") : .missing(path: path)
    }

    private static func requireRegular(_ path: String, _ status: stat) throws(FileError) {
        guard let kind = irregularKind(status) else { return }
        throw .notAFile(path: path, what: kind)
    }
}

/// What something that is no regular file is, in words; nil for a regular file.
func irregularKind(_ status: stat) -> String? {
    switch status.st_mode & S_IFMT {
    case S_IFREG: nil
    case S_IFDIR: "a folder"
    case S_IFIFO: "a pipe"
    case S_IFSOCK: "a socket"
    default: "a device"
    }
}
