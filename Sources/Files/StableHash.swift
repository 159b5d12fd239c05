/// A 64-bit hash of text that is the same on every machine and in every run, unlike Swift's `Hasher`.
package enum StableHash {
    static let seed: UInt64 = 0xcbf2_9ce4_8422_2325

    /// FNV-1a over UTF-8, then the finaliser of MurmurHash3, so that every bit depends on the whole text.
    package static func hash(_ text: String) -> UInt64 { finish(add(text, to: seed)) }

    package static func hash(_ lines: [String]) -> UInt64 {
        finish(lines.reduce(seed) { add("\n", to: add($1, to: $0)) })
    }

    package static func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
        finish(bytes.reduce(seed) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 })
    }

    private static func add(_ text: String, to value: UInt64) -> UInt64 {
        var (text, value) = (text, value)
        text.withUTF8 { for byte in $0 { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 } }
        return value
    }

    private static func finish(_ value: UInt64) -> UInt64 {
        var value = value
        value = (value ^ value >> 33) &* 0xff51_afd7_ed55_8ccd
        value = (value ^ value >> 33) &* 0xc4ce_b9fe_1a85_ec53
        return value ^ value >> 33
    }
}

/// FNV-1a over UTF-8 without a finaliser. Which poems and pictures are held out depends on it, so it stays as it is.
package func stableHash(_ text: String, from state: UInt64 = 0xcbf2_9ce4_8422_2325) -> UInt64 {
    text.utf8.reduce(state) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
}

/// Whether a poem or picture is the one in `count` that is held out; none is where that is 0.
package func isHeldOut(_ key: String, oneIn count: Int) -> Bool {
    count > 0 && stableHash(key) % UInt64(count) == 0
}
