import Foundation

/// Bytes in order from a file, or from `xz -dc` for a compressed one.
final class ByteSource {
    let name: String
    private let handle: FileHandle
    private let process: Process?
    private let standardError: Pipe?
    private var buffer: [UInt8] = []
    private var position = 0
    private var isAtEnd = false
    /// Bytes handed out so far.
    private(set) var offset = 0

    init(_ url: URL) throws {
        name = url.path(percentEncoded: false)
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: name, isDirectory: &isDirectory) else {
            throw CorporaError.unreadable(file: name, reason: "no such file")
        }
        guard !isDirectory.boolValue else { throw CorporaError.unreadable(file: name, reason: "it is a folder") }
        guard let file = FileHandle(forReadingAtPath: name) else {
            throw CorporaError.unreadable(file: name, reason: "it cannot be opened")
        }
        guard url.pathExtension == "xz" else {
            (handle, process, standardError) = (file, nil, nil)
            return
        }
        let (process, output, errors) = (Process(), Pipe(), Pipe())
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["xz", "-dc"]
        process.standardInput = file
        process.standardOutput = output
        process.standardError = errors
        do {
            try process.run()
        } catch {
            throw CorporaError.helper(program: "xz", file: name, reason: "cannot be started")
        }
        (handle, self.process, standardError) = (output.fileHandleForReading, process, errors)
    }

    deinit {
        try? handle.close()
        if let process, process.isRunning { process.terminate() }
    }

    /// The next `count` bytes, fewer only at the end.
    func read(_ count: Int) throws -> [UInt8] {
        var result: [UInt8] = []
        while result.count < count {
            if position == buffer.count { try fill() }
            guard position < buffer.count else { break }
            let take = min(count - result.count, buffer.count - position)
            result.append(contentsOf: buffer[position..<(position + take)])
            position += take
        }
        offset += result.count
        return result
    }

    /// The next line without its end (LF or CR LF), nil at the end. A line longer than `limit` bytes is an error.
    func readLine(limit: Int = 16 << 20) throws -> [UInt8]? {
        var result: [UInt8] = []
        while true {
            if position == buffer.count { try fill() }
            guard position < buffer.count else { return result.isEmpty ? nil : result }
            let end = buffer[position...].firstIndex(of: 0x0A)
            result.append(contentsOf: buffer[position..<(end ?? buffer.count)])
            offset += (end.map { $0 + 1 } ?? buffer.count) - position
            position = end.map { $0 + 1 } ?? buffer.count
            guard result.count <= limit else {
                throw CorporaError.badFile(file: name, reason: "a line is longer than \(limit) bytes")
            }
            if end != nil {
                if result.last == 0x0D { result.removeLast() }
                return result
            }
        }
    }

    private func fill() throws {
        guard !isAtEnd else { return }
        do {
            buffer = Array(try handle.read(upToCount: 1 << 20) ?? Data())
        } catch {
            throw CorporaError.unreadable(file: name, reason: (error as NSError).localizedDescription)
        }
        position = 0
        if buffer.isEmpty {
            isAtEnd = true
            try checkProcess()
        }
    }

    private func checkProcess() throws {
        guard let process, let standardError else { return }
        let message = (try? standardError.fileHandleForReading.readToEnd()) ?? Data()
        process.waitUntilExit()
        switch process.terminationStatus {
        case 0: return
        case 127: throw CorporaError.helper(program: "xz", file: name, reason: "is not installed")
        default:
            let text = String(decoding: message, as: UTF8.self).split(separator: "\n").joined(separator: " ")
            throw CorporaError.badArchive(file: name, offset: offset, reason: "xz cannot unpack it (\(text))")
        }
    }
}
