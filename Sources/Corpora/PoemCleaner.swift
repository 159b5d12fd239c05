import Foundation

/// Why a poem is not in the corpus.
public enum DropReason: String, Sendable, CaseIterable, Comparable {
    /// The record is not an object with a list of paragraphs.
    case unparseable = "no title and paragraphs in the record"
    /// It has no text at all.
    case empty = "no text"
    /// □ and other signs for characters that are lost or cannot be printed.
    case lacuna = "lacunae (□ and the like, characters described by parts)"
    /// A bracket opens and does not close, so note and text cannot be told apart.
    case brackets = "brackets that do not match"
    /// A scene of a play: stage directions and spoken parts among the lines.
    case play = "spoken parts of a play"
    /// A clause too long for verse: a preface or a note within the paragraphs.
    case prose = "prose (a preface or a note) among the lines"
    /// A letter, digit, kana or private-use character.
    case notChinese = "characters that are not Chinese"
    /// A shi with lines of different lengths.
    case unequal = "unequal lines in a shi"
    /// Fewer than four lines, or an odd number of them.
    case fragment = "fragments (fewer than four lines, or an odd number)"
    /// Lines of a shi that have fewer than 4 or more than 7 characters.
    case length = "lines of an unusual length in a shi"
    /// More lines than the limit.
    case tooLong = "too long"
    /// The same text stood in the corpus already.
    case duplicate = "duplicates"

    /// The order of their names.
    public static func < (left: DropReason, right: DropReason) -> Bool { left.rawValue < right.rawValue }
}

/// Turns the paragraphs of a source into lines, or says why not.
struct PoemCleaner {
    /// How a text is divided.
    enum Kind: Sendable {
        /// Lines of equal length; named by shape.
        case shi
        /// Lines of any length, with their punctuation kept; the name is the form.
        case free(form: String)
    }

    /// 莺啼序, the longest tune, has about 50 clauses.
    static let maximumLines = 80
    /// The longest clause of a ci has 11 characters; plays and 楚辞 go a little further.
    static let maximumClause = 12
    static let maximumShiClause = 9

    struct Text: Equatable {
        var form: String
        var lines: [String]
        var ends: String?
    }

    static func clean(_ paragraphs: [String], as kind: Kind) -> Result<Text, Dropped> {
        let text = paragraphs.joined(separator: "\n").precomposedStringWithCanonicalMapping
        guard let (plain, notes) = withoutNotes(text) else { return .failure(.init(.brackets)) }
        if case .free("曲") = kind, notes.contains(where: isStageDirection) { return .failure(.init(.play)) }
        return clauses(plain).flatMap { clauses in
            switch kind {
            case .shi: shi(clauses, plain: plain)
            case .free(let form): free(clauses, form: form)
            }
        }
    }

    struct Dropped: Error, Equatable {
        let reason: DropReason
        init(_ reason: DropReason) { self.reason = reason }
    }

    private typealias Clause = (text: String, end: Character)

    // MARK: - Notes

    private static let opening: [Unicode.Scalar: Unicode.Scalar] = [
        "(": ")", "（": "）", "[": "]", "［": "］", "〔": "〕", "〖": "〗", "【": "】",
    ]
    private static let closing = Set(opening.values)

    /// The text without what stands in brackets, and what stood there; nil where the brackets do not match. A
    /// full-width bracket may be closed by its ASCII twin, which occurs often.
    static func withoutNotes(_ text: String) -> (text: String, notes: [String])? {
        var plain = String.UnicodeScalarView()
        var notes: [String] = []
        var note = String.UnicodeScalarView()
        var expected: [Unicode.Scalar] = []
        for scalar in text.unicodeScalars {
            if let close = opening[scalar] {
                expected.append(close)
            } else if closing.contains(scalar) {
                guard let last = expected.popLast(), folded(last) == folded(scalar) else { return nil }
                if expected.isEmpty {
                    notes.append(String(note))
                    note.removeAll()
                }
            } else if expected.isEmpty {
                plain.append(scalar)
            } else {
                note.append(scalar)
            }
        }
        return expected.isEmpty ? (String(plain), notes) : nil
    }

    private static func folded(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
        switch scalar {
        case "）": ")"
        case "］": "]"
        default: scalar
        }
    }

    private static func isStageDirection(_ note: String) -> Bool {
        note.contains { "云唱科白曰旦末净外".contains($0) }
    }

    // MARK: - Clauses

    private static let ends: [Unicode.Scalar: Character] = [
        "，": "，", ",": "，", "。": "。", "．": "。", ".": "。", "、": "、", "；": "；", ";": "；", "：": "：", ":": "：",
        "？": "？", "?": "？", "！": "！", "!": "！", "\n": "。", "\r": "。",
    ]
    /// Quotation marks, brackets of titles, spaces: left out.
    private static let silent: Set<Unicode.Scalar> = [
        "《", "》", "〈", "〉", "「", "」", "『", "』", "“", "”", "‘", "’", "\"", "'", " ", "\u{3000}", "\u{A0}", "\t", "…",
        "—", "·",
        "・", "\u{FEFF}", "\u{200B}",
    ]
    private static let lacunae: Set<Unicode.Scalar> = [
        "□", "○", "●", "■", "◇", "\u{FFFD}", "{", "}", "×", "＊", "*", "＿", "_", "▢", "囗",
    ]

    private static func clauses(_ text: String) -> Result<[Clause], Dropped> {
        var result: [Clause] = []
        var current = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if isHan(scalar) {
                current.append(scalar)
            } else if let end = ends[scalar] {
                if !current.isEmpty {
                    result.append((String(current), end))
                    current.removeAll()
                }
            } else if lacunae.contains(scalar) || (0x2FF0...0x2FFB).contains(scalar.value) {
                return .failure(Dropped(.lacuna))
            } else if !silent.contains(scalar) {
                return .failure(Dropped(.notChinese))
            }
        }
        if !current.isEmpty { result.append((String(current), "。")) }
        return result.isEmpty ? .failure(Dropped(.empty)) : .success(result)
    }

    /// Ideographs of every block, and 〇.
    static func isHan(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x3007, 0x20000...0x323AF: true
        default: false
        }
    }

    // MARK: - Verse

    private static func shi(_ clauses: [Clause], plain: String) -> Result<Text, Dropped> {
        var lines = clauses.map(\.text)
        if !isEqual(lines) {
            // 、 and ： may stand within a line: 风、雨、雪、霜 is not four lines.
            let joined = joining(clauses).map(\.text)
            if isEqual(joined) { lines = joined }
        }
        if lines.contains(where: { $0.unicodeScalars.count > maximumShiClause }) { return .failure(Dropped(.prose)) }
        guard isEqual(lines) else { return .failure(Dropped(.unequal)) }
        guard lines.count >= 4, lines.count % 2 == 0 else { return .failure(Dropped(.fragment)) }
        guard lines.count <= maximumLines else { return .failure(Dropped(.tooLong)) }
        guard let form = PoemShape.form(ofShi: lines) else { return .failure(Dropped(.length)) }
        return .success(Text(form: form, lines: lines, ends: nil))
    }

    private static func joining(_ clauses: [Clause]) -> [Clause] {
        var result: [Clause] = []
        var open = ""
        for clause in clauses {
            open += clause.text
            if clause.end == "、" || clause.end == "：" { continue }
            result.append((open, clause.end))
            open = ""
        }
        return open.isEmpty ? result : result + [(open, "。")]
    }

    private static func free(_ clauses: [Clause], form: String) -> Result<Text, Dropped> {
        if clauses.contains(where: { $0.text.unicodeScalars.count > maximumClause }) {
            return .failure(Dropped(.prose))
        }
        guard clauses.count >= 3 else { return .failure(Dropped(.fragment)) }
        guard clauses.count <= maximumLines else { return .failure(Dropped(.tooLong)) }
        return .success(Text(form: form, lines: clauses.map(\.text), ends: String(clauses.map(\.end))))
    }

    private static func isEqual(_ lines: [String]) -> Bool {
        let length = lines.first?.unicodeScalars.count
        return lines.allSatisfy { $0.unicodeScalars.count == length }
    }
}
