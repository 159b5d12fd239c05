/// Holds a poem against a form.
///
/// 近体 is judged line by line: each couplet is read as the two line types (`LineType`) that explain it with the fewest
/// faults, where a couplet that does not oppose (失对) or link (失粘) costs as much as one and a half wrong tones. So one
/// broken link is reported as that, and not as a wrong tone in every line that follows. Under `loose` the licences of
/// `LineType` are remarks and no faults, as is a first line that rhymes in a neighbouring group (邻韵: one part of
/// 词林正韵; 王力《诗词格律》, ch. 2, sect. 1). The documentation of the module has all rules in a table, with their sources.
public struct ProsodyChecker: Sendable {
    /// How strictly tones are judged.
    public var tones: TonePolicy
    /// The rhyme book; nil takes the form's own.
    public var book: RhymeBook?

    /// A checker; nothing is read yet.
    public init(tones: TonePolicy = .loose, book: RhymeBook? = nil) {
        self.tones = tones
        self.book = book
    }

    /// Checks `lines` (simplified characters and `PoemText.lost`, no punctuation) as `form`, or as the form that they
    /// look like.
    ///
    /// Ci lines need not be divided as the table divides them, only be as long in all. Who names a tune means any of
    /// its forms (别体): the one that the lines fit is taken, and named in the report.
    ///
    /// - Throws: `ProsodyError.noMatchingForm` if no form is given and none has these lengths, `.notHan`,
    ///   `.emptyPoem`.
    public func check(_ lines: [String], as form: Form? = nil) throws -> ProsodyReport {
        guard lines.contains(where: { !$0.isEmpty }) else { throw ProsodyError.emptyPoem }
        for (line, text) in lines.enumerated() {
            if let (offset, character) = text.enumerated().first(where: {
                !$0.element.isHan && $0.element != PoemText.lost
            }) {
                throw ProsodyError.notHan(character: character, line: line + 1, position: offset + 1)
            }
        }
        let texts = lines.map(Array.init)
        if let form { return report(texts, fitting(texts, form), isGuessed: false) }
        return try guess(texts)
    }

    /// The form of the same tune that the poem fits, where it does not fit the one that was named.
    private func fitting(_ texts: [[Character]], _ form: Form) -> Form {
        guard form.name == form.tune, form.attestation != nil else { return form }
        let count = texts.reduce(0) { $0 + $1.count }
        let rivals = Form.all.filter { $0.tune == form.tune && $0 != form && $0.characterCount == count }
        guard !rivals.isEmpty else { return form }
        func rhymes(_ form: Form) -> Double { report(texts, form, isGuessed: false).rhymeAccuracy ?? -1 }
        // By its rhymes, not by its faults: a bad poem in the named form is one in the named form.
        return rivals.reduce((form, rhymes(form))) { best, rival in
            let accuracy = rhymes(rival)
            return accuracy > best.1 ? (rival, accuracy) : best
        }.0
    }

    // MARK: Guessing

    private func guess(_ texts: [[Character]]) throws -> ProsodyReport {
        let lengths = texts.map(\.count)
        if let syllables = lengths.first, lengths.allSatisfy({ $0 == syllables }), texts.count >= 2 {
            if let form = Form.all.first(where: { $0.kind == .regulated && $0.lineLengths == lengths }) {
                let reading = report(texts, form, isGuessed: true)
                // A poem that never meant to be 近体 misses at the places that count: the even ones, the ends, the rhyme.
                var cost = reading.faults.reduce(0.0) { cost, fault in
                    let isLight = fault.position.map { $0 % 2 == 1 && $0 < syllables && fault.kind != .repeatedRhyme }
                    return cost + (isLight ?? false ? 0.5 : 1)
                }
                // The two licences that verse without tones meets by chance tell less than a fault, and more than
                // nothing.
                if !reading.isRegular {
                    cost += 0.5 * Double(reading.remarks.count { $0.kind == .threeObliques || $0.isLevelForOblique })
                }
                if cost <= 0.5 * Double(texts.count), reading.rhymeAccuracy ?? 0 > 0 { return reading }
            }
        }
        // Tunes that divide as the text does come first; a text may also join or split the table's lines between
        // rhymes.
        let total = lengths.reduce(0, +)
        let breaks = Set(lengths.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1) })
        let tunes = Form.all.filter { $0.kind == .ci && $0.characterCount == total }
        let fitting = tunes.filter { form in
            var end = 0
            return form.lineLengths.allSatisfy {
                end += $0
                return !form.pattern[end - 1].isRhyme || breaks.contains(end)
            }
        }
        let readings = fitting.map { (form: $0, report: report(texts, $0, isGuessed: true)) }
        func fit(_ reading: (form: Form, report: ProsodyReport)) -> Double {
            (reading.report.toneAccuracy ?? 0) + (reading.report.rhymeAccuracy ?? 0)
                + (reading.form.lineLengths == lengths ? 0.5 : 0)
        }
        // Lines of uneven length are a tune's; even ones may be 古体, so there the tones must be the tune's (玉楼春, 生查子),
        // which says little where most places are free (瑞鹧鸪).
        let isEven = Set(lengths).count == 1
        let likely = readings.filter { form, report in
            guard let accuracy = report.toneAccuracy, isEven else { return report.toneAccuracy ?? 0 >= 0.6 }
            let wrong = (1 - accuracy) * Double(form.characterCount)
            return accuracy >= 0.9 && wrong <= 0.2 * Double(form.pattern.filter { $0.tones != .either }.count)
        }
        if let best = likely.max(by: { fit($0) < fit($1) }) { return best.report }
        if let syllables = lengths.first, lengths.allSatisfy({ $0 == syllables }), texts.count >= 2 {
            return report(texts, .ancient(syllables: syllables, lines: texts.count), isGuessed: true)
        }
        throw ProsodyError.noMatchingForm(lineLengths: lengths)
    }

    // MARK: Reports

    private func report(_ texts: [[Character]], _ named: Form, isGuessed: Bool) -> ProsodyReport {
        var form = named
        if form.kind == .ancient, form.lineCount != 4, texts.count != 4, texts.count > 1 {
            // 五古 and 七古 have any number of lines.
            form = .ancient(syllables: form.lineLengths[0], lines: texts.count)
        }
        let book = self.book ?? form.defaultBook
        var texts = texts
        if form.kind == .ci, texts.map(\.count) != form.lineLengths {
            let all = texts.flatMap { $0 }
            if all.count == form.characterCount {
                var start = 0
                texts = form.lineLengths.map { length in
                    defer { start += length }
                    return Array(all[start..<start + length])
                }
            }
        }
        var reading = Reading(form: form, texts: texts, book: book, tones: tones)
        reading.read()
        return ProsodyReport(
            form: form.name, kind: form.kind, isGuessed: isGuessed, opening: reading.opening, tones: tones, book: book,
            rhymeGroups: reading.rhymeGroups.map { book.groups[$0].name },
            lines: texts.enumerated().map { line, text in
                ProsodyReport.Line(
                    text: String(text),
                    tones: reading.readings[line].map(\.description).joined(),
                    pattern: line < reading.patterns.count
                        ? reading.patterns[line].map { String($0.symbol.prefix(1)) }.joined() : "",
                    rhymes: reading.rhymingLines.contains(line))
            },
            faults: reading.faults, remarks: reading.remarks, toneAccuracy: reading.toneAccuracy,
            rhymeAccuracy: reading.rhymeAccuracy)
    }
}

/// A poem being held against a form: the working of `ProsodyChecker`.
private struct Reading {
    let form: Form
    let texts: [[Character]]
    let book: RhymeBook
    let tones: TonePolicy

    var opening: String?
    var patterns: [[Demand]] = []
    var rhymeGroups: [Int] = []
    var rhymingLines: Set<Int> = []
    var faults: [ProsodyFault] = []
    var remarks: [ProsodyFault] = []
    var toneAccuracy: Double?
    var rhymeAccuracy: Double?

    private let table: RhymeTable
    /// The tones of each character, looked up once.
    let readings: [[ToneSet]]

    init(form: Form, texts: [[Character]], book: RhymeBook, tones: TonePolicy) {
        let table = book.table
        self.table = table
        readings = texts.map { $0.map { table.tones(of: table.groups(of: $0)) } }
        self.form = form
        self.texts = texts
        self.book = book
        self.tones = tones
    }

    mutating func read() {
        guard hasFormLengths() else { return }
        switch form.kind {
        case .regulated: readRegulated()
        case .ancient, .ci: readPattern()
        }
        faults.sort(by: Self.comesBefore)
        remarks.sort(by: Self.comesBefore)
    }

    private static func comesBefore(_ one: ProsodyFault, _ two: ProsodyFault) -> Bool {
        (one.line ?? 0, one.position ?? 0) < (two.line ?? 0, two.position ?? 0)
    }

    private mutating func hasFormLengths() -> Bool {
        if texts.count != form.lineCount {
            add(.lineCount, expected: "\(form.lineCount)", found: "\(texts.count)")
        }
        for (line, text) in texts.enumerated() where line < form.lineCount && text.count != form.lineLengths[line] {
            add(.lineLength, line: line, expected: "\(form.lineLengths[line])", found: "\(text.count)")
        }
        return faults.isEmpty
    }

    // MARK: 古体 and ci: one pattern

    private mutating func readPattern() {
        let metre = form.metre(tones)
        let demands = metre.variants[0].blocks[0].alternatives[0]
        patterns = texts.indices.map { Array(demands[metre.lineStarts[$0]..<metre.lineStarts[$0 + 1]]) }
        if form.kind == .ci {
            toneAccuracy = accuracy([form.metre(.strict).variants[0].blocks.flatMap { $0.alternatives[0] }])
        }
        for (line, pattern) in patterns.enumerated() { judgeTones(line, pattern) }
        rhymingLines = Set(patterns.indices.filter { patterns[$0].last?.isRhyme ?? false })
        if form.kind == .ci { judgeRepeats(metre) }
        var (hits, known) = (0, 0)
        for (rhyme, kind) in metre.rhymes.enumerated() {
            let lines = rhymingLines.sorted().filter { patterns[$0].last?.rhyme == rhyme }
            let judged = judgeRhymes(lines, kind, first: nil)
            (hits, known) = (hits + judged.hits, known + judged.known)
        }
        rhymeAccuracy = Double(hits) / Double(max(known, 1))
    }

    /// Reports lines that do not repeat what the tune repeats there.
    private mutating func judgeRepeats(_ metre: Metre) {
        let all = texts.flatMap { $0 }
        for one in form.repeats where one.isDemanded && !one.holds(in: all) {
            guard let first = one.pairs.first(where: { all[$0.slot] != all[$0.source] }) else { continue }
            let (place, source) = (metre.place(of: first.slot), metre.place(of: first.source))
            add(
                .refrain, line: place.line, slot: place.slot, expected: String(all[first.source]),
                found: "\(source.line + 1)")
        }
    }

    // MARK: 近体: line types

    /// One way to read a couplet.
    private struct Choice {
        var types: (LineType, LineType)
        var couplet: LineType.Couplet
        var cost: Double
    }

    private mutating func readRegulated() {
        let syllables = form.lineLengths[0]
        toneAccuracy = accuracy(form.metre(.strict).variants.map { $0.blocks.flatMap { $0.alternatives[0] } })
        let rhyming = form.rhymingLines
        let group = mainGroup(rhyming, Rhyme(counts: [.level: rhyming.count]), first: 0)?.ids.first
        let firstRhymes = rhymesInFirstLine(group, rhyming)

        // Best cost of the couplets so far, by the type of their last line, and how it was reached.
        var best: [LineType: (cost: Double, path: [Choice])] = [:]
        for couplet in 0..<texts.count / 2 {
            var next: [LineType: (cost: Double, path: [Choice])] = [:]
            for choice in choices(couplet, syllables: syllables, firstRhymes: firstRhymes) {
                let arrivals: [(cost: Double, path: [Choice])] =
                    couplet == 0
                    ? [(0, [])]
                    // In the order of the types, not of the dictionary, which differs from run to run.
                    : LineType.allCases.compactMap { last in
                        guard let arrival = best[last] else { return nil }
                        let broken = tones != .off && last.startsLevel != choice.types.0.startsLevel
                        return (arrival.cost + (broken ? 1.5 : 0), arrival.path)
                    }
                for arrival in arrivals {
                    let cost = arrival.cost + choice.cost
                    if cost < next[choice.types.1]?.cost ?? .infinity {
                        next[choice.types.1] = (cost, arrival.path + [choice])
                    }
                }
            }
            best = next
        }
        // Ties go to the earlier type, so that a result does not depend on the order of a dictionary.
        guard let path = LineType.allCases.compactMap({ best[$0] }).min(by: { $0.cost < $1.cost })?.path else { return }

        opening = form.variantName(opening: path[0].types.0)
        patterns = path.flatMap(\.couplet.patterns)
        let licences = path.flatMap(\.couplet.licences)
        let types = path.flatMap { [$0.types.0, $0.types.1] }
        for (line, type) in types.enumerated() {
            judgeTones(line, patterns[line], type: type)
            if let licence = licences[line] {
                let isLevel = readings[line][licence.slot] == .level
                add(
                    licence.kind, line: line, slot: licence.slot, expected: isLevel ? "仄" : "平",
                    found: isLevel ? "平" : "仄")
            }
            guard tones != .off, line > 0 else { continue }
            let opposes = line % 2 == 1
            if (type.startsLevel == types[line - 1].startsLevel) == opposes {
                let level = (type.startsLevel != (syllables == 5))
                add(opposes ? .couplet : .link, line: line, expected: level ? "平" : "仄", found: level ? "仄" : "平")
            }
        }
        rhymingLines = Set(rhyming)
        // With tones off a first line never has to rhyme, so it is held to nothing.
        let openingRhymes = types[0].endsLevel && tones != .off
        if openingRhymes { rhymingLines.insert(0) }
        let kind = Rhyme(counts: [.level: rhyming.count])
        let (hits, known) = judgeRhymes(rhyming, kind, first: openingRhymes ? 0 : nil)
        rhymeAccuracy = Double(hits) / Double(max(known, 1))
    }

    /// The readings of a couplet, with what each costs.
    private func choices(_ couplet: Int, syllables: Int, firstRhymes: Bool) -> [Choice] {
        let line = couplet * 2
        var choices: [Choice] = []
        for first in LineType.allCases where couplet == 0 || !first.endsLevel {
            for second in [LineType.b, .c] {
                let opposes = first.startsLevel != second.startsLevel
                var cost = opposes || tones == .off ? 0 : 1.5
                // Small costs settle ties: a first line that rhymes is read as one that does, an unknown character as
                // one in a free slot.
                if line == 0, first.endsLevel != firstRhymes { cost += first.endsLevel ? 1 : 0.1 }
                for couplet in LineType.couplets(first, second, syllables: syllables, tones) {
                    let wrong = zip([line, line + 1], couplet.patterns).reduce(0.0) { $0 + self.cost($1.0, $1.1) }
                    // The textbook's reading comes before one that needs a licence.
                    let licensed = 0.02 * Double(couplet.licences.count { $0 != nil })
                    choices.append(
                        Choice(types: (first, second), couplet: couplet, cost: cost + wrong + licensed))
                }
            }
        }
        return choices
    }

    /// Whether the first line's last character can be read as a rhyme of the poem.
    private func rhymesInFirstLine(_ group: Int?, _ rhyming: [Int]) -> Bool {
        guard let character = texts[0].last, let group else { return false }
        guard !rhyming.contains(where: { texts[$0].last == character }) else { return false }
        if table.groups(ofRhyme: character).contains(group) { return true }
        // One that may end oblique is not taken for a borrowed rhyme.
        return readings[0].last == .level && isNeighbour(character, rhyming)
    }

    /// Whether `character` shares a level part of 词林正韵 with the rhymes of `lines` (邻韵), which `loose` takes in the
    /// first line.
    private func isNeighbour(_ character: Character, _ lines: [Int]) -> Bool {
        guard tones == .loose, book == .pingshui else { return false }
        let parts = RhymeTable.cilin
        let shared = lines.compactMap { texts[$0].last }
            .reduce(parts.groups(of: character).intersection(parts.levelGroups)) {
                $0.intersection(parts.groups(of: $1))
            }
        return !shared.isEmpty
    }

    // MARK: Tones

    /// The slots of a line whose known character has the wrong tone; rhymes are judged elsewhere.
    private func mismatches(_ line: Int, _ pattern: [Demand]) -> [Int] {
        pattern.indices.filter { slot in
            let found = readings[line][slot]
            return !pattern[slot].isRhyme && !found.isEmpty && found.isDisjoint(with: pattern[slot].tones)
        }
    }

    /// One for a wrong tone, next to nothing for a character that cannot be judged.
    private func cost(_ line: Int, _ pattern: [Demand]) -> Double {
        let unknown = pattern.indices.filter { pattern[$0] != .free && readings[line][$0].isEmpty }.count
        return Double(mismatches(line, pattern).count) + 0.01 * Double(unknown)
    }

    private mutating func judgeTones(_ line: Int, _ pattern: [Demand], type: LineType? = nil) {
        let wrong = mismatches(line, pattern)
        let tail = pattern.count - 5
        for slot in pattern.indices {
            let found = readings[line][slot]
            if wrong.contains(slot) {
                var kind = ProsodyFault.Kind.tone
                if type == .c, slot == tail { kind = .lonelyLevel }
                if type == .b, slot == tail + 2, !wrong.contains(tail + 3) { kind = .threeLevels }
                add(kind, line: line, slot: slot, expected: pattern[slot].tones.description, found: found.description)
            } else if found.isEmpty, pattern[slot] == .level || pattern[slot] == .oblique {
                add(.unknown, line: line, slot: slot, expected: book.rawValue, found: "")
            }
        }
    }

    /// The largest share of known characters that suits one of the patterns.
    private func accuracy(_ patterns: [[Demand]]) -> Double {
        let readings = readings.flatMap { $0 }
        let known = readings.filter { !$0.isEmpty }.count
        let hits = patterns.map { pattern in
            zip(pattern, readings).filter { !$1.isDisjoint(with: $0.tones) }.count
        }
        return Double(hits.max() ?? 0) / Double(max(known, 1))
    }

    // MARK: Rhymes

    /// The group that most rhymes belong to, then the one that the line `first` belongs to as well, then the first of
    /// the book; where level and oblique characters rhyme, all groups of such a part.
    private func mainGroup(_ lines: [Int], _ rhyme: Rhyme, first: Int?) -> RhymeGroupSet? {
        let readings = lines.compactMap { line in texts[line].last.map { (line, table.groups(ofRhyme: $0)) } }
        let opening = first.flatMap { texts[$0].last }.map(table.groups(ofRhyme:)) ?? RhymeGroupSet()
        var best: (groups: RhymeGroupSet, count: Int)?
        for id in table.groups(ofTone: rhyme.tones).ids {
            let group = RhymeGroupSet([id])
            let groups = rhyme.isMixed ? table.parts(of: group) : group
            let hits = readings.filter { !$1.intersection(open(groups, at: $0)).isEmpty }.count
            let count = hits * 2 + (opening.contains(id) ? 1 : 0)
            if count > max(best?.count ?? 0, 1) { best = (groups, count) }
        }
        return best?.groups
    }

    /// Those of `groups` that the tone of the line's rhyme admits.
    private func open(_ groups: RhymeGroupSet, at line: Int) -> RhymeGroupSet {
        guard line < patterns.count, let tones = patterns[line].last?.tones else { return groups }
        return groups.intersection(table.groups(ofTone: tones))
    }

    /// Reports rhymes out of their group and rhymes used twice.
    ///
    /// - Returns: how many of `lines` are in the group, and how many end in a character that can be judged.
    private mutating func judgeRhymes(
        _ lines: [Int], _ rhyme: Rhyme, first: Int?
    ) -> (hits: Int, known: Int) {
        let group = mainGroup(lines, rhyme, first: form.kind == .regulated ? 0 : nil)
        if let group { rhymeGroups += group.ids.filter { !rhymeGroups.contains($0) } }
        let all = texts.flatMap { $0 }
        var (hits, known) = (0, 0)
        var places: [Character: Int] = [:]
        for line in (first.map { [$0] } ?? []) + lines {
            guard let character = texts[line].last else { continue }
            let slot = texts[line].count - 1
            let readings = table.groups(ofRhyme: character)
            let wanted = group.map { open($0, at: line) }
            let fits = wanted.map { !readings.isDisjoint(with: $0) } ?? false
            if line != first {
                if fits { hits += 1 }
                if !readings.isEmpty { known += 1 }
            }
            let names = readings.ids.map { table.groups[$0].name }.joined(separator: "、")
            let wantedNames = wanted?.ids.map { table.groups[$0].name }.joined(separator: "、")
            if readings.isEmpty {
                add(.unknown, line: line, slot: slot, expected: book.rawValue, found: "")
            } else if !fits, line == first, isNeighbour(character, lines) {
                add(.neighbour, line: line, slot: slot, expected: wantedNames ?? "", found: names)
            } else if !fits {
                let tone = patterns[line].last?.tones
                add(
                    .rhyme, line: line, slot: slot,
                    expected: wantedNames ?? (tone == .level ? "平声韵" : tone == .oblique ? "仄声韵" : "韵"),
                    found: names)
            }
            let spelling = variantForms[character] ?? character
            let end = form.lineLengths[...line].reduce(0, +) - 1
            let isRepeat = form.repeats.contains { $0.pairs.last?.slot == end && $0.holds(in: all) }
            if let place = places[spelling], spelling != PoemText.lost, !isRepeat {
                add(.repeatedRhyme, line: line, slot: texts[line].count - 1, expected: "", found: "\(place + 1)")
            }
            places[spelling] = line
        }
        return (hits, known)
    }

    private mutating func add(
        _ kind: ProsodyFault.Kind, line: Int? = nil, slot: Int? = nil, expected: String, found: String
    ) {
        let character = line.flatMap { line in slot.map { String(texts[line][$0]) } }
        let departure = ProsodyFault(
            kind: kind, line: line.map { $0 + 1 }, position: slot.map { $0 + 1 }, character: character,
            expected: expected, found: found)
        if kind.isRemark { remarks.append(departure) } else { faults.append(departure) }
    }
}
