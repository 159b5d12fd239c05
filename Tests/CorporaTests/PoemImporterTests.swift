import Foundation
import Testing
import TihuaCorpora
import TihuaDataFiles
import TihuaTestSupport

@Suite struct PoemImporterTests {
    private func poems(
        _ json: String, at path: String = "全唐诗/poet.tang.0.json"
    ) throws -> (poems: [CorpusPoem], report: PoemImporter.Report) {
        let scratch = try Scratch()
        try scratch.write(json, to: path)
        var poems: [CorpusPoem] = []
        let report = try PoemImporter(threadCount: 2).run(from: scratch.url) { poems.append($0) }
        return (poems, report)
    }

    private func record(_ paragraphs: [String], title: String = "題") -> String {
        let list = paragraphs.map { "\"\($0)\"" }.joined(separator: ",")
        return "{\"title\":\"\(title)\",\"author\":\"李 白\",\"paragraphs\":[\(list)],\"id\":\"x\"}"
    }

    @Test func aPoemIsSimplifiedAndNamed() throws {
        let (poems, report) = try poems("[\(record(["白玉誰家郎，回車渡天津。", "看花東上陌，驚動洛陽人。"], title: "橫吹曲辭　洛陽陌"))]")
        #expect(
            poems == [
                CorpusPoem(
                    form: "五绝", title: "横吹曲辞 洛阳陌", author: "李 白", dynasty: "唐",
                    lines: ["白玉谁家郎", "回车渡天津", "看花东上陌", "惊动洛阳人"], source: "全唐诗/poet.tang.0.json")
            ])
        #expect(poems[0].text == "白玉谁家郎，回车渡天津。看花东上陌，惊动洛阳人。")
        #expect(report.read == 1 && report.written == 1 && report.lines == 4 && report.forms == ["五绝": 1])
    }

    @Test(arguments: [
        (["春眠不覺曉，處處聞啼鳥。", "夜來風雨聲，花落知□少。"], DropReason.lacuna),
        (["春眠不{臯兀}曉，處處聞啼鳥。", "夜來風雨聲，花落知多少。"], .lacuna),
        (["春眠不覺曉（一作早，處處聞啼鳥。", "夜來風雨聲，花落知多少。"], .brackets),
        (["春眠不覺曉，處處聞啼鳥。", "夜來風雨，花落知多少。"], .unequal),
        (["春眠不覺曉，處處聞啼鳥。"], .fragment),
        (["春眠不覺曉，處處聞啼鳥，夜來風雨聲。"], .fragment),
        (["予與諸公遊於山陰之蘭亭。", "夜來風雨聲，花落知多少。"], .prose),
        (["春眠不覺曉，處處聞啼鳥。", "夜來風雨聲，花落知abc。"], .notChinese),
        (["春眠不覺曉，處處聞啼鳥。", "夜來風雨聲，花落知け少。"], .notChinese),
        (["人之初，性本善。", "性相近，習相遠。"], .length),
        ([], .empty), ([""], .empty), (["（闕）"], .empty),
        (Array(repeating: "春眠不覺曉，處處聞啼鳥。", count: 41), .tooLong),
    ])
    func whatIsNoCleanPoemIsDropped(paragraphs: [String], reason: DropReason) throws {
        let (poems, report) = try poems("[\(record(paragraphs))]")
        #expect(poems.isEmpty)
        #expect(report.dropped == [reason: 1])
        #expect(report.description.contains(reason.rawValue))
    }

    @Test func notesAndQuotationMarksGoAndThePoemStays() throws {
        let (poems, _) = try poems(
            "[\(record(["門前春水（竹枝）白蘋花（女兒）", "岸上無人(竹枝）小艇斜（女[按]兒）。", "「商女」經過江欲暮，散抛《殘食》飼神鴉。"]))]")
        #expect(
            poems.first?.lines == ["门前春水白𬞟花", "岸上无人小艇斜", "商女经过江欲暮", "散抛残食饲神鸦"]
                || poems.first?.lines == ["门前春水白苹花", "岸上无人小艇斜", "商女经过江欲暮", "散抛残食饲神鸦"])
        #expect(poems.first?.form.hasPrefix("七") == true)
    }

    @Test func aPauseWithinALineDoesNotCutIt() throws {
        let (poems, _) = try poems("[\(record(["風、雨、雪、霜寒，處處聞啼鳥。", "夜來風雨聲，花落知多少。"]))]")
        #expect(poems.first?.lines.first == "风雨雪霜寒")
    }

    @Test(arguments: [(12, 5, "五古"), (6, 7, "七古"), (4, 4, "四言"), (8, 6, "六言"), (4, 5, "五言古绝"), (8, 7, "七古")])
    func theShapeNamesTheForm(lines: Int, length: Int, form: String) {
        let poem = Array(repeating: String(repeating: "山", count: length), count: lines)
        #expect(PoemShape.form(ofShi: poem) == form)
        #expect(PoemShape.form(ofShi: Array(poem.dropLast())) == nil)
        #expect(PoemShape.form(ofShi: poem + ["山山", "山山"]) == nil)
    }

    @Test(arguments: [
        ("白日依山尽，黄河入海流，欲穷千里目，更上一层楼", "五绝"), ("朝辞白帝彩云间，千里江陵一日还，两岸猿声啼不住，轻舟已过万重山", "七绝"),
        ("国破山河在，城春草木深，感时花溅泪，恨别鸟惊心，烽火连三月，家书抵万金，白头搔更短，浑欲不胜簪", "五律"),
        ("春眠不觉晓，处处闻啼鸟，夜来风雨声，花落知多少", "五言古绝"), ("千山鸟飞绝，万径人踪灭，孤舟蓑笠翁，独钓寒江雪", "五言古绝"),
    ])
    func tonesTellMetreFromAncientVerse(poem: String, form: String) {
        #expect(PoemShape.form(ofShi: poem.split(separator: "，").map(String.init)) == form)
    }

    @Test func copiesCountOnceEvenAcrossFilesAndScripts() throws {
        let scratch = try Scratch()
        let poem = record(["白玉誰家郎，回車渡天津。", "看花東上陌，驚動洛陽人。"])
        let simplified = record(["白玉谁家郎，回车渡天津。看花东上陌，惊动洛阳人？"])
        try scratch.write("[\(poem),\(poem)]", to: "全唐诗/poet.song.0.json")
        try scratch.write("[\(poem)]", to: "全唐诗/poet.tang.1000.json")
        try scratch.write("[\(simplified)]", to: "水墨唐诗/shuimotangshi.json")
        var poems: [CorpusPoem] = []
        let report = try PoemImporter().run(from: scratch.url) { poems.append($0) }
        #expect(report.read == 4 && report.dropped == [.duplicate: 3])
        #expect(poems.map(\.dynasty) == ["唐"])
    }

    @Test func ciKeepTuneAndPunctuation() throws {
        let json = """
            [{"author":"苏轼","paragraphs":["明月几时有？把酒问青天。","不知天上宫阙、今夕是何年。"],"rhythmic":"水调歌"},
             {"author":"某","paragraphs":["山一程，水一程；","身向榆关那畔行！"],"rhythmic":"望江南・忆江南"},
             {"author":"某","paragraphs":["花一程，水一程","身向榆关那畔行"],"rhythmic":"失调名"}]
            """
        let (poems, _) = try poems(json, at: "宋词/ci.song.0.json")
        #expect(poems.map(\.form) == ["词", "词", "词"])
        #expect(poems.map(\.tune) == ["水调歌", "忆江南", nil])
        #expect(poems.map(\.ends) == ["？。、。", "，；！", "，。。"])
        #expect(poems[0].text == "明月几时有？把酒问青天。不知天上宫阙、今夕是何年。")
    }

    @Test func otherFoldersHaveTheirOwnFields() throws {
        let scratch = try Scratch()
        try scratch.write(
            #"[{"title":"关雎","chapter":"国风","section":"周南","content":["关关雎鸠，在河之洲。窈窕淑女，君子好逑。"]}]"#, to: "诗经/shijing.json"
        )
        try scratch.write(
            #"[{"title":"离骚","section":"离骚","author":"屈原","content":["帝高阳之苗裔兮，朕皇考曰伯庸。","摄提贞于孟陬兮，惟庚寅吾以降。"]}]"#,
            to: "楚辞/chuci.json")
        try scratch.write(
            #"[{"title":"长相思·山一程","para":["山一程，水一程，身向榆关那畔行"],"author":"纳兰性德"},{"title":"秣陵怀古","para":["山色江声共寂寥，十三陵树晚萧萧","中原事业如江左，芳草何须怨六朝"],"author":"纳兰性德"}]"#,
            to: "纳兰性德/a.json")
        try scratch.write(
            #"[{"dynasty":"yuan","author":"马致远","paragraphs":["枯藤老树昏鸦，小桥流水人家。","古道西风瘦马。"],"title":"天净沙"},{"dynasty":"yuan","author":"某","paragraphs":["罢！罢！罢！","(正末云)程婴，你好去。"],"title":"戏"}]"#,
            to: "元曲/yuanqu.json")
        try scratch.write(#"[{"name":"李璟","desc":"…"}]"#, to: "五代诗词/nantang/authors.json")
        try scratch.write(#"[{"title":"x"}, 5, {"title":["x"],"paragraphs":"y"}]"#, to: "宋词/ci.song.1.json")
        try scratch.write("{not json", to: "宋词/ci.song.2.json")
        try scratch.write("[]", to: "论语/lunyu.json")
        var poems: [CorpusPoem] = []
        let report = try PoemImporter().run(from: scratch.url) { poems.append($0) }
        #expect(Set(poems.map(\.form)) == ["诗经", "楚辞", "词", "七绝", "曲"])
        #expect(poems.first { $0.form == "词" }?.tune == "长相思")
        #expect(Set(poems.map(\.dynasty)) == ["先秦", "清", "元"])
        #expect(report.dropped[.play] == 1 && report.dropped[.unparseable] == 3)
        #expect(report.badFiles == ["宋词/ci.song.2.json"])
        #expect(Set(report.ignoredFiles) == ["论语/lunyu.json", "五代诗词/nantang/authors.json"])
    }

    @Test(arguments: ["tar", "tar.xz"]) func archivesGiveWhatTheFolderGives(kind: String) throws {
        let scratch = try Scratch()
        for index in 0..<9 {
            let lines = (0..<4).map {
                "白玉誰家\(["郎", "娘", "人", "花", "月", "風", "雲", "山", "水"][index])\($0 % 2 == 0 ? "，" : "。")"
            }
            try scratch.write("[\(record(lines))]", to: "in/全唐诗/poet.tang.\(index).json")
        }
        let archive = scratch.url.appending(path: "a.\(kind)")
        try tar(scratch.url.appending(path: "in"), to: archive, options: kind == "tar.xz" ? ["-J"] : [])
        let output = scratch.url.appending(path: "out.jsonl")
        let report = try PoemImporter(threadCount: 3).run(from: archive, to: output)
        #expect(report.written == 9)
        var folder: [CorpusPoem] = []
        _ = try PoemImporter(threadCount: 1).run(from: scratch.url.appending(path: "in")) { folder.append($0) }
        let key = { (poem: CorpusPoem) in poem.source }
        #expect(try PoemFile.read(output).sorted { key($0) < key($1) } == folder.sorted { key($0) < key($1) })

        // Cut off: an error, and neither a new file nor a changed one.
        let bytes = try Data(contentsOf: archive)
        let before = try Data(contentsOf: output)
        try bytes.prefix(bytes.count / 2).write(to: archive)
        #expect(throws: DataFileError.self) { try PoemImporter().run(from: archive, to: output) }
        #expect(try Data(contentsOf: output) == before)
        #expect(scratch.names.sorted() == ["a.\(kind)", "in", "out.jsonl"])
    }

    @Test func badInputsAreNamed() throws {
        let scratch = try Scratch()
        let output = scratch.url.appending(path: "out.jsonl")
        func message(_ input: URL, to output: URL) -> String {
            do {
                _ = try PoemImporter().run(from: input, to: output)
                return ""
            } catch { return "\(error)" }
        }
        #expect(message(URL(filePath: "/nonexistent"), to: output).contains("no such file"))
        #expect(message(scratch.url, to: output).contains("holds no folder of poems"))
        let text = try scratch.write("春眠不觉晓", to: "x.tar")
        #expect(message(text, to: output).contains("not a tar"))
        let noXz = try scratch.write("春眠不觉晓", to: "x.tar.xz")
        #expect(message(noXz, to: output).contains("xz"))
        #expect(message(scratch.url, to: URL(filePath: "/nonexistent/out.jsonl")).contains("/nonexistent/out.jsonl"))
        #expect(scratch.names.sorted() == ["x.tar", "x.tar.xz"])
    }

    @Test(.enabled(if: SharedData.root != nil, "needs ../shared/data"))
    func theRealFilesGiveCleanPoems() throws {
        let root = try #require(SharedData.root)
        let archive = root.appending(path: "text/chinese-poetry.tar.xz")
        // The first files are enough here; the whole takes a release build minutes.
        struct Enough: Error {}
        var count = 0
        var forms: [String: Int] = [:]
        #expect(throws: Enough.self) {
            _ = try PoemImporter(threadCount: 2).run(from: archive) { poem in
                count += 1
                forms[poem.form, default: 0] += 1
                #expect(poem.lines.allSatisfy { line in line.unicodeScalars.allSatisfy { $0.value >= 0x3007 } })
                if count == 600 { throw Enough() }
            }
        }
        #expect(count == 600 && forms["七绝", default: 0] > 50 && forms["五律", default: 0] > 30)
    }
}
