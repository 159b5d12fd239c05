public import Foundation

/// A file mapped read-only into memory; unmapped when the last reference goes.
///
/// Pages are read when they are touched, so opening costs nothing whatever the size. The file must not be shortened by
/// another process while it is mapped: writers of this package never do that, they write beside and rename.
public final class MappedFile: @unchecked Sendable {
    // Sendable: the memory is never written and both properties are constant until deinit, which runs once.

    /// The path as it was given.
    public let path: String

    /// The bytes of the file; valid while this object lives.
    let bytes: UnsafeRawBufferPointer
    private let isMapped: Bool

    /// Maps the file at a path.
    ///
    /// Throws `WeightFileError`: `missing`, `notAFile` (a folder, a pipe, a device), `empty`, `system` (no permission).
    public init(path: String) throws(WeightFileError) {
        // Without O_NONBLOCK, opening a pipe would wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            guard errno == ENOENT else { throw .system(path: path, operation: "open", reason: systemReason()) }
            var link = stat()
            guard lstat(path, &link) == 0 else { throw .missing(path: path) }
            throw .system(path: path, operation: "open", reason: "it is a link to nothing")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw .system(path: path, operation: "read its size", reason: systemReason())
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notAFile(path: path) }
        guard status.st_size > 0 else { throw .empty(path: path) }
        let size = Int(status.st_size)
        guard let start = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED else {
            throw .system(path: path, operation: "map into memory", reason: systemReason())
        }
        self.path = path
        self.bytes = UnsafeRawBufferPointer(start: start, count: size)
        self.isMapped = true
    }

    /// Maps the file at a URL; throws as `init(path:)`.
    public convenience init(contentsOf url: URL) throws(WeightFileError) {
        try self.init(path: url.path)
    }

    /// Holds a copy of bytes in a heap block of exactly their size, so that tests can try thousands of damaged files
    /// and AddressSanitizer sees a read of one byte too many.
    init(copying content: [UInt8], path: String) throws(WeightFileError) {
        guard !content.isEmpty else { throw .empty(path: path) }
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: content.count, alignment: 64)
        copy.copyBytes(from: content)
        self.path = path
        self.bytes = UnsafeRawBufferPointer(copy)
        self.isMapped = false
    }

    deinit {
        if isMapped {
            munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
        } else {
            bytes.deallocate()
        }
    }

    /// Bytes in the file.
    public var count: Int { bytes.count }

    /// Calls the closure with the bytes of the file.
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        defer { withExtendedLifetime(self) {} }
        return try body(bytes)
    }
}

/// The operating system's words for the last failed call of this thread.
func systemReason() -> String {
    String(cString: strerror(errno))
}
