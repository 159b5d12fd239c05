import Foundation

/// Hands out the elements of JSON arrays one by one, so that a large file need not be in memory.
struct JSONElements {
    private let source: ByteSource
    private var line = 1

    /// The most bytes of one element.
    private static let limit = 16 << 20

    init(_ source: ByteSource) { self.source = source }

    /// The elements of an array, which is the next value.
    mutating func array(_ body: ([UInt8], CaptionFile.Place) throws -> Void) throws {
        try expect("[")
        guard try skipSpace() != UInt8(ascii: "]") else { return try expect("]") }
        var entry = 0
        repeat {
            entry += 1
            _ = try skipSpace()
            let place = CaptionFile.Place(file: source.name, line: line, entry: entry)
            try body(try value(), place)
        } while try separator(before: "]")
    }

    /// The elements of these arrays in an object, which is the next value; its other values are passed over.
    mutating func object(_ keys: Set<String>, _ body: (String, [UInt8], CaptionFile.Place) throws -> Void) throws {
        try expect("{")
        guard try skipSpace() != UInt8(ascii: "}") else { return try expect("}") }
        repeat {
            _ = try skipSpace()
            let name = (try? JSONDecoder().decode(String.self, from: Data(try value()))) ?? ""
            try expect(":")
            if keys.contains(name), try skipSpace() == UInt8(ascii: "[") {
                try array { try body(name, $0, $1) }
            } else {
                _ = try skipSpace()
                _ = try value(isKept: false)
            }
        } while try separator(before: "}")
    }

    /// Nothing but spaces may follow.
    mutating func end() throws {
        if try skipSpace() != nil { throw bad("something follows the end of the JSON text") }
    }

    private func bad(_ reason: String) -> DataFileError { .badLine(file: source.name, line: line, reason: reason) }

    /// The byte after spaces, which stays.
    private mutating func skipSpace() throws -> UInt8? {
        while let byte = try source.peekByte() {
            guard [0x20, 0x09, 0x0A, 0x0D].contains(byte) else { return byte }
            if byte == 0x0A { line += 1 }
            _ = try source.readByte()
        }
        return nil
    }

    private mutating func expect(_ character: Character) throws {
        guard let byte = try skipSpace() else { throw bad("the JSON text is cut off") }
        guard byte == character.asciiValue else { throw bad("not JSON: \(character) is missing") }
        _ = try source.readByte()
    }

    /// Whether a comma comes; else the end must.
    private mutating func separator(before end: Character) throws -> Bool {
        guard try skipSpace() == UInt8(ascii: ",") else {
            try expect(end)
            return false
        }
        try expect(",")
        return true
    }

    private static func isMark(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: ",") || byte == UInt8(ascii: "]") || byte == UInt8(ascii: "}") || byte == UInt8(ascii: ":")
    }

    /// The bytes of the next value.
    private mutating func value(isKept: Bool = true) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var (depth, inString, isEscaped) = (0, false, false)
        while let byte = try source.peekByte() {
            if !inString, depth == 0, Self.isMark(byte) {
                if bytes.isEmpty, isKept { throw bad("not JSON: a value is missing") }
                return bytes
            }
            _ = try source.readByte()
            if isKept || bytes.isEmpty { bytes.append(byte) }
            guard bytes.count <= Self.limit else { throw bad("an entry is longer than \(Self.limit) bytes") }
            if byte == 0x0A { line += 1 }
            if inString {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    inString = false
                    if depth == 0 { return bytes }
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): inString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth == 0 { return bytes }
            default: break
            }
        }
        throw bad("the JSON text is cut off")
    }
}
