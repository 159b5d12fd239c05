public import TihuaFiles

/// What can be wrong with a request, in one line that says what to do.
public enum ProsodyError: RequestError, Equatable, Sendable, CustomStringConvertible {
    /// No form or tune has this name.
    case unknownForm(name: String, nearest: [String])
    /// The rhyme book has no group of this name that fits.
    case unknownRhymeGroup(name: String, book: String, nearest: [String])
    /// The group belongs to another rhyme book than the constraint's.
    case foreignRhymeGroup(group: String, book: String)
    /// The form rhymes in the other tone than the group's.
    case rhymeGroupTone(group: String, form: String)
    /// The rhyme group has fewer usable characters than the form has rhymes.
    case rhymeGroupTooSmall(group: String, members: Int, needed: Int)
    /// No rhyme group that the request allows has enough characters.
    case noRhymeGroup(form: String, minimumGroupSize: Int)
    /// More acrostic heads than lines.
    case acrosticTooLong(heads: String, lines: Int, form: String)
    /// A fixed line with another number of characters than the form has there. Lines count from 1 here and below.
    case fixedLineLength(line: Int, expected: Int, found: Int)
    /// A fixed line that the form does not have.
    case fixedLineOutside(line: Int, lines: Int)
    /// An acrostic head that is not the first character of the fixed line.
    case fixedConflict(line: Int, head: Character, text: String)
    /// A fixed character that cannot stand in its slot, given the other fixed characters.
    case fixedCharacter(line: Int, position: Int, character: Character, form: String)
    /// Fixed characters that differ where the tune repeats a line.
    case fixedRepeat(line: Int, source: Int, character: Character, wanted: Character, form: String)
    /// The same fixed character at two rhymes.
    case repeatedFixedRhyme(character: Character)
    /// Text that holds something other than Han characters and punctuation.
    case notHan(character: Character, line: Int, position: Int)
    /// The text holds no poem.
    case emptyPoem
    /// No form has lines of these lengths.
    case noMatchingForm(lineLengths: [Int])

    /// Always: the form, the rhyme and the text come with the request.
    public var isRequestFault: Bool { true }

    /// One line: what cannot be met, where, what to do.
    public var description: String {
        switch self {
        case .unknownForm(let name, let nearest):
            "unknown form “\(name)”; nearest: \(nearest.joined(separator: ", "))"
        case .unknownRhymeGroup(let name, let book, let nearest):
            "\(book) has no rhyme group “\(name)” for this form; nearest: \(nearest.joined(separator: ", "))"
        case .foreignRhymeGroup(let group, let book):
            "rhyme group \(group) is not of \(book); choose a group of that book"
        case .rhymeGroupTone(let group, let form):
            "\(form) cannot rhyme in \(group): it is of the other tone; choose a \(form) rhyme of the right tone"
        case .rhymeGroupTooSmall(let group, let members, let needed):
            "rhyme group \(group) has \(members) usable characters and the poem needs \(needed); choose a larger group"
        case .noRhymeGroup(let form, let size):
            "no rhyme group for \(form) has enough characters (minimum group size \(size)); lower the minimum or name a group"
        case .acrosticTooLong(let heads, let lines, let form):
            "acrostic “\(heads)” has more characters than the \(lines) lines of \(form); shorten it or choose a longer form"
        case .fixedLineLength(let line, let expected, let found):
            "line \(line) is fixed with \(found) characters and the form has \(expected) there"
        case .fixedLineOutside(let line, let lines):
            "line \(line) is fixed but the form has lines 1 to \(lines)"
        case .fixedConflict(let line, let head, let text):
            "line \(line) is fixed as “\(text)” and its acrostic head is “\(head)”; they must begin alike"
        case .fixedCharacter(let line, let position, let character, let form):
            "“\(character)” cannot stand at line \(line), character \(position) of \(form); change it, or relax the tones"
        case .fixedRepeat(let line, let source, let character, let wanted, let form):
            "line \(line) of \(form) repeats line \(source), so “\(character)” cannot stand where “\(wanted)” does; give both alike"
        case .repeatedFixedRhyme(let character):
            "“\(character)” is fixed as two rhymes; a poem uses a rhyme character once"
        case .notHan(let character, let line, let position):
            "“\(character)” at line \(line), character \(position) is not a Chinese character; remove it"
        case .emptyPoem:
            "no poem text; give Chinese characters, a line each or with punctuation"
        case .noMatchingForm(let lengths):
            "no form has lines of \(lengths.map(String.init).joined(separator: ", ")) characters; name the form to see the faults"
        }
    }
}
