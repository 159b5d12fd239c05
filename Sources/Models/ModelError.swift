import TihuaFiles

/// What is wrong with a model's folder or configuration.
public enum ModelError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `config.json` is missing, unreadable, or lacks a value.
    case configuration(path: String, reason: String)
    /// A configuration that is well-formed and asks for what Tihua does not do.
    case unsupported(model: String, setting: String, value: String, known: String)
    case unknownArchitecture(path: String, found: String, known: [String])
    /// The tokenizer's vocabulary and the rows of the embedding differ.
    case vocabulary(folder: String, tokens: Int, rows: Int)
    /// A model whose numbers are not finite.
    case notFinite(path: String)
    /// The checkpoint does not fit the model that `config.json` describes.
    case checkpoint(path: String, reason: String)

    /// One line: what happened, where, what to do.
    public var description: String { printable(message) }

    private var message: String {
        switch self {
        case .configuration(let path, let reason): "\(path): \(reason)"
        case .unsupported(let model, let setting, let value, let known):
            "\(model): \(setting) is \(value), which is not supported; known: \(known)"
        case .unknownArchitecture(let path, let found, let known):
            "\(path): architecture \(found) is unknown; known: \(known.joined(separator: ", "))"
        case .vocabulary(let folder, let tokens, let rows):
            "\(folder): the vocabulary has \(tokens) tokens but the model has \(rows) embedding rows;"
                + " take vocabulary and weights from the same model"
        case .checkpoint(let path, let reason): "\(path): \(reason)"
        case .notFinite(let path): "\(path): the model gives numbers that are not finite; its weights are damaged"
        }
    }
}
