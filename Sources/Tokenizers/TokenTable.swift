/// Tokens by id and ids by token, compared byte by byte.
///
/// Swift's `String` compares by canonical equivalence, so a dictionary of strings would take 豈 (U+F900) and 豈 (U+8C48)
/// for one token; Python does not. The table also looks up part of a buffer without making a string of it.
struct TokenTable: Sendable {
    private(set) var bytes: [UInt8] = []
    private(set) var starts: [Int] = [0]
    /// The longest token, in bytes.
    private(set) var longest = 0
    private var slots: [Int32]

    var count: Int { starts.count - 1 }

    init(capacity: Int) {
        var size = 16
        while size < capacity * 2 { size *= 2 }
        slots = Array(repeating: -1, count: size)
        starts.reserveCapacity(capacity + 1)
    }

    static let emptyHash: UInt64 = 0xcbf2_9ce4_8422_2325

    /// FNV-1a, one byte further.
    @inline(__always)
    static func hash(_ hash: UInt64, adding byte: UInt8) -> UInt64 {
        (hash ^ UInt64(byte)) &* 0x100_0000_01b3
    }

    static func hash(_ source: [UInt8], _ range: Range<Int>) -> UInt64 {
        var value = emptyHash
        for index in range { value = hash(value, adding: source[index]) }
        return value
    }

    /// Appends a token under the next id. Returns the id under which the same bytes can be found, which is an earlier
    /// one for a duplicate unless `lastWins`.
    @discardableResult
    mutating func append(
        _ source: [UInt8], _ range: Range<Int>, findable: Bool = true, lastWins: Bool = false
    ) -> Int32 {
        let id = Int32(count)
        bytes.append(contentsOf: source[range])
        starts.append(bytes.count)
        guard findable else { return id }
        if count * 2 > slots.count { grow() }
        longest = max(longest, range.count)
        let hash = Self.hash(source, range)
        let slot = self.slot(of: source, range, hash: hash)
        if slots[slot] >= 0, !lastWins { return slots[slot] }
        slots[slot] = id
        return id
    }

    func id(in source: [UInt8], _ range: Range<Int>) -> Int32? {
        guard range.count <= longest else { return nil }
        return id(in: source, range, hash: Self.hash(source, range))
    }

    func id(in source: [UInt8], _ range: Range<Int>, hash: UInt64) -> Int32? {
        let found = slots[slot(of: source, range, hash: hash)]
        return found >= 0 ? found : nil
    }

    func id(of token: String) -> Int32? {
        let source = Array(token.utf8)
        return id(in: source, 0..<source.count)
    }

    /// Where the bytes of a token lie.
    func range(of id: Int) -> Range<Int> { starts[id]..<starts[id + 1] }

    /// Whether every token is UTF-8: together they are, and none begins within a character.
    var isUTF8: Bool {
        String(validating: bytes, as: UTF8.self) != nil
            && starts.allSatisfy { $0 == bytes.count || bytes[$0] & 0xC0 != 0x80 }
    }

    func token(_ id: Int32) -> String? {
        guard id >= 0, Int(id) < count else { return nil }
        return String(decoding: bytes[range(of: Int(id))], as: UTF8.self)
    }

    private func slot(of source: [UInt8], _ range: Range<Int>, hash: UInt64) -> Int {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash ^ (hash >> 32)) & mask
        while slots[slot] >= 0, !equal(slots[slot], source, range) { slot = (slot + 1) & mask }
        return slot
    }

    private func equal(_ id: Int32, _ source: [UInt8], _ range: Range<Int>) -> Bool {
        let start = starts[Int(id)]
        guard starts[Int(id) + 1] - start == range.count else { return false }
        for offset in 0..<range.count where bytes[start + offset] != source[range.lowerBound + offset] { return false }
        return true
    }

    private mutating func grow() {
        let kept = slots.filter { $0 >= 0 }
        slots = Array(repeating: -1, count: slots.count * 2)
        for id in kept {
            let range = starts[Int(id)]..<starts[Int(id) + 1]
            slots[slot(of: bytes, range, hash: Self.hash(bytes, range))] = id
        }
    }
}
