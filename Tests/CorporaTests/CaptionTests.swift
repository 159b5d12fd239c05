import Foundation
import Testing
import TihuaCorpora
import TihuaDataFiles
import TihuaFiles
import TihuaTestSupport
import TihuaWeightFiles

@Suite struct CaptionImporterTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func texts(_ name: String) throws -> [String] {
        try String(contentsOf: scratch.url.appending(path: name), encoding: .utf8).split(separator: "\n").map(
            String.init)
    }

    private func run(_ importer: CaptionImporter = CaptionImporter(), _ inputs: URL..., strict: Bool = false) throws
        -> CaptionImporter.Report
    {
        try importer.run(
            from: inputs, to: scratch.url.appending(path: "out.tsv"),
            validation: scratch.url.appending(path: "out.val.tsv"), isStrict: strict)
    }

    @Test("every upstream form gives picture, tab, caption")
    func forms() throws {
        let input = try scratch.write(
            """
            \u{FEFF}667.jpg#zhc#0 一个女人躺在海水里。
            667.jpg#zhb#1 一 个 女人 在 海 里
            668.jpg#zhb#0 一:m 只:q 棕色:n 的:u 狗:n 。:w
            669.jpg#zhg#0 两/m 个/q 人/n
            COCO_val2014_000000217153#0\t两个人穿着军装玩手机
            700.jpg\t一只T恤 dog show\t第二句
            {"picture": "701.jpg", "captions": [{"text": "一条船", "score": 1}], "seed": 1}
            {"picture": "702", "captions": ["小路", "石板路"]}
            703.jpg#enc#0 two dogs and/or cats


            """, to: "in.txt")
        let report = try run(CaptionImporter(), input)
        #expect(
            try texts("out.tsv") == [
                "667\t一个女人躺在海水里。", "667\t一个女人在海里", "668\t一只棕色的狗。", "669\t两个人",
                "COCO_val2014_000000217153\t两个人穿着军装玩手机", "700\t一只T恤dog show", "700\t第二句", "701\t一条船", "702\t小路",
                "702\t石板路",
                "703\ttwo dogs and/or cats",
            ])
        #expect(report.training == report.trainingOf(captions: 11, pictures: 8) && report.faults == 0)
        #expect(!scratch.names.contains("out.val.tsv"))
        var keeping = CaptionImporter()
        keeping.keepsSpaces = true
        _ = try run(keeping, input)
        #expect(try texts("out.tsv")[2] == "668\t一:m 只:q 棕色:n 的:u 狗:n 。:w")
    }

    @Test("what is written is read again as it is")
    func roundTrip() throws {
        let input = try scratch.write("a.jpg#zhc#0 一 只 猫\nb.jpg#zhc#0 狗\n", to: "in.txt")
        _ = try run(CaptionImporter(), input)
        let written = scratch.url.appending(path: "out.tsv")
        let first = try Data(contentsOf: written)
        #expect(try CaptionFile(contentsOf: written).textsByImage == ["a": ["一只猫"], "b": ["狗"]])
        _ = try run(CaptionImporter(), written)
        #expect(try Data(contentsOf: written) == first)
    }

    @Test("lines that cannot be used are named with their reason, the others are kept")
    func badLines() throws {
        var bytes = Data("a.jpg#zhc#0 一只猫\n没有制表符\n".utf8)
        bytes += Data("b.jpg#zhc#0 ".utf8) + [0xB9, 0xB7, 0x0A]  // 狗 in GBK
        bytes += Data("c.jpg#zhc#0 ".utf8) + [0x80, 0xFF, 0x0A]  // no encoding
        bytes += Data("d\t猫\n".utf16.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] })
        bytes += Data("\ne.jpg#zhc#0 \nf\t\ng\t\u{FFFD}\u{FFFD}\na.jpg#zhc#1 一只猫\nz\t狗\n".utf8)
        let input = try scratch.write(bytes, to: "in.txt")
        var importer = CaptionImporter()
        // Said by name: only then a line that is not UTF-8 is one by itself, else the whole file is of another
        // encoding.
        importer.encoding = .utf8
        importer.pictures = ["a", "h"]
        let report = try run(importer, input)
        #expect(try texts("out.tsv") == ["a\t一只猫"])
        #expect(
            report.dropped == [
                .form: 1, .gbk: 1, .encoding: 1, .utf16: 2, .empty: 2, .damaged: 1, .duplicate: 1, .unknownPicture: 1,
            ])
        #expect(report.faults == 9 && report.examples.count == 9 && report.picturesWithoutCaption == 1)
        #expect(report.examples.map(\.line) == [2, 3, 4, 5, 6, 7, 8, 9, 11])
        #expect(report.examples[1].text.contains("in.txt, line 3: not UTF-8, perhaps GBK"))
        #expect(report.examples[8].text.contains("line 11: z is none of the pictures"))
    }

    @Test("at most ten lines are named, and all are counted")
    func manyBadLines() throws {
        let input = try scratch.write(
            "a\t猫\n" + String(repeating: "nothing\n", count: 30), to: "in.txt")
        let report = try run(CaptionImporter(), input)
        #expect(report.examples.count == 10 && report.faults == 30)
    }

    @Test("nothing is written where nothing is left, or where the first bad line is an error")
    func nothingLeft() throws {
        let bad = try scratch.write("a b\n", to: "bad.txt")
        let mixed = try scratch.write("a\t猫\na b\n", to: "mixed.txt")
        #expect {
            try run(CaptionImporter(), bad)
        } throws: { error in
            "\(error)".contains("bad.txt, line 1") && !"\(error)".contains("\n")
        }
        #expect {
            try run(CaptionImporter(), mixed, strict: true)
        } throws: { error in
            "\(error)".contains("mixed.txt, line 2")
        }
        #expect(throws: DataFileError.self) { try run(CaptionImporter(), scratch.url.appending(path: "nowhere")) }
        #expect(!scratch.names.contains { $0.hasPrefix("out") })
    }

    @Test("what is held out is held out by picture, the same ones every time", arguments: [2, 5, 20])
    func splitByPicture(count: Int) throws {
        let lines = (0..<400).flatMap { image in (0..<5).map { "p\(image).jpg#zhc#\($0) 第\($0)句" } }
        let input = try scratch.write(lines.joined(separator: "\n"), to: "in.txt")
        let shuffled = try scratch.write(lines.reversed().joined(separator: "\n"), to: "reversed.txt")
        var importer = CaptionImporter()
        importer.heldOut = .oneIn(count)
        let report = try run(importer, input)
        func pictures(_ name: String) throws -> Set<String> {
            Set(try CaptionFile(contentsOf: scratch.url.appending(path: name)).captions.map(\.image))
        }
        let (training, held) = (try pictures("out.tsv"), try pictures("out.val.tsv"))
        #expect(training.isDisjoint(with: held) && training.count + held.count == 400)
        #expect(report.validation.captions == 5 * held.count && report.training.captions == 5 * training.count)
        #expect((200 / count...800 / count).contains(held.count))
        _ = try run(importer, shuffled)
        #expect(try pictures("out.val.tsv") == held)
        importer.heldOut = .pictures(["p7", "p8", "none"])
        #expect(try run(importer, input).validation.pictures == 2)
    }

    @Test("languages are picked by name")
    func languages() throws {
        let input = try scratch.write("a.jpg#zhc#0 猫\na.jpg#enc#0 cat\na.jpg#zhb#0 猫猫\n", to: "in.txt")
        var importer = CaptionImporter()
        importer.languages = ["zhc", "zhb"]
        let report = try run(importer, input)
        #expect(report.dropped == [.language: 1] && report.faults == 0 && report.training.captions == 2)
    }

    @Test(.enabled(if: SharedData.root != nil, "needs ../shared/data"))
    func theRealCaptionsAreAllUsed() throws {
        let text = try #require(SharedData.root).appending(path: "text")
        let flickr = try run(CaptionImporter(), text.appending(path: "flickr8kcn/flickr8kzhc.caption.txt"))
        #expect(flickr.read == 35455 && flickr.faults == 0 && flickr.training.pictures == 7091)
        #expect(flickr.training.captions + flickr.dropped[.duplicate, default: 0] == 35455)
        #expect(try run(CaptionImporter(), text.appending(path: "coco-cn/coco-cn_ext.icap2020.txt")).faults == 0)
    }
}

extension CaptionImporter.Report {
    fileprivate func trainingOf(captions: Int, pictures: Int) -> CaptionImporter.Count? {
        training.captions == captions && training.pictures == pictures ? training : nil
    }
}

@Suite struct CaptionStatisticsTests {
    private func statistics(_ lines: [String]) throws -> CaptionStatistics {
        let scratch = try Scratch()
        let file = try CaptionFile(contentsOf: scratch.write(lines.joined(separator: "\n"), to: "c.tsv"))
        return CaptionStatistics(file.captions) { $0.filter { $0.isLetter }.map(String.init) }
    }

    @Test func countsAreRight() throws {
        let found = try statistics(["a\t一只猫在睡", "a\t一条狗在跑", "b\t一只猫在睡", "c\t两人散步"])
        #expect(found.captions == 4 && found.pictures == 3 && found.captionsPerPicture == [1, 2])
        #expect(found.lengths.minimum == 4 && found.lengths.maximum == 5 && found.lengths.mean == 4.75)
        #expect(found.lengths.median == 5 && found.lengths.percentile95 == 5)
        #expect(found.lengths.histogram == [0, 0, 0, 0, 1, 3])
        #expect(found.vocabulary == 12 && found.singletons == 7 && found.shareOpeningWithOne == 0.75)
        #expect(found.openings.first?.text == "一" && found.openings.first?.count == 3)
        #expect(found.pairOpenings.first?.text == "一只" && found.duplicates == 2)
        #expect(found.mostRepeated.map(\.text) == ["一只猫在睡"] && found.suspicious.isEmpty)
    }

    @Test(
        arguments: [
            ("三个字", .short), (String(repeating: "山水花鸟人", count: 9), .long), ("穿T恤的男孩", .latin), ("hello", .noHan),
            ("狗狗狗狗在跑", .repeated), ("跑来跑来跑来了", .repeated), ("在湖上在湖上在湖上", .repeated),
        ] as [(String, CaptionStatistics.Suspicion)])
    func suspiciousCaptionsAreFound(text: String, reason: CaptionStatistics.Suspicion) throws {
        let found = try statistics(["a\t\(text)", "b\t一只普通的猫在窗边"])
        #expect(found.suspicious[reason]?.count == 1 && found.suspicious[reason]?.examples == ["a\t\(text)"])
    }

    @Test("doubled characters are good Chinese")
    func reduplicationIsNoFault() throws {
        #expect(try statistics(["a\t高高兴兴地跑来跑去", "a\t星星点点的灯"]).suspicious.isEmpty)
    }
}
