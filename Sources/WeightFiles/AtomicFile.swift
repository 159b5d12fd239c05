import Foundation

/// Writes files that appear whole or not at all.
public enum AtomicFile {
    /// Calls the closure with a sink, then puts what it wrote in the place of the file, replacing an older one.
    ///
    /// The bytes go to a temporary file beside the target, are flushed to the disk and renamed. Whatever fails (no
    /// permission, disk full, an error of the closure), the temporary file is removed and the older file stays as it was.
    /// Throws `WeightFileError.system`, and whatever the closure throws.
    public static func write(to url: URL, _ body: (FileSink) throws -> Void) throws {
        try write(to: url, open: { open($0, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666) }, body)
    }

    /// Calls the closure with a new folder beside the target, which must not be there yet, then moves it to its place. Where the
    /// closure throws, nothing stays behind.
    ///
    /// Throws Foundation's errors for the folders, and whatever the closure throws.
    public static func folder(at url: URL, _ body: (URL) throws -> Void) throws {
        let manager = FileManager.default
        let partial = temporary(for: url)
        do {
            try manager.createDirectory(at: partial, withIntermediateDirectories: true)
            try body(partial)
            try manager.moveItem(at: partial, to: url)
        } catch {
            try? manager.removeItem(at: partial)
            throw error
        }
    }

    /// A name of its own beside the target.
    private static func temporary(for url: URL) -> URL {
        url.deletingLastPathComponent()
            .appending(path: ".\(url.lastPathComponent).partial-\(UInt32.random(in: .min ... .max))")
    }

    /// As `write(to:_:)`, with the call that makes the temporary file; tests hand in a descriptor of a full disk.
    static func write(to url: URL, open: (String) -> Int32, _ body: (FileSink) throws -> Void) throws {
        let path = url.path
        let temporary = temporary(for: url).path
        let descriptor = open(temporary)
        guard descriptor >= 0 else {
            throw WeightFileError.system(path: path, operation: "write", reason: systemReason())
        }
        var isOpen = true
        do {
            try body(FileSink(descriptor: descriptor, path: path))
            // EINVAL: a file system without fsync.
            guard fsync(descriptor) == 0 || errno == EINVAL else {
                throw WeightFileError.system(path: path, operation: "write", reason: systemReason())
            }
            isOpen = false
            guard close(descriptor) == 0, rename(temporary, path) == 0 else {
                throw WeightFileError.system(path: path, operation: "write", reason: systemReason())
            }
        } catch {
            if isOpen { close(descriptor) }
            unlink(temporary)
            throw error
        }
        // The rename survives a power cut only when the folder is flushed too; a folder that cannot be is no error.
        let folder = Glibc.open(url.deletingLastPathComponent().path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }
}

/// Where a writer puts its bytes, in order.
public final class FileSink {
    private let descriptor: Int32
    private let path: String
    /// Bytes written so far.
    public private(set) var count = 0

    init(descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    /// Writes all the bytes; throws `WeightFileError.system`, for instance on a full disk.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(WeightFileError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw .system(path: path, operation: "write", reason: systemReason()) }
            rest = rest.dropFirst(written)
            count += written
        }
    }

    /// Writes all the bytes; throws as above.
    public func write(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try write($0) }
    }
}
