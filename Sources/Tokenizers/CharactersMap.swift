/// The normalisation of a SentencePiece model: a double-array trie (Darts-clone) from byte sequences to replacements.
///
/// Source: `normalizer.cc` of sentencepiece and `darts.h` of darts-clone.
struct CharactersMap: Sendable {
    private var units: [UInt32] = []
    private var replacements: [UInt8] = []

    /// `blob`: the length of the trie in bytes (32 bits, little end first), the trie, the replacements, each ended by
    /// 0. An empty blob maps nothing.
    init(_ blob: [UInt8], file: String) throws {
        guard !blob.isEmpty else { return }
        func word(_ offset: Int) -> UInt32 {
            (0..<4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(blob[offset + $1]) }
        }
        guard blob.count > 4, Int(word(0)) <= blob.count - 4, Int(word(0)) % 4 == 0, word(0) > 0 else {
            throw TokenizerError.badModel(file: file, reason: "the normalisation map lies about its length")
        }
        let size = Int(word(0))
        units = stride(from: 4, to: 4 + size, by: 4).map(word)
        replacements = Array(blob[(4 + size)...])
    }

    /// The replacement of the longest mapped sequence at `start` and the bytes that it covers; nil where none is
    /// mapped.
    func longestMatch(_ source: [UInt8], at start: Int) -> (replacement: ArraySlice<UInt8>, length: Int)? {
        guard let root = units.first else { return nil }
        var node = Int(offset(root))
        var match: (value: Int, length: Int)?
        for index in start..<source.count {
            node ^= Int(source[index])
            guard node < units.count else { break }
            let unit = units[node]
            guard unit & 0x8000_00FF == UInt32(source[index]) else { break }
            node ^= Int(offset(unit))
            if unit >> 8 & 1 == 1, node < units.count {
                match = (Int(units[node] & 0x7FFF_FFFF), index - start + 1)
            }
        }
        guard let match, match.value < replacements.count else { return nil }
        let end = replacements[match.value...].firstIndex(of: 0) ?? replacements.count
        return (replacements[match.value..<end], match.length)
    }

    private func offset(_ unit: UInt32) -> UInt32 { (unit >> 10) << ((unit & (1 << 9)) >> 6) }
}
