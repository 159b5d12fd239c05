import TihuaFiles

/// What can be wrong with a file of poems, captions or pictures.
public enum DataFileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file or folder cannot be opened or read.
    case unreadable(file: String, reason: String)
    /// A line of a text file, counted from 1, is not what the format asks for.
    case badLine(file: String, line: Int, reason: String)
    /// The archive is damaged or cut off; the position is in bytes from its beginning.
    case badArchive(file: String, offset: Int, reason: String)
    /// A tar archive was expected, and the file is something else.
    case notAnArchive(file: String, found: String)
    /// A line of a text file, counted from 1, is not in the encoding of the file.
    case notUTF8(file: String, line: Int, guess: TextEncoding?)
    /// A member of an archive is larger than the reader accepts.
    case memberTooLarge(file: String, member: String, bytes: Int, limit: Int)
    /// A program that the reader needs is missing or failed.
    case helper(program: String, file: String, reason: String)
    /// The input holds nothing of what was looked for.
    case nothingFound(file: String, expected: String)
    /// Nothing of the input can be used.
    case nothingLeft(files: [String], reason: String)
    /// A binary file of this package is damaged or of another kind.
    case badFile(file: String, reason: String)
    /// Nothing is said of any picture.
    case notCaptioned(file: String, reason: String)
    /// Two pictures would have one key.
    case duplicateKey(key: String, first: String, second: String)

    /// One line: what happened, where, what to do.
    public var description: String { printable(message) }

    private var message: String {
        switch self {
        case .unreadable(let file, let reason):
            "\(file): cannot be read (\(reason)); check the path and its permissions"
        case .badLine(let file, let line, let reason):
            "\(file), line \(line): \(reason); correct or remove the line"
        case .badArchive(let file, let offset, let reason):
            "\(file), byte \(offset): \(reason); download the archive again"
        case .notAnArchive(let file, let found):
            "\(file): \(found), not a tar archive; name a folder of pictures, a .tar or .tar.gz of them, or a picture"
        case .notUTF8(let file, let line, let guess):
            """
            \(file), line \(line): not UTF-8\(guess.map { ", perhaps \($0 == .gb18030 ? "GBK" : "UTF-16")" } ?? ""); \
            name the file's encoding (utf-8 leaves out such lines), for instance \((guess ?? .gb18030).rawValue)
            """
        case .memberTooLarge(let file, let member, let bytes, let limit):
            "\(file): \(member) has \(bytes) bytes, more than the \(limit) accepted; leave it out of the archive"
        case .helper(let program, let file, let reason):
            "\(file): \(program) \(reason); install \(program), or unpack the file yourself and name the result"
        case .nothingFound(let file, let expected):
            "\(file): holds no \(expected); name the folder or archive of the upstream repository"
        case .nothingLeft(let files, let reason):
            "\(files.joined(separator: ", ")): \(reason)"
        case .badFile(let file, let reason):
            "\(file): \(reason); make it again"
        case .notCaptioned(let file, let reason): "\(file): \(reason)"
        case .duplicateKey(let key, let first, let second):
            first == second
                ? "\(first): two pictures have the key \(key); rename one of them"
                : "\(first) and \(second) both have a picture \(key); rename it in one of them, or leave one out"
        }
    }
}
