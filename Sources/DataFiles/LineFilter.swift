public import Foundation
import TihuaFiles
import TihuaWeightFiles

/// Which lines stood in the training poems, so that none of them is passed off as new: a Bloom filter, at the default
/// rate of 0.2 % with 13 bits a line, 2.4 MB for 1.5 million.
///
/// It never misses a line; the rate is that of other lines that it takes for known ones. Bloom 1970.
public struct LineFilter: Sendable, Equatable {
    /// The number of different lines in it.
    public let count: Int
    /// The share of unknown lines that it takes for known ones, by calculation.
    public var falsePositiveRate: Double {
        let filled = 1 - exp(-Double(probeCount) * Double(count) / Double(bits.count * 8))
        return pow(filled, Double(probeCount))
    }
    /// Its size in bytes.
    public var byteCount: Int { bits.count }

    private var bits: [UInt8]

    private let probeCount: Int

    private static let magic = Array("TIHUALF1".utf8)

    /// Takes the lines of a corpus, without punctuation; repeated ones count once.
    ///
    /// `falsePositiveRate`: between 0.0001 and 0.1; each halving costs 1.44 bits a line.
    public init(lines: some Sequence<String>, falsePositiveRate: Double = 0.002) {
        var hashes = lines.map { StableHash.hash($0) }
        hashes.sort()
        var unique = 0
        for index in hashes.indices where index == 0 || hashes[index] != hashes[index - 1] { unique += 1 }
        count = unique
        let bitsPerLine = -log2(min(0.1, max(0.0001, falsePositiveRate))) / log(2)
        probeCount = max(1, Int((bitsPerLine * log(2)).rounded()))
        bits = Array(repeating: 0, count: max(8, Int(Double(unique) * bitsPerLine / 8) + 1))
        for hash in hashes {
            forEachProbe(hash, bitCount: bits.count * 8) { bits[$0 >> 3] |= 1 << UInt8($0 & 7) }
        }
    }

    /// Takes the last two characters of lines of at least four that end so `minimum` times or oftener: what poets let a
    /// line end in. Repeated poems count as often as they stand in the corpus.
    public init(endingsOf lines: some Sequence<String>, minimum: Int = 3, falsePositiveRate: Double = 0.005) {
        var counts: [Substring: Int] = [:]
        for line in lines where line.count >= 4 { counts[line.suffix(2), default: 0] += 1 }
        self.init(
            lines: counts.filter { $0.value >= minimum }.keys.map(String.init), falsePositiveRate: falsePositiveRate)
    }

    /// Whether the line stood in the poems (or is one of the few mistaken for it). The line must have no punctuation.
    public func contains(_ line: String) -> Bool {
        var isKnown = true
        forEachProbe(StableHash.hash(line), bitCount: bits.count * 8) {
            if bits[$0 >> 3] & 1 << UInt8($0 & 7) == 0 { isKnown = false }
        }
        return isKnown
    }

    private func forEachProbe(_ hash: UInt64, bitCount: Int, _ body: (Int) -> Void) {
        let step = (hash >> 32) | 1
        var value = hash
        for _ in 0..<probeCount {
            // The high half of the product spreads 64 bits evenly over any number of places.
            body(Int(value.multipliedFullWidth(by: UInt64(bitCount)).high))
            value = value &* 0x9E37_79B9_7F4A_7C15 &+ step
        }
    }

    // MARK: - File

    /// Reads what `write(to:)` wrote. Throws `DataFileError` for a file that is missing, damaged or of another kind.
    public init(contentsOf url: URL) throws {
        let source = try ByteSource(url)
        let bytes = try source.read(1 << 30)
        func number(_ offset: Int) -> UInt64 {
            (0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[offset + $1]) }
        }
        guard bytes.count >= 8, bytes.starts(with: Self.magic) else {
            throw DataFileError.badFile(file: source.name, reason: "not a filter of lines")
        }
        guard bytes.count >= 48, number(16) == UInt64(bytes.count - 40) else {
            throw DataFileError.badFile(file: source.name, reason: "the filter of lines is cut off")
        }
        guard number(32) == StableHash.hash(bytes[8..<32] + bytes[40...]), number(8) <= 1 << 40,
            (1...64).contains(number(24))
        else {
            throw DataFileError.badFile(file: source.name, reason: "the filter of lines is damaged")
        }
        count = Int(number(8))
        probeCount = Int(number(24))
        bits = Array(bytes[40...])
    }

    /// Writes the filter: "TIHUALF1"; the number of lines, of bytes and of probes and a checksum of all but the name,
    /// 64 bits each, little end first; the bytes. The file appears whole or not at all; throws `FileError` where it
    /// cannot be written.
    public func write(to url: URL) throws {
        func bytes(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        let head = bytes(UInt64(count)) + bytes(UInt64(bits.count)) + bytes(UInt64(probeCount))
        try AtomicFile.write(to: url) { file in
            try file.write(Self.magic + head + bytes(StableHash.hash(head + bits)))
            try file.write(bits)
        }
    }
}
