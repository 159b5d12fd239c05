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
    /// - Throws: `ModelError.unsupported` for a number out of `range`, so that no file can exhaust the memory or
    ///   overflow.
    func size(_ key: Key, into value: inout Int, in range: ClosedRange<Int> = 1...(1 << 20)) throws {
        guard let found = try values.decodeIfPresent(Int.self, forKey: key) else { return }
        try require(range.contains(found), key, "\(found)", known: "\(range.lowerBound) to \(range.upperBound)")
        value = found
    }

    /// Reads a value, if the file has it.
    func read<Value: Decodable>(_ key: Key, into value: inout Value) throws {
        if let found = try values.decodeIfPresent(Value.self, forKey: key) { value = found }
    }

    /// Reads the small number that a norm adds.
    func epsilon(_ key: Key, into value: inout Double) throws {
        guard let found = try values.decodeIfPresent(Double.self, forKey: key) else { return }
        try require(found > 0 && found < 1, key, "\(found)", known: "between 0 and 1")
        value = found
    }

    /// Refuses a setting, if the file has it, with another value than the one that is implemented.
    func require<Value: Decodable & Equatable>(_ key: Key, is supported: Value) throws {
        guard let found = try values.decodeIfPresent(Value.self, forKey: key) else { return }
        try require(found == supported, key, "\(found)", known: "\(supported)")
    }

    /// Reads a nonlinearity by its name, if the file has it.
    func activation(_ key: Key, into value: inout Activation) throws {
        guard let name = try values.decodeIfPresent(String.self, forKey: key) else { return }
        let known = Activation.allCases.map(\.rawValue).joined(separator: ", ")
        try require(Activation(rawValue: name) != nil, key, name, known: known)
        value = Activation(rawValue: name) ?? value
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
    /// One id by itself, as transformers writes it; null, not nothing, for none, since transformers would fill in its
    /// own.
    mutating func encode(tokenIDs: [Int], forKey key: Key) throws {
        if tokenIDs.count > 1 { try encode(tokenIDs, forKey: key) } else { try encode(tokenIDs.first, forKey: key) }
    }
}
