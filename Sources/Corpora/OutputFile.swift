import Foundation

/// A file that appears whole or not at all: written beside its place under another name, then renamed.
final class OutputFile {
    private let url: URL
    private let partial: URL
    private let handle: FileHandle
    private var buffer: [UInt8] = []
    private var isFinished = false

    init(_ url: URL) throws {
        self.url = url
        partial = url.deletingLastPathComponent()
            .appending(path: ".\(url.lastPathComponent).\(ProcessInfo.processInfo.processIdentifier).partial")
        let path = partial.path(percentEncoded: false)
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let handle = FileHandle(forWritingAtPath: path)
        else {
            throw CorporaError.unwritable(
                file: url.path(percentEncoded: false), reason: "no file can be made in its folder")
        }
        self.handle = handle
    }

    deinit {
        try? handle.close()
        if !isFinished { try? FileManager.default.removeItem(at: partial) }
    }

    func write(_ bytes: some Sequence<UInt8>) throws {
        buffer.append(contentsOf: bytes)
        if buffer.count >= 1 << 20 { try flush() }
    }

    /// Puts the file in its place.
    func finish() throws {
        try flush()
        try reporting {
            try handle.synchronize()
            try handle.close()
        }
        guard rename(partial.path(percentEncoded: false), url.path(percentEncoded: false)) == 0 else {
            throw CorporaError.unwritable(
                file: url.path(percentEncoded: false), reason: String(cString: strerror(errno)))
        }
        isFinished = true
    }

    private func flush() throws {
        try reporting { try handle.write(contentsOf: buffer) }
        buffer.removeAll(keepingCapacity: true)
    }

    private func reporting(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch {
            throw CorporaError.unwritable(
                file: url.path(percentEncoded: false), reason: (error as NSError).localizedDescription)
        }
    }
}
