/// What can be wrong with what is to be measured.
public enum EvaluationError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A line, counted from 1, is not what the format asks for, or names what is not there.
    case badLine(file: String, line: Int, reason: String)
    /// The input holds nothing of what was looked for.
    case nothingFound(file: String, expected: String)
    /// Nothing to measure.
    case nothing
    /// Candidates and references that do not stand beside each other.
    case counts(candidates: Int, references: Int)
    /// A candidate, counted from 0, without a reference.
    case noReference(index: Int)
    /// A list of words without a word of two characters.
    case noWords(file: String)

    /// One line: what happened, where, what to do.
    public var description: String {
        switch self {
        case .badLine(let file, let line, let reason): "\(file), line \(line): \(reason); correct or remove the line"
        case .nothingFound(let file, let expected): "\(file): holds no \(expected); name a file that does"
        case .nothing: "there is nothing to measure; give at least one candidate with its references"
        case .counts(let candidates, let references):
            "\(candidates) candidates stand beside \(references) groups of references; give each candidate its own group"
        case .noReference(let index): "candidate \(index) has no reference; leave it out, or give it one"
        case .noWords(let file): "\(file): holds no word of two or more characters; write one word a line, as UTF-8"
        }
    }
}
