import Testing

@testable import TihuaProsody

@Suite struct TuneTests {
    private static let tunes = Form.all.filter { $0.kind == .ci }
    private static let characters = Set(RhymeBook.cilin.groups.flatMap(\.members)).sorted()

    private func check(_ text: String, as form: String? = nil) throws -> ProsodyReport {
        try ProsodyChecker().check(PoemText.lines(of: text), as: form.map(Form.init(named:)))
    }

    /// A poem of any characters that the metre admits.
    private func poem(_ form: Form, seed: UInt64, rhyme: RhymeGroup? = nil) throws -> [String] {
        var random = SplitMix(seed: seed)
        var state = MetreState(
            try MetreConstraint(form: form, tones: .loose, book: .cilin, rhymeGroup: rhyme, minimumGroupSize: 60))
        var lines = form.lineLengths.map { _ in "" }
        while !state.isComplete {
            let line = state.line
            var next = state.rule.fixed
            while next == nil {
                guard let one = Self.characters.randomElement(using: &random) else { break }
                if state.admits(one) { next = one }
            }
            let character = try #require(next)
            let isWritten = state.append(character)
            #expect(isWritten)
            lines[line].append(character)
        }
        return lines
    }

    /// Each way to break a tune is found, and at its place.
    @Test(arguments: tunes)
    func poemsUnderTheMetreAreRegularAndBrokenOnesAreNot(form: Form) throws {
        let lines = try poem(form, seed: UInt64(form.characterCount))
        let checker = ProsodyChecker()
        #expect(try checker.check(lines, as: form).faults.map { $0.message() } == [], "\(lines)")

        let starts = form.metre(.loose).lineStarts
        let repeats = form.repeats.flatMap(\.pairs)
        func faults(_ line: Int, _ slot: Int, _ character: Character) throws -> [ProsodyFault] {
            var broken = lines.map(Array.init)
            broken[line][slot] = character
            return try checker.check(broken.map { String($0) }, as: form).faults
                .filter { $0.line == line + 1 && $0.position == slot + 1 }
        }
        var rhymes = 0
        for (line, length) in form.lineLengths.enumerated() {
            for slot in 0..<length {
                let demand = form.pattern[starts[line] + slot]
                let isSource = repeats.contains { $0.source == starts[line] + slot }
                if demand.isRhyme, !isSource, !repeats.contains(where: { $0.slot == starts[line] + slot }) {
                    // Of the right tone, in no part that any character of the poem is in.
                    let used = lines.joined().reduce(RhymeGroupSet()) { $0.union(groups(of: $1, in: .cilin)) }
                    let stranger = Self.characters.first {
                        let own = groups(of: $0, in: .cilin)
                        return own.count == 1 && tones(of: $0, in: .cilin) == demand.tones && own.isDisjoint(with: used)
                    }
                    guard let stranger else { continue }
                    rhymes += 1
                    // Where a rhyme has two characters, either may be called the stranger.
                    let others = form.pattern.filter { $0.rhyme == demand.rhyme }.count
                    if others > 2 { #expect(try faults(line, slot, stranger).map(\.kind) == [.rhyme]) }
                } else if !demand.isRhyme, demand.tones != .either, !isSource {
                    let wrong: Character = demand.tones == .level ? "月" : "山"
                    #expect(try faults(line, slot, wrong).contains { $0.kind == .tone })
                }
            }
        }
        for one in form.repeats where one.isDemanded {
            let last = try #require(one.pairs.last)
            let place = form.metre(.loose).place(of: last.slot)
            let level = tones(of: Array(lines[place.line])[place.slot], in: .cilin).contains(.level)
            #expect(try faults(place.line, place.slot, level ? "鼙" : "氅").contains { $0.kind == .refrain })
        }
        #expect(form.attestation != nil)
    }

    @Test(
        arguments: [
            ("春花秋月何时了，往事知多少。小楼昨夜又东风，故国不堪回首月明中。\n\n雕阑玉砌应犹在，只是朱颜改。问君能有几多愁，恰似一江春水向东流。", "虞美人", 4),
            ("平林漠漠烟如织，寒山一带伤心碧。暝色入高楼，有人楼上愁。玉阶空伫立，宿鸟归飞急。何处是归程，长亭更短亭。", "菩萨蛮", 3),
            ("明月别枝惊鹊，清风半夜鸣蝉。稻花香里说丰年，听取蛙声一片。七八个星天外，两三点雨山前。旧时茅店社林边，路转溪桥忽见。", "西江月", 2),
            ("汴水流，泗水流，流到瓜洲古渡头。吴山点点愁。思悠悠，恨悠悠，恨到归时方始休。月明人倚楼。", "长相思", 1),
            ("箫声咽，秦娥梦断秦楼月。秦楼月，年年柳色，灞陵伤别。乐游原上清秋节，咸阳古道音尘绝。音尘绝，西风残照，汉家陵阙。", "忆秦娥", 1),
            ("胡马，胡马，远放燕支山下。跑沙跑雪独嘶，东望西望路迷。迷路，迷路，边草无穷日暮。", "调笑令", 3),
            (
                "红酥手，黄縢酒，满城春色宫墙柳。东风恶，欢情薄，一怀愁绪，几年离索。错、错、错。春如旧，人空瘦，泪痕红浥鲛绡透。桃花落，闲池阁，山盟虽在，锦书难托。莫、莫、莫。",
                "钗头凤", 2
            ),
            ("少年不识愁滋味，爱上层楼。爱上层楼，为赋新词强说愁。而今识尽愁滋味，欲说还休。欲说还休，却道天凉好个秋。", "采桑子", 1),
            ("无言独上西楼，月如钩。寂寞梧桐深院锁清秋。剪不断，理还乱，是离愁。别是一般滋味在心头。", "相见欢", 1),
            ("梦后楼台高锁，酒醒帘幕低垂。去年春恨却来时，落花人独立，微雨燕双飞。记得小苹初见，两重心字罗衣。琵琶弦上说相思，当时明月在，曾照彩云归。", "临江仙·五十八字", 1),
        ])
    func famousTunesAreNamedByTheirLinesAndRegular(text: String, form: String, rhymes: Int) throws {
        let report = try check(text)
        #expect(report.form == form && report.isGuessed)
        #expect(report.faults.map { $0.message() } == [])
        #expect(report.rhymeGroups.count == rhymes, "\(report.rhymeGroups)")
        #expect(try check(text, as: form).isRegular)
    }

    @Test func aTuneThatRepeatsALineHasToRepeatIt() throws {
        let text = "昨夜雨疏风骤，浓睡不消残酒。试问卷帘人，却道海棠依旧。何物，都不，应是绿肥红瘦。"
        let faults = try check(text, as: "如梦令").faults
        let refrain = try #require(faults.first { $0.kind == .refrain })
        #expect(refrain.message() == "第6句第1字“都”叠句：此处叠第5句，应为“何”")
        #expect(
            refrain.message(in: .english)
                == "line 6, character 1 “都”: refrain: the tune repeats line 5 here, so it should be “何”")
        #expect(try check(text.replacing("何物，都不", with: "知否，知否"), as: "如梦令").isRegular)
    }

    @Test func linesThatATuneMayRepeatAreNoRepeatedRhymes() throws {
        // 采桑子 may repeat its line, not its rhyme alone; a tune that never does may not.
        let text = "少年不识愁滋味，爱上层楼。爱上层楼，为赋新词强说愁。而今识尽愁滋味，欲说还休。欲说还休，却道天凉好个秋。"
        #expect(try check(text, as: "采桑子").isRegular)
        let other = try check(text.replacing("爱上层楼，为", with: "又上高楼，为"), as: "采桑子")
        #expect(other.faults.contains { $0.kind == .repeatedRhyme && $0.line == 3 })
        let silk = "一曲新词酒一杯，去年天气旧亭台。夕阳西下几时台。无可奈何花落去，似曾相识燕归来。小园香径独徘徊。"
        #expect(
            try check(silk, as: "浣溪沙").faults.contains { $0.kind == .repeatedRhyme && $0.line == 3 })
        // The state agrees.
        let form = try Form(named: "采桑子")
        for (line, isAdmitted) in [("爱上层楼", true), ("又上高楼", false)] {
            var state = MetreState(try MetreConstraint(form: form, tones: .loose, book: .cilin))
            let text = "少年不识愁滋味爱上层楼" + line
            let isWritten = text.dropLast().allSatisfy { state.append($0) }
            #expect(isWritten)
            #expect(state.admits("楼") == isAdmitted && !state.rule.excluded.contains("楼") == isAdmitted)
        }
    }

    @Test func headsOfARepeatedLineAreThoseOfTheLineBefore() throws {
        let form = try Form(named: "如梦令")
        func constraint(_ heads: String, lines: [Int: String] = [:]) throws -> MetreConstraint {
            try MetreConstraint(
                form: form, tones: .loose, book: .cilin, acrostic: Array(heads), fixedLines: lines)
        }
        #expect(
            throws: ProsodyError.fixedRepeat(line: 6, source: 5, character: "冬", wanted: "秋", form: "如梦令")
        ) { try constraint("一二三四秋冬七") }
        #expect(throws: Never.self) { try constraint("一二三四秋秋七") }
        // What is settled in the copy settles its source.
        var state = MetreState(try constraint("", lines: [5: "知否"]))
        for _ in 0..<23 {
            let next = Self.characters.first { state.admits($0) }
            let isWritten = state.append(try #require(next))
            #expect(isWritten)
        }
        for (character, isRepeat) in [("知", false), ("否", false), ("知", true), ("否", true)] as [(Character, Bool)] {
            #expect(state.rule.fixed == character && state.rule.isRepeat == isRepeat)
            let isWritten = state.append(character)
            #expect(isWritten)
        }
        #expect(
            ProsodyError.fixedRepeat(line: 6, source: 5, character: "冬", wanted: "秋", form: "如梦令").description.contains(
                "6"))
    }

    @Test func theRhymeThatIsAskedForIsTheFirst() throws {
        let changing = try Form(named: "菩萨蛮")
        let group = try RhymeBook.cilin.group(named: "第七部", for: changing)
        #expect(group.name == "第七部仄声")
        var later: Set<RhymeGroupSet> = []
        for seed in 0..<12 as Range<UInt64> {
            let lines = try poem(changing, seed: seed, rhyme: group)
            for line in [0, 1] { #expect(groups(of: try #require(lines[line].last), in: .cilin).contains(group.id)) }
            later.insert(groups(of: try #require(lines[4].last), in: .cilin))
        }
        #expect(later.count > 1)
        // 西江月 rhymes level with oblique characters of one part, whichever is asked for.
        let mixed = try Form(named: "西江月")
        for name in ["第七部平声", "第七部仄声"] {
            let group = try #require(RhymeBook.cilin.groups(named: name).first)
            let lines = try poem(mixed, seed: 3, rhyme: group)
            let parts = [1, 2, 3, 5, 6, 7].map { line in
                groups(of: lines[line].last ?? "？", in: .cilin).ids.map { RhymeBook.cilin.groups[$0].name }
            }
            #expect(
                parts.enumerated().allSatisfy { $1.contains("第七部" + ([2, 5].contains($0) ? "仄声" : "平声")) }, "\(parts)")
        }
        // A part without level characters does not do.
        let entering = try #require(RhymeBook.cilin.groups(named: "第十七部").first)
        #expect(throws: ProsodyError.rhymeGroupTooSmall(group: "第十七部入声", members: entering.members.count, needed: 2)) {
            try MetreConstraint(form: mixed, tones: .loose, book: .cilin, rhymeGroup: entering)
        }
    }

    @Test func aTunesNameMeansTheFormThatThePoemFits() throws {
        let text = "梦后楼台高锁，酒醒帘幕低垂。去年春恨却来时，落花人独立，微雨燕双飞。记得小苹初见，两重心字罗衣。琵琶弦上说相思，当时明月在，曾照彩云归。"
        #expect(try check(text, as: "临江仙").form == "临江仙·五十八字")
        #expect(try check(String(text.dropLast(3)), as: "临江仙").form == "临江仙")
        // A poem in level rhymes is held against the level form, though both are as long.
        let form = try Form(named: "忆秦娥·平韵")
        let level = try poem(form, seed: 4)
        #expect(try ProsodyChecker().check(level, as: Form(named: "忆秦娥")).form == form.name)
        #expect(try ProsodyChecker().check(level, as: form).isRegular)
        #expect(form.tune == "忆秦娥" && Form.qijue.tune == nil)
    }

    @Test func sevenCharacterVerseIsNoTuneWithFewTones() throws {
        // 瑞鹧鸪 asks for little that eight lines of seven in any tones would not have.
        let text = "南湖秋水夜无烟耐可乘流直上天且就洞庭赊月色将船买酒白云边月落乌啼霜满天江枫渔火对愁眠姑苏城外寒山寺夜半钟声到客船"
        let lines = stride(from: 0, to: 56, by: 7).map { String(Array(text)[$0..<$0 + 7].reversed()) }
        #expect(try ProsodyChecker().check(lines).kind != .ci)
    }

    @Test func halvesAreKnown() throws {
        let form = try Form(named: "虞美人")
        #expect(form.breaks == [4])
        let lines = (1...8).map { "\($0)" }
        #expect(form.parted(lines) == ["1", "2", "3", "4", "", "5", "6", "7", "8"])
        #expect(Form.qilv.parted(lines) == lines && form.parted(["1"]) == ["1"])
        #expect(try Form(named: "如梦令").breaks.isEmpty)
        // Every tune of more than forty characters has two parts.
        for form in Self.tunes {
            #expect(form.breaks.count == (form.characterCount >= 36 && form.name != "调笑" ? 1 : 0), "\(form)")
        }
    }

    @Test func whatATuneRepeatsIsNoChoice() throws {
        let form = try Form(named: "如梦令")
        let lines = ["昨夜雨疏风骤", "浓睡不消残酒", "试问卷帘人", "却道海棠依旧", "知否", "知否", "应是绿肥红瘦"]
        #expect(form.withoutRepeats(lines) == lines.enumerated().filter { $0.offset != 5 }.map(\.element))
        let other = ["春风"]
        #expect(form.withoutRepeats(other) == other)
    }

    @Test(arguments: [
        "", "调", "调 0104 -", "调 01x4 - -", "调 0104,,0104 - -", "调 0104,04 2=3 -", "调 0104,04 1=2 -",
        "调 0104,04 2=1.9 -",
        "调 b104 - -", "调 04,0104 2=1 -",
    ])
    func brokenRowsAreNoForms(row: String) {
        #expect(Form(row: Substring(row)) == nil)
        #expect(Form(row: "调 0104,04 2=1 3,2,1")?.attestation?.fitting == 1)
    }
}
