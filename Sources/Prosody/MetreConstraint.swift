/// What a poem under way must obey: a form, a tone policy, a rhyme, and the characters that are already settled.
///
/// Built once per request; a `MetreState` walks it character by character. Whatever is reachable through the states' rules
/// passes `ProsodyChecker` with the same form, policy and book: patterns that the settled characters rule out are
/// removed here, so that no state runs into them, and every group that may be opened has enough characters for all rhymes.
///
/// Rhyme. One group for all rhymes of a tone. A tune with level and oblique rhymes (in the table 清平乐 only, a 换韵 tune: four
/// oblique rhymes, then three level ones; 龙榆生《唐宋词格律》) has one group for each tone, independent of each other.
public struct MetreConstraint: Sendable {
    /// The form whose slots are ruled.
    public let form: Form
    /// How strictly its tones are kept.
    public let tones: TonePolicy
    /// The book that tells tones and rhymes.
    public let book: RhymeBook

    /// The patterns that the settled characters leave.
    let metre: Metre
    /// The groups that each variant may still rhyme in.
    let groups: [RhymeGroupSet]
    /// The rhyme characters that each variant already has.
    let used: [[Character]]
    /// The settled character of each slot.
    let fixed: [Character?]

    /// Builds the constraint.
    ///
    /// - Parameters:
    ///   - rhymeGroup: the group of all rhymes of its tone; nil leaves it to the first rhyme that is written.
    ///   - acrostic: one head per line from the first line on.
    ///   - fixedLines: whole lines by index from 0, simplified characters.
    ///   - minimumGroupSize: groups with fewer characters are not opened on their own (they are when the user asks for one).
    ///   - vocabulary: the characters that the writer knows, simplified; groups are counted in it. Nil: the whole table.
    /// - Throws: `ProsodyError` where the request cannot be met.
    public init(
        form: Form, tones: TonePolicy, book: RhymeBook, rhymeGroup: RhymeGroup? = nil, acrostic: [Character] = [],
        fixedLines: [Int: String] = [:], minimumGroupSize: Int = 0, vocabulary: Set<Character>? = nil
    ) throws {
        self.form = form
        self.tones = tones
        self.book = book
        var metre = form.metre(tones)
        let fixed = try Self.settle(acrostic: acrostic, fixedLines: fixedLines, form: form, metre: metre)
        let needed = metre.rhymes.count

        let table = book.table
        let sizes = table.members.map { members in
            vocabulary.map { known in members.lazy.filter(known.contains).count } ?? members.count
        }
        let large = RhymeGroupSet(sizes.indices.filter { sizes[$0] >= max(minimumGroupSize, needed) })
        let enough = RhymeGroupSet(sizes.indices.filter { sizes[$0] >= needed })
        if let group = rhymeGroup {
            guard group.book == book else {
                throw ProsodyError.foreignRhymeGroup(group: group.name, book: book.rawValue)
            }
            guard form.rhymeTones.contains(group.tone) else {
                throw ProsodyError.rhymeGroupTone(group: group.name, form: form.name)
            }
            guard enough.contains(group.id) else {
                throw ProsodyError.rhymeGroupTooSmall(group: group.name, members: sizes[group.id], needed: needed)
            }
        }

        // The groups a variant may rhyme in, given its settled rhymes; nil with the slot that makes it impossible.
        var kept: [(variant: Metre.Variant, groups: RhymeGroupSet, used: [Character])] = []
        var furthest = 0
        variants: for var variant in metre.variants {
            var groups = RhymeGroupSet(table.groups.map(\.id))
            if let group = rhymeGroup {
                // The other tone's rhyme is the form's own matter, except where any tone may rhyme: there is one group.
                let others =
                    form.kind == .ancient ? RhymeGroupSet() : table.groups(ofTone: .either.subtracting(group.tone))
                groups = others.union(RhymeGroupSet([group.id]))
            }
            var used: [Character] = []
            for index in variant.blocks.indices {
                let start = variant.blocks[index].start
                let alternatives = variant.blocks[index].alternatives
                // A rhyme stands at the same slots in all alternatives of a block.
                var open = alternatives
                for offset in alternatives[0].indices {
                    guard let character = fixed[start + offset] else { continue }
                    open = open.filter { table.admits(character, at: $0[offset], groups: groups) }
                    guard let demand = open.first?[offset] else {
                        furthest = max(furthest, start + offset)
                        continue variants
                    }
                    if demand.isRhyme {
                        if used.contains(character) { throw ProsodyError.repeatedFixedRhyme(character: character) }
                        groups = table.narrow(groups, by: character, at: demand)
                        used += spellings(of: character)
                    }
                }
                variant.blocks[index].alternatives = open
            }
            kept.append((variant, groups, used))
        }
        guard !kept.isEmpty else {
            let place = metre.place(of: furthest)
            throw ProsodyError.fixedCharacter(
                line: place.line + 1, position: place.slot + 1, character: fixed[furthest] ?? "？", form: form.name)
        }

        // What is asked for may be small; what is opened freely is large. Each tone that the form rhymes in needs a group.
        let tones = form.kind == .ancient ? [ToneSet.either] : [.level, .oblique].filter(form.rhymeTones.contains)
        for index in kept.indices {
            var open = RhymeGroupSet()
            for tone in tones {
                let groups = kept[index].groups.intersection(table.groups(ofTone: tone))
                let preferred = groups.intersection(groups.count == 1 ? enough : large)
                open = open.union(
                    preferred.isEmpty && !kept[index].used.isEmpty ? groups.intersection(enough) : preferred)
            }
            kept[index].groups = open
        }
        kept.removeAll { entry in tones.contains { entry.groups.isDisjoint(with: table.groups(ofTone: $0)) } }
        guard !kept.isEmpty else {
            throw ProsodyError.noRhymeGroup(form: form.name, minimumGroupSize: minimumGroupSize)
        }
        metre.variants = kept.map(\.variant)
        self.metre = metre
        groups = kept.map(\.groups)
        used = kept.map(\.used)
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
        return fixed
    }
}

/// What one slot admits.
///
/// A character may stand there if it is `fixed`, or there is no fixed one, it is not `excluded`, and: where `rhymeGroups` is
/// set, it has a reading in one of these groups; otherwise it has one of the `tones`, or is in no table and `admitsUnknown` is set.
/// Where the openings of a poem differ (at the end of the first line one rhymes and another ends oblique), the rule is the union:
/// `rhymeGroups` then holds the open rhyme groups and every oblique group.
public struct SlotRule: Sendable, Hashable {
    /// The tones that may stand here.
    public var tones: ToneSet
    /// The groups, ids of the constraint's book, that the character must belong to; nil where nothing rhymes.
    public var rhymeGroups: RhymeGroupSet?
    /// The character that stands here already: an acrostic head or part of a fixed line.
    public var fixed: Character?
    /// Rhyme characters of the poem, which do not rhyme twice.
    public var excluded: Set<Character>
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
    /// An opening that still fits: its patterns in the current block as bits, the groups that its rhymes share, and the rhymes.
    private struct Path: Sendable {
        var variant: Int
        var open: UInt64
        var groups: RhymeGroupSet
        var used: [Character]
    }

    /// What the poem obeys.
    public let constraint: MetreConstraint
    /// The line of the next character, from 0; the number of lines when complete.
    public private(set) var line = 0
    /// The place of the next character in its line, from 0.
    public private(set) var slot = 0

    private var position = 0
    private var block = 0
    private var paths: [Path]

    /// The state before the first character.
    public init(_ constraint: MetreConstraint) {
        self.constraint = constraint
        paths = constraint.metre.variants.indices.map {
            Path(
                variant: $0, open: Self.allOpen(constraint.metre.variants[$0].blocks[0]), groups: constraint.groups[$0],
                used: constraint.used[$0])
        }
    }

    /// Whether every slot is filled.
    public var isComplete: Bool { position == constraint.metre.slotCount }

    /// The names of the openings that are still possible.
    public var variants: [String] { paths.map { constraint.metre.variants[$0.variant].name } }

    /// The rhyme groups that are still possible.
    public var rhymeGroups: RhymeGroupSet {
        paths.reduce(RhymeGroupSet()) { $0.union($1.groups) }
            .intersection(constraint.book.table.groups(ofTone: constraint.form.rhymeTones))
    }

    /// What the next slot admits. When the poem is complete nothing is admitted: no tones, no groups.
    public var rule: SlotRule {
        var rule = SlotRule(
            tones: [], rhymeGroups: nil, fixed: nil, excluded: [], endsLine: false, admitsUnknown: false)
        guard !isComplete else { return rule }
        let table = constraint.book.table
        rule.fixed = constraint.fixed[position]
        rule.endsLine = position + 1 == constraint.metre.lineStarts[line + 1]
        var rhymes = false
        var groups = RhymeGroupSet()
        for path in paths {
            eachDemand(of: path) { _, demand in
                rule.tones.formUnion(demand.tones)
                if demand == .free { rule.admitsUnknown = true }
                if demand.isRhyme {
                    rhymes = true
                    groups = groups.union(path.groups.intersection(table.groups(ofTone: demand.tones)))
                } else {
                    groups = groups.union(table.groups(ofTone: demand.tones))
                }
            }
        }
        if rhymes, !rule.admitsUnknown {
            rule.rhymeGroups = groups
            rule.tones = table.tones(of: groups)
            rule.excluded = Set(paths.flatMap(\.used)).filter { !admits($0) }
        }
        return rule
    }

    /// Whether `character` (simplified) may stand in the next slot.
    public func admits(_ character: Character) -> Bool {
        guard !isComplete else { return false }
        if let fixed = constraint.fixed[position] { return character == fixed }
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
        var next: [Path] = []
        for var path in paths {
            path.open = stays(path, with: character)
            guard path.open != 0 else { continue }
            // A rhyme stands at the same slots in all alternatives of a block, so the first one tells.
            let demand = alternatives(of: path)[path.open.trailingZeroBitCount][position - blockStart]
            if demand.isRhyme, !isFixed {
                path.groups = table.narrow(path.groups, by: character, at: demand)
                path.used += spellings(of: character)
            }
            next.append(path)
        }
        paths = next
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
        let isSettled = constraint.fixed[position] != nil
        let isUsed = path.used.contains(character)
        var open: UInt64 = 0
        eachDemand(of: path) { index, demand in
            guard table.admits(character, at: demand, groups: path.groups) else { return }
            if demand.isRhyme, isUsed, !isSettled { return }
            open |= 1 << index
        }
        return open
    }
}

extension RhymeTable {
    /// Whether a character satisfies `demand` when the open rhyme groups are `groups`.
    func admits(_ character: Character, at demand: Demand, groups: RhymeGroupSet) -> Bool {
        if demand == .free { return true }
        let readings = demand.isRhyme ? self.groups(ofRhyme: character) : self.groups(of: character)
        let fitting = readings.intersection(self.groups(ofTone: demand.tones))
        return demand.isRhyme ? !fitting.isDisjoint(with: groups) : !fitting.isEmpty
    }

    /// The groups that stay open after a rhyme in `character`; groups of the other tone are not touched.
    func narrow(_ groups: RhymeGroupSet, by character: Character, at demand: Demand) -> RhymeGroupSet {
        groups.intersection(
            self.groups(ofRhyme: character).union(self.groups(ofTone: .either.subtracting(demand.tones))))
    }
}
