public import Foundation

extension Tokenizer {
    /// What an encoder reads, at most so many tokens.
    public func source(of text: String, maximumLength: Int) -> [Int32] {
        if let bert = self as? BertTokenizer { return bert.encode(text, maximumLength: maximumLength) }
        return Array(source(of: text).prefix(maximumLength))
    }
}

/// SentencePiece as sentence encoders use it: a piece before the text and one behind it.
private struct SentenceTokenizer: Tokenizer {
    let pieces: SentencePieceTokenizer
    let begin: Int32
    var vocabularySize: Int { pieces.vocabularySize }
    func source(of text: String) -> [Int32] { [begin] + pieces.encode(text) }
    func prompt(of text: String) -> [Int32] { source(of: text) }
    func text(of ids: [Int32]) -> String { pieces.decode(ids) }
}

/// The tokenizer of a sentence encoder, and its file.
///
/// - Throws: `TokenizerError`.
public func sentenceTokenizer(in folder: URL) throws -> (any Tokenizer, URL) {
    let file = folder.appending(path: "sp.model")
    let pieces = try SentencePieceTokenizer(modelAt: file, extraIDs: 0)
    guard let begin = pieces.id(of: "<s>") else {
        throw TokenizerError.badModel(file: file.path, reason: "it has no <s>, which begins a sentence")
    }
    return (SentenceTokenizer(pieces: pieces, begin: begin), file)
}
