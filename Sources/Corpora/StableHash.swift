/// A 64-bit hash of text that is the same on every machine and in every run, unlike Swift's `Hasher`.
enum StableHash {
    static let seed: UInt64 = 0xcbf2_9ce4_8422_2325

    /// FNV-1a over the bytes, then the finaliser of MurmurHash3 so that all bits are good.
    static func hash(_ text: String) -> UInt64 { finish(add(text, to: seed)) }

    static func hash(_ lines: [String]) -> UInt64 {
        finish(lines.reduce(seed) { add("\n", to: add($1, to: $0)) })
    }

    static func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
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
