import Foundation

/// The log of a run: lines on standard error and in `log.txt`, scalars for TensorBoard beside it.
final class RunLog {
    private let file: FileHandle
    private let events: EventWriter
    private let quiet: Bool

    /// Appends to the folder's log.
    ///
    /// - Parameter step: of the checkpoint that is continued; TensorBoard then drops what was logged after it.
    /// - Throws: Foundation's or `WeightFileError` if a file cannot be written.
    init(folder: URL, resumingAfter step: Int?, quiet: Bool) throws {
        self.quiet = quiet
        let url = folder.appending(path: "log.txt")
        if !FileManager.default.fileExists(atPath: url.path) { try Data().write(to: url) }
        file = try FileHandle(forWritingTo: url)
        try file.seekToEnd()
        events = try EventWriter(folder: folder, resumingAfter: step)
    }

    /// Writes a line with the time of day.
    func line(_ text: String) {
        let line = Date.now.formatted(.iso8601) + "  " + text + "\n"
        try? file.write(contentsOf: Data(line.utf8))
        if !quiet { FileHandle.standardError.write(Data(line.utf8)) }
    }

    /// - Throws: `WeightFileError` if the disk is full.
    func scalar(_ tag: String, _ value: Double, step: Int) throws { try events.scalar(tag, value, step: step) }

    func flush() throws { try events.flush() }
}
