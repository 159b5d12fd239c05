import Foundation
import Testing
import TihuaTestSupport

@testable import TihuaProsody

@Suite struct FormTests {
    @Test(arguments: [
        ("七绝", "七绝"), ("七言绝句", "七绝"), ("qijue", "七绝"), ("Qī Jué", "七绝"), ("wulv", "五律"), ("wulü", "五律"),
        ("WU-LÜ", "五律"),
        ("五言古绝", "五言古绝"), ("五古绝", "五言古绝"), ("七古", "七古"), ("五言古诗", "五古"), ("dielianhua", "蝶恋花"), ("鹊踏枝", "蝶恋花"),
        ("忆江南", "望江南"), ("大江东去", "念奴娇"), ("shui diao ge tou", "水调歌头"), ("moyu'er", "摸鱼儿"),
        ("七絕", "七绝"), ("七言絕句", "七绝"), ("五言律詩", "五律"), ("臨江仙", "临江仙"), ("蝶戀花", "蝶恋花"), ("鵲踏枝", "蝶恋花"),
    ])
    func formsAreFoundByEveryName(name: String, form: String) throws {
        #expect(try Form(named: name).name == form)
    }

    @Test func everyFormIsFoundByItsOwnNamesAndNoNameIsShared() throws {
        var owners: [String: String] = [:]
        for form in Form.all {
            for name in [form.name, form.pinyin] + form.aliases {
                #expect(try Form(named: name) == form)
                #expect(owners.updateValue(form.name, forKey: name) == nil, "\(name) names two forms")
            }
            #expect(form.pinyin.allSatisfy { $0.isASCII }, "\(form.name) has no pinyin")
        }
        #expect(Form.all.count == 108)
    }

    @Test(arguments: [("七觉", "七绝"), ("dielianhu", "蝶恋花"), ("水调歌", "水调歌头"), ("qijve", "七绝")])
    func unknownNamesListTheNearest(name: String, wanted: String) {
        if (try? Form(named: name)) != nil { return #expect(name == "水调歌") }
        #expect { try Form(named: name) } throws: {
            guard case .unknownForm(_, let nearest)? = $0 as? ProsodyError else { return false }
            return nearest.first?.hasPrefix(wanted) ?? false
        }
    }

    @Test func regulatedFormsHaveFourOpenings() {
        for form in [Form.wujue, .qijue, .wulv, .qilv] {
            #expect(Set(form.variants) == ["平起首句入韵", "平起首句不入韵", "仄起首句入韵", "仄起首句不入韵"])
            #expect(form.rhymeTones == .level)
        }
        #expect(Form.qilv.rhymingLines == [1, 3, 5, 7])
        #expect(Form.ancient(syllables: 5, lines: 4).rhymeTones == .either)
    }

    /// The published tables write every slot out; ours frees the slots that 王力 frees, and agrees everywhere else.
    @Test(.enabled(if: SharedData.root != nil, "needs ../shared/data"))
    func strictPatternsAgreeWithThePublishedOnes() throws {
        let root = try #require(SharedData.root)
        let data = try Data(contentsOf: root.appending(path: "text/prosody/meters.json"))
        let published = try JSONDecoder().decode([String: String].self, from: data)
        #expect(published.count == 16)
        for (name, pattern) in published {
            let form = try Form(named: String(name.prefix(2)))
            let metre = form.metre(.strict)
            let variant = try #require(metre.variants.first { name == form.name + $0.name })
            let slots = variant.blocks.flatMap { $0.alternatives[0] }
            let wanted = pattern.split(separator: ",").joined().compactMap(Demand.init(digit:))
            #expect(slots.count == wanted.count)
            for (slot, demand) in zip(slots, wanted) where slot != .free { #expect(slot == demand, "\(name)") }
        }
    }

    @Test func linesArePunctuatedByTheirRhymes() throws {
        let lines = ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"]
        #expect(Form.wujue.punctuated(lines) == ["白日依山尽，黄河入海流。", "欲穷千里目，更上一层楼。"])
        #expect(Form.wujue.punctuated(Array(lines.prefix(3))) == Array(lines.prefix(3)))
        // 阮郎归 rhymes at every line but the fifth, and has an empty line between its parts.
        let tune = try Form(named: "阮郎归")
        let parts = tune.punctuated(tune.lineLengths.map { String(repeating: "一", count: $0) })
        #expect(parts.count == 10 && parts.firstIndex(of: "") == 4)
        #expect(parts.filter { $0.hasSuffix("，") } == ["一一一，"] && parts.count { $0.hasSuffix("。") } == 8)
    }

    @Test func tunesHaveTheLengthsOfTheirFamousPoems() throws {
        #expect(try Form(named: "阮郎归").lineLengths == [7, 5, 7, 5, 3, 3, 5, 7, 5])
        #expect(try Form(named: "汉宫春").characterCount == 96)
        // A leading character belongs to the line it leads: 望长城内外.
        #expect(try Form(named: "沁园春").lineLengths.prefix(5) == [4, 4, 4, 5, 4])
        #expect(try Form(named: "十六字令").lineLengths == [1, 7, 3, 5])
    }
}

/// A small generator with a seed (Vigna's splitmix64), so that a failing walk can be repeated.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
