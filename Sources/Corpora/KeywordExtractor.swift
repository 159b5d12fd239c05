import Foundation

/// Picks the words that a poem is about, for the prompts that a poet is trained with.
///
/// Candidates are known words of one to three characters that stand in a line without crossing its caesura; the score
/// is tf-idf with the frequencies of the corpus itself. The same poem gives the same words on every machine.
public struct KeywordExtractor: Sendable {
    /// A word of a poem.
    public struct Keyword: Sendable, Equatable {
        /// The word as it stands in the poem.
        public let word: String
        /// The index of the first line that holds it.
        public let line: Int
        /// Its tf-idf, weighted by length.
        public let score: Double
    }

    /// How many poems the frequencies are of.
    public let poemCount: Int

    /// The number of poems that hold a word, for every known word that occurs.
    private let frequencies: [Word: Int32]
    private let minimumFrequency: Int
    private let preferred: Set<Word>

    /// Enough to lift a plain image above a rare turn of phrase.
    private static let preference = 1.75

    /// One to three scalars of 21 bits each.
    private typealias Word = UInt64

    /// Counts `words` (and no others) in `poems`; each poem is the list of its lines.
    ///
    /// Words that fewer than `minimumFrequency` poems hold are never picked: nobody could learn them. Words of more
    /// than three characters are left out. `preferred` words, such as those of the imagery bank, weigh more than the
    /// others.
    public init(
        words: some Sequence<String>, preferred: some Sequence<String> = EmptyCollection<String>(),
        poems: some Sequence<[String]>, minimumFrequency: Int = 20
    ) {
        self.minimumFrequency = minimumFrequency
        let preferredWords = preferred.map { Array($0.unicodeScalars) }.filter { (1...3).contains($0.count) }
        self.preferred = Set(preferredWords.map { Self.pack($0[...]) })
        var counts = Dictionary(self.preferred.map { ($0, Int32(0)) }, uniquingKeysWith: { first, _ in first })
        for word in words {
            let scalars = Array(word.unicodeScalars)
            if (1...3).contains(scalars.count) { counts[Self.pack(scalars[...])] = 0 }
        }
        var total = 0
        var seen: Set<Word> = []
        for poem in poems {
            total += 1
            seen.removeAll(keepingCapacity: true)
            for line in poem {
                Self.forEachPart(of: Array(line.unicodeScalars)) { word, _ in
                    if counts[word] != nil, seen.insert(word).inserted { counts[word, default: 0] += 1 }
                }
            }
        }
        poemCount = total
        frequencies = counts
    }

    /// How many poems hold the word; nil where it is not known.
    public func frequency(of word: String) -> Int? {
        let scalars = Array(word.unicodeScalars)
        guard (1...3).contains(scalars.count) else { return nil }
        return frequencies[Self.pack(scalars[...])].map(Int.init)
    }

    /// Up to `limit` words of a poem, best first. No two share a character of the poem, and no word is part of another;
    /// every line gives one before any gives a second.
    public func keywords(of lines: [String], limit: Int) -> [Keyword] {
        struct Candidate {
            let word: Word
            let text: String
            let length: Int
            var count = 0
            var places: [(line: Int, range: Range<Int>)] = []
            var score = 0.0
        }
        var candidates: [Word: Candidate] = [:]
        for (index, line) in lines.enumerated() {
            let scalars = Array(line.unicodeScalars)
            Self.forEachPart(of: scalars) { word, range in
                guard let frequency = frequencies[word], frequency >= minimumFrequency else { return }
                var view = String.UnicodeScalarView()
                view.append(contentsOf: scalars[range])
                var candidate = candidates[word] ?? Candidate(word: word, text: String(view), length: range.count)
                candidate.count += 1
                candidate.places.append((index, range))
                candidates[word] = candidate
            }
        }
        // A single character is rarely what a poem is about where a word is there, and it is frequent: so less weight.
        let weights = [0.0, 0.6, 1.0, 1.05]
        var ranked: [Candidate] = candidates.values.map { candidate in
            var candidate = candidate
            let rarity = log(Double(poemCount + 1) / Double(frequencies[candidate.word] ?? 1))
            candidate.score = (1 + log(Double(candidate.count))) * rarity * weights[candidate.length]
            if preferred.contains(candidate.word) { candidate.score *= Self.preference }
            return candidate
        }
        ranked.sort { ($1.score, $0.word) < ($0.score, $1.word) }

        var chosen: [Keyword] = []
        var taken: Set<Int> = []
        var usedLines: Set<Int> = []
        for mayRepeatLine in [false, true] {
            for candidate in ranked where chosen.count < limit && candidate.score > 0 {
                guard let place = candidate.places.first(where: { mayRepeatLine || !usedLines.contains($0.line) }),
                    !candidate.places.contains(where: { place in
                        place.range.contains { taken.contains(place.line << 16 | $0) }
                    }), !chosen.contains(where: { $0.word == candidate.text })
                else { continue }
                chosen.append(Keyword(word: candidate.text, line: place.line, score: candidate.score))
                usedLines.insert(place.line)
                for place in candidate.places { taken.formUnion(place.range.map { place.line << 16 | $0 }) }
            }
        }
        return chosen.sorted { ($1.score, $0.line, $0.word) < ($0.score, $1.line, $1.word) }
    }

    /// Pairs of characters that hold together: that many poems have them, and far more often than chance would. Found
    /// at the places of a line where words stand, without words of grammar and number; a supplement to lists of words.
    /// Best first.
    ///
    /// `minimumAssociation` is the pointwise mutual information in nats.
    public static func frequentPairs(
        in poems: some Sequence<[String]>, minimumCount: Int = 60, minimumAssociation: Double = 2.5
    ) -> [String] {
        var pairs: [Word: Int32] = [:]
        var characters: [Word: Int32] = [:]
        var total = 0
        for poem in poems {
            for line in poem {
                let scalars = Array(line.unicodeScalars)
                guard scalars.count == 5 || scalars.count == 7 else { continue }
                total += scalars.count
                for scalar in scalars { characters[Word(scalar.value), default: 0] += 1 }
                for start in scalars.count == 5 ? [0, 2, 3] : [0, 2, 4, 5] where scalars[start] != scalars[start + 1] {
                    if functionWords.contains(scalars[start]) || functionWords.contains(scalars[start + 1]) { continue }
                    pairs[pack(scalars[start..<(start + 2)]), default: 0] += 1
                }
            }
        }
        let found = pairs.compactMap { pair, count -> (word: Word, score: Double)? in
            guard count >= minimumCount, let first = characters[pair >> 21], let second = characters[pair & 0x1F_FFFF]
            else { return nil }
            let association = log(Double(count) * Double(total) / (Double(first) * Double(second)))
            return association >= minimumAssociation ? (pair, association * log(Double(count))) : nil
        }
        return found.sorted { ($1.score, $0.word) < ($0.score, $1.word) }.map { unpack($0.word) }
    }

    /// Characters of grammar rather than of things: a pair with one of them is a turn of phrase.
    private static let functionWords = Set(
        "不无未非何谁孰莫岂只便即欲且也矣之乎而其于与以为是有亦又更已曾却应须可能自如若似但犹尚复还相所此彼我吾尔汝予今初始乍最太甚颇渐忽正将使令教把被因由同共皆俱都各每几多少一二三四五六七八九十百千万半两"
            .unicodeScalars)

    // MARK: - Words

    /// The runs of one to three characters that do not cross a caesura: 2|3, 2|2|3, 2|2, 2|2|2; other lines are not
    /// cut.
    private static func forEachPart(of line: [Unicode.Scalar], _ body: (Word, Range<Int>) -> Void) {
        var start = 0
        for length in feet(of: line.count) {
            let end = start + length
            for from in start..<end {
                for to in (from + 1)...min(from + 3, end) where to <= end {
                    body(pack(line[from..<to]), from..<to)
                }
            }
            start = end
        }
    }

    private static func feet(of length: Int) -> [Int] {
        switch length {
        case 0: []
        case 4: [2, 2]
        case 5: [2, 3]
        case 6: [2, 2, 2]
        case 7: [2, 2, 3]
        default: [length]
        }
    }

    private static func pack(_ scalars: ArraySlice<Unicode.Scalar>) -> Word {
        scalars.reduce(0) { $0 << 21 | Word($1.value) }
    }

    private static func unpack(_ word: Word) -> String {
        var view = String.UnicodeScalarView()
        for shift in [42, 21, 0] as [Word] {
            if let scalar = Unicode.Scalar(UInt32(word >> shift & 0x1F_FFFF)), scalar.value != 0 { view.append(scalar) }
        }
        return String(view)
    }
}
