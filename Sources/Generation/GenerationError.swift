/// Why a poem cannot be written.
public enum GenerationError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A setting of the sampling out of its range.
    case sampling(setting: String, value: String, range: String)
    /// Prompt and poem are longer than what the model has positions for.
    case tooLong(tokens: Int, positions: Int)
    /// The vocabulary is neither that of a Tihua poet nor that of an Image2Poem model.
    case unknownFormat(missing: [String])
    /// Every candidate came to a dead end, or only repeated lines that are known already.
    case nothingWritten(candidates: Int)
    /// The model gives scores that are no numbers.
    case brokenModel

    /// One line: what happened, what to do.
    public var description: String {
        switch self {
        case .sampling(let setting, let value, let range): "\(setting) is \(value); give \(range)"
        case .tooLong(let tokens, let positions):
            "prompt and poem take \(tokens) tokens and this poet has room for \(positions); "
                + "shorten the theme, or choose a shorter form"
        case .unknownFormat(let missing):
            "this vocabulary is of no poet that is known: it has no \(missing.joined(separator: ", "))"
        case .nothingWritten(let candidates):
            "none of \(candidates) candidates became a poem; try another seed, more --candidates or a higher --temperature"
        case .brokenModel: "the poet's scores are not numbers; its weights are damaged, get them again"
        }
    }
}
