import Foundation

/// What can be wrong with a file that a person named, whether it is read or written. Every description is one line.
public enum FileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// There is nothing at the path.
    case missing(path: String)
    /// The path is a folder, a pipe, a device or a socket where a regular file is needed; `what` says which.
    case notAFile(path: String, what: String)
    /// The operating system refused; `operation` is the verb ("open", "write", …), `reason` its own words.
    case system(path: String, operation: String, reason: String)
    /// The file has more bytes than the reader accepts.
    case tooLarge(path: String, bytes: Int, limit: Int)
    /// The bytes of a line, counted from 1, are not UTF-8.
    case notUTF8(path: String, line: Int)

    /// One line: what happened, where, what to do.
    public var description: String {
        switch self {
        case .missing(let path): "\(printable(path)): \(reason); check the path"
        case .notAFile(let path, _): "\(printable(path)): \(reason); give the path of the file itself"
        case .system(let path, let operation, let reason): "\(printable(path)): cannot \(operation): \(reason)"
        case .tooLarge(let path, _, _): "\(printable(path)): refused, \(reason)"
        case .notUTF8(let path, let line):
            "\(printable(path)), line \(line): not UTF-8; convert the file (for GBK: iconv -f GB18030 -t UTF-8)"
        }
    }

    /// What happened, without the path, for errors that name the file themselves.
    public var reason: String {
        switch self {
        case .missing: "no such file"
        case .notAFile(_, let what): "this is \(what), not a regular file"
        case .system(_, let operation, let reason): "cannot \(operation): \(reason)"
        case .tooLarge(_, let bytes, let limit): "the file has \(bytes) bytes, more than the \(limit) accepted here"
        case .notUTF8(_, let line): "line \(line) is not UTF-8"
        }
    }

    /// The operating system's words for the last failed call of this thread.
    package static func system(_ path: String, _ operation: String) -> FileError {
        .system(path: path, operation: operation, reason: String(cString: strerror(errno)))
    }
}
