public import Foundation
import Glibc

/// How the characters of a text file are written.
public enum TextEncoding: String, Sendable, CaseIterable {
    case utf8 = "utf-8"
    /// With it GBK and GB 2312, which are parts of it.
    case gb18030
    case big5
    case utf16 = "utf-16"

    /// By its name as people write it: UTF8, gbk, cp936, …
    public init?(named name: String) {
        switch name.lowercased().filter({ $0 != "-" && $0 != "_" }) {
        case "utf8": self = .utf8
        case "gb18030", "gbk", "gb2312", "cp936": self = .gb18030
        case "big5", "cp950": self = .big5
        case "utf16", "unicode": self = .utf16
        default: return nil
        }
    }

    /// What bytes that are not UTF-8 may be.
    init?(guessing bytes: [UInt8]) {
        if bytes.contains(0) || bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
            self = .utf16
        } else if Self.looksLikeGBK(bytes) {
            self = .gb18030
        } else {
            return nil
        }
    }

    /// Whether the bytes above ASCII come in the pairs of GBK (lead 81...FE, trail 40...FE without 7F).
    private static func looksLikeGBK(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while let byte = rest.popFirst() {
            if byte < 0x80 { continue }
            guard byte > 0x80, byte < 0xFF, let trail = rest.popFirst(), trail >= 0x40, trail < 0xFF, trail != 0x7F
            else { return false }
        }
        return true
    }
}

/// Turns bytes of another encoding into UTF-8, piece by piece; what cannot be read becomes U+FFFD.
final class TextConverter {
    private let descriptor: iconv_t
    private let unit: Int
    /// The beginning of a character whose end is in the next piece.
    private var rest: [UInt8] = []

    /// - Parameter head: the first bytes of the text, which tell the two orders of UTF-16 apart
    /// - Throws: `DataFileError` where the system does not know the encoding.
    init(_ encoding: TextEncoding, head: [UInt8], file: String) throws(DataFileError) {
        let name =
            switch encoding {
            case .utf8: "UTF-8"
            case .gb18030: "GB18030"
            case .big5: "BIG5"
            // Big end first where the mark, or else the high byte of a first ASCII character, says so.
            case .utf16: head.starts(with: [0xFE, 0xFF]) || head.first == 0 ? "UTF-16BE" : "UTF-16LE"
            }
        unit = encoding == .utf16 ? 2 : 1
        guard let opened = iconv_open("UTF-8", name), opened != iconv_t(bitPattern: -1) else {
            throw .helper(program: "iconv's \(name)", file: file, reason: "is not on this system")
        }
        descriptor = opened
    }

    deinit { iconv_close(descriptor) }

    /// - Parameter isLast: whether nothing follows, so that half a character is none
    func convert(_ piece: [UInt8], isLast: Bool) -> [UInt8] {
        var input = (rest + piece).map { CChar(bitPattern: $0) }
        var output = [CChar](repeating: 0, count: 3 * input.count + 16)
        var result: [UInt8] = []
        var place = 0
        while place < input.count {
            var (left, room) = (input.count - place, output.count)
            let (status, code) = input.withUnsafeMutableBufferPointer { input in
                output.withUnsafeMutableBufferPointer { output in
                    var (from, to) = (input.baseAddress.map { $0 + place }, output.baseAddress)
                    let status = iconv(descriptor, &from, &left, &to, &room)
                    return (status, errno)
                }
            }
            place = input.count - left
            result += output[..<(output.count - room)].map { UInt8(bitPattern: $0) }
            guard status == -1 else { break }
            if code == EINVAL, !isLast { break }
            if code == EILSEQ || code == EINVAL {
                result += [0xEF, 0xBF, 0xBD]
                place = min(input.count, place + unit)
            }
        }
        rest = input[place...].map { UInt8(bitPattern: $0) }
        return result
    }
}

/// Reads short text files.
public enum TextFile {
    /// The lines of a text without their ends (LF, CR LF or CR) and without a byte order mark.
    ///
    /// - Parameter encoding: nil takes UTF-16 where the file begins with its mark, else UTF-8
    /// - Throws: `DataFileError.notUTF8` for a line that is not in the encoding, `.unreadable`.
    public static func lines(of url: URL, encoding: TextEncoding? = nil) throws -> [String] {
        let source = try ByteSource(text: url, encoding: encoding)
        var lines: [String] = []
        while let bytes = try source.readLine() {
            guard let line = String(validating: bytes, as: UTF8.self), !bytes.contains(0), !line.contains("\u{FFFD}")
            else {
                throw DataFileError.notUTF8(
                    file: source.name, line: lines.count + 1, guess: TextEncoding(guessing: bytes))
            }
            lines.append(line)
        }
        return lines
    }
}
