import Testing

@testable import TihuaProsody

@Suite struct CheckerTests {
    private func check(
        _ text: String, as form: String? = nil, _ tones: TonePolicy = .loose, _ book: RhymeBook? = nil
    ) throws -> ProsodyReport {
        let lines = try PoemText.lines(of: text)
        return try ProsodyChecker(tones: tones, book: book).check(lines, as: form.map(Form.init(named:)))
    }

    @Test(arguments: [
        ("白日依山尽，黄河入海流。欲穷千里目，更上一层楼。", "五绝", "十一尤"),
        ("朝辞白帝彩云间，千里江陵一日还。两岸猿声啼不住，轻舟已过万重山。", "七绝", "十五删"),
        ("独在异乡为异客，每逢佳节倍思亲。遥知兄弟登高处，遍插茱萸少一人。", "七绝", "十一真"),
        ("千里莺啼绿映红，水村山郭酒旗风。南朝四百八十寺，多少楼台烟雨中。", "七绝", "一东"),
        ("国破山河在，城春草木深。感时花溅泪，恨别鸟惊心。烽火连三月，家书抵万金。白头搔更短，浑欲不胜簪。", "五律", "十二侵"),
        ("离离原上草，一岁一枯荣。野火烧不尽，春风吹又生。远芳侵古道，晴翠接荒城。又送王孙去，萋萋满别情。", "五律", "八庚"),
        ("锦瑟无端五十弦，一弦一柱思华年。庄生晓梦迷蝴蝶，望帝春心托杜鹃。沧海月明珠有泪，蓝田日暖玉生烟。此情可待成追忆，只是当时已惘然。", "七律", "一先"),
        ("清明时节雨纷纷，路上行人欲断魂。借问酒家何处有，牧童遥指杏花村。", "七绝", "十三元"),
    ])
    func famousRegulatedPoemsAreRegularAndTheirFormIsGuessed(text: String, form: String, rhyme: String) throws {
        let report = try check(text)
        #expect(report.form == form && report.isGuessed)
        #expect(report.rhymeGroups == [rhyme])
        #expect(report.faults.map { $0.message() } == [])
        #expect(report.isRegular && report.rhymeAccuracy == 1)
    }

    @Test(arguments: [
        ("床前明月光，疑是地上霜。举头望明月，低头思故乡。", "五言古绝"),
        ("春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。", "五言古绝"),
        ("千山鸟飞绝，万径人踪灭。孤舟蓑笠翁，独钓寒江雪。", "五言古绝"),
        ("迢迢牵牛星，皎皎河汉女。纤纤擢素手，札札弄机杼。终日不成章，泣涕零如雨。河汉清且浅，相去复几许。盈盈一水间，脉脉不得语。", "五古"),
    ])
    func poemsThatAreNot近体AreGuessedAs古体(text: String, form: String) throws {
        let report = try check(text)
        #expect(report.form == form && report.kind == .ancient)
        #expect(!report.faults.contains { [.tone, .link, .couplet].contains($0.kind) })
    }

    @Test(
        arguments: [
            ("昨夜雨疏风骤，浓睡不消残酒。试问卷帘人，却道海棠依旧。知否，知否？应是绿肥红瘦。", "如梦令"),
            ("漠漠轻寒上小楼，晓阴无赖似穷秋。淡烟流水画屏幽。自在飞花轻似梦，无边丝雨细如愁。宝帘闲挂小银钩。", "浣溪沙"),
            ("伫倚危楼风细细，望极春愁，黯黯生天际。草色烟光残照里，无言谁会凭阑意。拟把疏狂图一醉，对酒当歌，强乐还无味。衣带渐宽终不悔，为伊消得人憔悴。", "蝶恋花"),
            ("我住长江头，君住长江尾。日日思君不见君，共饮长江水。此水几时休，此恨何时已。只愿君心似我心，定不负相思意。", nil),
        ] as [(String, String?)])
    func tunesAreGuessedByTheirShape(text: String, form: String?) throws {
        guard let form else {
            // A 卜算子 with one added character (衬字) has no tune of its shape.
            #expect(throws: ProsodyError.noMatchingForm(lineLengths: [5, 5, 7, 5, 5, 5, 7, 6])) { try check(text) }
            return
        }
        let report = try check(text)
        #expect(report.form == form)
        #expect(report.rhymeAccuracy == 1 && (report.toneAccuracy ?? 0) > 0.95)
    }

    @Test func tuneLinesMayBeDividedOtherwiseThanInTheTable() throws {
        let report = try check(
            "大江东去，浪淘尽，千古风流人物。故垒西边，人道是、三国周郎赤壁。乱石穿空，惊涛拍岸，卷起千堆雪。江山如画，一时多少豪杰。"
                + "遥想公瑾当年，小乔初嫁了，雄姿英发。羽扇纶巾，谈笑间、樯橹灰飞烟灭。故国神游，多情应笑我，早生华发。人生如梦，一尊还酹江月。",
            as: "念奴娇")
        #expect(!report.faults.contains { $0.kind == .lineCount || $0.kind == .lineLength })
        #expect(report.toneAccuracy ?? 0 > 0.85)
    }

    @Test func brokenLinkIsOneFaultAndNotManyWrongTones() throws {
        let text = "渭城朝雨浥轻尘，客舍青青柳色新。劝君更尽一杯酒，西出阳关无故人。"
        let report = try check(text)
        #expect(report.form == "七绝")
        #expect(report.faults.map(\.kind) == [.link])
        #expect(report.faults.first?.line == 3)
        #expect(report.faults.first?.message() == "第3句失粘：第二字宜仄，与上句相同")
        #expect(
            report.faults.first?.message(in: .english)
                == "line 3: couplets do not link: the second character should be oblique, as in the line before")
    }

    @Test func firstLineThatRhymesIsReadAsOne() throws {
        // 登高 opens with 平平平仄平, which loose only remarks on; the rest is regular.
        let text = "风急天高猿啸哀，渚清沙白鸟飞回。无边落木萧萧下，不尽长江滚滚来。万里悲秋常作客，百年多病独登台。艰难苦恨繁霜鬓，潦倒新停浊酒杯。"
        let report = try check(text)
        #expect(report.form == "七律" && report.opening == "仄起首句入韵" && report.rhymeGroups == ["十灰"])
        #expect(report.isRegular && report.remarks.map { $0.message() } == ["第1句第5字“猿”小拗：本宜仄，用平可不救"])
        #expect(
            report.remarks[0].message(in: .english)
                == "line 1, character 5 “猿”: minor deviation: the textbook has oblique here; level needs no rescue")
        let strict = try check(text, as: "七律", .strict)
        #expect(strict.faults.map { $0.message() } == ["第1句第5字“猿”犯平仄：此处宜仄，此字读平"] && strict.remarks.isEmpty)
    }

    /// Every licence of the table in the documentation: loose accepts it with its remark, strict does not, off says
    /// nothing.
    @Test(
        arguments: [
            ("还寻沙径行", .c, .minor, 3), ("挥手自兹去", .d, .minor, 3), ("移舟泊烟渚", .a, .special, 3),
            ("故园今若何", .c, .rescue, 3), ("江山带落照", .a, .threeObliques, 3),
        ] as [(String, LineType, ProsodyFault.Kind, Int)])
    func licencesAreRemarksUnderLooseAndFaultsUnderStrict(
        line: String, type: LineType, kind: ProsodyFault.Kind, position: Int
    ) throws {
        // The line stands in a quatrain that is otherwise the textbook's, 七阳, first or second in its couplet.
        let textbook: [LineType: String] = [.a: "江山无限好", .b: "日月有辉光", .c: "清风入草堂", .d: "月色明如昼"]
        let types: [LineType] = type == .a ? [.a, .b, .d, .c] : [.d, .c, .a, .b]
        var lines = types.compactMap { textbook[$0] }
        // The rhymes of the line that is tried may be of another group; they are looked at elsewhere.
        let place = try #require(types.firstIndex(of: type))
        lines[place] = type.endsLevel ? String(line.dropLast()) + "塘" : line
        let loose = try ProsodyChecker(tones: .loose).check(lines, as: .wujue)
        #expect(loose.faults.map { $0.message() } == [])
        #expect(loose.remarks.map(\.kind) == [kind])
        #expect(loose.remarks.first?.line == place + 1 && loose.remarks.first?.position == position)
        let strict = try ProsodyChecker(tones: .strict).check(lines, as: .wujue)
        #expect(strict.faults.count == ([.special, .rescue].contains(kind) ? 2 : 1))
        #expect(!strict.isRegular && strict.remarks.isEmpty)
        let off = try ProsodyChecker(tones: .off).check(lines, as: .wujue)
        #expect(off.isRegular && off.remarks.isEmpty)
        // In lines of seven the same five stand behind two more.
        let seven = try ProsodyChecker(tones: .loose).check(
            zip(types, lines).map { ($0.startsLevel ? "白日" : "青山") + $1 }, as: .qijue)
        #expect(seven.isRegular && seven.remarks.map(\.kind) == [kind] && seven.remarks.first?.position == position + 2)
    }

    @Test func aFourthCharacterIsRescuedByTheNextLine() throws {
        // 野火烧不尽: 中仄中仄仄, rescued by the level third of the next line.
        let report = try check("离离原上草，一岁一枯荣。野火烧不尽，春风吹又生。", as: "五绝")
        #expect(report.isRegular && report.remarks.map(\.kind) == [.major, .rescue])
        #expect(report.remarks.map(\.line) == [3, 4] && report.remarks.map(\.position) == [4, 3])
        // Without it the fourth stays a fault.
        let broken = try check("离离原上草，一岁一枯荣。野火烧不尽，春风日又生。", as: "五绝")
        #expect(broken.faults.map(\.kind) == [.tone] && broken.faults.first?.position == 4)
    }

    @Test func threeObliquesWantTwoLevelsBefore() throws {
        // 仄平仄仄仄 is 落调 (赵执信《声调谱》): 郑南伏毒寺.
        let lines = ["郑南伏毒寺", "日月有辉光", "月色明如昼", "清风入草堂"]
        let report = try ProsodyChecker().check(lines, as: .wujue)
        #expect(report.faults.map { $0.message() } == ["第1句第3字“伏”犯平仄：此处宜平，此字读仄"])
    }

    /// Deliberately broken versions of regular poems, one fault each.
    @Test(
        arguments: [
            // 流 -> 来 leaves 十一尤; 楼 -> 流 rhymes twice.
            ("白日依山尽，黄河入海来。欲穷千里目，更上一层楼。", "五绝", ProsodyFault.Kind.rhyme, 4, 5),
            ("白日依山尽，黄河入海流。欲穷千里目，更上一层流。", "五绝", .repeatedRhyme, 4, 5),
            // 平平仄仄平 with an oblique first.
            ("白日依山尽，大河入海流。欲穷千里目，更上一层楼。", "五绝", .lonelyLevel, 2, 1),
            ("白日依山尽，黄河入海流。欲穷千里目，更上高层楼。", "五绝", .threeLevels, 4, 3),
            ("白日依山尽，黄河入海流。欲穷万里去，更上一层楼。", "五绝", .tone, 3, 3),
            ("白日依山尽，黄河入海流。欲穷千里，更上一层楼。", "五绝", .lineLength, 3, nil),
            ("白日依山尽，黄河入海流。欲穷千里目。", "五绝", .lineCount, nil, nil),
            ("白日依山尽，白日入海流。欲穷千里目，更上一层楼。", "五绝", .tone, 2, 2),
            ("白日依山尽，红日下山流。万里无穷目，登临百尺楼。", "五绝", .couplet, 2, nil),
            ("白日依山尽，黄河入海流。万里无穷目，登临百尺楼。", "五绝", .link, 3, nil),
        ] as [(String, String, ProsodyFault.Kind, Int?, Int?)])
    func eachFaultIsFoundAtItsPlace(
        text: String, form: String, kind: ProsodyFault.Kind, line: Int?, position: Int?
    ) throws {
        let report = try check(text, as: form)
        #expect(!report.isRegular)
        #expect(
            report.faults.contains { $0.kind == kind && $0.line == line && $0.position == position },
            "\(report.faults.map { $0.message() })")
    }

    @Test(arguments: [
        // 本句自救 平平仄平仄 (空山新雨后 ... 清泉 is regular; 深林人不知 is C), 大拗对句救, 孤平拗救, 半拗.
        "移舟泊烟渚，日暮客愁新。野旷天低树，江清月近人。",
        "野火烧不尽，春风吹又生。远芳侵古道，晴翠接荒城。",
        "挥手自兹去，萧萧班马鸣。",
        "凉风起天末，君子意如何。",
    ])
    func rescuedLinesAreRegularOnlyWhenLoose(text: String) throws {
        // A couplet is completed to a quatrain with a regular one so that the form has four lines.
        var lines = try PoemText.lines(of: text)
        let rest = ["城阙辅三秦", "风烟望五津"]
        if lines.count == 2 { lines = Array(lines.prefix(2)) + rest }
        let tonal: Set<ProsodyFault.Kind> = [.tone, .lonelyLevel, .threeLevels]
        let first = Set([1, 2])
        func faults(_ tones: TonePolicy) throws -> [ProsodyFault] {
            try ProsodyChecker(tones: tones).check(lines, as: .wujue).faults
                .filter { tonal.contains($0.kind) && first.contains($0.line ?? 0) }
        }
        #expect(try faults(.loose) == [])
        #expect(try !faults(.strict).isEmpty)
    }

    @Test func tonesOffJudgesLengthsAndRhymesOnly() throws {
        let report = try check("床前明月光，疑是地上霜。举头望明月，低头思故乡。", as: "五绝", .off)
        #expect(report.isRegular)
        let broken = try check("床前明月光，疑是地上霜。举头望明月，低头思故人。", as: "五绝", .off)
        #expect(broken.faults.map(\.kind) == [.rhyme])
    }

    @Test func neighbouringGroupsRhymeInTheFirstLineWhenLoose() throws {
        // 纷 is 十二文, 魂 and 村 are 十三元, all of part 6.
        let text = "清明时节雨纷纷，路上行人欲断魂。借问酒家何处有，牧童遥指杏花村。"
        let loose = try check(text, as: "七绝", .loose)
        #expect(loose.isRegular && loose.remarks.map { $0.message() } == ["第1句第7字“纷”邻韵：首句借用邻韵十二文"])
        #expect(try check(text, as: "七绝", .strict).faults.map(\.kind) == [.rhyme])
    }

    @Test func unknownCharactersAreRemarksAndNoFaultsAsRhymesToo() throws {
        let report = try check("白日依山尽，黄囍入海流。欲穷千里目，更上一层楼。", as: "五绝")
        #expect(report.remarks.map(\.kind) == [.unknown] && report.faults.isEmpty)
        let rhyme = try check("白日依山尽，黄河入海囍。欲穷千里目，更上一层楼。", as: "五绝")
        #expect(rhyme.remarks.map { $0.message() } == ["第2句第5字“囍”未收字：平水韵未收此字，无从判断"])
        #expect(rhyme.isRegular && rhyme.rhymeAccuracy == 1 && rhyme.rhymeGroups == ["十一尤"])
        let lost = try check("白日依山尽，黄□入海流。欲穷千里目，更上一层□。", as: "五绝", .strict)
        #expect(lost.remarks.map { $0.message() } == ["第2句第2字“□”未收字：此字已佚，无从判断", "第4句第5字“□”未收字：此字已佚，无从判断"])
        #expect(lost.isRegular && lost.lines[1].tones == "平未仄仄平")
        // Two lost rhymes are not one used twice.
        #expect(try check("白日依山尽，黄河入海□。欲穷千里目，更上一层□。", as: "五绝").faults == [])
    }

    @Test func variantsAreReadAsTheirUsualForms() throws {
        let report = try check("东风未肯入东门，走马还寻去歳村。人似秋鸿来有信，事如春梦了无痕。", as: "七绝", .strict)
        #expect(report.isRegular && report.remarks.isEmpty && report.lines[1].tones == "仄仄平平仄仄平")
        // The same rhyme in two spellings is used twice.
        let twice = try check("云想衣裳花想妆，春风拂槛露华香。若非群玉山头见，会向瑶台月下粧。", as: "七绝")
        #expect(twice.faults.map(\.kind) == [.repeatedRhyme])
    }

    @Test func aQuestionMayEndIn不() throws {
        // 能饮一杯无 is the same question with 无.
        let report = try check("江上春风吹客舟，汀花岸草一时幽。故人千里书来否，沽酒相期月下不。", as: "七绝")
        #expect(report.faults == [] && report.rhymeGroups == ["十一尤"])
        #expect(tones(of: "不", in: .pingshui) == .oblique)
    }

    @Test func refrainsAreNotRepeatedRhymes() throws {
        let report = try check("昨夜雨疏风骤，浓睡不消残酒。试问卷帘人，却道海棠依旧。知否，知否？应是绿肥红瘦。")
        #expect(report.isRegular)
    }

    @Test(arguments: [
        ("白日依山尽，Yellow", Character("Y"), 1, 7), ("白日\n黄河😀", "😀", 2, 3), ("白日1", "1", 1, 3),
        ("静夜思\n床前明月光，疑是地上霜。举头望明月，低头思故x。", "x", 2, 23),
    ])
    func foreignTextIsRefusedWithItsPlace(text: String, character: Character, line: Int, position: Int) {
        #expect(throws: ProsodyError.notHan(character: character, line: line, position: position)) {
            try PoemText.lines(of: text)
        }
    }

    @Test func punctuationSpacesAndLineEndsSplitLines() throws {
        #expect(try PoemText.lines(of: "\u{FEFF}白日 依山，尽。\r\n\n黄　河|入海！") == ["白日", "依山", "尽", "黄河", "入海"])
        #expect(try PoemText.lines(of: "人道是，“三国”周郎\u{200B}赤壁") == ["人道是", "三国周郎赤壁"])
        #expect(throws: ProsodyError.emptyPoem) { try PoemText.lines(of: " ，。\n") }
        #expect(try PoemText.lines(of: "輕塵", simplify: { _ in "轻尘" }) == ["轻尘"])
        #expect(throws: ProsodyError.emptyPoem) { try ProsodyChecker().check([], as: .wujue) }
        #expect(throws: ProsodyError.emptyPoem) { try ProsodyChecker().check(["", ""]) }
        #expect(throws: ProsodyError.notHan(character: "a", line: 2, position: 1)) {
            try ProsodyChecker().check(["山", "a"])
        }
    }

    @Test(
        arguments: [
            // Title and author in rows of their own, with marks, on one row, before verses with and without
            // punctuation.
            ("静夜思\n李白\n床前明月光，疑是地上霜。\n举头望明月，低头思故乡。", ["静夜思", "李白"], 4),
            ("《静夜思》\n[唐] 李白（701-762）\n\n床前明月光\n疑是地上霜\n举头望明月\n低头思故乡", ["静夜思", "唐", "李白", "701", "762"], 4),
            ("《静夜思》 李白 床前明月光，疑是地上霜。举头望明月，低头思故乡。", ["静夜思", "李白"], 4),
            ("静 夜 思\n李 白\n床 前 明 月 光 ， 疑 是 地 上 霜 。\n举 头 望 明 月 ， 低 头 思 故 乡 。", ["静夜思", "李白"], 4),
            ("登鹳雀楼\n白日依山尽\n黄河入海流\n欲穷千里目\n更上一层楼", ["登鹳雀楼"], 4),
            // A title as long as the verses.
            ("早发白帝城\n白日依山尽\n黄河入海流\n欲穷千里目\n更上一层楼", ["早发白帝城"], 4),
            ("如梦令·春晚\n李清照\n昨夜雨疏风骤，浓睡不消残酒。试问卷帘人，却道海棠依旧。知否，知否？应是绿肥红瘦。", ["如梦令", "春晚", "李清照"], 7),
            // A line short of a character is still told from its title.
            ("登鹳雀楼\n王之涣\n白日依山尽，黄河入海流。\n欲穷千里，更上一层楼。", ["登鹳雀楼", "王之涣"], 4),
            // No heading: the first row has no punctuation, and the whole has a form.
            ("白日依山尽\n黄河入海流。\n欲穷千里目，\n更上一层楼。", [], 4),
            ("白日依□尽，黄河入海流。欲穷千里目，更上一层■。", [], 4),
        ] as [(String, [String], Int)])
    func titlesAndAuthorsAboveAPoemAreToldFromIt(text: String, heading: [String], lines: Int) throws {
        let read = try PoemText(text)
        #expect(read.heading == heading && read.lines.count == lines, "\(read)")
        #expect(read.lines.allSatisfy { $0.allSatisfy { $0.isHan || $0 == PoemText.lost } })
    }

    @Test func aNamedFormTellsTheHeadingFromTheVerses() throws {
        let text = "王维\n独坐幽篁里\n弹琴复长啸\n深林人不知\n明月来相照"
        #expect(try PoemText(text, as: .wujue).heading == ["王维"])
        #expect(try PoemText(text, as: Form(named: "五古")).lines.count == 4)
        #expect(try PoemText("十六字令\n山，快马加鞭未下鞍。惊回首，离天三尺三。", as: Form(named: "十六字令")).heading == ["十六字令"])
    }

    @Test func modernRhymesAreJudgedByTheModernBook() throws {
        // 东 and 风 are one group in Mandarin (十一庚), 东 and 冬 are two in 平水韵.
        let text = "白日依山尽，黄河入海东。欲穷千里目，更上一层冬。"
        #expect(try check(text, as: "五绝", .loose, .pingshui).faults.map(\.kind) == [.rhyme])
        #expect(try !check(text, as: "五绝", .loose, .xinyun).faults.contains { $0.kind == .rhyme })
    }

    @Test func ancientVerseTakesAnyNumberOfLines() throws {
        let lines = ["采菊东篱下", "悠然见南山", "山气日夕佳", "飞鸟相与还", "此中有真意", "欲辨已忘言"]
        let report = try ProsodyChecker().check(lines, as: Form(named: "五古"))
        #expect(report.lines.filter(\.rhymes).map(\.text) == ["悠然见南山", "飞鸟相与还", "欲辨已忘言"])
        #expect(report.rhymeGroups == ["十五删"])
        #expect(report.faults.map(\.character) == ["言"])
    }
}
