/// A strict reader of JSON in memory, value by value, without building a tree.
///
/// Foundation's decoder keeps the last of two equal keys silently and is slow on thousands of small objects; headers of
/// weight files need the opposite of both.
struct JSONScanner {
    private let bytes: UnsafeRawBufferPointer
    private let path: String
    private var position = 0
    /// Values read so far: a header of many tiny values takes seconds where one of the same length takes none.
    private var valueCount = 0
    private static let maximumValues = 2_000_000

    init(_ bytes: UnsafeRawBufferPointer, path: String) {
        self.bytes = bytes
        self.path = path
    }

    private func fail(_ problem: String) -> WeightFileError {
        .malformed(path: path, problem: "JSON: \(problem) at byte \(position)")
    }

    private mutating func skipSpace() {
        while position < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[position]) { position += 1 }
    }

    /// The next byte that is not white space, without taking it; nil at the end.
    private mutating func peek() -> UInt8? {
        // A fast test first: headers are written without white space.
        if position < bytes.count, bytes[position] <= 0x20 { skipSpace() }
        return position < bytes.count ? bytes[position] : nil
    }

    private mutating func expect(_ character: Character) throws(WeightFileError) {
        guard peek() == character.asciiValue else { throw fail("expected '\(character)'") }
        position += 1
    }

    private mutating func take(_ character: Character) -> Bool {
        guard peek() == character.asciiValue else { return false }
        position += 1
        return true
    }

    /// Only white space may follow.
    mutating func expectEnd() throws(WeightFileError) {
        guard peek() == nil else { throw fail("something follows the end") }
    }

    /// Reads an object; the closure reads each value. Throws on two equal keys.
    mutating func object(
        _ member: (inout JSONScanner, String) throws(WeightFileError) -> Void
    ) throws(WeightFileError) {
        try expect("{")
        if take("}") { return }
        var keys: Set<String> = []
        repeat {
            guard peek() != nil else { throw fail("it ends inside an object") }
            try countValue()
            let key = try string()
            guard keys.insert(key).inserted else { throw fail("the key \(quoted(key)) stands twice") }
            try expect(":")
            try member(&self, key)
        } while take(",")
        try expect("}")
    }

    private mutating func countValue() throws(WeightFileError) {
        valueCount += 1
        guard valueCount <= Self.maximumValues else {
            throw .limit(path: path, what: "the number of JSON values", limit: Self.maximumValues)
        }
    }

    /// Reads an array; the closure reads each value.
    mutating func array(_ element: (inout JSONScanner) throws(WeightFileError) -> Void) throws(WeightFileError) {
        try expect("[")
        if take("]") { return }
        repeat {
            try countValue()
            try element(&self)
        } while take(",")
        try expect("]")
    }

    /// Reads an integer that is not negative; signs, fractions and exponents are errors.
    mutating func count() throws(WeightFileError) -> Int {
        guard let first = peek(), isDigit(first) else { throw fail("expected a whole number") }
        var value = 0
        let start = position
        while position < bytes.count, isDigit(bytes[position]) {
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflow2) = tens.addingReportingOverflow(Int(bytes[position] - 0x30))
            guard !overflow, !overflow2 else { throw fail("a number is too large") }
            value = sum
            position += 1
        }
        guard first != 0x30 || position == start + 1 else { throw fail("a number starts with 0") }
        if position < bytes.count, [0x2e, 0x65, 0x45].contains(bytes[position]) {
            throw fail("expected a whole number")
        }
        return value
    }

    private func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

    /// Reads a list of numbers that are not negative.
    mutating func counts() throws(WeightFileError) -> [Int] {
        var values: [Int] = []
        try array { scanner throws(WeightFileError) in values.append(try scanner.count()) }
        return values
    }

    /// Reads a string.
    mutating func string() throws(WeightFileError) -> String {
        try expect("\"")
        let start = position
        while position < bytes.count, bytes[position] != 0x22, bytes[position] != 0x5c, bytes[position] >= 0x20 {
            position += 1
        }
        guard position < bytes.count else { throw fail("it ends inside a string") }
        if bytes[position] == 0x22 {
            defer { position += 1 }
            return try utf8(bytes[start..<position])
        }
        position = start
        return try escapedString()
    }

    private func utf8(_ slice: some Collection<UInt8>) throws(WeightFileError) -> String {
        guard let text = String(validating: slice, as: UTF8.self) else { throw fail("a string is not UTF-8") }
        return text
    }

    private mutating func escapedString() throws(WeightFileError) -> String {
        var content: [UInt8] = []
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case 0x22:
                return try utf8(content)
            case 0x5c:
                content.append(contentsOf: try escape().utf8)
            case ..<0x20:
                throw fail("a control character in a string")
            default:
                content.append(byte)
            }
        }
        throw fail("it ends inside a string")
    }

    private mutating func escape() throws(WeightFileError) -> String {
        guard position < bytes.count else { throw fail("it ends inside a string") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            let high = try codeUnit()
            if let scalar = Unicode.Scalar(UInt32(high)) { return String(scalar) }
            guard position + 1 < bytes.count, bytes[position] == 0x5c, bytes[position + 1] == UInt8(ascii: "u") else {
                throw fail("half of a surrogate pair")
            }
            position += 2
            guard let pair = String(validating: [high, try codeUnit()], as: UTF16.self) else {
                throw fail("half of a surrogate pair")
            }
            return pair
        default: throw fail("an unknown escape")
        }
    }

    private mutating func codeUnit() throws(WeightFileError) -> UInt16 {
        guard position + 4 <= bytes.count else { throw fail("it ends inside a string") }
        let digits = bytes[position..<position + 4]
        guard digits.allSatisfy({ Unicode.Scalar($0).properties.isASCIIHexDigit }),
            let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw fail("a bad \\u escape") }
        position += 4
        return unit
    }

    /// Reads any value and forgets it; at most 32 levels deep.
    mutating func skipValue(depth: Int = 0) throws(WeightFileError) {
        guard depth < 32 else { throw fail("nested more than 32 levels deep") }
        switch peek() {
        case UInt8(ascii: "{"):
            try object { scanner, _ throws(WeightFileError) in try scanner.skipValue(depth: depth + 1) }
        case UInt8(ascii: "["):
            try array { scanner throws(WeightFileError) in try scanner.skipValue(depth: depth + 1) }
        case UInt8(ascii: "\""):
            _ = try string()
        default:
            let start = position
            while position < bytes.count, Unicode.Scalar(bytes[position]).isJSONWordCharacter { position += 1 }
            let word = String(decoding: bytes[start..<position], as: UTF8.self)
            // Python's json writes the last three.
            let words = ["true", "false", "null", "NaN", "Infinity", "-Infinity"]
            guard words.contains(word) || Double(word)?.isFinite == true else {
                throw fail("expected a value")
            }
        }
    }
}

extension Unicode.Scalar {
    fileprivate var isJSONWordCharacter: Bool {
        properties.isASCIIHexDigit || properties.isAlphabetic || self == "+" || self == "-" || self == "."
    }
}
