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
        /// A line that does not repeat what the tune repeats there.
        case refrain = "叠句"
        /// A remark: the third of the last five is level for oblique (平平平仄平) or oblique for level (中仄仄平仄), which asks
        /// for no rescue.
        case minor = "小拗"
        /// A remark: the fourth of the last five is oblique for level (中仄中仄仄), and the next line rescues it.
        case major = "大拗"
        /// A remark: 平平仄平仄, whose third and fourth of the last five have changed places.
        case special = "特拗"
        /// A remark: a level third of the last five rescues the first of its own line (仄平平仄平), or the line before.
        case rescue = "拗救"
        /// A remark: three oblique tones end the line, after two level ones (平平仄仄仄).
        case threeObliques = "三仄尾"
        /// A remark: the first line rhymes in a neighbouring group.
        case neighbour = "邻韵"
        /// A remark: a character that no table has, or one that is lost, where it matters: it cannot be judged.
        case unknown = "未收字"

        /// Whether this is only worth saying, and no fault: a licence that `TonePolicy.loose` grants, or what cannot
        /// be judged.
        public var isRemark: Bool {
            switch self {
            case .minor, .major, .special, .rescue, .threeObliques, .neighbour, .unknown: true
            case .lineCount, .lineLength, .tone, .lonelyLevel, .threeLevels, .couplet, .link, .rhyme, .repeatedRhyme,
                .refrain:
                false
            }
        }

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
            case .minor: "minor deviation"
            case .major: "major deviation"
            case .special: "special pattern"
            case .rescue: "rescue"
            case .threeObliques: "three oblique tones at the end"
            case .neighbour: "neighbouring rhyme"
            case .refrain: "refrain"
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

    /// Whether it is the 小拗 of 平平平仄平.
    var isLevelForOblique: Bool { kind == .minor && found == ToneSet.level.description }

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
        case .minor:
            ("本宜\(expected)，用\(found)可不救", "the textbook has \(expected) here; \(found) needs no rescue")
        case .major:
            ("本宜\(expected)，由下句救", "the textbook has \(expected) here; the next line makes up for it")
        case .special:
            ("与下一字平仄互换，常用之格", "it has changed tones with the next character, a pattern that poets often use")
        case .rescue: ("此处用平，补救前面的拗字", "a level tone here makes up for an oblique one before")
        case .threeObliques:
            ("句末三字皆仄，其上二字皆平，可用", "the last three are all oblique, which may follow two level ones")
        case .neighbour: ("首句借用邻韵\(found)", "the first line may borrow its rhyme, here from \(found)")
        case .unknown where character == String(PoemText.lost): ("此字已佚，无从判断", "it is lost, so it cannot be judged")
        case .refrain:
            ("此处叠第\(found)句，应为“\(expected)”", "the tune repeats line \(found) here, so it should be “\(expected)”")
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
    /// The family of the form.
    public let kind: Form.Kind
    /// Whether the form was guessed.
    public let isGuessed: Bool
    /// The opening that the poem was held against (`平起首句入韵`); nil for 古体 and ci.
    public let opening: String?
    /// How strictly the tones were judged.
    public let tones: TonePolicy
    /// The book that judged.
    public let book: RhymeBook
    /// The groups it rhymes in; several for a tune whose rhymes change or mix tones, none where no character is known.
    public let rhymeGroups: [String]
    /// Every line with its tones, its pattern and whether it rhymes.
    public let lines: [Line]
    /// Everything that is wrong, line by line.
    public let faults: [ProsodyFault]
    /// What is worth saying and is no fault, line by line: licences that were used, characters that cannot be judged.
    public let remarks: [ProsodyFault]
    /// The share of known characters that suit the form's strict pattern (the best opening), free slots included; nil
    /// where nothing was held against a pattern (古体, wrong lengths).
    public let toneAccuracy: Double?
    /// The share of the form's rhymes, those that cannot be judged left out, that are in `rhymeGroups`; nil where
    /// lengths are wrong.
    public let rhymeAccuracy: Double?

    /// Whether the poem has no fault. Characters that cannot be judged are none.
    public var isRegular: Bool { faults.isEmpty }
}
