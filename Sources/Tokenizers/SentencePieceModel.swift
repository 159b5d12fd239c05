/// What a `spiece.model` file holds, as far as encoding needs it: the message `ModelProto` of sentencepiece's
/// `sentencepiece_model.proto`, read by hand.
struct SentencePieceModel: Sendable {
    enum Kind: Int, Sendable {
        case normal = 1, unknown, control, userDefined, unused, byte
    }

    var pieces: [(text: [UInt8], score: Float, kind: Kind)] = []
    var modelType = 1
    var byteFallback = false
    var unknownSurface = " \u{2047} "
    var charactersMap: [UInt8] = []
    var addsDummyPrefix = true
    var removesExtraSpaces = true
    var escapesSpaces = true

    init(bytes: [UInt8], file: String) throws {
        try Self.readFields(bytes, 0..<bytes.count, file: file) { number, field in
            switch (number, field) {
            case (1, .bytes(let range)):
                pieces.append(try Self.piece(bytes, range, index: pieces.count, file: file))
            case (2, .bytes(let range)):
                try Self.readFields(bytes, range, file: file) { number, field in
                    switch (number, field) {
                    case (3, .integer(let value)): modelType = Int(truncatingIfNeeded: value)
                    case (35, .integer(let value)): byteFallback = value != 0
                    case (44, .bytes(let range)): unknownSurface = String(decoding: bytes[range], as: UTF8.self)
                    default: break
                    }
                }
            case (3, .bytes(let range)):
                try Self.readFields(bytes, range, file: file) { number, field in
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
    }

    private static func piece(
        _ bytes: [UInt8], _ range: Range<Int>, index: Int, file: String
    ) throws -> (text: [UInt8], score: Float, kind: Kind) {
        var piece: (text: [UInt8], score: Float, kind: Kind) = ([], 0, .normal)
        try readFields(bytes, range, file: file) { number, field in
            switch (number, field) {
            case (1, .bytes(let range)): piece.text = Array(bytes[range])
            case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
            case (3, .integer(let value)):
                guard let kind = Kind(rawValue: Int(truncatingIfNeeded: value)) else {
                    throw TokenizerError.badModel(file: file, reason: "piece \(index) is of unknown type \(value)")
                }
                piece.kind = kind
            default: break
            }
        }
        guard String(validating: piece.text, as: UTF8.self) != nil, !piece.text.isEmpty, piece.score.isFinite else {
            throw TokenizerError.badModel(file: file, reason: "piece \(index) has no text or no finite score")
        }
        return piece
    }

    private enum Field {
        case integer(UInt64)
        case bytes(Range<Int>)
        case fixed32(UInt32)
        case other
    }

    /// Walks through the fields of one protocol-buffers message.
    private static func readFields(
        _ bytes: [UInt8], _ range: Range<Int>, file: String, _ body: (Int, Field) throws -> Void
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
            let key = try varint()
            let number = Int(truncatingIfNeeded: key >> 3)
            switch key & 7 {
            case 0: try body(number, .integer(try varint()))
            case 1:
                _ = try take(8)
                try body(number, .other)
            case 2: try body(number, .bytes(try take(try varint())))
            case 5:
                let bits = try take(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[$1]) }
                try body(number, .fixed32(bits))
            default: throw broken("not a protocol-buffers message")
            }
        }
    }
}
