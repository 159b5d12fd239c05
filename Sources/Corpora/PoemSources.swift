public import Foundation
import TihuaDataFiles
public import TihuaTokenizers
public import TihuaVerse

/// Poems, and what prompts for them may say, as files hold it.
public struct PoemSources: Sendable {
    /// The poems.
    public var poems: [CorpusPoem]
    /// Words that may be keywords.
    public var words: [String] = []
    /// A word to what a picture of it shows, in modern Chinese.
    public var descriptions: [String: [String]] = [:]
    /// A classical line to sentences that say the same in modern Chinese.
    public var themes: [String: [String]] = [:]

    /// Reads files.
    ///
    /// - Parameters:
    ///   - corpus: poems in any form that `PoemFile` reads
    ///   - words: lists with a word in the first column; the third may hold descriptions, ` | ` between them
    ///   - glosses: CCPM JSON lines
    ///   - converter: turns the characters of texts and of CCPC into simplified ones
    /// - Throws: `DataFileError`, `FileError`.
    public init(
        corpus: [URL], words lists: [URL] = [], glosses: [URL] = [], converter: ChineseConverter? = nil
    ) throws {
        poems = try corpus.flatMap { try PoemFile.read($0, converter: converter) }
        for columns in try lists.flatMap(Self.rows) {
            words.append(columns[0])
            guard columns.count > 2 else { continue }
            descriptions[columns[0], default: []] += columns[2].split(separator: "|").map {
                $0.trimmingCharacters(in: .whitespaces)
            }
        }
        for item in try glosses.flatMap(MatchingItem.read) {
            themes[item.choices[item.answer], default: []].append(item.translation)
        }
    }

    /// The columns of each line that is not empty, at least one; tabs stand between columns.
    ///
    /// - Throws: `DataFileError`.
    public static func rows(of url: URL) throws -> [[String]] {
        try TextFile.lines(of: url).map { $0.split(separator: "\t").map(String.init) }.filter { !$0.isEmpty }
    }
}

extension PoemDataset {
    /// The poems of sources as examples. Pairs of characters that many of the poems have may be keywords too.
    ///
    /// - Parameter vocabulary: that of a poet that is trained on; nil makes one from the poems
    public init(_ sources: PoemSources, vocabulary: PoetVocabulary? = nil, options: Options) {
        self.init(
            poems: sources.poems,
            words: sources.words + KeywordExtractor.frequentPairs(in: sources.poems.lazy.map(\.lines)),
            themes: sources.themes, descriptions: sources.descriptions, vocabulary: vocabulary, options: options)
    }
}

extension WordFrequencies {
    /// Counts the poems of corpora that have each word, and those that rhyme in each group; only poems of forms that a
    /// poet is trained on count.
    ///
    /// - Throws: `DataFileError`.
    public init(of words: [String], in corpora: [URL]) throws {
        var counts = Dictionary(words.map { ($0, 0) }) { first, _ in first }
        let longest = words.map(\.count).max() ?? 0
        for poem in try corpora.lazy.flatMap({ try PoemFile.read($0) }) {
            guard let form = PoemDataset.form(of: poem) else { continue }
            if let group = PoemDataset.rhyme(of: poem.lines, form: form) {
                counts[PoetVocabulary.token(of: group), default: 0] += 1
            }
            var seen: Set<String> = []
            for line in poem.lines.map(Array.init) {
                for start in line.indices {
                    for end in line.indices where end >= start && end - start < longest {
                        let word = String(line[start...end])
                        if counts[word] != nil { seen.insert(word) }
                    }
                }
            }
            for word in seen { counts[word, default: 0] += 1 }
        }
        self.init(counts: counts)
    }

    /// The rows that `init(contentsOf:)` reads: the given words in their order, then the other entries, the most
    /// frequent first.
    public func text(beginningWith words: [String]) -> String {
        var rest = counts
        let first = words.compactMap { word in rest.removeValue(forKey: word).map { (key: word, value: $0) } }
        let last = rest.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return (first + last).map { "\($0.key)\t\($0.value)\n" }.joined()
    }
}
