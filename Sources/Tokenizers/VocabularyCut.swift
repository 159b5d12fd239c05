/// Characters that a vocabulary can be cut to. Digits, punctuation, symbols and spaces stay in every cut.
public enum PieceScript: String, CaseIterable, Sendable {
    /// Chinese characters, Bopomofo.
    case han
    /// The letters A to Z that stand alone, as in T恤: no piece with two of them side by side.
    case letters
    /// The letters A to Z, in words of any language.
    case latin
    /// Other Latin letters, such as é and ß, and the marks that are set over letters.
    case accented
    /// Hiragana and Katakana.
    case kana

    fileprivate func contains(_ scalar: Unicode.Scalar) -> Bool {
        switch self {
        case .han:
            scalar.properties.isIdeographic || [0x3005, 0x303B].contains(scalar.value)
                || (0x3105...0x312F).contains(scalar.value) || (0x31A0...0x31BF).contains(scalar.value)
        case .letters, .latin: scalar.isASCII && scalar.properties.isAlphabetic
        case .accented:
            switch scalar.value {
            case 0xAA, 0xBA, 0xC0...0x36F, 0x1E00...0x1EFF, 0x2C60...0x2C7F, 0xA720...0xA7FF, 0xAB30...0xAB6F: true
            default: false
            }
        case .kana: (0x3040...0x30FF).contains(scalar.value) || (0x31F0...0x31FF).contains(scalar.value)
        }
    }

    /// What stays in every cut. The two selectors say whether a symbol is shown as text or as a picture.
    fileprivate static func isCommon(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return !scalar.properties.isAlphabetic }
        if scalar.value == 0xFE0E || scalar.value == 0xFE0F { return true }
        switch scalar.properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation, .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol,
            .spaceSeparator, .lineSeparator, .paragraphSeparator, .control, .format:
            return true
        default: return false
        }
    }
}

/// A SentencePiece model with fewer pieces, for texts in fewer scripts.
///
/// A text whose characters all stay is cut into the same pieces as before: every piece that is made of such characters
/// stays with its score, and so does what unknown characters cost. (Where only single letters stay, a text whose
/// letters stand alone.) Another character becomes unknown, and what stands beside it may be cut otherwise than before.
public struct VocabularyCut: Sendable {
    /// The former ids of the pieces that stay, by their new ids: the rows to keep of a table of embeddings.
    public let ids: [Int32]
    /// The file of the smaller model, in the format of the former.
    public let model: [UInt8]

    /// Cuts the model that a file holds.
    ///
    /// - Parameters:
    ///   - scripts: what the texts are written in, besides what stays in every cut
    ///   - file: what errors call the model
    /// - Throws: `TokenizerError` for a model that is damaged or no unigram model.
    public init(of bytes: [UInt8], to scripts: Set<PieceScript>, file: String = UniversalSentenceTokenizer.fileName)
        throws
    {
        let model = try SentencePieceModel(bytes: bytes, file: file)
        let normal = model.kinds.indices.filter { model.kinds[$0] == .normal }
        // What unknown characters and the user's own pieces cost hangs on the ends of the scale.
        let ends = [
            normal.min { model.scores[$0] < model.scores[$1] }, normal.max { model.scores[$0] < model.scores[$1] },
        ]
        var stays = Array(repeating: true, count: model.table.count)
        for id in stays.indices where [.normal, .userDefined].contains(model.kinds[id]) && !ends.contains(id) {
            let piece = String(decoding: model.table.bytes[model.table.range(of: id)], as: UTF8.self)
            stays[id] = Self.keeps(piece, scripts)
        }
        ids = stays.indices.filter { stays[$0] }.map(Int32.init)
        self.model = try Self.filtered(bytes, stays, count: ids.count, file: file)
        _ = try Unigram(model: self.model, file: file)
    }

    /// Whether a piece stays, and whether a text is cut as before once its characters are normalised.
    static func keeps(_ text: String, _ scripts: Set<PieceScript>) -> Bool {
        let scalars = text.unicodeScalars
        func isLetter(_ scalar: Unicode.Scalar) -> Bool { PieceScript.letters.contains(scalar) }
        return scalars.allSatisfy { scalar in
            PieceScript.isCommon(scalar) || scripts.contains { $0.contains(scalar) }
        } && (scripts.contains(.latin) || !zip(scalars, scalars.dropFirst()).contains { isLetter($0) && isLetter($1) })
    }

    /// The message with those of its pieces; every other field stays as it was, but for the number of pieces.
    private static func filtered(_ bytes: [UInt8], _ stays: [Bool], count: Int, file: String) throws -> [UInt8] {
        var result: [UInt8] = []
        var id = 0
        try SentencePieceModel.readFields(bytes, bytes.indices, file: file) { number, field, whole in
            switch (number, field) {
            case (1, .bytes):
                if stays[id] { result += bytes[whole] }
                id += 1
            case (2, .bytes(let range)):
                var specification: [UInt8] = []
                try SentencePieceModel.readFields(bytes, range, file: file) { number, field, whole in
                    guard case (4, .integer) = (number, field) else { return specification += bytes[whole] }
                    specification += [4 << 3] + varint(count)
                }
                result += [2 << 3 | 2] + varint(specification.count) + specification
            default: result += bytes[whole]
            }
        }
        return result
    }

    private static func varint(_ value: Int) -> [UInt8] {
        var (value, bytes): (Int, [UInt8]) = (value, [])
        while value >= 0x80 {
            bytes.append(UInt8(value & 0x7F) | 0x80)
            value >>= 7
        }
        return bytes + [UInt8(value)]
    }
}
