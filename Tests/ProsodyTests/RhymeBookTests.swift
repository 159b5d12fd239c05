import Testing

@testable import TihuaProsody

@Suite struct RhymeBookTests {
    @Test(arguments: [(RhymeBook.pingshui, 106, 8_000), (.cilin, 33, 8_000), (.xinyun, 28, 6_500)])
    func booksHaveTheirGroups(book: RhymeBook, groups: Int, characters: Int) {
        #expect(book.groups.count == groups)
        #expect(book.groups.indices.allSatisfy { book.groups[$0].id == $0 && !book.groups[$0].members.isEmpty })
        #expect(Set(book.groups.map(\.name)).count == groups)
        #expect(Set(book.groups.flatMap(\.members)).count > characters)
    }

    @Test func pingshuiCountsThirtyLevelAndSeventySixObliqueGroups() {
        let counts = Dictionary(grouping: RhymeBook.pingshui.groups, by: \.toneName).mapValues(\.count)
        #expect(counts == ["上平": 15, "下平": 15, "上": 29, "去": 30, "入": 17])
        let third = RhymeBook.pingshui.groups.filter { $0.toneName == "上" }[2]
        #expect(third.name == "三讲")
        #expect(Set("讲港棒蚌项").isSubset(of: third.members))
    }

    @Test(
        arguments: [
            ("东", "一东"), ("光", "七阳"), ("楼", "十一尤"), ("间", "十五删"), ("间", "十六谏"), ("一", "四质"), ("先", "一先"), ("儿", "四支"),
            ("斜", "六麻"), ("回", "十灰"), ("门", "十三元"), ("白", "十一陌"),
        ] as [(Character, String)])
    func charactersRhymeInTheirPingshuiGroups(character: Character, name: String) {
        let names = groups(of: character, in: .pingshui).ids.map { RhymeBook.pingshui.groups[$0].name }
        #expect(names.contains(name), "\(character): \(names)")
    }

    @Test(
        arguments: [
            ("山", ToneSet.level), ("水", .oblique), ("看", .either), ("国", .oblique), ("思", .either), ("长", .either),
            ("家", .level),
        ] as [(Character, ToneSet)])
    func tonesFollowTheOldReadings(character: Character, expected: ToneSet) {
        #expect(tones(of: character, in: .pingshui) == expected)
        #expect(tones(of: character, in: .cilin) == expected)
    }

    @Test func enteringTonesAreLevelInModernRhymesWhereMandarinSaysSo() {
        #expect(tones(of: "国", in: .xinyun) == .level)
        #expect(tones(of: "月", in: .xinyun) == .oblique)
    }

    @Test func unknownCharactersHaveNoTonesAndNoGroups() {
        for book in RhymeBook.allCases {
            for character: Character in ["A", "😀", "，", "囍", "e\u{301}"] {
                #expect(tones(of: character, in: book).isEmpty && groups(of: character, in: book).isEmpty)
            }
        }
    }

    @Test func cilinPartsFollowTheirPingshuiGroupsForTheCharactersAdded() {
        // 砌 is in no 词林正韵 table of the sources; its 平水韵 group 八霁 is part 3 as a whole.
        #expect(groups(of: "砌", in: .cilin).ids.map { RhymeBook.cilin.groups[$0].name } == ["第三部仄声"])
    }

    @Test func groupsAreFoundByEveryWayToNameThem() throws {
        for name in ["七阳", "阳", "下平七阳", "七陽", "七阳韵", "七陽韻", "阳韵", "下平声七阳", "下平聲七陽", "平声七阳", "下平阳"] {
            #expect(RhymeBook.pingshui.groups(named: name).map(\.name) == ["七阳"], "\(name)")
        }
        #expect(RhymeBook.pingshui.groups(named: "上平声一东").map(\.name) == ["一东"])
        #expect(RhymeBook.pingshui.groups(named: "入聲十藥").map(\.name) == ["十药"])
        #expect(RhymeBook.cilin.groups(named: "第七部平聲").map(\.name) == ["第七部平声"])
        for name in ["韵", "声", "上平", "上平七阳", ""] {
            #expect(RhymeBook.pingshui.groups(named: name).isEmpty, "\(name)")
        }
        #expect(RhymeBook.cilin.groups(named: "第七部").map(\.name) == ["第七部平声", "第七部仄声"])
        let tune = try Form(named: "蝶恋花")
        #expect(try RhymeBook.cilin.group(named: "第七部", for: tune).name == "第七部仄声")
        #expect(try RhymeBook.xinyun.group(named: "十唐", for: .qijue).name == "十唐平声")
        #expect(throws: ProsodyError.rhymeGroupTone(group: "一屋", form: "七绝")) {
            try RhymeBook.pingshui.group(named: "一屋", for: .qijue)
        }
    }

    @Test(arguments: [
        // A character of the group, the group's number, both at once, neither.
        ("七杨", "七阳"), ("七杨韵", "七阳"), ("一冬", "二冬"), ("八风", "一东"), ("十一游", "十一尤"), ("十一囍", "十一真"), ("先韻部", "一先"),
    ])
    func aWrongRhymeNameSuggestsTheNearestFirst(name: String, first: String) {
        #expect { try RhymeBook.pingshui.group(named: name, for: .qijue) } throws: {
            guard case .unknownRhymeGroup(name, "平水韵", let nearest)? = $0 as? ProsodyError else { return false }
            return nearest.first == first && nearest.count == 4
        }
        // A name of one book tells the group of another.
        #expect { try RhymeBook.cilin.group(named: "七阳", for: .qijue) } throws: {
            guard case .unknownRhymeGroup(_, _, let nearest)? = $0 as? ProsodyError else { return false }
            return nearest.first == "第二部平声"
        }
    }

    @Test(arguments: "聨纎縴揺胷荅飗浯緜隠頼浄鬭这鶑馿礴斸".map { $0 })
    func charactersThatPoemsPrintHaveTheirReadings(character: Character) {
        let level = "聨纎縴揺胷飗浯緜鶑馿".contains(character)
        for book in [RhymeBook.pingshui, .cilin] {
            #expect(tones(of: character, in: book).contains(level ? .level : .oblique), "\(character) \(book)")
        }
    }

    @Test func everyVariantStandsForAFormOfTheTables() {
        for (variant, form) in variantForms {
            #expect(!groups(of: form, in: .pingshui).isEmpty, "\(variant)\(form)")
            #expect(variantForms[form] == nil, "\(variant)\(form): a chain")
            #expect(spellings(of: variant) == spellings(of: form) && spellings(of: variant).first == form)
        }
        #expect(spellings(of: "山") == ["山"])
        #expect(Set(spellings(of: "粧")) == ["妆", "粧"])
    }

    @Test(arguments: [
        ("平水韵", RhymeBook.pingshui), ("Pingshui", .pingshui), ("cilin", .cilin), ("xinyun", .xinyun),
        ("pingshuiyun", .pingshui), ("平水韻", .pingshui), ("詞林正韻", .cilin), ("中華新韻", .xinyun),
    ])
    func booksAreFoundByName(name: String, book: RhymeBook) {
        #expect(RhymeBook(named: name) == book)
        #expect(RhymeBook(named: name + "x") == nil)
    }

    @Test func groupSetsAreSetsOfIds() {
        var generator = SplitMix(seed: 1)
        for _ in 0..<100 {
            let one = Set((0..<20).map { _ in Int.random(in: 0..<128, using: &generator) })
            let two = Set((0..<20).map { _ in Int.random(in: 0..<128, using: &generator) })
            #expect(RhymeGroupSet(one).ids == one.sorted())
            #expect(RhymeGroupSet(one).union(RhymeGroupSet(two)).ids == one.union(two).sorted())
            #expect(RhymeGroupSet(one).intersection(RhymeGroupSet(two)).ids == one.intersection(two).sorted())
            #expect(RhymeGroupSet(one).isDisjoint(with: RhymeGroupSet(two)) == one.isDisjoint(with: two))
            #expect(RhymeGroupSet(one).count == one.count)
        }
        #expect(RhymeGroupSet([-1, 128]).isEmpty && !RhymeGroupSet([127]).contains(-1))
    }
}
