package import Foundation

/// Bytes in order from a file, or from the program that unpacks it where its first bytes say that it is packed.
package final class ByteSource {
    package let name: String
    /// Whether a program unpacks the file, so that its bytes do not lie where `offset` says.
    let isPacked: Bool
    private let handle: FileHandle
    private let unpacking: (program: String, process: Process, errors: Pipe)?
    private var buffer: [UInt8] = []
    private var position = 0
    private var isAtEnd = false
    /// How the bytes of a text become UTF-8.
    private enum Text {
        case none, unknown(TextEncoding?), converted(TextConverter)
    }
    private var text = Text.none
    /// Bytes handed out so far.
    private(set) var offset = 0

    private static let packings: [(program: String, magic: [UInt8])] = [
        ("gzip", [0x1F, 0x8B]), ("xz", [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00]), ("bzip2", [0x42, 0x5A, 0x68]),
        ("zstd", [0x28, 0xB5, 0x2F, 0xFD]),
    ]

    /// Whether a file that begins so is packed.
    static func isPacked(_ head: [UInt8]) -> Bool { packings.contains { head.starts(with: $0.magic) } }

    package convenience init(_ url: URL) throws {
        // A damaged argument may mean several files; the first is taken.
        try self.init(BytePath.matches(url).first ?? BytePath(url))
    }

    /// A text, whose bytes come in UTF-8 without a byte order mark.
    ///
    /// - Parameter encoding: nil takes UTF-16 where the file begins with its mark, else UTF-8
    package convenience init(text url: URL, encoding: TextEncoding?) throws {
        try self.init(url)
        text = .unknown(encoding)
    }

    /// - Throws: `DataFileError` for what is no regular file, or where the program is missing.
    init(_ path: BytePath) throws {
        name = path.text
        let file = try path.open()
        var head = [UInt8](repeating: 0, count: 6)
        let count = max(0, pread(file.fileDescriptor, &head, head.count, 0))
        guard let packing = Self.packings.first(where: { head.prefix(count).starts(with: $0.magic) }) else {
            (handle, unpacking, isPacked) = (file, nil, false)
            return
        }
        let (process, output, errors) = (Process(), Pipe(), Pipe())
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [packing.program, "-dc"]
        process.standardInput = file
        process.standardOutput = output
        process.standardError = errors
        do {
            try process.run()
        } catch {
            throw DataFileError.helper(program: packing.program, file: name, reason: "cannot be started")
        }
        isPacked = true
        (handle, unpacking) = (output.fileHandleForReading, (packing.program, process, errors))
    }

    /// Bytes of a file that is open.
    init(_ file: FileHandle, name: String) {
        (self.name, handle, unpacking, isPacked) = (name, file, nil, false)
    }

    deinit {
        if let process = unpacking?.process {
            try? handle.close()
            if process.isRunning { process.terminate() }
        }
    }

    /// The next `count` bytes, fewer only at the end.
    package func read(_ count: Int) throws -> [UInt8] {
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

    /// The next byte; nil at the end.
    func readByte() throws -> UInt8? {
        guard let byte = try peekByte() else { return nil }
        skipByte()
        return byte
    }

    /// The byte that `readByte` will read.
    func peekByte() throws -> UInt8? {
        if position == buffer.count { try fill() }
        return position < buffer.count ? buffer[position] : nil
    }

    /// The bytes that come next, `count` of them or all that there are; more where more lie at hand.
    func peek(_ count: Int) throws -> ArraySlice<UInt8> {
        while buffer.count - position < count, !isAtEnd {
            let rest = buffer[position...]
            try fill()
            buffer = rest + buffer
        }
        return buffer[position...]
    }

    /// The next line without its end (LF, CR LF or CR), nil at the end. A line longer than `limit` bytes is an error.
    package func readLine(limit: Int = 16 << 20) throws -> [UInt8]? {
        var result: [UInt8] = []
        while true {
            if position == buffer.count { try fill() }
            guard position < buffer.count else { return result.isEmpty ? nil : result }
            let end = buffer[position...].firstIndex { $0 == 0x0A || $0 == 0x0D }
            result.append(contentsOf: buffer[position..<(end ?? buffer.count)])
            offset += (end ?? buffer.count) - position
            position = end ?? buffer.count
            guard result.count <= limit else {
                throw DataFileError.badFile(file: name, reason: "a line is longer than \(limit) bytes")
            }
            guard let end else { continue }
            let isReturn = buffer[end] == 0x0D
            skipByte()
            if isReturn {
                if position == buffer.count { try fill() }
                if position < buffer.count, buffer[position] == 0x0A { skipByte() }
            }
            return result
        }
    }

    private func skipByte() {
        position += 1
        offset += 1
    }

    private func fill() throws {
        buffer = []
        position = 0
        // A piece may be half a character, which gives nothing yet.
        while buffer.isEmpty, !isAtEnd {
            do {
                buffer = Array(try handle.read(upToCount: 1 << 20) ?? Data())
            } catch {
                throw DataFileError.unreadable(file: name, reason: (error as NSError).localizedDescription)
            }
            isAtEnd = buffer.isEmpty
            if isAtEnd { try checkProcess() }
            try convert()
        }
    }

    /// Makes UTF-8 of the buffer.
    private func convert() throws {
        switch text {
        case .none: break
        case .converted(let converter): buffer = converter.convert(buffer, isLast: isAtEnd)
        case .unknown(let encoding):
            let hasMark = buffer.starts(with: [0xFF, 0xFE]) || buffer.starts(with: [0xFE, 0xFF])
            let encoding = encoding ?? (hasMark ? .utf16 : .utf8)
            guard encoding != .utf8 else {
                text = .none
                if buffer.starts(with: [0xEF, 0xBB, 0xBF]) { buffer.removeFirst(3) }
                return
            }
            let converter = try TextConverter(encoding, head: Array(buffer.prefix(2)), file: name)
            text = .converted(converter)
            if encoding == .utf16, hasMark { buffer.removeFirst(2) }
            buffer = converter.convert(buffer, isLast: isAtEnd)
        }
    }

    private func checkProcess() throws {
        guard let (program, process, errors) = unpacking else { return }
        let message = (try? errors.fileHandleForReading.readToEnd()) ?? Data()
        process.waitUntilExit()
        switch process.terminationStatus {
        case 0: return
        // gzip's way to say that something harmless stands behind the end.
        case 2 where program == "gzip": return
        case 127: throw DataFileError.helper(program: program, file: name, reason: "is not installed")
        default:
            let text = PictureName.text(message.prefix(200).map { $0 == 0x0A ? 0x20 : $0 })
            throw DataFileError.badArchive(file: name, offset: offset, reason: "\(program) cannot unpack it (\(text))")
        }
    }
}

/// What a file is by its first bytes, where a tar archive was expected.
func contentKind(_ head: [UInt8]) -> String {
    func begins(_ text: String) -> Bool { head.starts(with: text.utf8) }
    if head.isEmpty { return "an empty file" }
    if begins("PK") { return "a zip archive, which must be unpacked" }
    if begins("7z\u{BC}") || begins("Rar!") || head.starts(with: [0x37, 0x7A, 0xBC, 0xAF]) {
        return "a 7z or rar archive, which must be unpacked"
    }
    if head.starts(with: [0xFF, 0xD8, 0xFF]) || head.starts(with: [0x89, 0x50, 0x4E, 0x47]) || begins("GIF8")
        || begins("RIFF") || head.dropFirst(4).starts(with: "ftyp".utf8)
    {
        return "a picture by its contents; give it its ending, such as .jpg"
    }
    if head.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 || $0 == 0x0A || $0 == 0x0D }) { return "a text file" }
    return "of another kind"
}
