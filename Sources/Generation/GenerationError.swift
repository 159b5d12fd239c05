public import TihuaFiles

/// Why a poem or another text cannot be written.
public enum GenerationError: RequestError, Equatable, Sendable, CustomStringConvertible {
    /// A setting of the search out of its range.
    case sampling(setting: String, value: String, range: String)
    /// Prompt and poem are longer than what the model has positions for.
    case tooLong(tokens: Int, positions: Int)
    /// A prompt and the new tokens are longer than what the model has positions for.
    case noRoom(prompt: Int, new: Int, positions: Int)
    /// A prompt names a token that the model does not have.
    case token(id: Int, vocabularySize: Int)
    /// A prefix that is no whole number of embeddings of the model's width.
    case prefixWidth(numbers: Int, width: Int)
    /// A prefix for a poet that writes line by line.
    case noPrefix
    /// There is nothing to continue.
    case emptyPrompt
    /// Every candidate came to a dead end, or only repeated lines that are known already.
    case nothingWritten(candidates: Int)
    /// The model gives scores that are no numbers.
    case brokenModel

    /// Whether a setting is out of its range.
    public var isRequestFault: Bool { if case .sampling = self { true } else { false } }

    /// One line: what happened, what to do.
    public var description: String {
        switch self {
        case .sampling(let setting, let value, let range): "\(setting) is \(value); give \(range)"
        case .tooLong(let tokens, let positions):
            "prompt and poem take \(tokens) tokens and this poet has room for \(positions); "
                + "shorten the theme, or choose a shorter form"
        case .noRoom(let prompt, let new, let positions):
            "the prompt takes \(prompt) positions and \(new) tokens may follow, but the model has \(positions) "
                + "positions; shorten the prompt or lower the maximum length"
        case .token(let id, let size): "token id \(id) is outside of the vocabulary, 0 to \(size - 1)"
        case .prefixWidth(let numbers, let width):
            "a prefix of \(numbers) numbers is no embeddings of this poet, which is \(width) wide; "
                + "take the mapping network that was trained with it"
        case .noPrefix: "an encoder-decoder takes no prefix; write through keywords, or with a GPT2 poet"
        case .emptyPrompt: "there is nothing to continue; give a text, token ids or a picture"
        case .nothingWritten(let candidates):
            "none of \(candidates) candidates became a poem; try another seed, more candidates or a higher temperature"
        case .brokenModel: "the model's scores are not numbers; its weights are damaged, get them again"
        }
    }
}

/// - Throws: `GenerationError.sampling` unless `condition`.
func require(
    _ condition: Bool, _ setting: String, _ value: some CustomStringConvertible, _ range: String
) throws(GenerationError) {
    guard condition else { throw .sampling(setting: setting, value: "\(value)", range: range) }
}
