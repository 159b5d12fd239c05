public import Foundation

/// By which labels and captions one may conclude that a picture shows what a word of the imagery bank means.
///
/// Lines `word<TAB>labels<TAB>captions`. Labels stand between spaces; `t:INDEX` is a class of the teacher, of the 1,000
/// of ImageNet, that it must be at least half sure of. Captions hold patterns between `|`; a pattern is pieces joined
/// by `+` that must all stand in one caption, a piece with `!` in front must not; of a piece with `/` in it, one
/// alternative must (or none may). Empty lines and lines that start with `#` are left out.
public struct ImageryRules: Sendable {
    /// The words that have a rule, in the order of the file.
    public let words: [String]
    private var byLabel: [String: [Int]] = [:]
    private var byClass: [Int: [Int]] = [:]
    /// The patterns by a piece that they need: most captions hold few of the pieces.
    private var byPiece: [String: [Pattern]] = [:]
    private let longestPiece: Int

    private struct Pattern: Sendable {
        let word: Int
        /// One alternative of each must stand.
        let present: [[String]]
        let absent: [String]
    }

    /// Captions of a picture that must agree: what one person alone says may be a slip, above all of a translation.
    private static let agreeing = 2

    /// Reads a file.
    ///
    /// - Throws: `DataFileError` if it cannot be read, `TrainingError.data` with the line for other columns, a word
    ///   that stands twice, a class that is no number of 0 to 999, or a pattern in which nothing must stand.
    public init(contentsOf url: URL) throws {
        var words: [String] = []
        var longest = 0
        for (index, line) in try readText(url).split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
            .enumerated()
        {
            if line.isEmpty || line.hasPrefix("#") { continue }
            func wrong(_ reason: String) -> TrainingError {
                .data(path: url.path, reason: "line \(index + 1) \(reason)")
            }
            let columns = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard columns.count == 3, !columns[0].isEmpty else {
                throw wrong("is not a word, a tab, labels, a tab and captions")
            }
            let word = words.count
            guard !words.contains(String(columns[0])) else { throw wrong("has \(columns[0]), as a line before it") }
            words.append(String(columns[0]))
            for label in columns[1].split(separator: " ") {
                guard label.hasPrefix("t:") else {
                    byLabel[String(label), default: []].append(word)
                    continue
                }
                guard let number = Int(label.dropFirst(2)), (0..<1000).contains(number) else {
                    throw wrong("has \(label); a class of the teacher is t:0 to t:999")
                }
                byClass[number, default: []].append(word)
            }
            for text in columns[2].split(separator: "|") {
                let pieces = text.split(separator: "+")
                func alternatives(_ piece: Substring) -> [String] { piece.split(separator: "/").map(String.init) }
                let present = pieces.filter { !$0.hasPrefix("!") }.map(alternatives)
                let absent = pieces.filter { $0.hasPrefix("!") }.flatMap { alternatives($0.dropFirst()) }
                // Longer pieces are rarer.
                func shortest(_ piece: [String]) -> Int { piece.map(\.count).min() ?? 0 }
                guard let keys = present.max(by: { shortest($0) < shortest($1) }) else {
                    throw wrong("has the pattern \(text), in which nothing must stand")
                }
                for key in keys {
                    longest = max(longest, key.count)
                    byPiece[key, default: []].append(Pattern(word: word, present: present, absent: absent))
                }
            }
        }
        guard !words.isEmpty else { throw TrainingError.data(path: url.path, reason: "holds no rule") }
        self.words = words
        longestPiece = longest
    }

    /// The words that a picture shows, as indices of `words`, ascending.
    ///
    /// - Parameters:
    ///   - label: what the picture is sorted under; its captions, which come by label, then say nothing more
    ///   - captions: what was written for this picture
    ///   - teacherClass: the class, 0 to 999, that a teacher is at least half sure of
    public func words(label: String?, captions: [String], teacherClass: Int?) -> [Int] {
        var found = Set(teacherClass.flatMap { byClass[$0] } ?? [])
        if let label {
            found.formUnion(byLabel[label] ?? [])
            return found.sorted()
        }
        var counts: [Int: Int] = [:]
        for caption in captions {
            for word in words(in: caption) { counts[word, default: 0] += 1 }
        }
        let needed = min(Self.agreeing, captions.count)
        found.formUnion(counts.filter { $0.value >= needed }.keys)
        return found.sorted()
    }

    private func words(in caption: String) -> Set<Int> {
        let characters = Array(caption)
        var words: Set<Int> = []
        for start in characters.indices {
            for end in start..<min(characters.count, start + longestPiece) {
                for pattern in byPiece[String(characters[start...end])] ?? []
                where pattern.present.allSatisfy({ $0.contains(where: caption.contains) })
                    && !pattern.absent.contains(where: caption.contains)
                {
                    words.insert(pattern.word)
                }
            }
        }
        return words
    }
}

/// What a two-tower model learns of the words of an imagery bank.
public struct ImageryLessons: Sendable {
    /// By which labels and captions a picture shows a word.
    public let rules: ImageryRules
    /// The texts that stand for each word; those of the rules come first, in their order. The others are words that no
    /// picture is known to show: a word that is never learned would lie near any picture by chance.
    let texts: [[String]]

    /// - Parameter bank: each word of the bank with its texts, as they are encoded in use
    /// - Throws: `TrainingError.data` for a word of the rules that has no text.
    public init(rules: ImageryRules, bank: [(word: String, texts: [String])]) throws {
        self.rules = rules
        let known = Dictionary(bank.map { ($0.word, $0.texts) }) { first, _ in first }
        let taught = Set(rules.words)
        let others = bank.filter { !taught.contains($0.word) && !$0.texts.isEmpty }.map(\.texts)
        texts =
            try rules.words.map { word in
                guard let texts = known[word], !texts.isEmpty else {
                    throw TrainingError.data(path: "the imagery rules", reason: "\(word) is no word of the bank")
                }
                return texts
            } + others
    }
}
