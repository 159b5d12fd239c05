/// A language for messages.
public enum MessageLanguage: String, Sendable, CaseIterable {
    case chinese, english
}

/// One departure of a poem from its form.
public struct ProsodyFault: Sendable, Hashable, Codable {
    /// The kinds of fault, by their Chinese names.
    public enum Kind: String, Sendable, Codable, CaseIterable {
        /// The number of lines is not the form's.
        case lineCount = "句数"
        /// A line has too many or too few characters.
        case lineLength = "字数"
        /// A character of the wrong tone.
        case tone = "犯平仄"
        /// The only level tone beside the rhyme is lost (C: 平平仄仄平 with an oblique first, not rescued).
        case lonelyLevel = "孤平"
        /// Three level tones end the line.
        case threeLevels = "三平尾"
        /// The lines of a couplet do not oppose.
        case couplet = "失对"
        /// A couplet does not take up the one before it.
        case link = "失粘"
        /// A rhyme outside the group of the others.
        case rhyme = "出韵"
        /// A character rhymes twice.
        case repeatedRhyme = "重韵"
        /// A character that no table has, where the tone matters: it cannot be judged. Not a fault of the poem.
        case unknown = "未收字"

        /// The name in English.
        public var english: String {
            switch self {
            case .lineCount: "number of lines"
            case .lineLength: "line length"
            case .tone: "wrong tone"
            case .lonelyLevel: "lonely level tone"
            case .threeLevels: "three level tones at the end"
            case .couplet: "couplet does not oppose"
            case .link: "couplets do not link"
            case .rhyme: "off rhyme"
            case .repeatedRhyme: "repeated rhyme"
            case .unknown: "unknown character"
            }
        }
    }

    /// What is wrong.
    public let kind: Kind
    /// The line, from 1; nil where the poem as a whole is meant.
    public let line: Int?
    /// The character in its line, from 1; nil where the line as a whole is meant.
    public let position: Int?
    /// The character that is at fault.
    public let character: String?
    /// What was asked for: a tone, a number, a rhyme group, the tone of the second character.
    public let expected: String
    /// What was found.
    public let found: String

    /// The fault in plain words, one line.
    public func message(in language: MessageLanguage = .chinese) -> String {
        let (zh, en) = words(in: language)
        let place: (String, String) =
            switch (line, position) {
            case (let line?, let position?):
                (
                    "第\(line)句第\(position)字“\(character ?? "")”",
                    "line \(line), character \(position) “\(character ?? "")”"
                )
            case (let line?, nil): ("第\(line)句", "line \(line)")
            default: ("全诗", "the poem")
            }
        return language == .chinese ? "\(place.0)\(kind.rawValue)：\(zh)" : "\(place.1): \(kind.english): \(en)"
    }

    private func words(in language: MessageLanguage) -> (String, String) {
        let names = language == .english ? ["平": "level", "仄": "oblique"] : [:]
        let (expected, found) = (names[expected] ?? expected, names[found] ?? found)
        return switch kind {
        case .lineCount: ("应为\(expected)句，实有\(found)句", "the form has \(expected) lines, the poem \(found)")
        case .lineLength: ("应为\(expected)字，实有\(found)字", "the form has \(expected) characters here, the line \(found)")
        case .tone: ("此处宜\(expected)，此字读\(found)", "a \(expected) tone is wanted here, the character is \(found)")
        case .lonelyLevel: ("除韵脚外只有一个平声，又未拗救", "one level tone beside the rhyme, and no rescue")
        case .threeLevels: ("句末三字皆平", "the last three are all level")
        case .couplet:
            ("第二字宜\(expected)，与上句相反", "the second character should be \(expected), opposite to the line before")
        case .link: ("第二字宜\(expected)，与上句相同", "the second character should be \(expected), as in the line before")
        case .rhyme: ("本诗押\(expected)，此字属\(found)", "the poem rhymes in \(expected), the character is of \(found)")
        case .repeatedRhyme: ("此韵字已用于第\(found)句", "it already rhymes in line \(found)")
        case .unknown: ("\(expected)未收此字，无从判断", "\(expected) does not have it, so it cannot be judged")
        }
    }
}

/// The result of checking a poem.
public struct ProsodyReport: Sendable, Hashable, Codable {
    /// One line and what was asked of it.
    public struct Line: Sendable, Hashable, Codable {
        /// The characters, without punctuation.
        public let text: String
        /// The tones of its characters: 平, 仄, 通 (polyphonic), 未 (in no table).
        public let tones: String
        /// The pattern it was held against, 中 = free; empty where none was.
        public let pattern: String
        /// Whether the line rhymes.
        public let rhymes: Bool
    }

    /// The name of the form.
    public let form: String
    /// Of which family the form is.
    public let kind: Form.Kind
    /// Whether the form was guessed.
    public let isGuessed: Bool
    /// The opening that the poem was held against (`平起首句入韵`); nil for 古体 and ci.
    public let opening: String?
    /// How strictly the tones were judged.
    public let tones: TonePolicy
    /// The book that judged.
    public let book: RhymeBook
    /// The groups it rhymes in; two for a tune with level and oblique rhymes, none where no character is known.
    public let rhymeGroups: [String]
    /// Every line with its tones, its pattern and whether it rhymes.
    public let lines: [Line]
    /// Everything that was found, line by line.
    public let faults: [ProsodyFault]
    /// The share of known characters that suit the form's strict pattern (the best opening), free slots included; nil where
    /// nothing was held against a pattern (古体, wrong lengths).
    public let toneAccuracy: Double?
    /// The share of the form's rhymes that are in `rhymeGroups`; nil where lengths are wrong.
    public let rhymeAccuracy: Double?

    /// Whether the poem has no fault; a character that cannot be judged is not one, except as a rhyme.
    public var isRegular: Bool { !faults.contains { $0.kind != .unknown } }
}
