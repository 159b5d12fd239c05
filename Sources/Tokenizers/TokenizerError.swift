import TihuaFiles

/// What can be wrong with a vocabulary, a SentencePiece model or the conversion of characters.
public enum TokenizerError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file cannot be read.
    case unreadable(file: String, reason: String)
    /// The vocabulary has no tokens.
    case emptyVocabulary(file: String)
    /// A line is not UTF-8; lines count from 1.
    case notUTF8(file: String, line: Int)
    /// A token without which no text can be encoded is not in the vocabulary.
    case missingSpecialToken(String, file: String)
    /// A file beside the vocabulary (`tokenizer_config.json`, …) does not hold what it should.
    case badConfiguration(file: String, reason: String)
    /// The SentencePiece file is damaged or is none.
    case badModel(file: String, reason: String)
    /// A kind of SentencePiece model that this package does not run (only unigram).
    case unsupportedModel(file: String, kind: String)
    /// OpenCC could not open its configuration or convert a text.
    case conversion(configuration: String, reason: String)

    /// One line: what happened, where, what to do.
    public var description: String { printable(message) }

    private var message: String {
        switch self {
        case .unreadable(let file, let reason):
            "\(file): cannot be read (\(reason)); check the path and its permissions"
        case .emptyVocabulary(let file):
            "\(file): the vocabulary is empty; it must hold one token per line"
        case .notUTF8(let file, let line):
            "\(file), line \(line): not UTF-8; save the vocabulary as UTF-8 text"
        case .missingSpecialToken(let token, let file):
            "\(file): the token '\(token)' is missing; add it, or use the vocabulary that belongs to the weights"
        case .badConfiguration(let file, let reason):
            "\(file): \(reason); download the tokenizer files again"
        case .badModel(let file, let reason):
            "\(file): not a usable SentencePiece model (\(reason)); download it again"
        case .unsupportedModel(let file, let kind):
            "\(file): a SentencePiece model of kind \(kind); only unigram models (T5) are supported"
        case .conversion(let configuration, let reason):
            "OpenCC, configuration \(configuration): \(reason); install the packages libopencc1.1 and libopencc-data"
        }
    }
}
