/// What a SentencePiece file holds, as far as encoding needs it: the message `ModelProto` of sentencepiece's
/// `sentencepiece_model.proto`, read by hand.
struct SentencePieceModel: Sendable {
    enum Kind: Int, Sendable {
        case normal = 1, unknown, control, userDefined, unused, byte
    }

    /// The texts of the pieces.
    var table: TokenTable
    var scores: [Float] = []
    var kinds: [Kind] = []
    var modelType = 1
    var byteFallback = false
    var unknownSurface = " \u{2047} "
    var charactersMap: [UInt8] = []
    var addsDummyPrefix = true
    var removesExtraSpaces = true
    var escapesSpaces = true

    /// - Parameter room: for how many more tokens the table is made
    init(bytes: [UInt8], file: String, room: Int = 0) throws {
        // A piece takes some eighteen bytes of the file.
        table = TokenTable(capacity: min(bytes.count / 16, 1 << 18) + room)
        try Self.readFields(bytes, 0..<bytes.count, file: file) { number, field, _ in
            switch (number, field) {
            case (1, .bytes(let range)): try appendPiece(bytes, range, file: file)
            case (2, .bytes(let range)):
                try Self.readFields(bytes, range, file: file) { number, field, _ in
                    switch (number, field) {
                    case (3, .integer(let value)): modelType = Int(truncatingIfNeeded: value)
                    case (35, .integer(let value)): byteFallback = value != 0
                    case (44, .bytes(let range)): unknownSurface = String(decoding: bytes[range], as: UTF8.self)
                    default: break
                    }
                }
            case (3, .bytes(let range)):
                try Self.readFields(bytes, range, file: file) { number, field, _ in
                    switch (number, field) {
                    case (2, .bytes(let range)): charactersMap = Array(bytes[range])
                    case (3, .integer(let value)): addsDummyPrefix = value != 0
                    case (4, .integer(let value)): removesExtraSpaces = value != 0
                    case (5, .integer(let value)): escapesSpaces = value != 0
                    default: break
                    }
                }
            default: break
            }
        }
        guard table.count > 0 else { throw TokenizerError.badModel(file: file, reason: "it holds no pieces") }
        guard table.isUTF8 else { throw TokenizerError.badModel(file: file, reason: "a piece is not UTF-8") }
    }

    private mutating func appendPiece(_ bytes: [UInt8], _ range: Range<Int>, file: String) throws {
        let index = table.count
        var (text, score, kind) = (0..<0, Float(0), Kind.normal)
        try Self.readFields(bytes, range, file: file) { number, field, _ in
            switch (number, field) {
            case (1, .bytes(let range)): text = range
            case (2, .fixed32(let bits)): score = Float(bitPattern: bits)
            case (3, .integer(let value)):
                guard let known = Kind(rawValue: Int(truncatingIfNeeded: value)) else {
                    throw TokenizerError.badModel(file: file, reason: "piece \(index) is of unknown type \(value)")
                }
                kind = known
            default: break
            }
        }
        guard !text.isEmpty, score.isFinite else {
            throw TokenizerError.badModel(file: file, reason: "piece \(index) has no text or no finite score")
        }
        // Control, unknown and byte pieces are never found in a text; `id(of:)` finds them all the same.
        let id = Int(table.append(bytes, text))
        guard id == index else {
            throw TokenizerError.badModel(file: file, reason: "pieces \(id) and \(index) are the same")
        }
        scores.append(score)
        kinds.append(kind)
    }

    enum Field {
        case integer(UInt64)
        case bytes(Range<Int>)
        case fixed32(UInt32)
        case other
    }

    /// Walks through the fields of one protocol-buffers message: number, value, and where the field lies with its key.
    static func readFields(
        _ bytes: [UInt8], _ range: Range<Int>, file: String, _ body: (Int, Field, Range<Int>) throws -> Void
    ) throws {
        var position = range.lowerBound
        func broken(_ reason: String) -> TokenizerError {
            .badModel(file: file, reason: "\(reason) at byte \(position)")
        }
        func varint() throws -> UInt64 {
            var value: UInt64 = 0
            for shift in stride(from: UInt64(0), to: 64, by: 7) {
                guard position < range.upperBound else { throw broken("the file ends early") }
                let byte = bytes[position]
                position += 1
                value |= UInt64(byte & 0x7F) << shift
                if byte < 0x80 { return value }
            }
            throw broken("a number is too long")
        }
        func take(_ length: UInt64) throws -> Range<Int> {
            guard length <= UInt64(range.upperBound - position) else { throw broken("a field reaches past the end") }
            defer { position += Int(length) }
            return position..<(position + Int(length))
        }
        while position < range.upperBound {
            let start = position
            let key = try varint()
            let number = Int(truncatingIfNeeded: key >> 3)
            let field: Field
            switch key & 7 {
            case 0: field = .integer(try varint())
            case 1:
                _ = try take(8)
                field = .other
            case 2: field = .bytes(try take(try varint()))
            case 5: field = .fixed32(try take(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[$1]) })
            default: throw broken("not a protocol-buffers message")
            }
            try body(number, field, start..<position)
        }
    }
}
