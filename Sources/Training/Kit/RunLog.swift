import Foundation
import TihuaFiles

/// The log of a run: lines on standard error and in `log.txt`, scalars for TensorBoard beside it.
final class RunLog {
    private let file: FileHandle
    private let path: String
    private let events: EventWriter
    private let quiet: Bool

    /// Appends to the folder's log.
    ///
    /// - Parameter step: of the checkpoint that is continued; TensorBoard then drops what was logged after it.
    /// - Throws: `FileError` or `WeightFileError` if a file cannot be written.
    init(folder: URL, resumingAfter step: Int?, quiet: Bool) throws {
        self.quiet = quiet
        path = folder.appending(path: "log.txt").path(percentEncoded: false)
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FileError.system(path, "write") }
        file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        events = try EventWriter(folder: folder, resumingAfter: step)
    }

    /// Writes a line with the time of day.
    ///
    /// - Throws: `FileError`, for instance on a full disk; the log then ends with its last whole line.
    func line(_ text: String) throws {
        let line = Data((Date.now.formatted(.iso8601) + "  " + text + "\n").utf8)
        // A terminal that is gone ends no run.
        if !quiet { try? FileHandle.standardError.write(contentsOf: line) }
        let descriptor = file.fileDescriptor
        let length = lseek(descriptor, 0, SEEK_END)
        do {
            try line.withUnsafeBytes { try FileSink(descriptor: descriptor, path: path).write($0) }
        } catch {
            if length >= 0 { ftruncate(descriptor, length) }
            throw error
        }
    }

    /// - Throws: `WeightFileError` if the disk is full.
    func scalar(_ tag: String, _ value: Double, step: Int) throws { try events.scalar(tag, value, step: step) }

    /// Hands all to the operating system, and the lines to the disk.
    ///
    /// - Throws: `FileError` or `WeightFileError`.
    func flush() throws {
        try events.flush()
        // EINVAL: a file system without fsync.
        guard fsync(file.fileDescriptor) == 0 || errno == EINVAL else { throw FileError.system(path, "write") }
    }
}
