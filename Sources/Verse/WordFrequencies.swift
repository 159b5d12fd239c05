public import Foundation
import TihuaFiles
public import TihuaProsody

/// In how many of a poet's training poems each word of a bank stands, and how many rhyme in each group (`[韵:七阳]`).
public struct WordFrequencies: Sendable, Equatable {
    /// The poems that hold each word; for a rhyme group, the poems that rhyme in it.
    public let counts: [String: Int]

    /// Takes counts as they are.
    public init(counts: [String: Int]) { self.counts = counts }

    /// Reads rows of a word and a count, with a tab between.
    ///
    /// - Throws: `FileError`, `VerseError.wordFrequencies` with the line.
    public init(contentsOf url: URL) throws {
        let text = try UserFile.text(of: url, limit: 1 << 26)
        var counts: [String: Int] = [:]
        for (index, row) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated()
        where !row.isEmpty {
            let columns = row.split(separator: "\t")
            guard columns.count == 2, let count = Int(columns[1]), count >= 0 else {
                throw VerseError.wordFrequencies(path: url.path, line: index + 1)
            }
            counts[String(columns[0])] = count
        }
        self.counts = counts
    }

    /// 0.1 for a word of no poem, 1 for one of a hundred or more (or one that was not counted), by the logarithm
    /// between.
    public func familiarity(of word: String) -> Double {
        guard let count = counts[word] else { return 1 }
        return max(0.1, min(1, log10(1 + Double(count)) / 2))
    }

    /// The poems that rhyme in a group, 0 where they were not counted.
    public func rhymes(in group: RhymeGroup) -> Int { counts[PoetVocabulary.token(of: group)] ?? 0 }
}
