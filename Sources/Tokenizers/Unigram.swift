/// The unigram model of SentencePiece (Kudo 2018, arXiv:1804.10959): its pieces, its normalisation, and the best way to
/// cut a text, which one pass of Viterbi over the bytes of the text finds.
struct Unigram: Sendable {
    /// The pieces, and behind them what a tokenizer has added.
    private(set) var table: TokenTable
    let pieceCount: Int
    let unknownID: Int32
    let unknownSurface: String
    let kinds: [SentencePieceModel.Kind]
    /// The ids of the 256 bytes in models that write unknown characters in bytes.
    let byteIDs: [Int32]?
    let addsDummyPrefix: Bool
    let removesExtraSpaces: Bool
    private let scores: [Float]
    private let maximumScore: Float
    private let unknownScore: Float
    private let map: CharactersMap
    private let userDefined: [[UInt8]]
    private let escapesSpaces: Bool

    static let space: [UInt8] = [0xE2, 0x96, 0x81]  // ▁, U+2581

    /// - Parameter room: how many tokens will be added
    init(model bytes: [UInt8], room: Int = 0, file: String) throws {
        let model = try SentencePieceModel(bytes: bytes, file: file, room: room)
        guard model.modelType == 1 else {
            let kinds = [2: "BPE", 3: "word", 4: "character"]
            throw TokenizerError.unsupportedModel(file: file, kind: kinds[model.modelType] ?? "\(model.modelType)")
        }
        guard let unknown = model.kinds.firstIndex(of: .unknown) else {
            throw TokenizerError.badModel(file: file, reason: "it has no unknown token")
        }
        unknownID = Int32(unknown)
        table = model.table
        pieceCount = model.table.count
        kinds = model.kinds
        scores = model.scores
        (maximumScore, unknownScore) = Self.extremes(model.scores, model.kinds)
        byteIDs = model.byteFallback ? try Self.byteIDs(table, kinds: kinds, file: file) : nil
        unknownSurface = model.unknownSurface
        map = try CharactersMap(model.charactersMap, file: file)
        userDefined = kinds.indices.filter { model.kinds[$0] == .userDefined }
            .map { Array(model.table.bytes[model.table.range(of: $0)]) }
            .sorted { $0.count > $1.count }
        addsDummyPrefix = model.addsDummyPrefix
        removesExtraSpaces = model.removesExtraSpaces
        escapesSpaces = model.escapesSpaces
    }

    /// The highest score of a piece, and that of an unknown character (`kUnkPenalty` of unigram_model.cc).
    private static func extremes(
        _ scores: [Float], _ kinds: [SentencePieceModel.Kind]
    ) -> (maximum: Float, unknown: Float) {
        var (least, most): (Float?, Float?) = (nil, nil)
        for (score, kind) in zip(scores, kinds) where kind == .normal {
            least = min(least ?? score, score)
            most = max(most ?? score, score)
        }
        return (most ?? 0, (least ?? 0) - 10)
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

    /// The id of a control piece, such as `</s>`.
    func control(_ name: String) -> Int32? {
        table.id(of: name).flatMap { Int($0) < pieceCount && kinds[Int($0)] == .control ? $0 : nil }
    }

    /// Appends a token that texts are never cut into; nil where a piece is the same.
    mutating func append(_ token: String) -> Int32? {
        let (bytes, next) = (Array(token.utf8), Int32(table.count))
        return table.append(bytes, 0..<bytes.count) == next ? next : nil
    }

    /// The pieces of a text.
    ///
    /// - Parameter joinsUnknown: a row of unknown characters is one unknown piece, as `sentencepiece` gives it
    func ids(of text: String, joinsUnknown: Bool = true) -> [Int32] {
        segment(normalized(Array(text.utf8)), joinsUnknown: joinsUnknown)
    }

    /// `Normalizer::Normalize`: the map, one space for many, none at the ends, a space in front, spaces as ▁.
    func normalized(_ source: [UInt8]) -> [UInt8] {
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
    private func segment(_ text: [UInt8], joinsUnknown: Bool) -> [Int32] {
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
            } else if id != unknownID || !joinsUnknown || ids.last != unknownID {
                ids.append(id)
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
