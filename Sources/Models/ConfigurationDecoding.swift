extension KeyedDecodingContainer {
    /// Reads a size, if it is there, into `value`.
    ///
    /// - Throws: `DecodingError` for a number that no model has, so that no configuration can exhaust the memory or overflow.
    func size(_ key: Key, into value: inout Int, in range: ClosedRange<Int> = 1...(1 << 20)) throws {
        guard let found = try decodeIfPresent(Int.self, forKey: key) else { return }
        try require(range.contains(found), key, "\(found) is not in \(range.lowerBound)...\(range.upperBound)")
        value = found
    }

    /// Reads the small number that a norm adds.
    func epsilon(_ key: Key, into value: inout Double) throws {
        guard let found = try decodeIfPresent(Double.self, forKey: key) else { return }
        try require(found > 0 && found < 1, key, "\(found) is not between 0 and 1")
        value = found
    }

    /// Refuses a setting, if it is there, that has another value than the one that is implemented.
    func require(_ key: Key, _ supported: String) throws {
        guard let found = try decodeIfPresent(String.self, forKey: key) else { return }
        try require(found == supported, key, "\"\(found)\" is not supported; only \"\(supported)\" is")
    }

    func require(_ condition: Bool, _ key: Key, _ problem: String) throws {
        guard !condition else { return }
        throw DecodingError.dataCorruptedError(forKey: key, in: self, debugDescription: "\(key.stringValue) \(problem)")
    }
}
