/// What a pattern asks of one slot.
struct Demand: Hashable, Sendable {
    /// The tones that satisfy the demand.
    var tones: ToneSet
    /// Which of the poem's rhymes stands here, from 0 in the order in which they begin; nil where none does.
    var rhyme: Int?

    static let free = Demand(tones: .either)
    static let level = Demand(tones: .level)
    static let oblique = Demand(tones: .oblique)
    /// The first rhyme of the poem in a level group, in an oblique group, in any group.
    static let levelRhyme = Demand(tones: .level, rhyme: 0)
    static let obliqueRhyme = Demand(tones: .oblique, rhyme: 0)
    static let rhyme = Demand(tones: .either, rhyme: 0)

    init(tones: ToneSet, rhyme: Int? = nil) {
        self.tones = tones
        self.rhyme = rhyme
    }

    /// The digit of the tables: 0 any, 1 level, 2 oblique, 3 level rhyme, 4 oblique rhyme.
    init?(digit: Character) {
        switch digit {
        case "0": self = .free
        case "1": self = .level
        case "2": self = .oblique
        case "3": self = .levelRhyme
        case "4": self = .obliqueRhyme
        default: return nil
        }
    }

    var isRhyme: Bool { rhyme != nil }

    /// The demand that remains when tones are off.
    var withoutTone: Demand { isRhyme ? self : .free }

    var symbol: String {
        let tone = tones == .level ? "平" : tones == .oblique ? "仄" : ""
        return isRhyme ? tone + "韵" : tone.isEmpty ? "中" : tone
    }
}

/// One of a poem's rhymes, as a pattern has it.
struct Rhyme: Hashable, Sendable {
    /// How many characters rhyme, all different: level ones, oblique ones, ones of either tone.
    var counts: [ToneSet: Int] = [:]

    var tones: ToneSet { counts.keys.reduce(into: []) { $0.formUnion($1) } }
    var count: Int { counts.values.reduce(0, +) }
    /// 平仄通押: level and oblique characters rhyme with each other, as in 西江月.
    var isMixed: Bool { counts.count > 1 }
}

/// Characters of a tune that repeat earlier ones (叠句, 叠韵).
struct Repeat: Hashable, Sendable {
    /// A slot of the poem from 0, and the earlier one whose character it repeats.
    struct Pair: Hashable, Sendable {
        var slot: Int
        var source: Int
    }

    /// In the order of their slots.
    var pairs: [Pair]
    /// Whether the tune demands it; otherwise the poet may.
    var isDemanded: Bool

    /// Whether the characters repeat, as far as they are there.
    func holds(in characters: [Character]) -> Bool {
        pairs.allSatisfy { $0.slot >= characters.count || characters[$0.slot] == characters[$0.source] }
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
    /// What the tune repeats.
    let repeats: [Repeat]

    var slotCount: Int { lineStarts.last ?? 0 }
    var lineCount: Int { lineStarts.count - 1 }

    init(lineLengths: [Int], variants: [(name: String, couplets: [[[Demand]]])], repeats: [Repeat] = []) {
        self.repeats = repeats
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

    /// For each slot the earlier one whose character it has to repeat.
    var sources: [Int?] {
        var sources = [Int?](repeating: nil, count: slotCount)
        for pair in repeats.lazy.filter(\.isDemanded).flatMap(\.pairs) { sources[pair.slot] = pair.source }
        return sources
    }

    /// The rhymes of the poem; where variants differ, the most that any has.
    var rhymes: [Rhyme] {
        let sources = sources
        var rhymes: [Rhyme] = []
        for variant in variants {
            var own: [Rhyme] = []
            for (slot, demand) in variant.blocks.flatMap({ $0.alternatives.first ?? [] }).enumerated() {
                guard let rhyme = demand.rhyme else { continue }
                while own.count <= rhyme { own.append(Rhyme()) }
                own[rhyme].counts[demand.tones, default: 0] += sources[slot] == nil ? 1 : 0
            }
            while rhymes.count < own.count { rhymes.append(Rhyme()) }
            for (index, rhyme) in own.enumerated() { rhymes[index].counts.merge(rhyme.counts, uniquingKeysWith: max) }
        }
        return rhymes
    }

    /// The metre as it is written: a character that is repeated has to suit both of its places.
    var closed: Metre {
        guard !repeats.isEmpty else { return self }
        // A tune has one pattern.
        var demands = variants[0].blocks[0].alternatives[0]
        for (slot, source) in sources.enumerated().reversed() {
            guard let source else { continue }
            demands[source].tones.formIntersection(demands[slot].tones)
            demands[source].rhyme = demands[source].rhyme ?? demands[slot].rhyme
        }
        var metre = self
        metre.variants[0].blocks[0].alternatives[0] = demands
        return metre
    }
}
