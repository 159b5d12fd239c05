/// Poem text as people type it.
public enum PoemText {
    /// The lines of `text`: Han characters between punctuation, white space and line ends, which all split.
    ///
    /// - Parameter simplify: turns the text into simplified characters before it is split; the tables of `Prosody` know
    ///   no others. The default takes the text as it is.
    /// - Throws: `ProsodyError.notHan` for anything that is neither Han nor punctuation (Latin, digits, emoji, □), with its
    ///   line and place in the text; `.emptyPoem`.
    public static func lines(of text: String, simplify: (String) throws -> String = { $0 }) throws -> [String] {
        var lines: [String] = []
        var current = ""
        var (row, column) = (1, 0)
        for character in try simplify(text) {
            column += 1
            if character.isHan {
                current.append(character)
                continue
            }
            guard isSeparator(character) else {
                throw ProsodyError.notHan(character: character, line: row, position: column)
            }
            if !current.isEmpty { lines.append(current) }
            current = ""
            if character.isNewline { (row, column) = (row + 1, 0) }
        }
        if !current.isEmpty { lines.append(current) }
        guard !lines.isEmpty else { throw ProsodyError.emptyPoem }
        return lines
    }

    private static func isSeparator(_ character: Character) -> Bool {
        // The byte order mark and zero-width space come with pasted text; CCPC splits lines with a bar.
        character.isWhitespace || character.isPunctuation || "|｜\u{FEFF}\u{200B}".contains(character)
    }
}
