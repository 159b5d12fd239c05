public import TihuaProsody

/// How far the checker and the poets agree: the share of 近体 that `ProsodyChecker` finds regular, and what it finds
/// wrong.
///
/// A quatrain or an octave of five or seven characters counts as 近体 by what the rules in question do not touch: its
/// even lines end in level rhymes of one part of 词林正韵, and its second, fourth and sixth characters alternate within
/// lines, oppose within couplets and link between them, all but one in eight. First, third and fifth characters, and
/// the ends of odd lines, play no part in it. Poems that fail are 古绝, 古风 or 拗体, or damaged.
public struct ProsodySurvey: Sendable {
    /// The poems of one form.
    public struct Count: Sendable, Equatable, Codable {
        /// Poems of its lengths.
        public var shaped = 0
        /// Those of them that are 近体.
        public var regulated = 0
        /// Those of these that are regular by the textbook.
        public var strict = 0
        /// Those of these that are regular with what handbooks allow.
        public var loose = 0
    }

    /// By form: 五绝 七绝 五律 七律.
    public private(set) var forms: [String: Count] = [:]
    /// How many 近体 have a fault of each kind under `loose`; a poem may count for several.
    public private(set) var faults: [ProsodyFault.Kind: Int] = [:]
    /// How many 近体 that are regular under `loose` have a remark of each kind.
    public private(set) var remarks: [ProsodyFault.Kind: Int] = [:]
    /// Characters of all poems that 平水韵 does not have, nor the form of which they are variants, with how often they
    /// stand there.
    public private(set) var unknown: [Character: Int] = [:]
    /// All characters that were read.
    public private(set) var characterCount = 0
    /// Up to three couplets for each kind of fault.
    public private(set) var examples: [ProsodyFault.Kind: [String]] = [:]

    /// A survey of nothing yet.
    public init() {}

    /// All forms together.
    public var total: Count {
        forms.values.reduce(into: Count()) {
            $0.shaped += $1.shaped
            $0.regulated += $1.regulated
            $0.strict += $1.strict
            $0.loose += $1.loose
        }
    }

    /// Takes a poem in: `lines` of simplified characters. Of poems in other shapes only the characters are counted.
    public mutating func add(_ lines: [String]) {
        for character in lines.joined() where character.isHan {
            characterCount += 1
            if tones(of: character, in: .pingshui).isEmpty { unknown[character, default: 0] += 1 }
        }
        let lengths = lines.map(\.count)
        guard let form = Form.all.first(where: { $0.kind == .regulated && $0.lineLengths == lengths }) else { return }
        forms[form.name, default: Count()].shaped += 1
        guard Self.isRegulated(lines), let loose = try? ProsodyChecker(tones: .loose).check(lines, as: form),
            let strict = try? ProsodyChecker(tones: .strict).check(lines, as: form)
        else { return }
        forms[form.name, default: Count()].regulated += 1
        if strict.isRegular { forms[form.name, default: Count()].strict += 1 }
        guard !loose.isRegular else {
            forms[form.name, default: Count()].loose += 1
            for kind in Set(loose.remarks.map(\.kind)) { remarks[kind, default: 0] += 1 }
            return
        }
        for kind in Set(loose.faults.map(\.kind)) {
            faults[kind, default: 0] += 1
            guard examples[kind, default: []].count < 3, let fault = loose.faults.first(where: { $0.kind == kind })
            else {
                continue
            }
            let couplet = ((fault.line ?? 1) - 1) / 2 * 2
            examples[kind, default: []].append(
                lines[couplet] + "，" + lines[couplet + 1] + "。" + fault.message())
        }
    }

    /// Whether a poem of four or eight equal lines of five or seven characters is 近体 by its rhymes and its even places.
    static func isRegulated(_ lines: [String]) -> Bool {
        let tonesOfLines = lines.map { $0.map { tones(of: $0, in: .pingshui) } }
        let rhymes = stride(from: 1, to: lines.count, by: 2).compactMap { lines[$0].last }
            .map { groups(of: $0, in: .cilin) }.filter { !$0.isEmpty }
        let level = RhymeGroupSet(RhymeBook.cilin.groups.filter { $0.tone == .level }.map(\.id))
        guard !rhymes.isEmpty, !rhymes.reduce(level, { $0.intersection($1) }).isEmpty else { return false }
        let places = stride(from: 1, to: tonesOfLines[0].count - 1, by: 2)
        let misses = [true, false].map { begins in
            tonesOfLines.enumerated().reduce(0) { sum, line in
                // Second characters run 平 仄 仄 平, or the other way round, and so on.
                let startsLevel = (line.offset % 4 == 0 || line.offset % 4 == 3) == begins
                return sum
                    + places.count { place in
                        let wanted: ToneSet = (place % 4 == 1) == startsLevel ? .level : .oblique
                        return !line.element[place].isEmpty && line.element[place].isDisjoint(with: wanted)
                    }
            }
        }
        return misses.contains { $0 * 8 <= lines.count * Array(places).count }
    }
}
