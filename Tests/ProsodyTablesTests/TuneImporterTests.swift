import Foundation
import Testing
import TihuaProsody
import TihuaTestSupport
import TihuaTokenizers

@testable import prosody_tables

@Suite struct TuneImporterTests {
    /// Poems of a form as 宋词 has them; characters are drawn from those that the metre admits.
    private func poems(_ form: Form, count: Int) throws -> [[String]] {
        // Only those that stay what they are: the importer reads traditional characters as simplified ones.
        let all = Set(RhymeBook.cilin.groups.flatMap(\.members)).sorted()
        let characters = try zip(all, ChineseConverter().simplified(String(all))).filter { $0 == $1 }.map(\.0)
        var state: UInt64 = 1
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let constraint = try MetreConstraint(form: form, tones: .loose, book: .cilin, minimumGroupSize: 60)
        return (0..<count).map { _ in
            var metre = MetreState(constraint)
            var lines = form.lineLengths.map { _ in "" }
            while !metre.isComplete {
                let line = metre.line
                var next = metre.rule.fixed ?? characters[random(characters.count)]
                while !metre.admits(next) { next = characters[random(characters.count)] }
                let isWritten = metre.append(next)
                #expect(isWritten)
                lines[line].append(next)
            }
            return lines
        }
    }

    private func write(_ poems: [(tune: String, lines: [String])], to scratch: Scratch) throws {
        let records = poems.map {
            ["rhythmic": $0.tune, "author": "某", "paragraphs": $0.lines.map { $0 + "。" }] as [String: Any]
        }
        try scratch.write(JSONSerialization.data(withJSONObject: records), to: "宋词/ci.song.0.json")
        try scratch.write("{}", to: "tables/ci-meters.json")
    }

    private func run(_ scratch: Scratch, forms: String) throws -> (report: TuneImporter.Report, rows: [String]) {
        let output = scratch.url.appending(path: "Tunes.swift")
        let report = try TuneImporter.run(
            tables: scratch.url.appending(path: "tables"), poems: scratch.url, output: output,
            article: scratch.url.appending(path: "Tunes.md"), forms: forms)
        let text = try String(contentsOf: output, encoding: .utf8)
        let rows = text.split(separator: "\n").filter { $0.hasPrefix("        ") && !$0.contains("\"\"\"") }
        return (report, rows.map { $0.trimmingCharacters(in: .whitespaces) })
    }

    @Test func aPatternIsFoundInThePoemsThatWereWrittenToIt() throws {
        let scratch = try Scratch()
        // Three rhymes, of which the second is level, and a repeated line.
        let row = "菩萨蛮 0104,0114,11213b,02213b/020104c,04c 6=5"
        let form = try #require(Form(row: "\(row) -"))
        let regular = try poems(form, count: 40)
        // Others are too short, or break a tone.
        var broken = regular[0]
        broken[2] = "山" + String(broken[2].dropFirst().map { _ in Character("月") })
        let short = regular.prefix(3).map { Array($0.dropLast()) }
        try write((regular + [broken] + short).map { ("菩萨蛮", $0) }, to: scratch)
        let found = try run(scratch, forms: "菩萨蛮 18 8")
        #expect(found.rows == ["\(row) 44,41,40"])
        #expect(found.report.counted == 1 && found.report.poems == 44)
        let article = try String(contentsOf: scratch.url.appending(path: "Tunes.md"), encoding: .utf8)
        #expect(article.contains("| 菩萨蛮 | 26 | aaBB/c=c | 44 | 41 | 40 (91 %) |"))
    }

    @Test func repeatsThatSomePoemsHaveAreAllowed() throws {
        let scratch = try Scratch()
        let form = try #require(Form(row: "长相思 0003,0003,02113 - -"))
        var all = try poems(form, count: 40)
        for index in 0..<10 { all[index][1] = all[index][0] }
        for index in 10..<14 { all[index][1] = String(all[index][1].dropLast()) + String(all[index][0].suffix(1)) }
        try write(all.map { ("长相思", $0) }, to: scratch)
        let rows = try run(scratch, forms: "长相思 13").rows
        #expect(rows == ["长相思 0003,0003,02113 2~1,2.4~1.4 40,40,40"])
    }

    @Test func formsInTheOtherToneAreCountedApart() throws {
        let scratch = try Scratch()
        let (oblique, level) = ("忆秦娥 00104,02014,0114", "忆秦娥·平韵 00213,01123,0213")
        let many = try poems(#require(Form(row: Substring(oblique + " - -"))), count: 120)
        let few = try poems(#require(Form(row: Substring(level + " - -"))), count: 28)
        try write((many + few).map { ("忆秦娥", $0) }, to: scratch)
        let rows = try run(scratch, forms: "忆秦娥 14;忆秦娥·平韵 14").rows
        #expect(rows == ["\(oblique) - 148,148,120", "\(level) - 148,148,28"])
    }

    @Test func tooFewPoemsAreAnErrorAndWriteNothing() throws {
        let scratch = try Scratch()
        let form = try #require(Form(row: "菩萨蛮 0104,0104 - -"))
        try write(try poems(form, count: 11).map { ("菩萨蛮", $0) } + [("菩萨蛮", ["山山", "水水", "月月"])], to: scratch)
        #expect { try run(scratch, forms: "菩萨蛮 8") } throws: {
            guard case .unexpected(_, let what)? = $0 as? ProsodyImportError else { return false }
            return what == "fewer than 12 poems of 菩萨蛮 are alike"
        }
        #expect(!scratch.names.contains("Tunes.swift"))
    }

    /// Also the shares: the importer counts them with the checker.
    @Test(.enabled(if: SharedData.root != nil, "needs ../shared/data"))
    func committedTunesAreWhatTheImporterWrites() throws {
        let root = try #require(SharedData.root)
        let scratch = try Scratch()
        let report = try TuneImporter.run(
            tables: root.appending(path: "text/prosody"), poems: root.appending(path: "text/chinese-poetry.tar.xz"),
            output: scratch.url.appending(path: "Tunes.swift"), article: scratch.url.appending(path: "Tunes.md"))
        #expect(report.published == 57 && report.counted == 40 && report.handbook == 3 && report.poems > 19_000)
        let prosody = SharedData.packageRoot.appending(path: "Sources/Prosody")
        for (name, committed) in [("Tunes.swift", "Tunes.swift"), ("Tunes.md", "Prosody.docc/Tunes.md")] {
            let isSame =
                try Data(contentsOf: scratch.url.appending(path: name))
                == Data(contentsOf: prosody.appending(path: committed))
            #expect(isSame, "run `swift run prosody-tables` with --poems and commit Sources/Prosody/\(committed)")
        }
        // The tunes of the short forms fit most poems of Song.
        for (name, share) in [("菩萨蛮", 0.65), ("虞美人", 0.65), ("西江月", 0.65), ("清平乐", 0.6), ("蝶恋花", 0.7), ("浣溪沙", 0.7)] {
            let counts = try #require(try Form(named: name).attestation)
            #expect(Double(counts.fitting) / Double(counts.poems) > share)
        }
    }
}
