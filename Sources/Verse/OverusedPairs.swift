public import Foundation
import TihuaFiles

/// Pairs of characters that a poet writes more often than people do to the same prompts, such as 不知 and 何处.
///
/// A small model that is drawn from below temperature 1 falls back on what is probable anywhere. What it overdoes can
/// be counted: let it answer the prompts of poems that people wrote, and compare how often a pair stands in either.
/// While a poem is written a pair's excess is taken off its second character; where poems are ranked it is taken off
/// their probability.
public struct OverusedPairs: Sendable, Equatable {
    /// How much too probable a pair is, in nats, above 0.
    public let excess: [String: Double]

    /// Pairs that the poet writes less often than this are not counted.
    private static let fewest = 12
    /// Below temperature 1 every frequent pair gains: pairs of the middle about 0.4 nats. Only what gains clearly more
    /// is stock.
    private static let (common, least) = (0.4, 0.7)

    /// Counts pairs within lines.
    ///
    /// - Parameters:
    ///   - written: lines of the poet
    ///   - read: lines that people wrote to the same prompts, about as many
    public init(written: some Sequence<String>, read: some Sequence<String>) {
        let (mine, theirs) = (Self.counts(written), Self.counts(read))
        var excess: [String: Double] = [:]
        for (pair, count) in mine where count >= Self.fewest {
            let gain = log(Double(count) / Double(theirs[pair, default: 0] + 3))
            if gain >= Self.least { excess[pair] = gain - Self.common }
        }
        self.excess = excess
    }

    /// Reads rows of a pair and its excess, with a tab between.
    ///
    /// - Throws: `VerseError.overusedPairs` with the line, or `FileError` if the file cannot be read.
    public init(contentsOf url: URL) throws {
        var excess: [String: Double] = [:]
        let text = try UserFile.text(of: url, limit: 1 << 26)
        for (index, row) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated()
        where !row.isEmpty {
            let columns = row.split(separator: "\t")
            guard columns.count == 2, columns[0].count == 2, let value = Double(columns[1]), (0...20).contains(value)
            else { throw VerseError.overusedPairs(path: url.path, line: index + 1) }
            excess[String(columns[0])] = value
        }
        self.excess = excess
    }

    /// The rows that `init(contentsOf:)` reads, the greatest excess first.
    public var text: String {
        excess.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            .map { "\($0.key)\t\((100 * $0.value).rounded() / 100)\n" }.joined()
    }

    /// The excess of all pairs within lines, in nats.
    public func excess(in lines: [String]) -> Double {
        lines.reduce(0) { sum, line in sum + zip(line, line.dropFirst()).reduce(0) { $0 + (excess[Self.pair($1)] ?? 0) }
        }
    }

    private static func pair(_ characters: (Character, Character)) -> String { String([characters.0, characters.1]) }

    private static func counts(_ lines: some Sequence<String>) -> [String: Int] {
        var counts: [String: Int] = [:]
        for line in lines {
            for characters in zip(line, line.dropFirst()) { counts[pair(characters), default: 0] += 1 }
        }
        return counts
    }
}
