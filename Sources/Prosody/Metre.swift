/// What a pattern asks of one slot.
enum Demand: UInt8, Sendable {
    case free, level, oblique
    /// A rhyme in a level group, in an oblique group, in any group.
    case levelRhyme, obliqueRhyme, rhyme

    /// The digit of the tables: 0 any, 1 level, 2 oblique, 3 level rhyme, 4 oblique rhyme.
    init?(digit: Character) {
        guard let value = digit.wholeNumberValue, (0...4).contains(value) else { return nil }
        self.init(rawValue: UInt8(value))
    }

    /// The tones that satisfy the demand.
    var tones: ToneSet {
        switch self {
        case .free, .rhyme: .either
        case .level, .levelRhyme: .level
        case .oblique, .obliqueRhyme: .oblique
        }
    }

    var isRhyme: Bool { self == .levelRhyme || self == .obliqueRhyme || self == .rhyme }

    /// The demand that remains when tones are off.
    var withoutTone: Demand { isRhyme ? self : .free }

    var symbol: String {
        switch self {
        case .free: "中"
        case .level: "平"
        case .oblique: "仄"
        case .levelRhyme: "平韵"
        case .obliqueRhyme: "仄韵"
        case .rhyme: "韵"
        }
    }
}

/// The four lines that 近体诗 is made of, named by their last five characters (王力《诗词格律》, ch. 2, sect. 2).
///
/// Strict patterns, 中 = free: A 中平平仄仄, B 中仄仄平平, C 平平仄仄平, D 中仄平平仄. A line of seven puts two slots in front:
/// 中 and the tone opposite to the second of the five. What `loose` accepts besides is in `tails` and `couplets`; the
/// documentation of the module has it in a table, with the sources.
enum LineType: Int, CaseIterable, Sendable {
    case a, b, c, d

    /// The tone of the second slot of the five.
    var startsLevel: Bool { self == .a || self == .c }
    var endsLevel: Bool { self == .b || self == .c }

    /// The textbook pattern of the last five slots; the rhyme stands at the end of B and C.
    var strictTail: [Demand] {
        switch self {
        case .a: [.free, .level, .level, .oblique, .oblique]
        case .b: [.free, .oblique, .oblique, .level, .levelRhyme]
        case .c: [.level, .level, .oblique, .oblique, .levelRhyme]
        case .d: [.free, .oblique, .level, .level, .oblique]
        }
    }

    /// A pattern of the last five slots, and what is not the textbook's about it: the kind of remark, and at which
    /// slot.
    struct Tail: Sendable {
        let demands: [Demand]
        var licence: (kind: ProsodyFault.Kind, slot: Int)?
    }

    /// The patterns of the last five slots that stand on their own, the textbook's first.
    func tails(_ tones: TonePolicy) -> [Tail] {
        switch (tones, self) {
        case (.off, _): [Tail(demands: strictTail.map(\.withoutTone))]
        case (.strict, _), (.loose, .b): [Tail(demands: strictTail)]
        case (.loose, .a):
            [
                Tail(demands: strictTail),
                Tail(demands: [.level, .level, .oblique, .level, .oblique], licence: (.special, 2)),
                Tail(demands: [.level, .level, .oblique, .oblique, .oblique], licence: (.threeObliques, 2)),
            ]
        case (.loose, .c):
            [
                Tail(demands: strictTail),
                Tail(demands: [.level, .level, .level, .oblique, .levelRhyme], licence: (.minor, 2)),
                Tail(demands: [.oblique, .level, .level, .oblique, .levelRhyme], licence: (.rescue, 2)),
            ]
        case (.loose, .d):
            [
                Tail(demands: strictTail),
                Tail(demands: [.free, .oblique, .oblique, .level, .oblique], licence: (.minor, 2)),
            ]
        }
    }

    /// A line of `syllables` (5 or 7) slots with this tail.
    func line(_ tail: [Demand], syllables: Int, _ tones: TonePolicy) -> [Demand] {
        guard syllables == 7 else { return tail }
        return [.free, tones == .off ? .free : startsLevel ? .oblique : .level] + tail
    }

    /// A couplet (联) that a policy allows: the patterns of its two lines, and what is not the textbook's about each.
    struct Couplet: Sendable {
        let patterns: [[Demand]]
        let licences: [(kind: ProsodyFault.Kind, slot: Int)?]
    }

    /// The couplets that a policy allows, the textbook's first.
    static func couplets(_ first: LineType, _ second: LineType, syllables: Int, _ tones: TonePolicy) -> [Couplet] {
        func pair(_ one: Tail, _ two: Tail) -> Couplet {
            Couplet(
                patterns: [
                    first.line(one.demands, syllables: syllables, tones),
                    second.line(two.demands, syllables: syllables, tones),
                ],
                licences: [one.licence, two.licence].map { $0.map { ($0.kind, $0.slot + syllables - 5) } })
        }
        var couplets = first.tails(tones).flatMap { one in second.tails(tones).map { pair(one, $0) } }
        if tones == .loose, first == .d, second == .c {
            let rescue = Tail(demands: [.free, .level, .level, .oblique, .levelRhyme], licence: (.rescue, 2))
            let minor = Tail(demands: [.free, .oblique, .oblique, .level, .oblique], licence: (.minor, 2))
            let major = Tail(demands: [.free, .oblique, .free, .oblique, .oblique], licence: (.major, 3))
            // Before two licences that stand alone: the second line then is the rescue of the first.
            couplets.insert(contentsOf: [pair(minor, rescue), pair(major, rescue)], at: 1)
        }
        return couplets
    }
}

/// A form's slots in one row, with every pattern that a policy allows.
///
/// A variant is a way to open the poem; it is a row of blocks (couplets, or the whole poem), and each block has
/// alternatives that do not depend on the other blocks. All variants have the same lines and blocks.
struct Metre: Sendable {
    struct Block: Sendable {
        var start: Int
        var alternatives: [[Demand]]
    }

    struct Variant: Sendable {
        var name: String
        var blocks: [Block]
    }

    /// The index of the first slot of each line, and one past the last slot.
    let lineStarts: [Int]
    var variants: [Variant]

    var slotCount: Int { lineStarts.last ?? 0 }
    var lineCount: Int { lineStarts.count - 1 }

    init(lineLengths: [Int], variants: [(name: String, couplets: [[[Demand]]])]) {
        lineStarts = lineLengths.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1) }
        self.variants = variants.map { variant in
            var start = 0
            let blocks = variant.couplets.map { alternatives in
                defer { start += alternatives.first?.count ?? 0 }
                return Block(start: start, alternatives: alternatives)
            }
            return Variant(name: variant.name, blocks: blocks)
        }
    }

    /// The line of a slot and its place in the line, both from 0.
    func place(of slot: Int) -> (line: Int, slot: Int) {
        let line = (lineStarts.firstIndex { $0 > slot } ?? lineStarts.count) - 1
        return (line, slot - lineStarts[line])
    }

    /// The most rhymes that any variant has, and their tones.
    var rhymes: (count: Int, tones: ToneSet) {
        var count = 0
        var tones: ToneSet = []
        for variant in variants {
            let demands = variant.blocks.flatMap { $0.alternatives.first ?? [] }.filter(\.isRhyme)
            count = max(count, demands.count)
            demands.forEach { tones.formUnion($0.tones) }
        }
        return (count, tones)
    }
}
