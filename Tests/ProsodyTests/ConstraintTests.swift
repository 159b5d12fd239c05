import Foundation
import Testing
import TihuaTestSupport

@testable import TihuaProsody

@Suite struct ConstraintTests {
    /// What a writer may know: characters of every group, many polyphones, a few that no table has. With a seed.
    private static func vocabulary(_ book: RhymeBook, seed: UInt64) -> [Character] {
        var generator = SplitMix(seed: seed)
        var characters: Set<Character> = ["囍", "冇", "嘅"]
        for group in book.groups {
            for _ in 0..<14 { if let one = group.members.randomElement(using: &generator) { characters.insert(one) } }
        }
        return characters.sorted()
    }

    /// Writes `text`; the first character that is not admitted, or nil.
    private func write(_ text: String, _ state: inout MetreState) -> Character? {
        for character in text where !state.append(character) { return character }
        return nil
    }

    /// Writes a poem by choosing among the characters that the rules admit.
    private func walk(
        _ constraint: MetreConstraint, _ vocabulary: [Character], _ generator: inout SplitMix
    ) -> [String]? {
        var state = MetreState(constraint)
        var lines: [String] = [""]
        while !state.isComplete {
            let rule = state.rule
            var choice = rule.fixed
            for _ in 0..<200 where choice == nil {
                guard let candidate = vocabulary.randomElement(using: &generator) else { return nil }
                let admitted = rule.admits(candidate, in: constraint.book)
                if admitted != state.admits(candidate) {
                    Issue.record("the rule and the state differ on \(candidate) after \(lines)")
                }
                if admitted { choice = candidate }
            }
            choice = choice ?? vocabulary.first { rule.admits($0, in: constraint.book) }
            guard let choice else {
                Issue.record("\(constraint.form) \(constraint.tones): nothing may follow \(lines)")
                return nil
            }
            let line = state.line
            if rule.endsLine != (state.slot + 1 == constraint.form.lineLengths[line]) {
                Issue.record("line \(line) ends elsewhere")
            }
            guard state.append(choice) else {
                Issue.record(
                    "\(constraint.form) \(constraint.tones): \(choice) was admitted after \(lines) and then refused")
                return nil
            }
            lines[line].append(choice)
            if state.line > line, !state.isComplete { lines.append("") }
        }
        let isFull = !state.append("山")
        #expect(isFull && state.rule.tones.isEmpty)
        return lines
    }

    @Test(arguments: Form.all, TonePolicy.allCases)
    func everyWalkPassesTheChecker(form: Form, tones: TonePolicy) throws {
        var generator = SplitMix(seed: UInt64(form.characterCount) &* 31 &+ UInt64(tones.rawValue.utf8.count))
        for book in RhymeBook.allCases {
            let vocabulary = Self.vocabulary(book, seed: generator.next())
            let known = Set(vocabulary)
            let constraint = try MetreConstraint(
                form: form, tones: tones, book: book, minimumGroupSize: 10, vocabulary: known)
            let checker = ProsodyChecker(tones: tones, book: book)
            for _ in 0..<(form.kind == .ci ? 1 : 6) {
                guard let lines = walk(constraint, vocabulary, &generator) else { return }
                let report = try checker.check(lines, as: form)
                #expect(report.faults.map { $0.message() } == [], "\(form) \(tones) \(book): \(lines)")
                // What was written can be asked for: a line of it, its heads.
                let line = Int.random(in: lines.indices, using: &generator)
                let again = try MetreConstraint(
                    form: form, tones: tones, book: book, acrostic: lines.compactMap(\.first),
                    fixedLines: [line: lines[line]],
                    minimumGroupSize: 10, vocabulary: known)
                guard let second = walk(again, vocabulary, &generator) else { return }
                #expect(second[line] == lines[line] && second.map(\.first) == lines.map(\.first))
                #expect(
                    try checker.check(second, as: form).faults.map { $0.message() } == [],
                    "\(second) with \(lines[line])")
            }
        }
    }

    @Test(arguments: [Form.wujue, .qijue, .wulv, .qilv])
    func aPoemNeedsNoLicenceExactlyWhenItIsRegularByTheTextbook(form: Form) throws {
        var generator = SplitMix(seed: 11)
        let vocabulary = Self.vocabulary(.pingshui, seed: 12)
        let constraint = try MetreConstraint(
            form: form, tones: .loose, book: .pingshui, minimumGroupSize: 10, vocabulary: Set(vocabulary))
        var licensed: Set<ProsodyFault.Kind> = []
        var plain = 0
        for _ in 0..<200 {
            guard let lines = walk(constraint, vocabulary, &generator) else { return }
            let loose = try ProsodyChecker(tones: .loose).check(lines, as: form)
            let strict = try ProsodyChecker(tones: .strict).check(lines, as: form)
            #expect(loose.remarks.isEmpty == strict.isRegular, "\(lines) \(strict.faults.map { $0.message() })")
            licensed.formUnion(loose.remarks.map(\.kind))
            if strict.isRegular { plain += 1 }
        }
        #expect(licensed.subtracting([.neighbour]) == [.minor, .major, .special, .rescue, .threeObliques])
        #expect(form.lineCount == 8 || plain > 0)
    }

    @Test func aRhymeIsNotUsedAgainInAnotherSpelling() throws {
        var state = MetreState(try MetreConstraint(form: .wujue, tones: .strict, book: .pingshui))
        #expect(write("白日依山尽黄河入海粧欲穷千里目更上一层", &state) == nil)
        #expect(Set("妆粧").isSubset(of: state.rule.excluded) && !state.admits("妆") && state.admits("光"))
    }

    @Test(arguments: [Form.wujue, .qijue, .wulv, .qilv])
    func arbitraryHeadsAreMetOrRefusedAtOnce(form: Form) throws {
        var generator = SplitMix(seed: 7)
        let vocabulary = Self.vocabulary(.pingshui, seed: 8)
        var met = 0
        for _ in 0..<60 {
            let heads = form.lineLengths.indices.compactMap { _ in vocabulary.randomElement(using: &generator) }
            do {
                let constraint = try MetreConstraint(form: form, tones: .strict, book: .pingshui, acrostic: heads)
                guard let lines = walk(constraint, vocabulary, &generator) else { return }
                #expect(lines.compactMap(\.first) == heads)
                #expect(try ProsodyChecker(tones: .strict).check(lines, as: form).isRegular)
                met += 1
            } catch let error as ProsodyError {
                guard case .fixedCharacter(let line, 1, let character, _) = error else { throw error }
                #expect(heads[line - 1] == character)
            }
        }
        #expect(met > 0)
        if form.lineLengths[0] == 7 { #expect(met == 60, "the first of seven is free") }
    }

    @Test(arguments: ["七阳", "三江", "十五删"])
    func namedGroupIsUsedThroughout(name: String) throws {
        var generator = SplitMix(seed: 3)
        let group = try RhymeBook.pingshui.group(named: name, for: .qilv)
        let constraint = try MetreConstraint(
            form: .qilv, tones: .loose, book: .pingshui, rhymeGroup: group, minimumGroupSize: 100)
        let characters = Array(Set(RhymeBook.pingshui.groups.flatMap(\.members))).sorted()
        for _ in 0..<10 {
            let lines = try #require(walk(constraint, characters, &generator))
            for line in [1, 3, 5, 7] { #expect(group.members.contains(try #require(lines[line].last))) }
        }
    }

    @Test func firstRhymeDecidesTheGroupAndSmallGroupsStayClosed() throws {
        let constraint = try MetreConstraint(form: .wujue, tones: .strict, book: .pingshui, minimumGroupSize: 100)
        var state = MetreState(constraint)
        #expect(write("白日依山尽黄河入海", &state) == nil)
        let open = try #require(state.rule.rhymeGroups).ids.map { RhymeBook.pingshui.groups[$0] }
        #expect(open.allSatisfy { $0.tone == .level && $0.members.count >= 100 })
        #expect(open.contains { $0.name == "十一尤" } && !open.contains { $0.name == "三江" })
        #expect(write("流", &state) == nil)
        #expect(state.rhymeGroups[0].ids.map { RhymeBook.pingshui.groups[$0].name } == ["十一尤"])
        #expect(write("欲穷千里目更上一层", &state) == nil)
        #expect(state.rule.excluded == ["流"] && state.rule.endsLine)
        #expect(write("流", &state) == "流" && write("来", &state) == "来" && write("楼", &state) == nil && state.isComplete)
        #expect(state.line == 4 && state.slot == 0)
    }

    @Test func openingsStayOpenWhileTheyFit() throws {
        let constraint = try MetreConstraint(form: .qijue, tones: .strict, book: .pingshui)
        var state = MetreState(constraint)
        #expect(state.variants.count == 4 && state.rule.tones == .either && state.rule.admitsUnknown)
        state.append("千")
        // The second slot is level in two openings and oblique in two: any tone will do, but not an unknown one.
        #expect(state.rule.tones == .either && !state.rule.admitsUnknown && !state.admits("囍"))
        state.append("里")
        #expect(Set(state.variants) == ["仄起首句入韵", "仄起首句不入韵"])
        for character in "江陵一日" { state.append(character) }
        #expect(state.variants == ["仄起首句入韵"] && state.rule.tones == .level)
    }

    @Test func polyphoneEndsTheFirstLineEitherWay() throws {
        // 看 is level (十四寒) and oblique: a rhyme in one opening, none in the other.
        let constraint = try MetreConstraint(form: .wujue, tones: .off, book: .pingshui)
        var state = MetreState(constraint)
        #expect(write("春风花月看江山水色", &state) == nil)
        #expect(state.admits("流") && state.admits("寒") && !state.admits("月"))
    }

    @Test(arguments: [
        "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。", "离离原上草，一岁一枯荣。野火烧不尽，春风吹又生。",
        "朝辞白帝彩云间，千里江陵一日还。两岸猿声啼不住，轻舟已过万重山。",
        "国破山河在，城春草木深。感时花溅泪，恨别鸟惊心。烽火连三月，家书抵万金。白头搔更短，浑欲不胜簪。",
    ])
    func regularPoemsCanBeWritten(text: String) throws {
        let lines = try PoemText.lines(of: text)
        let form = try #require(Form.all.first { $0.lineLengths == lines.map(\.count) })
        var state = MetreState(try MetreConstraint(form: form, tones: .loose, book: .pingshui))
        #expect(write(lines.joined(), &state) == nil)
        #expect(state.isComplete)
    }

    @Test func requestsThatCannotBeMetSayWhy() throws {
        func build(
            _ form: Form = .wujue, _ book: RhymeBook = .pingshui, group: String? = nil, acrostic: String = "",
            fixed: [Int: String] = [:], minimum: Int = 0, vocabulary: Set<Character>? = nil
        ) throws {
            _ = try MetreConstraint(
                form: form, tones: .strict, book: book,
                rhymeGroup: group.flatMap { RhymeBook.pingshui.groups(named: $0).first },
                acrostic: Array(acrostic), fixedLines: fixed, minimumGroupSize: minimum, vocabulary: vocabulary)
        }
        #expect(throws: ProsodyError.acrosticTooLong(heads: "春夏秋冬风", lines: 4, form: "五绝")) {
            try build(acrostic: "春夏秋冬风")
        }
        #expect(throws: ProsodyError.notHan(character: "a", line: 2, position: 1)) { try build(acrostic: "春a") }
        #expect(throws: ProsodyError.fixedLineLength(line: 1, expected: 5, found: 4)) { try build(fixed: [0: "白日依山"]) }
        #expect(throws: ProsodyError.fixedLineOutside(line: 5, lines: 4)) { try build(fixed: [4: "白日依山尽"]) }
        #expect(throws: ProsodyError.fixedConflict(line: 1, head: "红", text: "白日依山尽")) {
            try build(acrostic: "红", fixed: [0: "白日依山尽"])
        }
        #expect(throws: ProsodyError.fixedCharacter(line: 1, position: 4, character: "一", form: "五绝")) {
            try build(fixed: [0: "白日依一尽"])
        }
        #expect(throws: ProsodyError.repeatedFixedRhyme(character: "流")) {
            try build(fixed: [1: "黄河入海流", 3: "更上一层流"])
        }
        #expect(throws: ProsodyError.rhymeGroupTone(group: "一屋", form: "五绝")) { try build(group: "一屋") }
        #expect(throws: ProsodyError.foreignRhymeGroup(group: "七阳", book: "中华新韵")) {
            try build(.wujue, .xinyun, group: "七阳")
        }
        #expect(throws: ProsodyError.rhymeGroupTooSmall(group: "七阳", members: 2, needed: 3)) {
            try build(group: "七阳", vocabulary: ["阳", "光", "山", "水"])
        }
        #expect(throws: ProsodyError.noRhymeGroup(form: "五绝", minimumGroupSize: 5_000)) { try build(minimum: 5_000) }
        for error in [
            ProsodyError.emptyPoem, .noRhymeGroup(form: "五绝", minimumGroupSize: 3),
            .noMatchingForm(lineLengths: [1, 2]),
            .unknownForm(name: "x", nearest: ["七绝"]),
        ] { #expect(!error.description.contains("\n") && !error.description.isEmpty) }
    }

    @Test func groupsOfATuneWithTwoRhymesAreIndependent() throws {
        let form = try Form(named: "清平乐")
        let group = try #require(RhymeBook.cilin.groups(named: "第八部仄声").first)
        let constraint = try MetreConstraint(form: form, tones: .loose, book: .cilin, rhymeGroup: group)
        var state = MetreState(constraint)
        for character in "茅檐低小溪上青青草醉里吴音相媚好白发谁家翁媪大儿锄豆溪东中儿正织鸡笼最喜小儿亡赖溪头卧剥莲蓬" {
            // The table wants 赖 where the poem has it level or oblique; only rhymes are looked at here.
            if state.rule.rhymeGroups != nil { #expect(state.admits(character), "\(character)") }
            guard state.append(character) else { return }
        }
        #expect(state.isComplete)
    }

    /// Completeness on human poems: whatever the checker calls regular, the states let pass.
    @Test(.enabled(if: SharedData.root != nil, "needs ../shared/data"), arguments: [TonePolicy.strict, .loose])
    func regularHumanQuatrainsAreAllReachable(tones: TonePolicy) throws {
        struct Poem: Decodable { let content: String }
        let root = try #require(SharedData.root)
        let text = try String(contentsOf: root.appending(path: "text/ccpc/ccpc_valid_v1.0.json"), encoding: .utf8)
        var counts = (regular: 0, judged: 0, rhymed: 0, tones: 0.0)
        for (number, row) in text.split(separator: "\n").enumerated() where number % 7 == 0 {
            let lines = try JSONDecoder().decode(Poem.self, from: Data(row.utf8)).content.split(separator: "|").map(
                String.init)
            let form = lines.first?.count == 5 ? Form.wujue : .qijue
            guard let report = try? ProsodyChecker(tones: tones).check(lines, as: form),
                let rhyme = report.rhymeAccuracy
            else { continue }
            counts.judged += 1
            counts.tones += report.toneAccuracy ?? 0
            if rhyme == 1 { counts.rhymed += 1 }
            // No state writes what cannot be judged, nor a first rhyme out of the group.
            guard report.isRegular, !report.remarks.contains(where: { [.unknown, .neighbour].contains($0.kind) }) else {
                continue
            }
            counts.regular += 1
            var state = MetreState(try MetreConstraint(form: form, tones: tones, book: .pingshui))
            #expect(write(lines.joined(), &state) == nil, "\(lines)")
        }
        // Independent figures for this corpus, from other tables: 75 % rhymed, 90.3 % of the tones.
        #expect(counts.judged > 1_100)
        #expect((0.75...0.88).contains(Double(counts.rhymed) / Double(counts.judged)))
        #expect((0.88...0.94).contains(counts.tones / Double(counts.judged)))
        #expect(counts.regular > (tones == .strict ? 450 : 700))
    }
}
