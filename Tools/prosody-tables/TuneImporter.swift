import Foundation
import TihuaCorpora
import TihuaFiles
import TihuaProsody

/// Writes `Sources/Prosody/Tunes.swift` and its article: the patterns of ci tunes.
///
/// Input: `ci-meters.json` (LingDong-/cope), of which the lines of 57 tunes are taken (less those that stand twice in
/// two of them, and with 领字 joined to their lines), and 宋词 of chinese-poetry, over which all else is counted. What is
/// written are facts in the project's own form, no text of a poem. How a form is counted:
///
/// - Over all poems of the tune with the form's number of characters and a line end between its parts, at least
///   `fewest`, else the published pattern stays as it is. Where the lines are not published, they are the commonest (、
///   divides none). The usual form of a tune and one in the other tone (平韵, 仄韵) are told apart by the last character.
/// - A slot is level or oblique where `nearly` all characters with one tone are; polyphones do not count.
/// - Lines rhyme whose ends share a part of 词林正韵 in `rhyming` of the poems, and with them all others that do.
/// - A line repeats the end of the line before, or its rhyme, where `nearly` all poems do: that is demanded; where
///   `some` do, it is allowed.
/// - Three tunes of which there are too few poems to count are written by hand, after the handbooks and these poems.
///
/// Beside each form stand the poems of its tune, those as long as the form, and those in which the checker finds no
/// fault. Tones are those of the tables that this program was built with.
enum TuneImporter {
    /// What an import found and wrote.
    struct Report: Equatable, Sendable, CustomStringConvertible {
        /// Forms whose lines are published.
        var published = 0
        /// Forms whose lines are counted too.
        var counted = 0
        /// Forms from handbooks.
        var handbook = 0
        /// Poems of 宋词 that were read.
        var poems = 0

        /// The counts as a text for people.
        var description: String {
            "ci forms: \(published) published, \(counted) counted over \(poems) poems, \(handbook) from handbooks"
        }
    }

    /// Poems that a form is counted over, at least.
    static let fewest = 12
    /// The share of poems that makes a tone or a repeat the tune's.
    static let nearly = 0.9
    /// The share of poems whose ends rhyme where the tune does; elsewhere it is below a quarter.
    static let rhyming = 0.7
    /// The share of poems that shows a repeat to be allowed.
    static let some = 0.05

    /// Every form and the characters of its parts. Those that cope lacks are counted; behind `=` stands a tune whose
    /// name the corpus gives to poems of this form too.
    private static let forms = """
        一剪梅 30 30;临江仙 30 30;八声甘州 46 51;十六字令 16;千秋岁 35 36;南乡子 28 28;南歌子 23;卜算子 22 22;喜迁莺 51 52;声声慢 49 48;
        如梦令 33;小重山 30 28;少年游 25 25;忆秦娥 21 25;念奴娇 49 51;感皇恩 34 33;摸鱼儿 57 59;望江南 27;朝中措 24 24;柳梢青 24 25;
        水调歌头 48 47;水龙吟 52 50;永遇乐 52 52;汉宫春 47 49;江城子 35 35;沁园春 56 58;洞仙歌 34 49;浣溪沙 21 21;浪淘沙 27 27;
        清平乐 22 24;渔家傲 31 31;满庭芳 48 47;满江红 47 46;点绛唇 20 21;玉楼春 28 28;瑞鹤仙 52 50;生查子 20 20;眼儿媚 24 24;
        祝英台近 37 40;蓦山溪 41 41;蝶恋花 30 30;行香子 33 33;诉衷情 23 21;谒金门 21 24;贺新郎 57 59;踏莎行 29 29;醉花阴 26 26;
        醉落魄 27 30;醉蓬莱 47 50;采桑子 22 22;阮郎归 24 23;霜天晓角 21 22;青玉案 33 34;风入松 38 38;风流子 34;鹊桥仙 28 28;
        鹧鸪天 28 27;菩萨蛮 24 20;西江月 25 25;减字木兰花 22 22;好事近 22 23;虞美人 28 28;木兰花慢 50 51;长相思 18 18;齐天乐 51 51;
        导引 26 24;定风波 30 32;调笑=调笑令 38;相见欢=乌夜啼 18 18;乌夜啼 24 24;夜行船 28 28;渔父 27;瑞鹧鸪 28 28;更漏子 23 23;
        忆王孙 31;桃源忆故人 24 24;唐多令 30 30;武陵春 24 24;烛影摇红 48 48;最高楼 36 45;昭君怨 20 20;苏幕遮 31 31;天仙子 34 34;
        望海潮 53 54;摊破浣溪沙=浣溪沙 24 24;临江仙·五十八字 29 29;南歌子·双调 26 26;望江南·双调 27 27;青玉案·六十六字 33 33;
        青玉案·六十八字 33 35;风入松·七十四字 37 37;少年游·五十一字 25 26;千秋岁·七十二字 36 36;忆秦娥·平韵 21 25;柳梢青·仄韵 24 25;
        洞仙歌·八十五字 34 51;风流子·一百十字 59 51;
        调笑令 32;钗头凤 30 30;东坡引 27 31
        """

    /// Patterns and repeats as handbooks have them (戴叔伦's and 韦应物's 调笑令, 陆游's 钗头凤, 辛弃疾's 东坡引). 调笑令 turns the end of its
    /// fifth line round (路迷, 迷路).
    private static let handbook = [
        "调笑令": "14,14,020104,010203b,020123b,14c,14c,020104c 2=1,6.1=5.6,6.2=5.5,7=6",
        "钗头凤": "014,014,0102114,014b,014b,0102,0104b,224b/014,014,0102114,014b,014b,0102,0104b,224b "
            + "8.2=8.1,8.3=8.1,16.2=16.1,16.3=16.1",
        "东坡引": "01124,01214,0102114,01124,01124/0102,0104,000114,0102114,01124,01124 5=4,11=10",
    ]

    /// Lines that cope has once too often: 阮郎归 has 47 characters and 汉宫春 96, in the table 53 and 106.
    private static let repeated: [String: String] = ["阮郎归": "122,213,", "汉宫春": "112122,0213,"]

    /// Reads `ci-meters.json` in the folder `tables` and the 宋词 of `poems` (a folder or archive of chinese-poetry), and
    /// writes `output` and `article`.
    ///
    /// - Throws: `ProsodyImportError`, `DataFileError`, `TokenizerError`, `FileError`.
    static func run(tables: URL, poems: URL, output: URL, article: URL) throws -> Report {
        try run(tables: tables, poems: poems, output: output, article: article, forms: forms)
    }

    static func run(tables: URL, poems: URL, output: URL, article: URL, forms: String) throws -> Report {
        let published: [String: String] = try ProsodyImporter.read("ci-meters.json", in: tables)
        var report = Report()
        var byTune: [String: [TunePoem]] = [:]
        _ = try PoemImporter().run(from: poems, folder: "宋词") { poem in
            guard let name = poem.tune, let lines = TunePoem(poem) else { return }
            byTune[tune(named: name), default: []].append(lines)
            report.poems += 1
        }
        let poemsPath = poems.path(percentEncoded: false)
        var rows: [String] = []
        for entry in forms.split(whereSeparator: { $0 == ";" || $0 == "\n" }) {
            let fields = entry.split(separator: " ").map(String.init)
            let names = fields[0].split(separator: "=").map(String.init)
            let (name, parts) = (names[0], fields.dropFirst().compactMap { Int($0) })
            let total = parts.reduce(0, +)
            var poems = byTune[String(name.prefix { $0 != "·" })] ?? []
            for other in names.dropFirst() { poems += (byTune[other] ?? []).filter { $0.count == total } }
            var row: String
            if let pattern = published[name] {
                let pattern = try cope(pattern, named: name, parts: parts)
                let lengths = pattern.split { ",/".contains($0) }.map { $0.count(where: \.isNumber) }
                row = try counted(poems, parts, named: name, lengths: lengths) ?? "\(pattern) -"
                report.published += 1
            } else if let pattern = handbook[name] {
                row = pattern
                report.handbook += 1
            } else {
                guard let pattern = try counted(poems, parts, named: name) else {
                    throw ProsodyImportError.unexpected(
                        file: poemsPath, what: "fewer than \(fewest) poems of \(name) are alike")
                }
                row = pattern
                report.counted += 1
            }
            row = "\(name) \(row)"
            guard let form = Form(row: Substring("\(row) -")), form.characterCount == total else {
                throw ProsodyImportError.unexpected(file: "ci-meters.json", what: "\(name) is no pattern: \(row)")
            }
            let sameLength = poems.filter { $0.count == form.characterCount }
            let fitting = try sameLength.count { try ProsodyChecker().check($0.lines, as: form).isRegular }
            rows.append("\(row) \(poems.count),\(sameLength.count),\(fitting)")
        }
        let missing = Set(published.keys).subtracting(rows.map { String($0.prefix { $0 != " " }) })
        guard missing.isEmpty else {
            throw ProsodyImportError.unexpected(
                file: "ci-meters.json", what: "\(missing.sorted().joined(separator: " ")) without parts")
        }
        let source = """
            // Written by `swift run prosody-tables` (Tools/prosody-tables), which names its sources. Do not edit.

            /// Ci tunes as text, parsed when first used.
            enum TuneTable {
            \(ProsodyImporter.literal("rows", "A form a line: name, pattern, repeats; poems of the tune, as long, fitting.", rows))
            }

            """
        try AtomicFile.write(source.utf8, to: output)
        try AtomicFile.write(text(rows).utf8, to: article)
        return report
    }

    /// A poem as it is counted: its lines, not divided at 、.
    struct TunePoem {
        var lines: [String]
        var count: Int { lines.reduce(0) { $0 + $1.count } }
        var lengths: [Int] { lines.map(\.count) }

        /// The poem with other lines.
        func divided(_ lengths: [Int]) -> TunePoem {
            var rest = Substring(lines.joined())
            var poem = self
            poem.lines = lengths.map { length in
                defer { rest = rest.dropFirst(length) }
                return String(rest.prefix(length))
            }
            return poem
        }

        init?(_ poem: CorpusPoem) {
            guard let ends = poem.ends else { return nil }
            lines = []
            var isOpen = false
            for (line, end) in zip(poem.lines, ends) {
                if isOpen { lines[lines.count - 1] += line } else { lines.append(line) }
                isOpen = end == "、"
            }
        }
    }

    // MARK: Counting

    /// The poems that have the parts, divided into `lengths`, or as most of them are.
    private static func alike(_ poems: [TunePoem], _ parts: [Int], lengths: [Int]?) -> [TunePoem] {
        let fitting = poems.filter { poem in
            guard poem.count == parts.reduce(0, +) else { return false }
            return ends(poem.lengths).contains(parts[0])
        }
        let divisions = Dictionary(grouping: fitting, by: \.lengths)
        let common = divisions.max { ($0.value.count, $1.key.description) < ($1.value.count, $0.key.description) }?.key
        if let lengths { return fitting.map { $0.divided(lengths) } }
        // Others of that length may be another form (临江仙); those that end lines where these rhyme are not.
        let alike = fitting.filter { $0.lengths == common }
        guard alike.count >= fewest, let common else { return fitting.map { $0.divided(common ?? []) } }
        let rhyming = zip(Self.ends(common), rhymes(of: alike)).filter { $1 != nil }.map(\.0)
        return fitting.filter { Set(ends($0.lengths)).isSuperset(of: rhyming) }.map { $0.divided(common) }
    }

    /// The number of characters up to the end of each line.
    private static func ends(_ lengths: [Int]) -> [Int] {
        lengths.reduce(into: []) { $0.append(($0.last ?? 0) + $1) }
    }

    /// The row of a form from the poems of its tune, nil where there are too few.
    ///
    /// - Parameter lengths: of the lines, where they are settled
    static func counted(
        _ poems: [TunePoem], _ parts: [Int], named name: String, lengths: [Int]? = nil
    ) throws -> String? {
        // The usual form and one in the other tone are told apart by the last character, which always rhymes.
        let ends = Dictionary(grouping: poems) { tones(of: $0.lines.last?.last ?? "？", in: .cilin) }
        let isLevel = ends[.level]?.count ?? 0 >= ends[.oblique]?.count ?? 0
        let other = ends[isLevel ? .oblique : .level] ?? []
        let usual = ends.filter { $0.key != (isLevel ? .oblique : .level) }.sorted { $0.key.rawValue < $1.key.rawValue }
        let isOther = name.hasSuffix("平韵") || name.hasSuffix("仄韵")
        let poems = alike(isOther ? other : usual.flatMap(\.value), parts, lengths: lengths)
        guard poems.count >= fewest else { return nil }
        let texts = poems.map { Array($0.lines.joined()) }
        let lengths = poems[0].lengths
        let rhymes = rhymes(of: poems)
        var pattern = ""
        var slot = 0
        for (line, length) in lengths.enumerated() {
            for place in 0..<length {
                var counts = (level: 0.0, oblique: 0.0)
                for text in texts {
                    switch tones(of: text[slot], in: .cilin) {
                    case .level: counts.level += 1
                    case .oblique: counts.oblique += 1
                    default: break
                    }
                }
                let share = counts.level / max(counts.level + counts.oblique, 1)
                var digit = share >= nearly ? 1 : share <= 1 - nearly ? 2 : 0
                if place == length - 1, let rhyme = rhymes[line] {
                    // A rhyme has the tone that most poems give it.
                    digit = share >= 0.5 ? 3 : 4
                    pattern += "\(digit)\(letter(rhyme))"
                } else {
                    pattern += "\(digit)"
                }
                slot += 1
            }
            pattern += slot == lengths.reduce(0, +) ? "" : parts.count > 1 && slot == parts[0] ? "/" : ","
        }
        return "\(pattern) \(repeats(in: poems.map(\.lines), rhymes: rhymes))"
    }

    /// Nothing for the first rhyme, b for the second.
    private static func letter(_ rhyme: Int) -> String {
        rhyme == 0 ? "" : String(UnicodeScalar(UInt8(ascii: "a") + UInt8(rhyme)))
    }

    /// The rhyme of each line, nil for none.
    private static func rhymes(of poems: [TunePoem]) -> [Int?] {
        let ends = poems.map { $0.lines.map { part(of: $0.last ?? "？") } }
        let count = ends[0].count
        func agree(_ one: Int, _ two: Int) -> Bool {
            let hits = ends.count { !$0[one].isDisjoint(with: $0[two]) }
            return Double(hits) >= rhyming * Double(ends.count)
        }
        var rhymes = [Int?](repeating: nil, count: count)
        var next = 0
        for line in 0..<count where rhymes[line] == nil {
            let others = (line + 1..<count).filter { rhymes[$0] == nil && agree(line, $0) }
            guard !others.isEmpty else { continue }
            for other in [line] + others { rhymes[other] = next }
            next += 1
        }
        return rhymes
    }

    /// The parts of 词林正韵 that a character stands in, whatever its tone.
    private static func part(of character: Character) -> Set<Substring> {
        Set(groups(of: character, in: .cilin).ids.map { RhymeBook.cilin.groups[$0].name.prefix { $0 != "部" } })
    }

    /// What lines repeat of the line before, in the notation of the table.
    private static func repeats(in poems: [[String]], rhymes: [Int?]) -> String {
        guard let lengths = poems.first?.map(\.count), lengths.count == rhymes.count, poems.count >= fewest else {
            return "-"
        }
        var result: [String] = []
        for line in lengths.indices.dropFirst() where rhymes[line] != nil && rhymes[line] == rhymes[line - 1] {
            let whole = poems.count { $0[line - 1].hasSuffix($0[line]) }
            let ends = poems.count { $0[line - 1].last == $0[line].last } - whole
            func share(_ count: Int) -> Double { Double(count) / Double(poems.count) }
            if share(whole) >= some, whole >= 3 {
                result.append("\(line + 1)\(share(whole) >= nearly ? "=" : "~")\(line)")
            }
            if share(ends) >= some, ends >= 3 {
                let sign = share(ends) >= nearly ? "=" : "~"
                result.append("\(line + 1).\(lengths[line])\(sign)\(line).\(lengths[line - 1])")
            }
        }
        return result.isEmpty ? "-" : result.joined(separator: ",")
    }

    // MARK: Published patterns

    /// A pattern of cope, with a leading character (领字) joined to the line it leads, as poems print it, and its parts
    /// marked.
    private static func cope(_ pattern: String, named name: String, parts: [Int]) throws -> String {
        var pattern = pattern
        if let part = repeated[name], let twice = pattern.range(of: part + part) {
            pattern.replaceSubrange(twice, with: part)
        }
        var lines: [String] = []
        var lead = ""
        for line in pattern.split(separator: ",") {
            guard line.allSatisfy({ "01234".contains($0) }) else {
                throw ProsodyImportError.unexpected(
                    file: "ci-meters.json", what: "\(name): “\(line)” is not digits 0 to 4")
            }
            if line.count == 1, line != "3", line != "4" {
                lead += line
            } else {
                lines.append(lead + line)
                lead = ""
            }
        }
        guard lead.isEmpty, !lines.isEmpty else {
            throw ProsodyImportError.unexpected(file: "ci-meters.json", what: "\(name) has no line after its last")
        }
        // Two tones of rhyme are two rhymes: the only such tune, 清平乐, changes between them.
        let first = lines.compactMap { $0.first { $0 == "3" || $0 == "4" } }.first
        var (text, count) = ("", 0)
        for (index, line) in lines.enumerated() {
            text += line.last == first || !"34".contains(line.last ?? "0") ? line : line + "b"
            count += line.count
            if index + 1 < lines.count { text += parts.count > 1 && count == parts[0] ? "/" : "," }
        }
        return text
    }

    // MARK: The article

    private static func text(_ rows: [String]) -> String {
        let body = rows.compactMap { Form(row: Substring($0)) }.map { form in
            let counts = form.attestation
            let (poems, same, fitting) = (counts?.poems ?? 0, counts?.sameLength ?? 0, counts?.fitting ?? 0)
            let share = poems == 0 ? "" : " (\(Int((100 * Double(fitting) / Double(poems)).rounded())) %)"
            return
                "| \(form.name) | \(form.characterCount) | \(form.rhymeScheme) | \(poems) | \(same) | \(fitting)\(share) |"
        }
        return """
            # The tunes

            Every ci form, its rhymes, and how many poems of 宋词 keep to it.

            <!-- Written by `swift run prosody-tables`. Do not edit. -->

            Rhymes: a letter for each line that rhymes, the same letter for the same rhyme, capital for level and small for oblique ones;
            `.` for a line that does not, `/` between the parts. `=` stands before a line that repeats the one before or its end, `~` before one
            that may. *Poems* counts those of the tune in 宋词 of the chinese-poetry collection, *as long* those with the form's number of
            characters, *fit* those in which ``ProsodyChecker`` finds no fault at all: lengths, every tone, every rhyme in one group of
            词林正韵, and what the tune repeats. A poet of Song who rhymes 真 with 庚, or takes one liberty in a hundred characters, does not fit.

            The patterns are counted over these poems: a tone is the tune's where nine of ten poems have it, a rhyme where seven of ten do,
            a repeated line where nine of ten do, and allowed where one of twenty does. The lines of the first 57 tunes are published ones
            (LingDong-/cope), as are all of 十六字令, 南歌子 and 风流子; 调笑令, 钗头凤 and 东坡引, of which there are few poems, are written
            by hand, after the handbooks. 满江红 and others have more forms than these; where a poem fits none, name the tune to see where it differs.

            | Form | Characters | Rhymes | Poems | As long | Fit |
            | --- | --- | --- | --- | --- | --- |
            \(body.joined(separator: "\n"))

            """
    }
}
