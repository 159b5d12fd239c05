public import Foundation

/// SentencePiece unigram as T5 uses it, read from `spiece.model`; ids equal those of `sentencepiece` and of the slow
/// `T5Tokenizer` (legacy) of Hugging Face transformers 4.46.
///
/// Kudo 2018 (arXiv:1804.10959); the best segmentation is found by one pass of Viterbi over the bytes of the text.
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

    private let table: TokenTable
    private let pieceCount: Int
    private let kinds: [SentencePieceModel.Kind]
    private let scores: [Float]
    private let maximumScore: Float
    private let unknownScore: Float
    private let byteIDs: [Int32]?
    private let unknownSurface: String
    private let map: CharactersMap
    private let userDefined: [[UInt8]]
    private let added: AddedTokens
    private let addsDummyPrefix: Bool
    private let removesExtraSpaces: Bool
    private let escapesSpaces: Bool

    private static let space: [UInt8] = [0xE2, 0x96, 0x81]  // ▁, U+2581

    /// Reads `spiece.model`. `extraIDs` sentinels get the ids after the pieces, as in `T5Tokenizer`.
    ///
    /// Throws `TokenizerError` for a file that cannot be read, is damaged, or is not a unigram model.
    public init(modelAt url: URL, extraIDs: Int = 100) throws {
        try self.init(model: try readBytes(of: url), extraIDs: extraIDs, file: url.lastPathComponent)
    }

    /// Takes the bytes of a `spiece.model`. Throws as the reading of a file does.
    public init(model bytes: [UInt8], extraIDs: Int = 100, file: String = "spiece.model") throws {
        let model = try SentencePieceModel(bytes: bytes, file: file)
        guard !model.pieces.isEmpty else { throw TokenizerError.badModel(file: file, reason: "it holds no pieces") }
        guard model.modelType == 1 else {
            let kinds = [2: "BPE", 3: "word", 4: "character"]
            throw TokenizerError.unsupportedModel(file: file, kind: kinds[model.modelType] ?? "\(model.modelType)")
        }
        guard let unknown = model.pieces.firstIndex(where: { $0.kind == .unknown }) else {
            throw TokenizerError.badModel(file: file, reason: "it has no unknown token")
        }
        unknownID = Int32(unknown)
        func control(_ name: String) -> Int32? {
            model.pieces.firstIndex { $0.kind == .control && $0.text.elementsEqual(name.utf8) }.map(Int32.init)
        }
        endID = control("</s>")
        paddingID = control("<pad>") ?? 0

        // Control, unknown and byte pieces are never found in a text; `id(of:)` finds them all the same.
        var table = TokenTable(capacity: model.pieces.count + extraIDs)
        for (index, piece) in model.pieces.enumerated() {
            let id = table.append(piece.text, 0..<piece.text.count)
            guard Int(id) == index else {
                throw TokenizerError.badModel(file: file, reason: "pieces \(id) and \(index) are the same")
            }
        }
        pieceCount = model.pieces.count
        kinds = model.pieces.map(\.kind)
        scores = model.pieces.map(\.score)
        let normal = model.pieces.filter { $0.kind == .normal }.map(\.score)
        maximumScore = normal.max() ?? 0
        unknownScore = (normal.min() ?? 0) - 10  // kUnkPenalty of unigram_model.cc
        byteIDs = model.byteFallback ? try Self.byteIDs(table, kinds: kinds, file: file) : nil
        unknownSurface = model.unknownSurface
        map = try CharactersMap(model.charactersMap, file: file)
        userDefined = model.pieces.filter { $0.kind == .userDefined }.map(\.text)
            .sorted { $0.count > $1.count }
        addsDummyPrefix = model.addsDummyPrefix
        removesExtraSpaces = model.removesExtraSpaces
        escapesSpaces = model.escapesSpaces

        extraIDCount = max(0, extraIDs)
        var special: [(String, Int32)] = [(table.token(unknownID) ?? "", unknownID)]
        if let endID { special.append(("</s>", endID)) }
        if let padding = control("<pad>") { special.append(("<pad>", padding)) }
        var extra: Set<Int32> = []
        for index in (0..<extraIDCount).reversed() {
            let name = "<extra_id_\(index)>"
            let bytes = Array(name.utf8)
            let next = Int32(table.count)
            let id = table.append(bytes, 0..<bytes.count)
            guard id == next else {
                throw TokenizerError.badModel(
                    file: file, reason: "it holds \(name) itself; load it without extra ids")
            }
            special.append((name, id))
            extra.insert(id)
        }
        specialIDs = Set(special.map(\.1))
        added = AddedTokens(special, stripping: extra)
        self.table = table
    }

    private static func byteIDs(
        _ table: TokenTable, kinds: [SentencePieceModel.Kind], file: String
    ) throws -> [Int32] {
        try (0..<256).map { byte in
            let digits = String(byte, radix: 16, uppercase: true)
            let name = "<0x\(digits.count < 2 ? "0" : "")\(digits)>"
            guard let id = table.id(of: name), kinds[Int(id)] == .byte else {
                throw TokenizerError.badModel(file: file, reason: "it falls back to bytes but lacks \(name)")
            }
            return id
        }
    }

    /// How many ids there are, sentinels included: the embedding of a model must have at least as many rows.
    public var vocabularySize: Int { table.count }

    /// The id of exactly this piece or sentinel.
    public func id(of token: String) -> Int32? { table.id(of: token) }

    /// The piece or sentinel of an id, nil outside of the vocabulary.
    public func token(_ id: Int32) -> String? { table.token(id) }

    /// The pieces of a text; what the model cannot write is `<unk>`.
    public func tokenize(_ text: String) -> [String] { ids(of: text).compactMap(table.token) }

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
        for id in ids where id >= 0 && Int(id) < table.count {
            if specialIDs.contains(id) {
                if skippingSpecialTokens { continue }
                if !previousIsSpecial { text += " " }
                text += decodePieces(run) + (table.token(id) ?? "")
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
            switch kinds[Int(id)] {
            case .control: continue
            case .unknown: bytes += Array(unknownSurface.utf8)
            case .byte: bytes.append(UInt8((byteIDs ?? []).firstIndex(of: id) ?? 0x3F))
            case .normal, .userDefined, .unused:
                var piece = Array(table.bytes[table.starts[Int(id)]..<table.starts[Int(id) + 1]])[...]
                if isAtStart, addsDummyPrefix || removesExtraSpaces, piece.starts(with: Self.space) {
                    piece = piece.dropFirst(Self.space.count)
                }
                bytes += piece
            }
            isAtStart = false
        }
        return String(decoding: bytes, as: UTF8.self).replacingScalars("\u{2581}", with: " ")
    }

    // MARK: - From text to ids

    private func ids(of text: String) -> [Int32] {
        var ids: [Int32] = []
        for piece in added.split(text) {
            switch piece {
            case .token(let id): ids.append(id)
            case .text(let part): ids += segment(normalized(Array(part.utf8)))
            }
        }
        return ids
    }

    /// `Normalizer::Normalize`: the map, one space for many, none at the ends, a space in front, spaces as ▁.
    private func normalized(_ source: [UInt8]) -> [UInt8] {
        var position = 0
        if removesExtraSpaces {
            while position < source.count {
                let (text, length) = normalizedPrefix(source, at: position)
                guard text.elementsEqual([0x20]) else { break }
                position += length
            }
        }
        guard position < source.count else { return [] }
        let space = escapesSpaces ? Self.space : [0x20]
        var result: [UInt8] = addsDummyPrefix ? space : []
        var previousIsSpace = removesExtraSpaces
        while position < source.count {
            var (text, length) = normalizedPrefix(source, at: position)
            while previousIsSpace, text.first == 0x20 { text = text.dropFirst() }
            for byte in text {
                if byte == 0x20 { result += space } else { result.append(byte) }
            }
            if let last = text.last { previousIsSpace = last == 0x20 }
            position += length
            if !removesExtraSpaces { previousIsSpace = false }
        }
        if removesExtraSpaces {
            while result.count >= space.count, result.suffix(space.count).elementsEqual(space) {
                result.removeLast(space.count)
            }
        }
        return result
    }

    private func normalizedPrefix(_ source: [UInt8], at start: Int) -> (text: ArraySlice<UInt8>, length: Int) {
        for symbol in userDefined where source[start...].starts(with: symbol) {
            return (source[start..<(start + symbol.count)], symbol.count)
        }
        if let match = map.longestMatch(source, at: start) { return (match.replacement, match.length) }
        let length = min(Self.length(of: source[start]), source.count - start)
        return (source[start..<(start + length)], length)
    }

    /// Viterbi over byte positions (`EncodeOptimized` of unigram_model.cc), float for float, so that ties fall the same
    /// way.
    private func segment(_ text: [UInt8]) -> [Int32] {
        guard !text.isEmpty else { return [] }
        var best = Array(repeating: (score: Float(0), start: -1, id: Int32(-1)), count: text.count + 1)
        var start = 0
        while start < text.count {
            let scoreHere = best[start].score
            let first = min(Self.length(of: text[start]), text.count - start)
            var hasSingle = false
            var hash = TokenTable.emptyHash
            var end = start
            while end < text.count, end - start < table.longest {
                let length = min(Self.length(of: text[end]), text.count - end)
                for index in end..<(end + length) { hash = TokenTable.hash(hash, adding: text[index]) }
                end += length
                guard let id = table.id(in: text, start..<end, hash: hash), Int(id) < pieceCount else { continue }
                let score: Float
                switch kinds[Int(id)] {
                case .normal: score = scores[Int(id)]
                case .userDefined: score = Float(Double(Float(end - start) * maximumScore) - 0.1)
                case .unused, .unknown, .control, .byte: continue
                }
                let candidate = score + scoreHere
                if best[end].start < 0 || candidate > best[end].score { best[end] = (candidate, start, id) }
                if end - start == first { hasSingle = true }
            }
            if !hasSingle {
                let candidate = unknownScore + scoreHere
                if best[start + first].start < 0 || candidate > best[start + first].score {
                    best[start + first] = (candidate, start, unknownID)
                }
            }
            start += first
        }
        var path: [(id: Int32, range: Range<Int>)] = []
        var end = text.count
        while end > 0 {
            path.append((best[end].id, best[end].start..<end))
            end = best[end].start
        }
        var ids: [Int32] = []
        for (id, range) in path.reversed() {
            if id == unknownID, let byteIDs {
                ids += text[range].map { byteIDs[Int($0)] }
            } else if id != unknownID || ids.last != unknownID {
                ids.append(id)  // a row of unknown characters is one unknown token
            }
        }
        return ids
    }

    /// The length of a character from its first byte.
    private static func length(of byte: UInt8) -> Int {
        switch byte {
        case 0xF0...: 4
        case 0xE0...: 3
        case 0xC0...: 2
        default: 1
        }
    }
}
