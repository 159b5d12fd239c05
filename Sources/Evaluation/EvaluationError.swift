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
    /// Data that this measure cannot be taken of.
    case unmeasurable(name: String, reason: String)
    /// Captions and references of different pictures.
    case nothingInCommon(captions: String, references: String)
    /// Two names in a file that would both be one picture of the references.
    case ambiguousName(file: String, first: String, second: String, image: String)
    /// Pictures of captions that cannot be read, or were not found.
    case unreadablePictures(count: Int, first: String, reason: String?)
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
        case .unmeasurable(let name, let reason): "\(name): \(reason)"
        case .nothingInCommon(let captions, let references):
            "\(captions) and \(references) have no picture in common; compare the ids at the beginning of their lines"
        case .ambiguousName(let file, let first, let second, let image):
            "\(file): \(first) and \(second) would both be the references' \(image); use the same ids in both files"
        case .unreadablePictures(let count, let first, let reason):
            "\(count) of the pictures cannot be read, the first is \(first)"
                + (reason.map { " (\($0))" } ?? "; name the shards or folders that hold them")
        case .noWords(let file): "\(file): holds no word of two or more characters; write one word a line, as UTF-8"
        }
    }
}
