public import Foundation

/// SentencePiece unigram as T5 uses it, read from `spiece.model`; ids equal those of `sentencepiece` and of the slow
/// `T5Tokenizer` (legacy) of Hugging Face transformers 4.46.
public struct SentencePieceTokenizer: Sendable {
    /// The id of `<unk>`.
    public let unknownID: Int32
    /// The id of `</s>`, which `encode` appends; nil where the model has none.
    public let endID: Int32?
    /// The id of `<pad>`: 0 in T5, and 0 where the model has none.
    public let paddingID: Int32
    /// The number of `<extra_id_N>` tokens. `<extra_id_0>` has the highest id.
    public let extraIDCount: Int
    /// The ids that `decode` leaves out on request.
    public let specialIDs: Set<Int32>

    private let model: Unigram
    private let added: AddedTokens

    /// Reads `spiece.model`. `extraIDs` sentinels get the ids after the pieces, as in `T5Tokenizer`.
    ///
    /// Throws `TokenizerError` for a file that cannot be read, is damaged, or is not a unigram model.
    public init(modelAt url: URL, extraIDs: Int = 100) throws {
        try self.init(model: try readBytes(of: url), extraIDs: extraIDs, file: url.lastPathComponent)
    }

    /// Takes the bytes of a `spiece.model`. Throws as the reading of a file does.
    public init(model bytes: [UInt8], extraIDs: Int = 100, file: String = "spiece.model") throws {
        var model = try Unigram(model: bytes, room: max(0, extraIDs), file: file)
        unknownID = model.unknownID
        endID = model.control("</s>")
        paddingID = model.control("<pad>") ?? 0
        extraIDCount = max(0, extraIDs)
        var special: [(String, Int32)] = [(model.table.token(unknownID) ?? "", unknownID)]
        if let endID { special.append(("</s>", endID)) }
        if let padding = model.control("<pad>") { special.append(("<pad>", padding)) }
        var extra: Set<Int32> = []
        for index in (0..<extraIDCount).reversed() {
            let name = "<extra_id_\(index)>"
            guard let id = model.append(name) else {
                throw TokenizerError.badModel(
                    file: file, reason: "it holds \(name) itself; load it without extra ids")
            }
            special.append((name, id))
            extra.insert(id)
        }
        specialIDs = Set(special.map(\.1))
        added = AddedTokens(special, stripping: extra)
        self.model = model
    }

    /// How many ids there are, sentinels included: the embedding of a model must have at least as many rows.
    public var vocabularySize: Int { model.table.count }

    /// The id of exactly this piece or sentinel.
    public func id(of token: String) -> Int32? { model.table.id(of: token) }

    /// The piece or sentinel of an id, nil outside of the vocabulary.
    public func token(_ id: Int32) -> String? { model.table.token(id) }

    /// The pieces of a text; what the model cannot write is `<unk>`.
    public func tokenize(_ text: String) -> [String] { ids(of: text).compactMap(model.table.token) }

    /// The ids of a text, with `</s>` after it on request.
    ///
    /// `maximumLength` counts the `</s>`; what is too long loses its end, never its `</s>`.
    public func encode(
        _ text: String, maximumLength: Int? = nil, addingSpecialTokens: Bool = true
    ) -> [Int32] {
        let end = addingSpecialTokens ? endID.map { [$0] } ?? [] : []
        var ids = ids(of: text)
        if let maximumLength {
            let room = max(0, maximumLength - end.count)
            if ids.count > room { ids.removeLast(ids.count - room) }
        }
        return ids.last == end.first ? ids : ids + end  // T5Tokenizer adds no second </s>
    }

    /// Encodes texts and fills the shorter ones with `<pad>` on the right, up to the longest or up to `length`.
    public func encode(
        batch texts: [String], maximumLength: Int? = nil, addingSpecialTokens: Bool = true, paddedTo length: Int? = nil
    ) -> TokenBatch {
        TokenBatch(
            texts.map { encode($0, maximumLength: maximumLength, addingSpecialTokens: addingSpecialTokens) },
            padding: paddingID, length: length)
    }

    /// The text of ids; ids outside of the vocabulary are left out. Special tokens that are kept stand where they
    /// stood, with a space before the first of a row of them, as in `T5Tokenizer`.
    public func decode(_ ids: [Int32], skippingSpecialTokens: Bool = true) -> String {
        var text = ""
        var run: [Int32] = []
        var previousIsSpecial = false
        for id in ids where id >= 0 && Int(id) < model.table.count {
            if specialIDs.contains(id) {
                if skippingSpecialTokens { continue }
                if !previousIsSpecial { text += " " }
                text += decodePieces(run) + (model.table.token(id) ?? "")
                run = []
                previousIsSpecial = true
            } else {
                run.append(id)
                previousIsSpecial = false
            }
        }
        return (text + decodePieces(run)).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private func decodePieces(_ ids: [Int32]) -> String {
        var bytes: [UInt8] = []
        var isAtStart = true
        for id in ids {
            switch model.kinds[Int(id)] {
            case .control: continue
            case .unknown: bytes += Array(model.unknownSurface.utf8)
            case .byte: bytes.append(UInt8((model.byteIDs ?? []).firstIndex(of: id) ?? 0x3F))
            case .normal, .userDefined, .unused:
                var piece = model.table.bytes[model.table.range(of: Int(id))]
                if isAtStart, model.addsDummyPrefix || model.removesExtraSpaces, piece.starts(with: Unigram.space) {
                    piece = piece.dropFirst(Unigram.space.count)
                }
                bytes += piece
            }
            isAtStart = false
        }
        return String(decoding: bytes, as: UTF8.self).replacingScalars("\u{2581}", with: " ")
    }

    private func ids(of text: String) -> [Int32] {
        added.split(text).flatMap { piece in
            switch piece {
            case .token(let id): [id]
            case .text(let part): model.ids(of: part)
            }
        }
    }
}
