import Foundation
import Testing
import TihuaDataFiles
import TihuaTestSupport

@testable import TihuaCorpora

/// Caption files as people have them: other forms, other encodings, other line ends.
@Suite struct CaptionFormTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func read(_ text: String, _ name: String = "c") throws -> [String] {
        try read(Data(text.utf8), name)
    }

    /// `KEY: TEXT` for each caption.
    private func read(_ data: Data, _ name: String = "c", encoding: TextEncoding? = nil) throws -> [String] {
        try CaptionFile(contentsOf: scratch.write(data, to: name), encoding: encoding).captions.map {
            "\($0.image): \($0.text)"
        }
    }

    private func problem(_ body: () throws -> Void) -> String {
        do {
            try body()
            return ""
        } catch { return "\(error)" }
    }

    // MARK: - Forms

    @Test("AI Challenger's array gives five captions a picture, on one line or on many")
    func challenger() throws {
        let entry = { (name: String, texts: [String]) in
            #"{"url": "http://x/\#(name)", "image_id": "\#(name).jpg", "caption": [\#(texts.map { "\"\($0)\"" }.joined(separator: ", "))]}"#
        }
        let entries = [entry("8f00", ["两个人在路上", "一个\\\"人\\\"[走]"]), entry("b96f", ["\\u4e00只猫"])]
        let expected = ["8f00: 两个人在路上", "8f00: 一个\"人\"[走]", "b96f: 一只猫"]
        #expect(try read("[" + entries.joined(separator: ", ") + "]") == expected)
        #expect(try read("\u{FEFF}\n [\n" + entries.joined(separator: "\n,\n") + "\n]\n") == expected)
        #expect(problem { _ = try read("[]") }.contains("holds no captions"))
        // Cut off: nothing is read from the half that is there.
        let whole = "[\n" + entries.joined(separator: ",\n") + "\n]"
        for length in [whole.count - 1, whole.count - 10, 30, 1] {
            let message = problem { _ = try read(String(whole.prefix(length))) }
            #expect(message.contains("cut off"), "\(length) \(message)")
        }
        #expect(problem { _ = try read(whole + " x") }.contains("line 4: something follows the end"))
        #expect(problem { _ = try read("[\n\(entries[0])\n\(entries[1])]") }.contains("line 3: not JSON"))
        let bad = problem { _ = try read("[\n\(entries[0]),\n{\"image_id\": \"x\", \"label\": 3}]") }
        #expect(bad.contains("line 3: entry 2: none of the known forms: IMAGE<TAB>TEXT"), "\(bad)")
    }

    @Test("COCO's object is read whatever the order of its parts, and its results and Karpathy's file too")
    func coco() throws {
        let images =
            #""images": [{"license": 3, "file_name": "COCO_1.jpg", "id": 391895}, {"id": 2, "file_name": "b.png"}]"#
        let annotations = #"""
            "annotations": [{"image_id": 391895, "id": 770337, "caption": "A man [with] a, red \"helmet\"\n"},
            {"image_id": 2, "id": 1, "caption": "一只猫"}, {"image_id": 7, "id": 1, "caption": "狗"}]
            """#
        let info = #""info": {"year": 2014, "list": [[1], {"images": [{"id": 9}]}]}, "type": "captions""#
        let expected = [#"COCO_1: A man [with] a, red "helmet""#, "b: 一只猫", "7: 狗"]
        #expect(try read("{\(info), \(images), \(annotations)}") == expected)
        #expect(try read("{\n \(annotations),\n \(images),\n \(info)\n}\n") == expected)
        #expect(
            try read(#"[{"image_id": 42, "caption": "一条船"}, {"image_id": 43, "caption": "水"}]"#) == [
                "42: 一条船", "43: 水",
            ])
        let karpathy = #"""
            {"images": [{"filename": "a.jpg", "imgid": 0, "sentences": [{"tokens": ["a"], "raw": "a dog"}, {"raw": "two dogs"}]}],
             "dataset": "flickr8k"}
            """#
        #expect(try read(karpathy) == ["a: a dog", "a: two dogs"])
        #expect(problem { _ = try read("{\n\"classes\": {\"a\": 1}\n}") }.contains("none of the known forms"))
        #expect(problem { _ = try read("{\(images), \(annotations.dropLast(20))") }.contains("cut off"))
    }

    @Test("JSON lines of MUGE, of Chinese-CLIP and of the tool are read, and a bad line is one")
    func jsonLines() throws {
        let lines = [
            #"{"image_id": "007c720f", "text": ["性感名媛蕾丝裙", "尽显优雅"]}"#,
            #"{"text_id": 8428, "text": "高级感托特包斜挎", "image_ids": [1076345, 517602]}"#,
            #"{"query_id": 8426, "query_text": "胖妹妹松紧腰长裤", "item_ids": [42967]}"#,
            #"{"picture": "a/b.webp", "captions": [{"text": "船", "score": 1}], "seed": 1}"#,
        ]
        let expected = [
            "007c720f: 性感名媛蕾丝裙", "007c720f: 尽显优雅", "1076345: 高级感托特包斜挎", "517602: 高级感托特包斜挎",
            "42967: 胖妹妹松紧腰长裤", "a/b: 船",
        ]
        #expect(try read(lines.joined(separator: "\n")) == expected)
        #expect(try read(lines.joined(separator: "\r") + "\r") == expected)
        for bad in ["{\"text\": \"没有图\"}", "{\"image_id\": 3", "{\"image_id\": 3, \"text\": []}"] {
            #expect(problem { _ = try read((lines + [bad]).joined(separator: "\n")) }.contains("line 5"), "\(bad)")
            #expect(problem { _ = try read(([bad] + lines).joined(separator: "\n")) }.contains("line 1"), "\(bad)")
        }
    }

    @Test("tables with a header are read, with their quotation marks")
    func tables() throws {
        #expect(
            try read(
                """
                image,caption
                1000.jpg,A child in a pink dress .
                1000.jpg,"A girl, ""Ann"", goes
                into a house"
                1001.jpg,A man , and a "dog"

                1002.jpg,"unclosed mark
                1003.jpg,一只猫
                """) == [
                    "1000: A child in a pink dress .", "1000: A girl, \"Ann\", goes into a house",
                    "1001: A man , and a \"dog\"", "1002: \"unclosed mark", "1003: 一只猫",
                ])
        let flickr = "image_name| comment_number| comment\n10.jpg| 0| Two men | talking .\n10.jpg| 1| 两个 \"人\n"
        #expect(try read(flickr) == ["10: Two men | talking .", "10: 两个 \"人"])
        // One row of Kaggle's file lacks a mark.
        #expect(problem { _ = try read(flickr + "21.jpg| 4   A dog runs .\n") }.contains("line 4"))
        #expect(try read("id;Caption_1;Caption_2\na;一;\"二;三\"\n") == ["a: 一", "a: 二;三"])
        #expect(try read("filepath\ttitle\nx/a.jpg\t猫\n") == ["x/a: 猫"])
        #expect(try read("\u{FEFF}图片,描述\r\n\"a.jpg\",猫\r\n") == ["a: 猫"])
        // A table of another kind, and one without a header.
        for text in ["width,height\n3,4\n", "a.jpg,猫\n"] {
            #expect(problem { _ = try read(text) }.contains("none of the known forms"))
        }
    }

    @Test("what is imported of each form is one clean table")
    func imports() throws {
        let inputs = try [
            scratch.write(#"[{"image_id": "a.jpg", "caption": ["一 只 猫", "两\t行\n字"]}]"#, to: "aic.json"),
            scratch.write("image,caption\nb.heic,狗\nc\u{7}.jpg,鸟\nd.jpg,\n", to: "k.csv"),
        ]
        let out = scratch.url.appending(path: "out.tsv")
        let report = try CaptionImporter().run(from: inputs, to: out, validation: scratch.url.appending(path: "v"))
        #expect(
            try String(contentsOf: out, encoding: .utf8) == "a\t一只猫\na\t两行字\nb\t狗\nc\\x07\t鸟\n")
        #expect(report.dropped == [.empty: 1] && report.examples.map(\.line) == [4])
        #expect(try CaptionFile(contentsOf: out).captions.map(\.image) == ["a", "a", "b", "c\\x07"])
    }

    // MARK: - Encodings

    @Test("lines may end in LF, CR LF or CR", arguments: ["\n", "\r\n", "\r"])
    func lineEnds(end: String) throws {
        let lines = (0..<40_000).map { "p\($0)\t第\($0)句" }
        let file = try CaptionFile(contentsOf: scratch.write(lines.joined(separator: end) + end, to: "c.tsv"))
        #expect(file.captions.count == 40_000)
        #expect(file.captions.enumerated().allSatisfy { $1.image == "p\($0)" && $1.text == "第\($0)句" })
        #expect(
            problem { _ = try read((lines.prefix(9) + ["bad"]).joined(separator: end)) }.contains("line 10"))
    }

    /// In GBK: 一只狗, which is no UTF-8, and 某通, which is (two letters of other scripts).
    private static let gbk: (plain: [UInt8], fooling: [UInt8]) = (
        [0xD2, 0xBB, 0xD6, 0xBB, 0xB9, 0xB7], [0xC4, 0xB3, 0xCD, 0xA8]
    )

    @Test("a GBK file is refused whole, also where some of its lines pass for UTF-8, and read when it is called GBK")
    func gbkFiles() throws {
        try #require(String(validating: Self.gbk.fooling, as: UTF8.self) != nil)
        let bytes = Array("a.jpg\t".utf8) + Self.gbk.fooling + Array("\nb.jpg\t".utf8) + Self.gbk.plain + [0x0A]
        let message = problem { _ = try read(Data(bytes)) }
        #expect(message.contains("c, line 2: not UTF-8, perhaps GBK") && message.contains("for instance gb18030"))
        #expect(try read(Data(bytes), encoding: .gb18030) == ["a: 某通", "b: 一只狗"])
        let input = try scratch.write(Data(bytes), to: "in.txt")
        let out = scratch.url.appending(path: "out.tsv")
        var importer = CaptionImporter()
        #expect(problem { _ = try importer.run(from: [input], to: out, validation: out) }.contains("line 2"))
        #expect(!scratch.names.contains("out.tsv"))
        importer.encoding = .gb18030
        #expect(try importer.run(from: [input], to: out, validation: out).training.captions == 2)
        #expect(try String(contentsOf: out, encoding: .utf8) == "a\t某通\nb\t一只狗\n")
        // A table and JSON of the same.
        let table = Array("image,caption\nb.jpg,".utf8) + Self.gbk.plain + [0x0A]
        #expect(problem { _ = try read(Data(table)) }.contains("line 2: not UTF-8, perhaps GBK"))
        #expect(try read(Data(table), encoding: .gb18030) == ["b: 一只狗"])
        let json = Array("[{\"image_id\": \"b.jpg\", \"caption\": [\"".utf8) + Self.gbk.plain + Array("\"]}]".utf8)
        #expect(problem { _ = try read(Data(json)) }.contains("perhaps GBK"))
        #expect(try read(Data(json), encoding: .gb18030) == ["b: 一只狗"])
        // Half a character at the end.
        #expect(
            problem { _ = try read(Data(bytes.dropLast(2)), encoding: .gb18030) }.contains("failed conversion"))
    }

    @Test("characters that stand across the pieces of a large file are read", arguments: TextEncoding.allCases)
    func largeFiles(encoding: TextEncoding) throws {
        // Three pieces of a megabyte; the length of a line has no common factor with it.
        let expected = encoding == .big5 ? "一隻貓坐在窗邊看雨" : "一只猫坐在窗边看雨"
        let text = (0..<90_000).map { "p\($0).jpg\t\(expected)" }.joined(separator: "\n")
        let data: Data
        switch encoding {
        case .utf8: data = Data(text.utf8)
        case .utf16: data = Data([0xFE, 0xFF]) + Data(text.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] })
        case .gb18030, .big5:
            let file = try scratch.write(text, to: "utf8")
            let process = Process()
            process.executableURL = URL(filePath: "/usr/bin/env")
            process.arguments = ["iconv", "-f", "UTF-8", "-t", encoding == .big5 ? "BIG5" : "GBK", file.path]
            process.standardOutput = try FileHandle(forWritingTo: scratch.write("", to: "other"))
            try process.run()
            process.waitUntilExit()
            try #require(process.terminationStatus == 0)
            data = try Data(contentsOf: scratch.url.appending(path: "other"))
        }
        let found = try CaptionFile(contentsOf: scratch.write(data, to: "c"), encoding: encoding).captions
        #expect(found.count == 90_000)
        #expect(found.enumerated().allSatisfy { $1.image == "p\($0)" && $1.text == expected })
    }

    @Test("UTF-16 is known by its mark, and a file without one is called what it may be", arguments: [false, true])
    func utf16(bigEnd: Bool) throws {
        let units = "a\t一只🐕\r\nb\t猫\r\n".utf16
        let bytes = units.flatMap { bigEnd ? [UInt8($0 >> 8), UInt8($0 & 255)] : [UInt8($0 & 255), UInt8($0 >> 8)] }
        let mark: [UInt8] = bigEnd ? [0xFE, 0xFF] : [0xFF, 0xFE]
        #expect(try read(Data(mark + bytes)) == ["a: 一只🐕", "b: 猫"])
        #expect(try read(Data(bytes), encoding: .utf16) == ["a: 一只🐕", "b: 猫"])
        let message = problem { _ = try read(Data(bytes)) }
        #expect(message.contains("perhaps UTF-16") && message.contains("for instance utf-16"), "\(message)")
        #expect(try TextFile.lines(of: scratch.write(Data(mark + bytes), to: "t")) == ["a\t一只🐕", "b\t猫"])
    }

    @Test("whoever says that a file is UTF-8 gets its good lines, and the others named")
    func damagedLines() throws {
        let bytes = Array("a\t猫\nb\t".utf8) + [0xE7, 0x8B] + Array("\nc\t狗\n".utf8)
        let input = try scratch.write(Data(bytes), to: "in.txt")
        let out = scratch.url.appending(path: "out.tsv")
        var importer = CaptionImporter()
        #expect(problem { _ = try importer.run(from: [input], to: out, validation: out) }.contains("line 2"))
        importer.encoding = .utf8
        let report = try importer.run(from: [input], to: out, validation: out)
        #expect(report.training.captions == 2 && report.faults == 1 && report.examples.map(\.line) == [2])
    }

    @Test("names of encodings are those that people write")
    func namesOfEncodings() {
        for (name, encoding) in [
            ("GBK", TextEncoding.gb18030), ("gb2312", .gb18030), ("cp936", .gb18030), ("UTF8", .utf8),
            ("utf-16", .utf16),
            ("Big5", .big5),
        ] { #expect(TextEncoding(named: name) == encoding) }
        #expect(TextEncoding(named: "latin1") == nil)
    }

    // MARK: - Hostile input

    @Test("bytes that are changed, dropped or doubled give captions or one line, and never a trap")
    func fuzz() throws {
        let seeds: [Data] = [
            Data(#"[{"image_id": "a.jpg", "caption": ["一只猫", "狗"]}, {"image_id": 3, "caption": "x"}]"#.utf8),
            Data(
                #"{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "猫"}]}"#.utf8
            ),
            Data("image,caption\na.jpg,\"一, \"\"只\"\"\n猫\"\nb.jpg,狗\n".utf8),
            Data("{\"image_id\": 1, \"text\": [\"猫\"]}\n{\"image_id\": 2, \"text\": \"狗\"}\n".utf8),
            Data([0xFF, 0xFE]) + Data("a\t猫\r\n".utf16.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }),
        ]
        var state: UInt64 = 7
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1
            return Int(state >> 33) % bound
        }
        var (read, refused) = (0, 0)
        for seed in seeds {
            for _ in 0..<300 {
                var bytes = Array(seed)
                for _ in 0...random(4) {
                    let place = random(bytes.count)
                    switch random(3) {
                    case 0: bytes[place] = UInt8(random(256))
                    case 1: bytes.remove(at: place)
                    default: bytes.insert(contentsOf: bytes[..<place], at: random(bytes.count))
                    }
                    if bytes.isEmpty { bytes = [0x5B] }
                }
                let file = try scratch.write(Data(bytes), to: "f")
                for encoding in [nil, TextEncoding.gb18030, .utf16] {
                    do {
                        _ = try CaptionFile(contentsOf: file, encoding: encoding)
                        read += 1
                    } catch {
                        #expect(error is DataFileError && !"\(error)".contains("\n"), "\(error)")
                        refused += 1
                    }
                }
            }
        }
        #expect(read > 100 && refused > 1000, "\(read) read, \(refused) refused")
    }
}
