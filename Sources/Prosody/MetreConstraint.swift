/// What a poem under way must obey: a form, a tone policy, a rhyme, and the characters that are already settled.
///
/// Built once per request; a `MetreState` walks it character by character. Whatever is reachable through the states'
/// rules passes `ProsodyChecker` with the same form, policy and book: patterns that the settled characters rule out are
/// removed here, so that no state runs into them, and every group that may be opened has enough characters for all
/// rhymes.
///
/// Rhyme. One group for all that belong to one rhyme. Tunes may have several (换韵: 菩萨蛮 has four), each with a group of
/// its own, independent of the others; where level and oblique characters belong to one rhyme (通押: 西江月) it is one part
/// of the book.
///
/// Repeats. A character that the tune repeats (叠句: 如梦令) is settled by the one before, which has to suit both places; a
/// repeat that the tune allows (采桑子) may be written, and is not a rhyme used twice.
public struct MetreConstraint: Sendable {
    /// The form whose slots are ruled.
    public let form: Form
    /// How strictly its tones are kept.
    public let tones: TonePolicy
    /// The book that tells tones and rhymes.
    public let book: RhymeBook

    /// The patterns that the settled characters leave.
    let metre: Metre
    /// The rhymes of each variant, with what the settled characters have made of them.
    let rhymes: [[OpenRhyme]]
    /// For each slot the earlier one whose character it has to repeat.
    let sources: [Int?]
    /// The settled character of each slot.
    let fixed: [Character?]

    /// Builds the constraint.
    ///
    /// - Parameters:
    ///   - rhymeGroup: the group of the form's rhyme, of its first where they change; nil leaves it to what is written
    ///     first.
    ///   - acrostic: one head per line from the first line on.
    ///   - fixedLines: whole lines by index from 0, simplified characters.
    ///   - minimumGroupSize: groups with fewer characters are not opened on their own (they are when the user asks for
    ///     one).
    ///   - vocabulary: the characters that the writer knows, simplified; groups are counted in it. Nil: the whole
    ///     table.
    /// - Throws: `ProsodyError` where the request cannot be met.
    public init(
        form: Form, tones: TonePolicy, book: RhymeBook, rhymeGroup: RhymeGroup? = nil, acrostic: [Character] = [],
        fixedLines: [Int: String] = [:], minimumGroupSize: Int = 0, vocabulary: Set<Character>? = nil
    ) throws {
        self.form = form
        self.tones = tones
        self.book = book
        var metre = form.metre(tones).closed
        let sources = metre.sources
        let fixed = try Self.settle(acrostic: acrostic, fixedLines: fixedLines, form: form, metre: metre)
        let kinds = metre.rhymes

        let table = book.table
        let sizes = table.members.map { members in
            vocabulary.map { known in members.lazy.filter(known.contains).count } ?? members.count
        }
        /// The groups of a rhyme that have room for it, those of one part together where level and oblique rhyme.
        func roomy(_ rhyme: Rhyme, minimum: Int) -> RhymeGroupSet {
            let byTone = rhyme.counts.map { tones, count in
                RhymeGroupSet(sizes.indices.filter { sizes[$0] >= max(minimum, count) })
                    .intersection(table.groups(ofTone: tones))
            }
            let all = byTone.reduce(RhymeGroupSet()) { $0.union($1) }
            return rhyme.isMixed ? byTone.reduce(all) { $0.intersection(table.parts(of: $1)) } : all
        }
        if let group = rhymeGroup, let first = kinds.first {
            guard group.book == book else {
                throw ProsodyError.foreignRhymeGroup(group: group.name, book: book.rawValue)
            }
            guard first.tones.contains(group.tone) else {
                throw ProsodyError.rhymeGroupTone(group: group.name, form: form.name)
            }
            guard roomy(first, minimum: 0).contains(group.id) else {
                let needed = first.counts.filter { $0.key.contains(group.tone) }.values.reduce(0, +)
                throw ProsodyError.rhymeGroupTooSmall(
                    group: group.name, members: sizes[group.id], needed: needed)
            }
        }

        // What a variant may rhyme in, given its settled rhymes; nil with the slot that makes it impossible.
        var kept: [(variant: Metre.Variant, rhymes: [OpenRhyme])] = []
        var furthest = 0
        variants: for var variant in metre.variants {
            var rhymes = kinds.map { OpenRhyme(groups: table.groups(ofTone: $0.tones), isMixed: $0.isMixed) }
            if let group = rhymeGroup, !rhymes.isEmpty {
                let asked = RhymeGroupSet([group.id])
                rhymes[0].groups = rhymes[0].isMixed ? table.parts(of: asked) : asked
            }
            for index in variant.blocks.indices {
                let start = variant.blocks[index].start
                let alternatives = variant.blocks[index].alternatives
                // A rhyme stands at the same slots in all alternatives of a block.
                var open = alternatives
                for offset in alternatives[0].indices {
                    guard let character = fixed[start + offset] else { continue }
                    open = open.filter { table.admits(character, at: $0[offset], rhymes) }
                    guard let demand = open.first?[offset] else {
                        furthest = max(furthest, start + offset)
                        continue variants
                    }
                    if let rhyme = demand.rhyme {
                        let slot = start + offset
                        let mayRepeat = form.repeats.contains {
                            $0.pairs.contains { $0.slot == slot && fixed[$0.source] == character }
                        }
                        if rhymes[rhyme].used.contains(character), !mayRepeat {
                            throw ProsodyError.repeatedFixedRhyme(character: character)
                        }
                        rhymes[rhyme].write(character, at: demand, table)
                    }
                }
                variant.blocks[index].alternatives = open
            }
            kept.append((variant, rhymes))
        }
        guard !kept.isEmpty else {
            let place = metre.place(of: furthest)
            throw ProsodyError.fixedCharacter(
                line: place.line + 1, position: place.slot + 1, character: fixed[furthest] ?? "？", form: form.name)
        }

        // What is asked for may be small; what is opened freely is large.
        for index in kept.indices {
            for (rhyme, kind) in kinds.enumerated() {
                let groups = kept[index].rhymes[rhyme].groups
                let enough = roomy(kind, minimum: 0).intersection(groups)
                let large = roomy(kind, minimum: minimumGroupSize).intersection(groups)
                let isNamed = rhyme == 0 && rhymeGroup != nil
                let isSettled = !kept[index].rhymes[rhyme].used.isEmpty
                kept[index].rhymes[rhyme].groups = isNamed || large.isEmpty && isSettled ? enough : large
            }
        }
        kept.removeAll { $0.rhymes.contains { $0.groups.isEmpty } }
        guard !kept.isEmpty else {
            throw ProsodyError.noRhymeGroup(form: form.name, minimumGroupSize: minimumGroupSize)
        }
        metre.variants = kept.map(\.variant)
        self.metre = metre
        rhymes = kept.map(\.rhymes)
        self.sources = sources
        self.fixed = fixed
    }

    /// The settled characters by slot.
    private static func settle(
        acrostic: [Character], fixedLines: [Int: String], form: Form, metre: Metre
    ) throws -> [Character?] {
        var fixed = [Character?](repeating: nil, count: metre.slotCount)
        guard acrostic.count <= form.lineCount else {
            throw ProsodyError.acrosticTooLong(heads: String(acrostic), lines: form.lineCount, form: form.name)
        }
        for (line, text) in fixedLines.sorted(by: { $0.key < $1.key }) {
            guard form.lineLengths.indices.contains(line) else {
                throw ProsodyError.fixedLineOutside(line: line + 1, lines: form.lineCount)
            }
            guard text.count == form.lineLengths[line] else {
                throw ProsodyError.fixedLineLength(line: line + 1, expected: form.lineLengths[line], found: text.count)
            }
            for (offset, character) in text.enumerated() {
                guard character.isHan else {
                    throw ProsodyError.notHan(character: character, line: line + 1, position: offset + 1)
                }
                fixed[metre.lineStarts[line] + offset] = character
            }
            if line < acrostic.count, text.first != acrostic[line] {
                throw ProsodyError.fixedConflict(line: line + 1, head: acrostic[line], text: text)
            }
        }
        for (line, head) in acrostic.enumerated() {
            guard head.isHan else { throw ProsodyError.notHan(character: head, line: line + 1, position: 1) }
            fixed[metre.lineStarts[line]] = head
        }
        // What repeats is settled together: backwards, so that a chain of repeats reaches its first, then forwards.
        let pairs = metre.sources.enumerated().compactMap { slot, source in source.map { (slot, $0) } }
        for (slot, source) in pairs.reversed() where fixed[source] == nil { fixed[source] = fixed[slot] }
        for (slot, source) in pairs {
            if let copy = fixed[slot], let character = fixed[source], copy != character {
                let (place, other) = (metre.place(of: slot), metre.place(of: source))
                throw ProsodyError.fixedRepeat(
                    line: place.line + 1, source: other.line + 1, character: copy, wanted: character, form: form.name)
            }
            fixed[slot] = fixed[source]
        }
        return fixed
    }
}

/// What one slot admits.
///
/// A character may stand there if it is `fixed`, or there is no fixed one, it is not `excluded`, and: where
/// `rhymeGroups` is set, it has a reading in one of these groups; otherwise it has one of the `tones`, or is in no
/// table and `admitsUnknown` is set. Where the openings of a poem differ (at the end of the first line one rhymes and
/// another ends oblique), the rule is the union: `rhymeGroups` then holds the open rhyme groups and every oblique
/// group.
public struct SlotRule: Sendable, Hashable {
    /// The tones that may stand here.
    public var tones: ToneSet
    /// The groups, ids of the constraint's book, that the character must belong to; nil where nothing rhymes.
    public var rhymeGroups: RhymeGroupSet?
    /// The character that has to stand here: an acrostic head, part of a fixed line, or what the tune repeats.
    public var fixed: Character?
    /// Rhyme characters of the poem, which do not rhyme twice.
    public var excluded: Set<Character>
    /// Whether `fixed` is a character of the poem that the tune repeats here.
    public var isRepeat = false
    /// Whether this is the last slot of its line.
    public var endsLine: Bool
    /// Whether a character that is in no table may stand here, which is so where the tone is free.
    public var admitsUnknown: Bool

    /// Whether `character` (simplified) may stand in the slot.
    public func admits(_ character: Character, in book: RhymeBook) -> Bool {
        if let fixed { return character == fixed }
        if let rhymeGroups {
            return !book.table.groups(ofRhyme: character).isDisjoint(with: rhymeGroups) && !excluded.contains(character)
        }
        let tones = book.table.tones(of: book.table.groups(of: character))
        return tones.isEmpty ? admitsUnknown && character.isHan : !tones.isDisjoint(with: self.tones)
    }
}

/// A poem under way: where it stands, and what may follow.
///
/// Every opening and every 拗救 that fits what has been written stays open. A value type: copy it to branch.
public struct MetreState: Sendable {
    /// An opening that still fits: its patterns in the current block as bits, and its rhymes.
    private struct Path: Sendable {
        var variant: Int
        var open: UInt64
        var rhymes: [OpenRhyme]
    }

    /// What the poem obeys.
    public let constraint: MetreConstraint
    /// The line of the next character, from 0; the number of lines when complete.
    public private(set) var line = 0
    /// The place of the next character in its line, from 0.
    public private(set) var slot = 0

    private var position = 0
    private var block = 0
    private var written: [Character] = []
    private var paths: [Path]

    /// The state before the first character.
    public init(_ constraint: MetreConstraint) {
        self.constraint = constraint
        paths = constraint.metre.variants.indices.map {
            Path(
                variant: $0, open: Self.allOpen(constraint.metre.variants[$0].blocks[0]), rhymes: constraint.rhymes[$0])
        }
    }

    /// Whether every slot is filled.
    public var isComplete: Bool { position == constraint.metre.slotCount }

    /// The names of the openings that are still possible.
    public var variants: [String] { paths.map { constraint.metre.variants[$0.variant].name } }

    /// The groups that are still possible for each of the poem's rhymes.
    public var rhymeGroups: [RhymeGroupSet] {
        (0..<(paths.first?.rhymes.count ?? 0)).map { rhyme in
            paths.reduce(RhymeGroupSet()) { $0.union($1.rhymes[rhyme].groups) }
        }
    }

    /// The character that has to stand in the next slot: it is settled, or the tune repeats it.
    private var forced: Character? {
        constraint.fixed[position] ?? constraint.sources[position].map { written[$0] }
    }

    /// What the next slot admits. When the poem is complete nothing is admitted: no tones, no groups.
    public var rule: SlotRule {
        var rule = SlotRule(
            tones: [], rhymeGroups: nil, fixed: nil, excluded: [], endsLine: false, admitsUnknown: false)
        guard !isComplete else { return rule }
        let table = constraint.book.table
        rule.fixed = forced
        rule.isRepeat = constraint.sources[position] != nil
        rule.endsLine = position + 1 == constraint.metre.lineStarts[line + 1]
        var rhymes = false
        var groups = RhymeGroupSet()
        for path in paths {
            eachDemand(of: path) { _, demand in
                rule.tones.formUnion(demand.tones)
                if demand == .free { rule.admitsUnknown = true }
                if let rhyme = demand.rhyme {
                    rhymes = true
                    groups = groups.union(path.rhymes[rhyme].groups.intersection(table.groups(ofTone: demand.tones)))
                } else {
                    groups = groups.union(table.groups(ofTone: demand.tones))
                }
            }
        }
        if rhymes, !rule.admitsUnknown {
            rule.rhymeGroups = groups
            rule.tones = table.tones(of: groups)
            rule.excluded = Set(paths.flatMap { $0.rhymes.flatMap(\.used) }).filter { !admits($0) }
        }
        return rule
    }

    /// Whether `character` (simplified) may stand in the next slot.
    public func admits(_ character: Character) -> Bool {
        guard !isComplete else { return false }
        if let forced { return character == forced }
        return character.isHan && paths.contains { stays($0, with: character) != 0 }
    }

    /// Writes `character` in the next slot.
    ///
    /// - Returns: false, and the state is unchanged, if the slot does not admit the character.
    @discardableResult
    public mutating func append(_ character: Character) -> Bool {
        guard admits(character) else { return false }
        let table = constraint.book.table
        let isFixed = constraint.fixed[position] != nil
        let isRepeated = repeats(character)
        var next: [Path] = []
        for var path in paths {
            path.open = stays(path, with: character)
            guard path.open != 0 else { continue }
            // A rhyme stands at the same slots in all alternatives of a block, so the first one tells.
            let demand = alternatives(of: path)[path.open.trailingZeroBitCount][position - blockStart]
            if let rhyme = demand.rhyme, !isFixed, !(isRepeated && path.rhymes[rhyme].used.contains(character)) {
                path.rhymes[rhyme].write(character, at: demand, table)
            }
            next.append(path)
        }
        paths = next
        written.append(character)
        position += 1
        slot += 1
        if position == constraint.metre.lineStarts[line + 1] {
            line += 1
            slot = 0
        }
        let blocks = constraint.metre.variants[paths[0].variant].blocks
        if block + 1 < blocks.count, position == blocks[block + 1].start {
            block += 1
            for index in paths.indices {
                paths[index].open = Self.allOpen(constraint.metre.variants[paths[index].variant].blocks[block])
            }
        }
        return true
    }

    private var blockStart: Int { constraint.metre.variants[0].blocks[block].start }

    /// Whether `character` in the next slot completes a repeat that the tune has there.
    private func repeats(_ character: Character) -> Bool {
        constraint.form.repeats.contains { $0.pairs.last?.slot == position && $0.holds(in: written + [character]) }
    }

    private static func allOpen(_ block: Metre.Block) -> UInt64 { (1 << block.alternatives.count) - 1 }

    private func alternatives(of path: Path) -> [[Demand]] {
        constraint.metre.variants[path.variant].blocks[block].alternatives
    }

    private func eachDemand(of path: Path, _ body: (Int, Demand) -> Void) {
        let alternatives = alternatives(of: path)
        let offset = position - blockStart
        for index in alternatives.indices where path.open >> index & 1 == 1 { body(index, alternatives[index][offset]) }
    }

    /// The alternatives of `path` that are left if `character` stands here, as bits.
    private func stays(_ path: Path, with character: Character) -> UInt64 {
        let table = constraint.book.table
        let isSettled = forced != nil
        var open: UInt64 = 0
        eachDemand(of: path) { index, demand in
            guard table.admits(character, at: demand, path.rhymes) else { return }
            if let rhyme = demand.rhyme, path.rhymes[rhyme].used.contains(character), !isSettled, !repeats(character) {
                return
            }
            open |= 1 << index
        }
        return open
    }
}

/// One rhyme of a poem under way.
struct OpenRhyme: Sendable {
    /// The groups that it may still be in.
    var groups: RhymeGroupSet
    /// Whether level and oblique characters belong to it, so that it is a part of the book rather than a group.
    let isMixed: Bool
    /// Its characters so far, in every spelling.
    var used: [Character] = []

    /// Adds a character, which decides the group or leaves fewer.
    mutating func write(_ character: Character, at demand: Demand, _ table: RhymeTable) {
        let fitting = table.groups(ofRhyme: character).intersection(table.groups(ofTone: demand.tones))
        groups = groups.intersection(isMixed ? table.parts(of: fitting) : fitting)
        used += spellings(of: character)
    }
}

extension RhymeTable {
    /// Whether a character satisfies `demand`, given the poem's rhymes.
    func admits(_ character: Character, at demand: Demand, _ rhymes: [OpenRhyme]) -> Bool {
        if demand == .free { return true }
        let readings = demand.isRhyme ? groups(ofRhyme: character) : groups(of: character)
        let fitting = readings.intersection(groups(ofTone: demand.tones))
        return demand.rhyme.map { !fitting.isDisjoint(with: rhymes[$0].groups) } ?? !fitting.isEmpty
    }
}
