import TihuaFiles

/// What pictures should call up and what they must not, written down by people.
///
/// Lines `shard<TAB>key<TAB>expected words<TAB>forbidden words`, spaces between words; the last column may be empty or
/// missing. Empty lines and lines that start with `#` are left out.
public struct ImageryCheck: Sendable, Equatable {
    /// One picture.
    public struct Row: Sendable, Equatable {
        /// The line of the file, from 1.
        public let line: Int
        /// The file name of the shard, without `.tar`.
        public let shard: String
        /// The key of the picture in the shard.
        public let key: String
        /// Words that are right; at least one.
        public let expected: [String]
        /// Words that are an error.
        public let forbidden: [String]
    }

    /// The pictures in the order of the file; at least one.
    public let rows: [Row]

    /// A check of the rows of one half, by a hash of their keys, so that what is fitted to one half is measured on the
    /// other; nil where no row falls into it.
    ///
    /// - Parameter isFirst: which half
    public func half(isFirst: Bool) -> ImageryCheck? {
        // A high bit: the low ones choose what is held out, so that held-out pictures agree in them.
        let rows = rows.filter { (stableHash("half of " + $0.key) >> 20 & 1 == 0) == isFirst }
        return rows.isEmpty ? nil : ImageryCheck(rows: rows)
    }

    private init(rows: [Row]) { self.rows = rows }

    /// Reads the text of a file.
    ///
    /// - Parameter file: its name, for messages
    /// - Throws: `EvaluationError.badLine` for other columns, a picture that stands twice, a line without expected
    ///   words or a word that is both; `.nothingFound` for a file without pictures.
    public init(_ text: String, file: String) throws(EvaluationError) {
        var rows: [Row] = []
        var lines: [[String]: Int] = [:]
        for (index, content) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            if content.allSatisfy(\.isWhitespace) || content.hasPrefix("#") { continue }
            let line = index + 1
            let columns = content.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard (3...4).contains(columns.count) else {
                throw .badLine(
                    file: file, line: line,
                    reason: "\(columns.count) columns where shard, key, expected and forbidden words are needed")
            }
            func words(_ column: Int) -> [String] {
                columns.indices.contains(column)
                    ? columns[column].split(whereSeparator: \.isWhitespace).map(String.init) : []
            }
            let row = Row(line: line, shard: columns[0], key: columns[1], expected: words(2), forbidden: words(3))
            guard !row.expected.isEmpty else { throw .badLine(file: file, line: line, reason: "no word is expected") }
            if let word = row.expected.first(where: row.forbidden.contains) {
                throw .badLine(file: file, line: line, reason: "\(word) is both expected and forbidden")
            }
            if let first = lines.updateValue(line, forKey: [row.shard, row.key]) {
                throw .badLine(file: file, line: line, reason: "\(row.key) stands in line \(first) already")
            }
            rows.append(row)
        }
        guard !rows.isEmpty else { throw .nothingFound(file: file, expected: "pictures with their words") }
        self.rows = rows
    }
}

/// How the words that pictures were given agree with an `ImageryCheck`.
public struct ImageryScore: Sendable, Equatable, Encodable {
    /// A word that a picture must not be given, and was.
    public struct Fault: Sendable, Equatable, Encodable {
        /// The shard of the picture.
        public let shard: String
        /// Its key.
        public let key: String
        /// The word.
        public let word: String
    }

    /// How many pictures there are.
    public let pictures: Int
    /// How many words were given in all.
    public let words: Int
    /// The share of the words that are expected, 0...1.
    public let expectedShare: Double
    /// The share of the pictures with at least one expected word.
    public let anyExpectedShare: Double
    /// The forbidden words that were given, in the order of the check.
    public let forbidden: [Fault]

    /// Compares.
    ///
    /// - Parameter said: the words of each row; the same number of lists as rows, at least one
    public init(_ rows: [ImageryCheck.Row], said: [[String]]) {
        precondition(
            rows.count == said.count && !rows.isEmpty, "\(said.count) lists of words for \(rows.count) pictures")
        let hits = zip(rows, said).map { row, words in words.count(where: row.expected.contains) }
        pictures = rows.count
        words = said.reduce(0) { $0 + $1.count }
        expectedShare = words > 0 ? Double(hits.reduce(0, +)) / Double(words) : 0
        anyExpectedShare = Double(hits.count { $0 > 0 }) / Double(rows.count)
        forbidden = zip(rows, said).flatMap { row, words in
            words.filter(row.forbidden.contains).map { Fault(shard: row.shard, key: row.key, word: $0) }
        }
    }
}
