/// What a theme may be written for: a wedding, a birthday, a farewell. The same characters that are at home in most
/// poems wound there: 亡 老 愁 散 at a wedding, mirth at a grave.
struct Occasion: Equatable {
    /// Which occasions these are, for tests and messages.
    let names: [String]
    /// Characters that must not stand.
    let withheld: Set<Character>
    /// Words that must not stand though their characters may.
    let wounds: [String]
    /// Words of the bank that suit it, which a poem may be asked for beside those that the picture calls up.
    let words: [String]

    private struct Entry {
        let name: String
        /// What a theme says of it, in simplified characters.
        let mentions: [String]
        let withheld: String
        var wounds: [String] = []
        let words: [String]
    }

    /// Death, parting and sorrow, away from every feast.
    private static let sorrow = "亡死殁殇老衰朽愁散离别孤独寡鳏恨怨断绝泪泣哭啼悲哀伤苦残病坟墓冢葬丧祭鬼魂凄凉惨贫穷罪弃破败休废骚悴憔鬓"
    /// Death and hatred alone: who parts may be sad.
    private static let death = "亡死殁殇坟墓冢葬丧祭鬼魂病残绝弃恨怨仇"
    private static let coldness = ["无情", "薄情", "寡情", "负心", "薄命", "断肠", "白骨", "黄泉", "无缘", "无恩", "负恩", "二毛", "白发", "华发"]

    /// Where 老 is no age.
    private static let titles = ["老师", "老板", "老公", "老婆", "老爸", "老妈", "老家", "老乡", "老同学", "老战友"]
    /// Which of them stands in the poem is settled where one alone is thanked.
    private static let parents = "父翁母妇"

    private static let table: [Entry] = [
        Entry(
            name: "wedding",
            mentions: [
                "新婚", "结婚", "婚礼", "婚宴", "成婚", "完婚", "大婚", "婚庆", "订婚", "求婚", "金婚", "银婚", "出嫁", "嫁女", "嫁给", "迎娶", "娶亲",
                "娶妻",
                "喜酒", "新郎", "新娘", "洞房", "百年好合", "喜结良缘",
            ],
            withheld: sorrow, wounds: coldness, words: ["鸳鸯", "双燕", "红烛", "新人", "牡丹", "华堂"]),
        Entry(
            name: "love", mentions: ["情人节", "表白", "恋人", "爱人", "爱情", "结婚纪念", "相爱"],
            withheld: sorrow, wounds: coldness, words: ["鸳鸯", "双燕", "明月", "玫瑰", "携手"]),
        Entry(
            name: "birthday",
            mentions: ["生日", "生辰", "寿辰", "祝寿", "贺寿", "大寿", "诞辰", "周岁", "庆生", "百岁", "寿宴", "寿星"],
            withheld: sorrow, wounds: coldness, words: ["寿筵", "蟠桃", "仙鹤", "青松", "华筵"]),
        Entry(
            name: "birth", mentions: ["出生", "降生", "诞生", "满月酒", "新生儿", "喜得贵子", "喜得千金", "弄璋", "弄瓦"],
            withheld: sorrow, wounds: coldness, words: ["婴儿", "嫩芽", "春光", "朝日"]),
        Entry(
            name: "new year", mentions: ["新年", "春节", "除夕", "过年", "元旦", "拜年", "贺岁", "辞旧迎新"],
            withheld: sorrow, wounds: coldness, words: ["新年", "花灯", "烟火", "梅花", "灯笼", "春色"]),
        Entry(
            name: "new home", mentions: ["乔迁", "新居", "搬家", "新房", "落成"],
            withheld: sorrow, wounds: coldness, words: ["华堂", "庭院", "燕子", "春光"]),
        Entry(
            name: "new business", mentions: ["开业", "开张", "开工", "升职", "高升", "荣升", "凯旋", "夺冠", "获奖"],
            withheld: sorrow, wounds: coldness, words: ["凌云", "春色", "朝日", "夺标"]),
        Entry(
            name: "graduation",
            mentions: ["毕业", "金榜", "高考", "中考", "升学", "录取", "考上", "及第", "学成"],
            withheld: "亡死殁老衰愁恨怨绝泪泣哭悲哀苦残病坟墓葬丧鬼穷困弃败废", wounds: ["落第", "下第", "无成", "不第"],
            words: ["登科", "凌云", "少年", "书卷", "登高"]),
        Entry(
            name: "recovery", mentions: ["康复", "住院", "病愈", "痊愈", "养病", "出院"],
            withheld: "亡死殁老衰朽枯落愁绝断泪泣哭悲哀残坟墓葬丧祭鬼魂危弃败", wounds: ["黄泉", "白骨", "薄命"],
            words: ["青松", "春光", "新绿", "朝日"]),
        Entry(
            name: "thanks",
            mentions: ["感谢", "谢谢", "感恩", "致谢", "答谢", "道谢", "报答", "报恩", "恩情"],
            withheld: death + "老愁散离孤寡断薄负泪哭悲哀", wounds: coldness, words: ["春光", "春草", "明月"]),
        Entry(
            name: "teacher", mentions: ["老师", "恩师", "师恩", "谢师", "教师节"],
            withheld: death + "老愁散离孤寡断薄负泪哭悲哀", wounds: coldness, words: ["桃李", "春光", "青松"]),
        Entry(
            name: "mother", mentions: ["母亲", "妈妈", "慈母", "母爱", "母恩", "老妈", "娘亲", "妈咪", "父母", "双亲", "爹娘"],
            withheld: death + "父翁老愁散离孤寡薄负妾妓断", wounds: coldness + ["后母"],
            words: ["萱草", "春草", "缝衣", "春光"]),
        Entry(
            name: "father", mentions: ["父亲", "爸爸", "父爱", "慈父", "老爸", "父母", "双亲", "爹娘"],
            withheld: death + "母妇妾妓老愁散离孤寡薄负断", wounds: coldness, words: ["青松", "高峰", "青山"]),
        Entry(
            name: "farewell", mentions: ["送别", "告别", "离别", "分别", "道别", "送行", "饯行", "饯别", "惜别", "再见", "一路平安", "一路顺风"],
            withheld: death + "老", wounds: ["黄泉", "白骨", "薄命", "无情", "薄情", "负心"],
            words: ["长亭", "杨柳", "孤帆", "故人", "送行"]),
        Entry(
            name: "reunion", mentions: ["中秋", "团圆", "团聚", "重逢", "聚会", "相聚", "重聚"],
            withheld: death + "散离寡断", wounds: coldness, words: ["明月", "团圆", "桂花", "故人", "举杯"]),
        mourning,
    ]

    private static let mourning = Entry(
        name: "mourning",
        mentions: [
            "去世", "逝世", "离世", "过世", "病逝", "辞世", "悼念", "哀悼", "追悼", "追思", "扫墓", "祭奠", "祭扫", "葬礼", "安息", "亡故", "遗像", "缅怀",
        ],
        withheld: "喜笑欢乐贺庆戏舞醉嬉娱快宴婚嫁艳妓", wounds: ["无情", "薄情", "负心"],
        words: ["白菊", "青松", "细雨", "烛光", "落花"])

    /// The occasions that a theme mentions; nil for none. Where somebody is mourned, nothing else counts.
    ///
    /// - Parameters:
    ///   - theme: in simplified characters
    ///   - given: what the user wants to stand, whatever the occasion
    init?(theme: String, given: String = "") {
        var entries = Self.table.filter { $0.mentions.contains(where: theme.contains) }
        if entries.contains(where: { $0.name == Self.mourning.name }) { entries = [Self.mourning] }
        guard !entries.isEmpty else { return nil }
        var bare = theme
        for title in Self.titles { bare = bare.replacing(title, with: "") }
        names = entries.map(\.name)
        var kept = Set(entries.flatMap(\.withheld)).subtracting(bare + given)
        if names.contains("mother"), names.contains("father") { kept.subtract(Self.parents) }
        withheld = kept
        let wounded = entries.flatMap(\.wounds)
        wounds = wounded.enumerated().filter { wounded.firstIndex(of: $1) == $0 && !theme.contains($1) }.map(\.element)
        let suiting = entries.flatMap(\.words)
        words = suiting.enumerated()
            .filter { suiting.firstIndex(of: $1) == $0 && kept.isDisjoint(with: $1) }.map(\.element)
    }

    /// Whether nothing in a poem wounds.
    func admits(_ lines: [String]) -> Bool {
        !lines.contains { line in wounds.contains(where: line.contains) }
    }
}
