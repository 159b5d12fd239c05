import Foundation

/// A `config.json` on its way into a configuration: leaves defaults alone, refuses what no model here can be.
struct ConfigurationReader<Key: CodingKey> {
    let model: String
    let values: KeyedDecodingContainer<Key>

    init(_ decoder: any Decoder, model: String, keyedBy type: Key.Type) throws {
        self.model = model
        values = try decoder.container(keyedBy: type)
    }

    /// Reads a size into `value`, if the file has it.
    ///
    /// - Throws: `ModelError.unsupported` for a number out of `range`, so that no file can exhaust the memory or overflow.
    func size(_ key: Key, into value: inout Int, in range: ClosedRange<Int> = 1...(1 << 20)) throws {
        guard let found = try values.decodeIfPresent(Int.self, forKey: key) else { return }
        try require(range.contains(found), key, "\(found)", known: "\(range.lowerBound) to \(range.upperBound)")
        value = found
    }

    /// Reads the small number that a norm adds.
    func epsilon(_ key: Key, into value: inout Double) throws {
        guard let found = try values.decodeIfPresent(Double.self, forKey: key) else { return }
        try require(found > 0 && found < 1, key, "\(found)", known: "between 0 and 1")
        value = found
    }

    /// Refuses a setting, if the file has it, with another value than the one that is implemented.
    func require(_ key: Key, is supported: String) throws {
        guard let found = try values.decodeIfPresent(String.self, forKey: key) else { return }
        try require(found == supported, key, found, known: supported)
    }

    /// - Throws: `ModelError.unsupported` unless `condition`.
    func require(_ condition: Bool, _ key: Key, _ value: String, known: String) throws {
        guard !condition else { return }
        throw ModelError.unsupported(model: model, setting: key.stringValue, value: value, known: known)
    }
}

extension KeyedDecodingContainer {
    /// The ids of a key that holds one, a list of them as newer files of transformers do, or none.
    func tokenIDs(_ key: Key) throws -> [Int] {
        if let list = try? decode([Int].self, forKey: key) { return list }
        return try decodeIfPresent(Int.self, forKey: key).map { [$0] } ?? []
    }
}

extension KeyedEncodingContainer {
    /// One id by itself, as transformers writes it; null, not nothing, for none, since transformers would fill in its own.
    mutating func encode(tokenIDs: [Int], forKey key: Key) throws {
        if tokenIDs.count > 1 { try encode(tokenIDs, forKey: key) } else { try encode(tokenIDs.first, forKey: key) }
    }
}

/// JSON with `null` for `NaN`, `Infinity` and `-Infinity`, which Python's json writes and JSON does not have: a setting that
/// is no number is as if it were left out. Whatever else is no JSON stays so.
func withoutPythonNumbers(_ json: Data) -> Data {
    let words = ["-Infinity", "Infinity", "NaN"].map { Array($0.utf8) }
    let bytes = Array(json)
    guard bytes.contains(UInt8(ascii: "N")) || bytes.contains(UInt8(ascii: "I")) else { return json }
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    var isString = false
    var place = 0
    while place < bytes.count {
        let byte = bytes[place]
        if isString, byte == UInt8(ascii: "\\"), place + 1 < bytes.count {
            result += bytes[place...place + 1]
            place += 2
            continue
        }
        if byte == UInt8(ascii: "\"") { isString.toggle() }
        if !isString, let word = words.first(where: { bytes[place...].starts(with: $0) }) {
            result += Array("null".utf8)
            place += word.count
            continue
        }
        result.append(byte)
        place += 1
    }
    return Data(result)
}
