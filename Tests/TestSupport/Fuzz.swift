import Foundation

/// Damaged input for readers, the same in every run.
public struct Fuzz {
    /// How many damaged files a test tries: `FUZZ` where it is set (`FUZZ=100000 make sanitize`).
    public static func count(_ standard: Int) -> Int {
        ProcessInfo.processInfo.environment["FUZZ"].flatMap(Int.init) ?? standard
    }

    private var state: UInt64

    /// A sequence of its own for each seed.
    public init(seed: UInt64) { state = seed }

    /// One to three damages; now and then the file is random, or empty, or a piece of another one is put in.
    public mutating func damaged(_ whole: [UInt8], mixing others: [[UInt8]] = []) -> [UInt8] {
        switch Int.random(in: 0..<50, using: &self) {
        case 0: return []
        case 1: return (0..<Int.random(in: 1...64, using: &self)).map { _ in .random(in: 0...255, using: &self) }
        default: break
        }
        var content = whole
        for _ in 0..<Int.random(in: 1...3, using: &self) { damage(&content) }
        if let other = others.randomElement(using: &self), !other.isEmpty, Int.random(in: 0..<10, using: &self) == 0 {
            let start = Int.random(in: other.indices, using: &self)
            let piece = other[start..<min(other.count, start + Int.random(in: 1...64, using: &self))]
            content.insert(contentsOf: piece, at: Int.random(in: 0...content.count, using: &self))
        }
        return content
    }

    /// Changes, cuts, repeats or puts in a few bytes somewhere.
    public mutating func damage(_ content: inout [UInt8]) {
        guard !content.isEmpty else { return }
        let place = Int.random(in: content.indices, using: &self)
        switch Int.random(in: 0..<9, using: &self) {
        case 0: content[place] ^= 1 << UInt8.random(in: 0..<8, using: &self)
        case 1: content[place] = .random(in: 0...255, using: &self)
        case 2: content[place] = [0, 1, 0x7f, 0x80, 0xff, 0x28, 0x52, 0x74].randomElement(using: &self) ?? 0
        case 3: content.removeLast(content.count - place)
        case 4: content.removeSubrange(place..<min(content.count, place + .random(in: 1...8, using: &self)))
        case 5:
            let more = (0..<Int.random(in: 1...8, using: &self)).map { _ in UInt8.random(in: 0...255, using: &self) }
            content.insert(contentsOf: more, at: place)
        case 6:
            let width = [2, 4, 8].randomElement(using: &self) ?? 2
            let byte: UInt8 = [0, 0xff].randomElement(using: &self) ?? 0
            for index in place..<min(content.count, place + width) { content[index] = byte }
        case 7:
            // A piece once more: keys that stand twice, lines too many.
            let piece = content[place..<min(content.count, place + .random(in: 1...32, using: &self))]
            content.insert(contentsOf: piece, at: place)
        default:
            // Another number where there is a number: the lies that a parser believes.
            guard let digit = content[place...].firstIndex(where: { (0x30...0x39).contains($0) }) else { return }
            content[digit] = .random(in: 0x30...0x39, using: &self)
        }
    }
}

extension Fuzz: RandomNumberGenerator {
    /// SplitMix64 (Steele et al. 2014).
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
