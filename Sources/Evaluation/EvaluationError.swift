/// What can be wrong with what is to be measured.
public enum EvaluationError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A line, counted from 1, is not what the format asks for, or names what is not there.
    case badLine(file: String, line: Int, reason: String)
    /// The input holds nothing of what was looked for.
    case nothingFound(file: String, expected: String)

    /// One line: what happened, where, what to do.
    public var description: String {
        switch self {
        case .badLine(let file, let line, let reason): "\(file), line \(line): \(reason); correct or remove the line"
        case .nothingFound(let file, let expected): "\(file): holds no \(expected); name a file that does"
        }
    }
}
