public import Foundation

/// What turns texts into the token ids of a model and back.
public protocol Tokenizer: Sendable {
    /// The number of tokens.
    var vocabularySize: Int { get }
    /// What an encoder reads: the text with the special tokens around it.
    func source(of text: String) -> [Int32]
    /// What a decoder continues: the text behind what begins every text.
    func prompt(of text: String) -> [Int32]
    /// The text of ids, without special tokens.
    func text(of ids: [Int32]) -> String
}

extension BertTokenizer: Tokenizer {
    /// `[CLS]`, the text, `[SEP]`.
    public func source(of text: String) -> [Int32] { encode(text) }
    /// `[CLS]` and the text.
    public func prompt(of text: String) -> [Int32] { [classificationID] + encode(text, addingSpecialTokens: false) }
    /// The text of ids, with the spacing of Chinese.
    public func text(of ids: [Int32]) -> String { decode(ids) }
}

extension SentencePieceTokenizer: Tokenizer {
    /// The text and the token that ends it.
    public func source(of text: String) -> [Int32] { encode(text) }
    /// The text alone.
    public func prompt(of text: String) -> [Int32] { encode(text, addingSpecialTokens: false) }
    /// The text of ids.
    public func text(of ids: [Int32]) -> String { decode(ids) }
}

/// The tokenizer beside a model's weights, by `vocab.txt` (WordPiece) or `spiece.model` (SentencePiece); nil where
/// there is neither.
///
/// - Throws: `TokenizerError` for a file that is damaged.
public func tokenizer(in folder: URL) throws -> (any Tokenizer)? {
    func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: folder.appending(path: name).path) }
    if has("vocab.txt") { return try BertTokenizer(folder: folder) }
    return has("spiece.model") ? try SentencePieceTokenizer(modelAt: folder.appending(path: "spiece.model")) : nil
}
