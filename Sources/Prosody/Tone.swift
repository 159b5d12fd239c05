/// The tones a character can be read in, or a slot can take: 平 (level) and 仄 (oblique: 上, 去 and 入).
public struct ToneSet: OptionSet, Sendable, Hashable, CustomStringConvertible {
    /// The bits.
    public let rawValue: UInt8

    /// The set with these bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// 平.
    public static let level = ToneSet(rawValue: 1)
    /// 仄.
    public static let oblique = ToneSet(rawValue: 2)
    /// Both: a polyphonic character, or a slot where the tone is free.
    public static let either: ToneSet = [.level, .oblique]

    /// 平, 仄, 通 (either) or 未 (in no table).
    public var description: String {
        switch self {
        case .level: "平"
        case .oblique: "仄"
        case .either: "通"
        default: "未"
        }
    }
}

/// How much of a form's tone pattern is demanded. Line lengths and rhyme are demanded under every policy; the
/// documentation of the module has a table of all rules.
public enum TonePolicy: String, Sendable, Codable, CaseIterable {
    /// The textbook pattern with its free places (王力《诗词格律》, ch. 2), no 拗救.
    case strict
    /// `strict`, and the licences that handbooks grant (拗救, 三仄尾, a first rhyme in a neighbouring group), each of
    /// which is remarked on. Ci tunes have none, so there it is the same as `strict`.
    case loose
    /// No tones but those of the rhymes.
    case off
}
