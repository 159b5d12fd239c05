public import TihuaProsody

/// Counts of verse: how much of it keeps its form, and how much of it repeats.
public enum VerseMeasures {
    /// A poem and what was asked for.
    public struct Item: Sendable {
        /// The lines, without punctuation.
        public var lines: [String]
        /// The form that it is held against.
        public var form: Form
        /// The group that its rhymes should be in, of the form's own book; nil where none was asked for.
        public var rhyme: RhymeGroup?

        /// A poem of these parts.
        public init(lines: [String], form: Form, rhyme: RhymeGroup?) {
            self.lines = lines
            self.form = form
            self.rhyme = rhyme
        }
    }

    /// How poems keep to their forms; shares of all poems unless said otherwise, nil where there are none.
    public struct Regularity: Sendable, Equatable, Encodable {
        /// The number of lines and of characters in each line is the form's.
        public let format: Double
        /// The format is right and all rhymes are in one group.
        public let rhyme: Double
        /// The format is right and all rhymes are in the group that was asked for; of the poems where one was.
        public let askedRhyme: Double?
        /// The format is right and no tone is at fault, by the strict pattern.
        public let tone: Double
        /// The share of characters that suit the strict pattern, among poems of the right format; nil where none is.
        public let toneCharacters: Double?
        /// No fault at all by the strict pattern.
        public let regular: Double
        /// No fault at all by the loose pattern, which accepts what handbooks allow.
        public let regularLoose: Double
    }

    /// Judges poems by `ProsodyChecker`; nil for no poems.
    ///
    /// - Parameter poems: lines of simplified characters; a poem with anything else has not the right format
    public static func regularity(of poems: [Item]) -> Regularity? {
        guard !poems.isEmpty else { return nil }
        var (format, rhyme, tone, regular, loose) = (0, 0, 0, 0, 0)
        var (right, judged) = (0.0, 0.0)
        let asked = poems.count { $0.rhyme != nil }
        var met = 0
        for poem in poems where poem.lines.map(\.count) == poem.form.lineLengths {
            guard poem.lines.allSatisfy({ $0.allSatisfy(\.isHan) }) else { continue }
            guard let report = try? ProsodyChecker(tones: .strict).check(poem.lines, as: poem.form) else { continue }
            format += 1
            if report.rhymeAccuracy == 1 { rhyme += 1 }
            if let group = poem.rhyme {
                let ends = poem.form.rhymingLines.compactMap { poem.lines[$0].last }
                if ends.allSatisfy({ groups(of: $0, in: group.book).contains(group.id) }) { met += 1 }
            }
            if report.faults.allSatisfy(\.kind.isAboutRhyme) { tone += 1 }
            if let accuracy = report.toneAccuracy {
                right += accuracy * Double(poem.form.characterCount)
                judged += Double(poem.form.characterCount)
            }
            if report.isRegular { regular += 1 }
            if (try? ProsodyChecker(tones: .loose).check(poem.lines, as: poem.form))?.isRegular == true { loose += 1 }
        }
        func share(_ count: Int) -> Double { Double(count) / Double(poems.count) }
        return Regularity(
            format: share(format), rhyme: share(rhyme), askedRhyme: asked > 0 ? Double(met) / Double(asked) : nil,
            tone: share(tone),
            toneCharacters: judged > 0 ? right / judged : nil, regular: share(regular), regularLoose: share(loose))
    }

    /// Different n-grams of characters divided by all of them, over all lines together; nil where no line is that long.
    /// Compare it between sets of equal size only: more text repeats more. (Li et al. 2016, distinct-n.)
    public static func distinct(_ length: Int, in poems: [[String]]) -> Double? {
        var (different, total): (Set<[Character]>, Int) = ([], 0)
        for line in poems.joined() {
            let characters = Array(line)
            guard length >= 1, characters.count >= length else { continue }
            for start in 0...(characters.count - length) {
                different.insert(Array(characters[start..<start + length]))
                total += 1
            }
        }
        return total > 0 ? Double(different.count) / Double(total) : nil
    }

    /// How many of the words that were asked for stand in the poems.
    public struct Coverage: Sendable, Equatable, Encodable {
        /// The share of poems with at least one of their words.
        public let poems: Double
        /// The share of words that stand in their poem.
        public let words: Double
    }

    /// Nil where no poem was asked for a word; poems without one do not count.
    public static func coverage(of poems: [(words: [String], lines: [String])]) -> Coverage? {
        var (covered, found, asked, total) = (0, 0, 0, 0)
        for poem in poems where !poem.words.isEmpty {
            let present = poem.words.count { word in poem.lines.contains { $0.contains(word) } }
            total += 1
            asked += poem.words.count
            found += present
            if present > 0 { covered += 1 }
        }
        guard total > 0 else { return nil }
        return Coverage(poems: Double(covered) / Double(total), words: Double(found) / Double(asked))
    }
}

extension ProsodyFault.Kind {
    fileprivate var isAboutRhyme: Bool { self == .rhyme || self == .repeatedRhyme }
}
