public import Foundation
import TihuaFiles
public import TihuaWeightFiles

/// Writes the event files that TensorBoard reads: scalars and texts by tag and step.
///
/// A file is a sequence of TFRecord frames (length, masked CRC-32C of it, data, masked CRC-32C of that), each with one
/// protobuf message `Event`. Source: `tensorflow/core/lib/io/record_writer.cc`, `tensorboard/compat/proto/event.proto`
/// and `summary.proto`. Values wait in memory until `flush`, 64 kB, or the end of the writer.
public final class EventWriter {
    /// The event file.
    public let file: URL
    private let descriptor: Int32
    private var pending: [UInt8] = []
    /// The length of the file up to its last whole record.
    private var length = 0

    /// Opens an event file in a folder, which is made if it is missing.
    ///
    /// Without `step` this is a new run with a new file. With it, the run that stopped is continued: the newest event
    /// file of the folder is cut behind the last whole record of at most that step, so that a run resumed from an older
    /// checkpoint draws no line twice, and written on; a new file is made if there is none.
    /// Throws `WeightFileError.system`.
    public init(folder: URL, resumingAfter step: Int? = nil) throws(WeightFileError) {
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        } catch {
            throw .system(path: folder.path, operation: "make the folder", reason: "no permission or no room")
        }
        if let step, let newest = try Self.newestFile(in: folder) {
            file = newest
            descriptor = open(newest.path, O_RDWR | O_CLOEXEC)
            guard descriptor >= 0 else { throw .system(path: newest.path, operation: "open", reason: Self.reason()) }
            length = try Self.keptLength(of: newest, through: step)
            guard ftruncate(descriptor, off_t(length)) == 0, lseek(descriptor, 0, SEEK_END) >= 0 else {
                throw .system(path: newest.path, operation: "cut", reason: Self.reason())
            }
        } else {
            (file, descriptor) = try Self.create(in: folder)
        }
        if length == 0 { append(Message().string(3, "brain.Event:2"), step: 0, at: Date()) }
        try flush()
    }

    deinit {
        // What cannot be written now has nobody left to hear of it.
        try? flush()
        close(descriptor)
    }

    /// Adds a number to the curve of a tag. Slashes in the tag make groups. Throws `WeightFileError.system`.
    public func scalar(_ tag: String, _ value: Double, step: Int, at time: Date = Date()) throws(WeightFileError) {
        let entry = Message().string(1, tag).float(2, Float(value))
        append(Message().message(5, Message().message(1, entry)), step: step, at: time)
        if pending.count > 1 << 16 { try flush() }
    }

    /// Adds a text, which TensorBoard shows as Markdown. Throws `WeightFileError.system`.
    public func text(_ tag: String, _ markdown: String, step: Int, at time: Date = Date()) throws(WeightFileError) {
        let plugin = Message().message(1, Message().string(1, "text"))
        // A string tensor (type 7) of shape [1].
        let shape = Message().message(2, Message().integer(1, 1))
        let tensor = Message().integer(1, 7).message(2, shape).string(8, markdown)
        let entry = Message().string(1, tag).message(8, tensor).message(9, plugin)
        append(Message().message(5, Message().message(1, entry)), step: step, at: time)
        if pending.count > 1 << 16 { try flush() }
    }

    /// Hands everything to the operating system, so that a running TensorBoard sees it.
    ///
    /// Throws `WeightFileError.system`, for instance on a full disk; the file then ends with its last whole record, and
    /// the values stay for the next attempt.
    public func flush() throws(WeightFileError) {
        var rest = pending[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else {
                let reason = Self.reason()
                ftruncate(descriptor, off_t(length))
                lseek(descriptor, off_t(length), SEEK_SET)
                throw .system(path: file.path, operation: "write", reason: reason)
            }
            rest = rest.dropFirst(written)
        }
        length += pending.count
        pending.removeAll(keepingCapacity: true)
    }

    private func append(_ content: Message, step: Int, at time: Date) {
        let event = Message().double(1, time.timeIntervalSince1970).integer(2, step).appending(content)
        let header = withUnsafeBytes(of: UInt64(event.bytes.count).littleEndian, Array.init)
        pending += header
        pending += withUnsafeBytes(of: CRC32C.masked(header[...]).littleEndian, Array.init)
        pending += event.bytes
        pending += withUnsafeBytes(of: CRC32C.masked(event.bytes[...]).littleEndian, Array.init)
    }

    // MARK: Files

    private static let prefix = "events.out.tfevents."

    private static func reason() -> String { String(cString: strerror(errno)) }

    /// TensorBoard reads the files of a folder in the order of their names, which start with the time.
    private static func create(in folder: URL) throws(WeightFileError) -> (URL, Int32) {
        let seconds = Int(Date().timeIntervalSince1970)
        var number = 0
        while true {
            let url = folder.appending(path: "\(prefix)\(seconds).tihua.\(getpid()).\(number)")
            let descriptor = open(url.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
            if descriptor >= 0 { return (url, descriptor) }
            guard errno == EEXIST else { throw .system(path: url.path, operation: "write", reason: reason()) }
            number += 1
        }
    }

    private static func newestFile(in folder: URL) throws(WeightFileError) -> URL? {
        do {
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasPrefix(prefix) }
            let newest = names.max { $0.compare($1, options: .numeric) == .orderedAscending }
            return newest.map { folder.appending(path: $0) }
        } catch {
            throw .system(path: folder.path, operation: "list the folder", reason: "no permission to read it")
        }
    }

    /// Bytes up to the first record that is damaged, cut short, or later than a step.
    private static func keptLength(of url: URL, through step: Int) throws(WeightFileError) -> Int {
        let content: [UInt8]
        do {
            content = try UserFile.bytes(of: url)
        } catch {
            throw .system(path: url.path, operation: "read", reason: error.reason)
        }
        func integer<T: FixedWidthInteger>(_ place: Int, _ type: T.Type) -> T {
            content.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: place, as: T.self)) }
        }
        var kept = 0
        while content.count - kept >= 16 {
            let size = integer(kept, UInt64.self)
            guard size <= content.count - kept - 16,
                integer(kept + 8, UInt32.self) == CRC32C.masked(content[kept..<kept + 8])
            else { break }
            let end = kept + 12 + Int(size)
            let event = content[kept + 12..<end]
            guard integer(end, UInt32.self) == CRC32C.masked(event), Message.integer(2, in: event) ?? 0 <= step else {
                break
            }
            kept = end + 4
        }
        return kept
    }
}

/// A protobuf message under construction: the three wire types that events need.
private struct Message {
    private(set) var bytes: [UInt8] = []

    private func field(_ number: UInt8, _ wireType: UInt8, _ content: some Sequence<UInt8>) -> Message {
        var result = self
        result.bytes.append(number << 3 | wireType)
        result.bytes += content
        return result
    }

    private static func variable(_ value: UInt64) -> [UInt8] {
        var rest = value
        var bytes: [UInt8] = []
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    func integer(_ number: UInt8, _ value: Int) -> Message {
        field(number, 0, Self.variable(UInt64(bitPattern: Int64(value))))
    }

    func double(_ number: UInt8, _ value: Double) -> Message {
        field(number, 1, withUnsafeBytes(of: value.bitPattern.littleEndian, Array.init))
    }

    func float(_ number: UInt8, _ value: Float) -> Message {
        field(number, 5, withUnsafeBytes(of: value.bitPattern.littleEndian, Array.init))
    }

    func string(_ number: UInt8, _ text: String) -> Message {
        field(number, 2, Self.variable(UInt64(text.utf8.count)) + Array(text.utf8))
    }

    func message(_ number: UInt8, _ inner: Message) -> Message {
        field(number, 2, Self.variable(UInt64(inner.bytes.count)) + inner.bytes)
    }

    func appending(_ other: Message) -> Message {
        var result = self
        result.bytes += other.bytes
        return result
    }

    /// The integer field of that number in a message whose earlier fields are of fixed width or integers; nil if
    /// absent.
    static func integer(_ wanted: UInt8, in bytes: ArraySlice<UInt8>) -> Int? {
        var rest = bytes
        while let tag = rest.popFirst() {
            switch tag & 7 {
            case 0:
                var value: UInt64 = 0
                var shift: UInt64 = 0
                while let byte = rest.popFirst() {
                    value |= UInt64(byte & 0x7f) << shift
                    shift += 7
                    if byte & 0x80 == 0 { break }
                }
                if tag >> 3 == wanted { return Int(Int64(bitPattern: value)) }
            case 1: rest = rest.dropFirst(8)
            case 5: rest = rest.dropFirst(4)
            default: return nil
            }
        }
        return nil
    }
}

/// The Castagnoli checksum (RFC 3720, appendix B.4), masked as TFRecord wants it.
enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 0 ? value >> 1 : value >> 1 ^ 0x82f6_3b78 }
    }

    static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        ~bytes.reduce(~0) { crc, byte in table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] ^ crc >> 8 }
    }

    static func masked(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        let crc = checksum(bytes)
        return (crc >> 15 | crc << 17) &+ 0xa282_ead8
    }
}
