/// The season and the hour that characters name. A poem keeps to one of each: 春 and 秋, or 晓 and 暮, in four lines are
/// most often a slip of a small model, not a turn of thought.
public enum SeasonAndHour {
    private static let rings: [[[Character]]] = [
        [["春"], ["夏", "暑"], ["秋"], ["冬", "腊"]],
        [["晓", "晨", "曙", "旦"], ["昼", "午"], ["暮", "夕", "昏", "晚", "暝"], ["夜", "宵"]],
    ]

    private static let rivals: [Character: [Character]] = {
        var rivals: [Character: [Character]] = [:]
        for ring in rings {
            for (index, group) in ring.enumerated() {
                let others = ring.indices.filter { $0 != index }.flatMap { ring[$0] }
                for character in group { rivals[character] = others }
            }
        }
        return rivals
    }()

    /// The characters that name another season, or another hour, than this one does; empty for one that names neither.
    public static func others(than character: Character) -> [Character] { rivals[character] ?? [] }

    /// Whether two words name different seasons or different hours, so that one poem had better not hold both.
    public static func clash(_ a: String, _ b: String) -> Bool {
        a.contains { character in others(than: character).contains(where: b.contains) }
    }
}
