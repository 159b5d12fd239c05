/// Poem text as people type it.
public struct PoemText: Sendable, Equatable {
    /// What stands above the verses: title, author, dynasty; empty where nothing does.
    public let heading: [String]
    /// The verses: Han characters, and `lost` for those that are not known.
    public let lines: [String]

    /// Stands for a character that is lost.
    public static let lost: Character = "□"

    /// The lines of `text`, as `init` reads them.
    ///
    /// - Throws: as `init`.
    public static func lines(of text: String, simplify: (String) throws -> String = { $0 }) throws -> [String] {
        try PoemText(text, simplify: simplify).lines
    }

    /// Reads `text`: Han characters between punctuation, white space and line ends, which all split lines.
    ///
    /// Spaces between single characters (`白 日 依 山 尽`) do not split. Rows above the verses that no verse punctuation
    /// ends are the heading, where what is left has a form and the whole has none; that is how a title and an author
    /// are told from verse.
    ///
    /// - Parameters:
    ///   - form: the form that the poem is meant to have; nil where any will do.
    ///   - simplify: turns the text into simplified characters before it is split; the tables of `Prosody` know no
    ///     others. The default takes the text as it is.
    /// - Throws: `ProsodyError.notHan` for anything that is neither Han nor punctuation (Latin, digits, emoji), with
    ///   its line and place in the text; `.emptyPoem`.
    public init(_ text: String, as form: Form? = nil, simplify: (String) throws -> String = { $0 }) throws {
        let parts = Self.parts(of: try simplify(text))
        guard !parts.isEmpty else { throw ProsodyError.emptyPoem }
        let start = Self.start(of: parts, as: form)
        if let foreign = parts[start...].lazy.compactMap(\.foreign).first { throw foreign }
        heading = parts[..<start].map(\.text)
        lines = parts[start...].map(\.text)
    }

    /// A run of characters that nothing splits.
    private struct Part {
        var text = ""
        /// Whether a mark that stands between verses ends it.
        var isVerse = false
        /// Whether it ends its row.
        var endsRow = false
        /// The first character in it that no verse has.
        var foreign: ProsodyError?
    }

    private static func parts(of text: String) -> [Part] {
        var parts: [Part] = []
        var current = Part()
        /// Where the current row of single characters between spaces began among the parts.
        var spaced: Int?
        func close(isVerse: Bool) {
            guard !current.text.isEmpty else {
                if isVerse, !parts.isEmpty { parts[parts.count - 1].isVerse = true }
                return
            }
            current.isVerse = isVerse
            parts.append(current)
            current = Part()
        }
        /// Joins the parts since `spaced` if each is one character.
        func join() {
            defer { spaced = nil }
            guard let start = spaced, parts.count > start + 1, parts[start...].allSatisfy({ $0.text.count == 1 }) else {
                return
            }
            let whole = Part(
                text: parts[start...].map(\.text).joined(), isVerse: parts[parts.count - 1].isVerse,
                foreign: parts[start...].lazy.compactMap(\.foreign).first)
            parts.replaceSubrange(start..., with: [whole])
        }
        var (row, column) = (1, 0)
        for character in text {
            column += 1
            if character.isHan {
                current.text.append(character)
            } else if lostSigns.contains(character) {
                current.text.append(lost)
            } else if character.isNewline {
                close(isVerse: false)
                join()
                if !parts.isEmpty { parts[parts.count - 1].endsRow = true }
                (row, column) = (row + 1, 0)
            } else if character.isWhitespace {
                if spaced == nil { spaced = parts.count }
                close(isVerse: false)
            } else if verseMarks.contains(character) {
                close(isVerse: true)
                join()
            } else if character.isPunctuation {
                guard !quotes.contains(character) else { continue }
                close(isVerse: false)
                join()
            } else if !invisible.contains(character) {
                current.text.append(character)
                if current.foreign == nil {
                    current.foreign = .notHan(character: character, line: row, position: column)
                }
            }
        }
        close(isVerse: false)
        join()
        return parts
    }

    private static let verseMarks = Set("，。！？；、,.!?;|｜")
    private static let quotes = Set("“”‘’「」『』\"'")
    private static let lostSigns = Set("□▢■〓\u{FFFD}")
    // The byte order mark and zero-width spaces come with pasted text.
    private static let invisible = Set("\u{FEFF}\u{200B}\u{2060}")

    /// The most parts of a heading: title, dynasty, author, years.
    private static let longestHeading = 6

    /// The index of the first verse.
    private static func start(of parts: [Part], as form: Form?) -> Int {
        let unmarked = min(parts.prefix { !$0.isVerse }.count, longestHeading, parts.count - 1)
        guard unmarked > 0 else { return 0 }
        let fit = (0...unmarked).first { start in
            let rest = parts[start...]
            guard rest.allSatisfy({ $0.foreign == nil }) else { return false }
            return hasForm(rest.map(\.text), form, isWhole: start == 0)
        }
        if let fit { return fit }
        // A faulty poem has no form, but its punctuation still tells it from its heading.
        let isClear = parts[unmarked - 1].endsRow && parts[unmarked..<parts.count - 1].allSatisfy(\.isVerse)
        return isClear && parts.count - unmarked > 1 ? unmarked : 0
    }

    private static func hasForm(_ lines: [String], _ form: Form?, isWhole: Bool) -> Bool {
        let lengths = lines.map(\.count)
        guard let form else {
            // Five or nine equal lines are a quatrain or an octave below a title as long; a few lines are no poem
            // below a heading.
            let isEven = Set(lengths).count == 1
            if isEven, isWhole ? lengths.count == 5 || lengths.count == 9 : lengths.count < 4 || lengths.count % 2 == 1
            {
                return false
            }
            return (try? ProsodyChecker().check(lines)) != nil
        }
        switch form.kind {
        case .ci: return lengths.reduce(0, +) == form.characterCount
        case .regulated: return lengths == form.lineLengths
        case .ancient: return Set(lengths) == [form.lineLengths[0]] && (form.lineCount != 4 || lengths.count == 4)
        }
    }
}
