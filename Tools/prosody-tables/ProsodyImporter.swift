import Foundation
import TihuaFiles
import TihuaProsody

/// A fault of the upstream prosody tables, in one line.
enum ProsodyImportError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A table is not in the folder, or cannot be read.
    case unreadable(file: String, reason: String)
    /// A table is there but is not what the importer knows.
    case unexpected(file: String, what: String)

    /// One line: what happened, where, what to do.
    var description: String {
        switch self {
        case .unreadable(let file, let reason):
            "\(file): cannot be read (\(reason)); give the folder that holds Pingshui_Rhyme.json and rhymebooks.json"
        case .unexpected(let file, let what):
            "\(file): \(what); take the table from its upstream repository"
        }
    }
}

/// Writes `Sources/Prosody/Tables.swift` from the published tables.
///
/// Input, all in one folder: `Pingshui_Rhyme.json`, `Cilin_Rhyme.json`, `Xinyun_Rhyme.json`
/// (charlesix59/chinese_word_rhyme) and `rhymebooks.json` (LingDong-/cope). What is written are facts (which character
/// stands in which rhyme group) in the project's own form; `TuneImporter` writes the tunes. The rules of the merge:
///
/// - 平水韵: the large table, which lacks 三讲 of the 上声; that group comes from the second table, where it is whole
///   (讲港棒蚌项耩) in its place among the 76 oblique groups. A character that only the second table has is taken from it.
///   A further reading of a known character is taken only where 词林正韵 has it too (先 is 一先 there, and only 十七霰 in the
///   large table).
/// - 词林正韵: its own table. A character that it lacks takes the part of its 平水韵 group where that group belongs to one
///   part as a whole; the groups that 词林正韵 divides (元 阮 愿, 灰 贿 队, 泰, 佳 卦) add nothing.
/// - 中华新韵: readings on which both tables agree; a character that only one of them has is taken as it stands.
/// - Characters that no table has, and readings that poems do not use, stand below as short lists; variant forms are
///   Prosody's own (`variantForms`).
enum ProsodyImporter {
    /// What an import found and wrote.
    struct Report: Equatable, Sendable, CustomStringConvertible {
        /// Rhyme groups written, per book.
        var groups: [String: Int] = [:]
        /// Distinct characters written, per book.
        var characters: [String: Int] = [:]
        /// 上声 groups that the large 平水韵 table lacks and the second one supplied.
        var recoveredGroups: [String] = []

        /// The counts as a text for people.
        var description: String {
            let books = ["平水韵", "词林正韵", "中华新韵"].map {
                "\($0): \(groups[$0] ?? 0) groups, \(characters[$0] ?? 0) characters"
            }
            return (books + ["recovered: \(recoveredGroups.joined(separator: " "))"]).joined(separator: "\n")
        }
    }

    /// Reads the tables in the folder `input` and writes the Swift file `output`, whole or not at all.
    ///
    /// - Throws: `ProsodyImportError`.
    static func run(input: URL, output: URL) throws -> Report {
        let pingshuiJSON: [String: [String: [String]]] = try read("Pingshui_Rhyme.json", in: input)
        let cilinJSON: [String: [String: [String]]] = try read("Cilin_Rhyme.json", in: input)
        let xinyunJSON: [String: [String: [String]]] = try read("Xinyun_Rhyme.json", in: input)
        let second: [String: [[String]]] = try read("rhymebooks.json", in: input)

        var report = Report()
        var cilin = try cilinBook(cilinJSON)
        let pingshui = try pingshuiBook(pingshuiJSON, second: second["平水韵"] ?? [], cilin: cilin, report: &report)
        extend(&cilin, from: pingshui)
        let xinyun = try xinyunBook(xinyunJSON, second: second["中华新韵"] ?? [])
        for (name, book) in [("平水韵", pingshui), ("词林正韵", cilin), ("中华新韵", xinyun)] {
            report.groups[name] = book.count
            report.characters[name] = Set(book.flatMap(\.members)).count
        }

        let source = """
            // Written by `swift run prosody-tables` (Tools/prosody-tables), which names its sources. Do not edit.

            /// The tables as text, parsed when first used. A group is a line: tone class, name, characters.
            enum Tables {
            \(literal("pingshui", "平水韵, 106 groups.", pingshui.map(\.line)))

            \(literal("cilin", "词林正韵, 19 parts: 14 level, 14 oblique (上去), 5 entering.", cilin.map(\.line)))

            \(literal("xinyun", "中华新韵, 14 groups, level and oblique.", xinyun.map(\.line)))
            }

            """
        try AtomicFile.write(source.utf8, to: output)
        return report
    }

    /// One rhyme group on its way into the file.
    private struct Group {
        var tone: String
        var name: String
        var members: [Character]

        var line: String { "\(tone) \(name) \(String(members))" }
    }

    /// Characters and readings of classical poems that the 平水韵 tables lack, by group (their 反切 in 广韵); see
    /// `variantForms` in Prosody for how they were found and tried. Of known characters, readings that at least 3 %
    /// of the firm slots ask for are added.
    private static let supplement: [(String, String)] = [
        ("一东", "悤朣嵸潨葓巃"), ("二冬", "嗈熔疼瑽"), ("三江", "噇鏦𪭢"), ("四支", "鸶秪秖厘隳猕缧鳷扅輀咦嚱鹎镃趑"), ("五微", "袆"), ("六鱼", "舁綀艅轝"),
        ("七虞", "菩浯餔鸜鸲圩砆鄜"), ("八齐", "鶗樨袿"), ("十灰", "毰魋"),
        ("十一真", "麕輴𧏖"), ("十三元", "鹍鲀"), ("十四寒", "搬判拚"), ("十五删", "瘝"), ("一先", "壖蝙𧏖"), ("二萧", "穮锹嶕臕"), ("三肴", "譊茆𫐖"),
        ("四豪", "嚎颾"), ("五歌", "它挲玻麽屙"), ("六麻", "谺铘枒羓髿佳"),
        ("七阳", "嫦糠徬獐鹴尪罡鞺粻"), ("八庚", "虻脝"), ("九青", "笭鞓竛頩箵𫐌"), ("十蒸", "徵絙徴"), ("十一尤", "篘飗锼崷蟊揫鍮"), ("十二侵", "鬵"),
        ("十三覃", "𥮾䰐𩭹"), ("十四盐", "薝濂恹鲇𪡋𪫺"), ("一董", "偬"), ("三讲", "缿"),
        ("四纸", "嘴茝屎躧渼蘤伎𫄥"), ("五尾", "韡"), ("六语", "籞簴芧鱮粔"), ("七麌", "窳粗"), ("八荠", "妳"), ("九蟹", "騃嶰嬭"), ("十一轸", "僶"),
        ("十三阮", "蔉"), ("十四旱", "赶疃"), ("十六铣", "腼謇囝淟"), ("十七筱", "騕瞭麨"),
        ("二十哿", "懡麽"), ("二十二养", "俩晌"), ("二十五有", "桕"), ("二十六寝", "椹"), ("二十七感", "壈"), ("二十八琰", "扊𪡋"), ("四寘", "屭弑俐鞴"),
        ("六御", "滤轝"), ("七遇", "嫮"), ("八霁", "繐鶗𣨼"), ("九泰", "蕞"), ("十一队", "褦颒擂𫖃"),
        ("十二震", "胤"), ("十七霰", "炼拚"), ("十五翰", "鼾"), ("十八啸", "蓧"), ("十九效", "礮斅敩"), ("二十一个", "剉"), ("二十二祃", "䆉䅉欛"),
        ("二十三漾", "幛絖瀼"), ("二十五径", "另嵊矴碇"), ("二十八勘", "𥮾莟"), ("二沃", "斸㔉襆幞"),
        ("四质", "窸𫗣绌"), ("六月", "籺鈯"), ("七曷", "撒拶辣茉鞑墢酦阿"), ("八黠", "圠恝"), ("九屑", "朅卨𦶟𫈵𫶇"), ("十药", "礴屩雘镢筰"), ("十二锡", "轣䴙鶂"),
        ("十三职", "鶒𬸦𫛶裓墄"), ("十五合", "搨"), ("十六叶", "籋氎㲲呫𢬍"),
        ("十七洽", "裌𫛥"),
    ]

    /// The same for 中华新韵.
    private static let modernSupplement: [(String, String)] = [("六豪仄", "药")]

    /// Readings that dictionaries have and poems do not use, which would make these common characters free in tone.
    /// Each is read in the other tone in at least 97 % of the firm slots of otherwise regular quatrains and 律诗 of
    /// CCPC and 全唐诗.
    private static let unused: [(String, String)] = [
        ("十一尤", "不"), ("四纸", "花"), ("六鱼", "且与"), ("一东", "梦种"), ("二冬", "共"), ("十三覃", "暗"), ("十四寒", "汉"),
        ("四支", "罢氏"), ("七虞", "母"), ("七阳", "庆"), ("十四缉", "龙"), ("三觉", "儿"), ("十三阮", "仙"), ("二萧", "了"),
    ]

    // MARK: Books

    private static func pingshuiBook(
        _ json: [String: [String: [String]]], second: [[String]], cilin: [Group], report: inout Report
    ) throws -> [Group] {
        let file = "Pingshui_Rhyme.json"
        let sections = [
            ("上平声部", "上平", 15), ("下平声部", "下平", 15), ("上声部", "上", 29), ("去声部", "去", 30), ("入声部", "入", 17),
        ]
        guard second.count == 2, second[0].count == 30, second[1].count == 76 else {
            throw ProsodyImportError.unexpected(file: "rhymebooks.json", what: "平水韵 is not 30 + 76 groups")
        }
        let secondGroups = second[0] + second[1]
        var book: [Group] = []
        for (section, tone, count) in sections {
            var numbered: [Int: Group] = [:]
            for (key, members) in json[section] ?? [:] {
                let name = key.hasPrefix("入声") ? String(key.dropFirst(2)) : key
                guard let number = number(String(name.dropLast())), number <= count else {
                    throw ProsodyImportError.unexpected(file: file, what: "group “\(key)” has no number")
                }
                numbered[number] = Group(tone: tone, name: name, members: han(members))
            }
            for number in 1...count {
                if let group = numbered[number] {
                    book.append(group)
                } else {
                    // The order of the second table is checked below, so the place names the group.
                    let members = han([secondGroups[book.count]])
                    guard number == 3, tone == "上", members.first == "讲" else {
                        throw ProsodyImportError.unexpected(file: file, what: "\(section) has no group \(number)")
                    }
                    book.append(Group(tone: tone, name: "三讲", members: members))
                    report.recoveredGroups.append("三讲")
                }
            }
        }
        for (index, text) in secondGroups.enumerated() {
            let shared = han([text]).filter(Set(book[index].members).contains).count
            guard shared * 2 > text.count else {
                throw ProsodyImportError.unexpected(
                    file: "rhymebooks.json", what: "平水韵 group \(index) is not \(book[index].name)")
            }
        }

        let known = Set(book.flatMap(\.members))
        let parts = cilinParts(of: book, cilin)
        for (index, text) in secondGroups.enumerated() {
            let group = Set(book[index].members)
            book[index].members += han([text]).filter { character in
                guard !group.contains(character) else { return false }
                guard known.contains(character) else { return true }
                return parts[index].contains { cilin[$0.key].members.contains(character) && $0.value >= 0.05 }
            }
        }
        for (name, characters) in unused {
            guard let index = book.firstIndex(where: { $0.name == name }) else { continue }
            book[index].members.removeAll(where: characters.contains)
        }
        for (name, characters) in supplement {
            guard let index = book.firstIndex(where: { $0.name == name }) else { continue }
            book[index].members += characters.filter { !book[index].members.contains($0) }
        }
        return book
    }

    private static func cilinBook(_ json: [String: [String: [String]]]) throws -> [Group] {
        var book: [Group] = []
        for (key, tone) in [("平声", "平"), ("仄声", "仄"), ("入声", "入")] {
            for part in tone == "入" ? 15...19 : 1...14 {
                let name = "第\(numeral(part))部"
                guard let members = json[name]?[key] else {
                    throw ProsodyImportError.unexpected(file: "Cilin_Rhyme.json", what: "\(name) has no \(key)")
                }
                book.append(Group(tone: tone, name: name, members: han(members)))
            }
        }
        return book
    }

    private static func xinyunBook(_ json: [String: [String: [String]]], second: [[String]]) throws -> [Group] {
        let names = json.keys.sorted { (number(String($0.dropLast())) ?? 0) < (number(String($1.dropLast())) ?? 0) }
        guard names.count == 14, second.count == 2, second.allSatisfy({ $0.count == 14 }) else {
            throw ProsodyImportError.unexpected(file: "Xinyun_Rhyme.json", what: "not 14 groups in both tables")
        }
        var first: [Character: Set<Int>] = [:]
        var other: [Character: Set<Int>] = [:]
        var book: [Group] = []
        for (toneIndex, tone) in ["平", "仄"].enumerated() {
            for (index, name) in names.enumerated() {
                let id = book.count
                let members = han(json[name]?[tone] ?? [])
                let otherMembers = han([second[toneIndex][index]])
                members.forEach { first[$0, default: []].insert(id) }
                otherMembers.forEach { other[$0, default: []].insert(id) }
                book.append(
                    Group(tone: tone, name: name, members: members + otherMembers.filter { !members.contains($0) }))
            }
        }
        for id in book.indices {
            book[id].members.removeAll { character in
                guard let one = first[character], let two = other[character] else { return false }
                return one.isDisjoint(with: two) ? !one.contains(id) : !(one.contains(id) && two.contains(id))
            }
        }
        for (name, characters) in modernSupplement {
            guard let index = book.firstIndex(where: { $0.name + $0.tone == name }) else { continue }
            book[index].members += characters.filter { !book[index].members.contains($0) }
        }
        return book
    }

    /// For each 平水韵 group, the share of its characters that stands in each 词林正韵 group of the same tone class.
    /// Only characters with one reading in both books count, so that a polyphone does not blur the picture.
    private static func cilinParts(of pingshui: [Group], _ cilin: [Group]) -> [[Int: Double]] {
        var readings: [Character: Int] = [:]
        pingshui.forEach { $0.members.forEach { readings[$0, default: 0] += 1 } }
        var places: [Character: [Int]] = [:]
        for (id, group) in cilin.enumerated() { group.members.forEach { places[$0, default: []].append(id) } }
        return pingshui.map { group in
            var counts: [Int: Int] = [:]
            for character in group.members where readings[character] == 1 {
                if let place = places[character], place.count == 1 { counts[place[0], default: 0] += 1 }
            }
            let total = counts.values.reduce(0, +)
            return counts.mapValues { Double($0) / Double(max(total, 1)) }
        }
    }

    private static func extend(_ cilin: inout [Group], from pingshui: [Group]) {
        let known = Set(cilin.flatMap(\.members))
        for (group, parts) in zip(pingshui, cilinParts(of: pingshui, cilin)) {
            guard let (part, share) = parts.max(by: { $0.value < $1.value }), share >= 0.9 else { continue }
            let present = Set(cilin[part].members)
            cilin[part].members += group.members.filter { !known.contains($0) && !present.contains($0) }
        }
    }

    // MARK: Reading and writing

    static func read<T: Decodable>(_ name: String, in folder: URL) throws -> T {
        let data: Data
        do {
            data = Data(try UserFile.bytes(of: folder.appending(path: name), limit: 1 << 26))
        } catch {
            throw ProsodyImportError.unreadable(file: name, reason: error.reason)
        }
        do {
            return try JSONDecoder().decode(T.self, from: data)
        } catch {
            throw ProsodyImportError.unexpected(file: name, what: "not the JSON that is expected")
        }
    }

    /// The distinct Han characters of the strings, in order; upstream lists hold brackets and spaces.
    private static func han(_ texts: [String]) -> [Character] {
        var seen: Set<Character> = []
        return texts.joined().filter { $0.isHan && seen.insert($0).inserted }
    }

    /// The value of a Chinese numeral from 一 to 九十九.
    private static func number(_ numeral: String) -> Int? {
        (1...99).first { self.numeral($0) == numeral }
    }

    private static func numeral(_ number: Int) -> String {
        let digits = ["", "一", "二", "三", "四", "五", "六", "七", "八", "九"]
        let tens = number / 10
        return (tens == 0 ? "" : (tens == 1 ? "" : digits[tens]) + "十") + digits[number % 10]
    }

    /// A Swift property that holds the lines as one literal, folded at 100 characters.
    static func literal(_ name: String, _ comment: String, _ lines: [String]) -> String {
        var text = ["    /// \(comment)", "    static let \(name) = \"\"\""]
        for line in lines {
            var rest = Substring(line)
            while rest.count > 100 {
                text.append("        \(rest.prefix(100))\\")
                rest = rest.dropFirst(100)
            }
            text.append("        \(rest)")
        }
        text.append("        \"\"\"")
        return text.joined(separator: "\n")
    }
}
