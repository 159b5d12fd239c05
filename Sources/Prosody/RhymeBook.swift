/// The rhyme books. Each gives tones as well, so that a rhyme and its tone never disagree.
public enum RhymeBook: String, Sendable, Codable, CaseIterable {
    /// 平水韵, 106 groups: the book of 近体诗.
    case pingshui = "平水韵"
    /// 词林正韵, 19 parts, 33 groups by tone: the book of ci.
    case cilin = "词林正韵"
    /// 中华新韵 (fourteen rhymes), 28 groups by tone: modern Mandarin, no entering tone.
    case xinyun = "中华新韵"

    /// The book of a Chinese or pinyin name (`平水韵`, `pingshui`), nil if there is none.
    public init?(named name: String) {
        let wanted = normalised(name)
        guard
            let book = Self.allCases.first(where: {
                wanted == normalised($0.rawValue) || wanted == "\($0)" || wanted == "\($0)yun"
                    || ($0 == .cilin && wanted == "cilinzhengyun") || ($0 == .xinyun && wanted == "zhonghuaxinyun")
            })
        else { return nil }
        self = book
    }

    /// All groups, in the book's order; a group's `id` is its index here.
    public var groups: [RhymeGroup] { table.groups }

    /// The groups of a name: in full (`七阳`, `第七部平声`), without its tone (`第七部`, `十唐`) or number (`阳`), with its tone
    /// class in front (`下平七阳`, `下平声七阳`, `平声阳`) or 韵 behind (`七阳韵`); traditional characters are taken as well.
    public func groups(named name: String) -> [RhymeGroup] {
        let wanted = normalised(name)
        for wanted in wanted.count > 1 && wanted.hasSuffix("韵") ? [wanted, String(wanted.dropLast())] : [wanted] {
            let matches = groups.filter { $0.names.contains(wanted) }
            guard matches.isEmpty else { return matches }
            let loose = groups.filter { $0.shortNames.contains(wanted) }
            guard loose.isEmpty else { return loose }
        }
        return []
    }

    /// The group of a name that the form can rhyme in.
    ///
    /// - Throws: `ProsodyError.unknownRhymeGroup` with the nearest names, `.rhymeGroupTone`.
    public func group(named name: String, for form: Form) throws -> RhymeGroup {
        let matches = groups(named: name)
        if let fit = matches.first(where: { form.rhymeTones.contains($0.tone) }) { return fit }
        if let match = matches.first { throw ProsodyError.rhymeGroupTone(group: match.name, form: form.name) }
        let fitting = groups.filter { form.rhymeTones.contains($0.tone) }
        throw ProsodyError.unknownRhymeGroup(name: name, book: rawValue, nearest: nearest(to: name, in: fitting))
    }

    /// The four groups that a wrong name most probably means: those that one of its characters rhymes in (七杨 is in
    /// 七阳), then those that are written most alike, where the number counts as much as the name.
    private func nearest(to name: String, in groups: [RhymeGroup]) -> [String] {
        var wanted = normalised(name)
        if wanted.count > 1, wanted.hasSuffix("韵") { wanted.removeLast() }
        let numerals = "第一二三四五六七八九十"
        let number = wanted.prefix { numerals.contains($0) }
        let character = wanted.dropFirst(number.count).first.flatMap { $0 == "部" ? nil : $0 }
        let readings = character.map(table.groups(of:)) ?? RhymeGroupSet()
        let scored = groups.map { group in
            let isNumbered = !number.isEmpty && group.stem.prefix { numerals.contains($0) } == number
            return (
                name: group.name, isMeant: readings.contains(group.id),
                distance: group.names.map { editDistance(wanted, $0) }.reduce(1, min) - (isNumbered ? 0.5 : 0)
            )
        }
        return scored.enumerated().sorted { one, two in
            if one.element.isMeant != two.element.isMeant { return one.element.isMeant }
            return (one.element.distance, one.offset) < (two.element.distance, two.offset)
        }.prefix(4).map(\.element.name)
    }

    var table: RhymeTable {
        switch self {
        case .pingshui: .pingshui
        case .cilin: .cilin
        case .xinyun: .xinyun
        }
    }
}

/// One group (韵部) of a rhyme book.
public struct RhymeGroup: Sendable, Hashable, CustomStringConvertible {
    /// The book that the group stands in.
    public let book: RhymeBook
    /// The index in `book.groups`.
    public let id: Int
    /// The name, unique in its book: `七阳`, `第七部平声`, `十唐平声`.
    public let name: String
    /// The tone class as the book has it: 上平 下平 上 去 入 (平水韵), 平 仄 入 (the others).
    public let toneName: String
    /// `.level` or `.oblique`.
    public let tone: ToneSet

    /// The name without the tone.
    let stem: String

    /// The ways to write its name in full.
    var names: [String] {
        let whole = tone == .level ? "平" : "仄"
        return [name, stem] + [toneName, toneName + "声", whole, whole + "声"].map { $0 + stem }
    }

    /// The ways to write its name without its number: 阳, 下平阳; and 七部 for 第七部.
    var shortNames: [String] {
        if stem.hasSuffix("部") { return [String(stem.dropFirst())] }
        let bare = String(stem.suffix(1))
        return [bare] + [toneName, toneName + "声"].map { $0 + bare }
    }

    /// The characters, in the book's order.
    public var members: [Character] { book.table.members[id] }

    /// The name.
    public var description: String { name }
}

/// A set of groups of one book, by `id`.
public struct RhymeGroupSet: Sendable, Hashable {
    private var low: UInt64 = 0
    private var high: UInt64 = 0

    /// The empty set.
    public init() {}

    /// The set of these ids, each in 0..<128; others are ignored.
    public init(_ ids: some Sequence<Int>) { ids.forEach { insert($0) } }

    /// Whether there is no group in it.
    public var isEmpty: Bool { low | high == 0 }
    /// The number of groups.
    public var count: Int { low.nonzeroBitCount + high.nonzeroBitCount }
    /// The ids, ascending.
    public var ids: [Int] { (0..<128).filter(contains) }

    /// Whether the group of this id is in it.
    public func contains(_ id: Int) -> Bool {
        id < 64 ? id >= 0 && low >> id & 1 == 1 : id < 128 && high >> (id - 64) & 1 == 1
    }

    /// Adds the group of this id, 0 to 127; others are ignored.
    public mutating func insert(_ id: Int) {
        if (0..<64).contains(id) { low |= 1 << id }
        if (64..<128).contains(id) { high |= 1 << (id - 64) }
    }

    /// The groups that are in both.
    public func intersection(_ other: RhymeGroupSet) -> RhymeGroupSet {
        var result = self
        result.low &= other.low
        result.high &= other.high
        return result
    }

    /// The groups that are in either.
    public func union(_ other: RhymeGroupSet) -> RhymeGroupSet {
        var result = self
        result.low |= other.low
        result.high |= other.high
        return result
    }

    /// Whether no group is in both.
    public func isDisjoint(with other: RhymeGroupSet) -> Bool { low & other.low | high & other.high == 0 }
}

/// The tones that `character` (simplified) is read in; empty if the book has neither it nor the form of which it is a
/// variant.
public func tones(of character: Character, in book: RhymeBook) -> ToneSet {
    book.table.tones(of: book.table.groups(of: character))
}

/// The groups that `character` (simplified) rhymes in; several for a polyphone, those of its usual form for a
/// variant, empty if the book has neither.
public func groups(of character: Character, in book: RhymeBook) -> RhymeGroupSet {
    book.table.groups(of: character)
}

/// A rhyme book in memory, parsed from `Tables` when first used (some milliseconds).
struct RhymeTable: Sendable {
    let groups: [RhymeGroup]
    let members: [[Character]]
    let levelGroups: RhymeGroupSet
    let obliqueGroups: RhymeGroupSet
    private let readings: [UInt32: RhymeGroupSet]

    static let pingshui = RhymeTable(.pingshui, Tables.pingshui)
    static let cilin = RhymeTable(.cilin, Tables.cilin)
    static let xinyun = RhymeTable(.xinyun, Tables.xinyun)

    private init(_ book: RhymeBook, _ text: String) {
        var groups: [RhymeGroup] = []
        var members: [[Character]] = []
        var readings: [UInt32: RhymeGroupSet] = [:]
        readings.reserveCapacity(10_000)
        // By bytes and scalars: splitting into graphemes takes ten times as long.
        for line in text.utf8.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 2)
            guard fields.count == 3 else { continue }
            let (toneName, stem) = (String(Substring(fields[0])), String(Substring(fields[1])))
            let id = groups.count
            groups.append(
                RhymeGroup(
                    book: book, id: id, name: book == .pingshui ? stem : stem + toneName + "声", toneName: toneName,
                    tone: toneName.hasSuffix("平") ? .level : .oblique, stem: stem))
            let scalars = Substring(fields[2]).unicodeScalars
            members.append(scalars.map(Character.init))
            for scalar in scalars { readings[scalar.value, default: RhymeGroupSet()].insert(id) }
        }
        self.groups = groups
        self.members = members
        self.readings = readings
        levelGroups = RhymeGroupSet(groups.filter { $0.tone == .level }.map(\.id))
        obliqueGroups = RhymeGroupSet(groups.filter { $0.tone == .oblique }.map(\.id))
    }

    /// The groups of the same part, level and oblique, of each group: in 平水韵 by the part of 词林正韵 that most of its
    /// characters stand in.
    private static let parts: [RhymeBook: [RhymeGroupSet]] = Dictionary(
        uniqueKeysWithValues: RhymeBook.allCases.map { book in
            let names = book.groups.map { group in
                guard book == .pingshui else { return group.stem }
                var counts: [String: Int] = [:]
                for character in group.members {
                    for part in cilin.groups(of: character).ids where cilin.groups[part].tone == group.tone {
                        counts[cilin.groups[part].stem, default: 0] += 1
                    }
                }
                return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? group.stem
            }
            return (book, names.map { name in RhymeGroupSet(names.indices.filter { names[$0] == name }) })
        })

    /// The groups, of either tone, that share a part of the book with one of `groups`.
    func parts(of groups: RhymeGroupSet) -> RhymeGroupSet {
        let parts = Self.parts[self.groups[0].book] ?? []
        return groups.ids.reduce(RhymeGroupSet()) { $0.union(parts[$1]) }
    }

    func groups(of character: Character) -> RhymeGroupSet {
        let scalars = character.unicodeScalars
        guard let scalar = scalars.first, scalars.count == 1 else { return RhymeGroupSet() }
        if let known = readings[scalar.value] { return known }
        guard let form = variantForms[character]?.unicodeScalars.first else { return RhymeGroupSet() }
        return readings[form.value] ?? RhymeGroupSet()
    }

    /// The groups that `character` rhymes in at the end of a line. 不 that ends a question is 否, in a level reading
    /// (十一尤) that it has nowhere else.
    func groups(ofRhyme character: Character) -> RhymeGroupSet {
        guard character == "不" else { return groups(of: character) }
        return groups(of: character).union(groups(of: "尤").intersection(levelGroups))
    }

    func tones(of groups: RhymeGroupSet) -> ToneSet {
        var tones: ToneSet = []
        if !groups.isDisjoint(with: levelGroups) { tones.insert(.level) }
        if !groups.isDisjoint(with: obliqueGroups) { tones.insert(.oblique) }
        return tones
    }

    func groups(ofTone tones: ToneSet) -> RhymeGroupSet {
        var groups = RhymeGroupSet()
        if tones.contains(.level) { groups = groups.union(levelGroups) }
        if tones.contains(.oblique) { groups = groups.union(obliqueGroups) }
        return groups
    }
}
