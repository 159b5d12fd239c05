public import TihuaFiles

/// Why a vocabulary cannot serve a poet, a prompt cannot be written in it, or a file of counts cannot be read.
public enum VerseError: RequestError, Equatable, Sendable, CustomStringConvertible {
    /// The vocabulary of a Tihua poet lacks a special token.
    case missingToken(String)
    /// The poet has no token for the form.
    case unknownForm(String)
    /// The vocabulary is neither that of a Tihua poet nor that of an Image2Poem model.
    case unknownFormat(missing: [String])
    /// A row of a file of overused pairs is not a pair and its excess. Lines count from 1.
    case overusedPairs(path: String, line: Int)
    /// A row of a file of word frequencies is not a word and its count. Lines count from 1.
    case wordFrequencies(path: String, line: Int)

    /// Whether a form was asked for that the poet does not know.
    public var isRequestFault: Bool { if case .unknownForm = self { true } else { false } }

    /// One line: what happened, where, what to do.
    public var description: String {
        switch self {
        case .missingToken(let token):
            "the vocabulary has no token \(token); it is not that of a Tihua poet (train one with tihua train poet)"
        case .unknownForm(let form): "this poet was not trained on the form \(form); ask for another form"
        case .unknownFormat(let missing):
            "this vocabulary is of no poet that is known: it has no \(missing.joined(separator: ", "))"
        case .overusedPairs(let path, let line):
            "\(path):\(line): not two characters, a tab and a number of 0 to 20; "
                + "write the file with tihua data stock"
        case .wordFrequencies(let path, let line):
            "\(path), line \(line): not a word, a tab and a whole number; write the file with tihua data words"
        }
    }
}
