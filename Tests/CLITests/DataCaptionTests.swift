import Foundation
import Testing
import TihuaDataFiles
import TihuaPackSupport
import TihuaTestSupport

/// `tihua data captions`, `data statistics`, `data embed` and `eval caption`.
@Suite struct DataCaptionTests {
    private let folder: URL

    init() throws { folder = try temporaryFolder() }

    private func path(_ name: String) -> String { folder.appending(path: name).path }

    private func write(_ text: String, _ name: String) throws -> String {
        try Data(text.utf8).write(to: folder.appending(path: name))
        return path(name)
    }

    private func json(_ run: Run) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
    }

    private func removeFolder() { try? FileManager.default.removeItem(at: folder) }

    @Test(arguments: ["data captions", "data titles", "data statistics", "data embed", "eval caption"])
    func helpTeachesByExample(command: String) throws {
        defer { removeFolder() }
        let run = try Run(command.split(separator: " ").map(String.init) + ["--help"])
        #expect(run.status == 0 && run.output.contains("\n  tihua \(command) "), "\(run.output)")
    }

    @Test func captionsAreCleanedSplitAndCounted() throws {
        defer { removeFolder() }
        let lines = (0..<60).map { "p\($0).jpg#zhc#0 一 只 猫 在 窗边" } + ["没有制表符"]
        let input = try write(lines.joined(separator: "\n"), "in.txt")
        let run = try Run(["data", "captions", input, "--out", path("out.tsv"), "--hold-out", "4"])
        #expect(run.status == 0 && run.output.isEmpty)
        #expect(
            run.errors.contains("in.txt, line 61: ") && run.errors.contains("left out: 1 without a tab"),
            "\(run.errors)")
        let files = try ["out.tsv", "out.val.tsv"].map { try CaptionFile(contentsOf: folder.appending(path: $0)) }
        #expect(files.allSatisfy { $0.captions.allSatisfy { $0.text == "一只猫在窗边" } })
        #expect(files.map(\.captions.count).reduce(0, +) == 60 && files[1].captions.count > 3)
        let list = try write("p1.jpg\np2\n", "list.txt")
        let listed = try Run(
            ["data", "captions", input, "--out", path("l.tsv"), "--validation", list, "--pictures", list, "--json"])
        #expect(listed.status == 1 && listed.isOneLine && listed.errors.contains("held out"), "\(listed.errors)")
        let kept = try json(Run(["data", "captions", input, "--out", path("l.tsv"), "--pictures", list, "--json"]))
        #expect((kept["training"] as? [String: Int]) == ["captions": 2, "pictures": 2])
        #expect((kept["dropped"] as? [String: Int]) == ["form": 1, "unknownPicture": 58])
    }

    @Test func titlesOfPaintingsBecomeCaptions() throws {
        defer { removeFolder() }
        let rows = ["key\ttitle\tpainter", "a\t《秋林平远图》明 恽向 纸本墨笔\t恽向", "b\t四条屏-1\t陈半丁", "c\t駱駝 溥心畬\t"]
        let input = try write(rows.joined(separator: "\n") + "\n", "titles.tsv")
        let run = try Run(["data", "titles", input, "--out", path("out.tsv")])
        #expect(
            run.status == 0 && run.errors.contains("2 captions") && run.errors.contains("1 titles"), "\(run.errors)")
        let captions = try CaptionFile(contentsOf: folder.appending(path: "out.tsv")).captions
        #expect(captions.map(\.text) == ["画着秋林平远的国画", "画着骆驼的国画"])
        let broken = try Run(["data", "titles", write("a\n", "broken.tsv"), "--out", path("out.tsv")])
        #expect(broken.status == 2 && broken.errors.contains("line 1"))
    }

    @Test(
        arguments: [
            (["data", "captions", "/nowhere", "--out", "/nowhere/out"], 1, "/nowhere"),
            (["data", "captions", "x", "--out", "y", "--hold-out", "1"], 2, "--hold-out is 1"),
            (["data", "captions", "x", "--out", "y", "--hold-out", "4", "--validation", "z"], 2, "not both"),
            (["data", "statistics", "/nowhere"], 1, "/nowhere"),
            (["data", "statistics", "x", "--plot", "y.txt"], 2, "y.txt"),
            (["data", "statistics", "x", "--words", "y", "--spaces"], 2, "not both"),
            (["data", "embed", "/nowhere", "--out", "/nowhere/out"], 1, "/nowhere"),
            (["data", "embed", "x", "--out", "y", "--device", "tpu"], 2, "tpu"),
            (["data", "embed", "x", "--out", "y", "--view", "100"], 2, "0 to 99"),
            (["eval", "caption", "--references", "/nowhere", "--captions", "x"], 1, "/nowhere"),
            (["eval", "caption", "--captions", "x"], 2, "--references"),
        ] as [([String], Int32, String)])
    func whatIsWrongIsOneLineWithItsStatus(arguments: [String], status: Int32, message: String) throws {
        defer { removeFolder() }
        let run = try Run(arguments)
        #expect(run.status == status && run.isOneLine && run.output.isEmpty, "\(run.status) \(run.errors)")
        #expect(run.errors.contains(message) && run.errors.hasPrefix("Error: "), "\(run.errors)")
    }

    @Test func aStrictImportStopsAtTheFirstBadLine() throws {
        defer { removeFolder() }
        let input = try write("a\t猫\nb\n", "in.txt")
        let run = try Run(["data", "captions", input, "--out", path("out.tsv"), "--strict"])
        #expect(run.status == 1 && run.isOneLine && run.errors.contains("in.txt, line 2"), "\(run.errors)")
        #expect(!FileManager.default.fileExists(atPath: path("out.tsv")))
    }

    @Test func anEncodingIsOfferedAndTaken() throws {
        defer { removeFolder() }
        // a: 某通, which passes for UTF-8; b: 一只狗.
        let bytes =
            Array("a.heic\t".utf8) + [0xC4, 0xB3, 0xCD, 0xA8] + Array("\rb.jpg\t".utf8)
            + [0xD2, 0xBB, 0xD6, 0xBB, 0xB9, 0xB7]
        try Data(bytes).write(to: folder.appending(path: "in.txt"))
        let arguments = ["data", "captions", path("in.txt"), "--out", path("out.tsv")]
        let refused = try Run(arguments)
        #expect(refused.status == 1 && refused.isOneLine, "\(refused.errors)")
        #expect(refused.errors.contains("in.txt, line 2") && refused.errors.contains("--encoding gb18030"))
        #expect(!FileManager.default.fileExists(atPath: path("out.tsv")))
        #expect(try Run(arguments + ["--encoding", "gbk"]).status == 0)
        #expect(try String(contentsOfFile: path("out.tsv"), encoding: .utf8) == "a\t某通\nb\t一只狗\n")
        let statistics = try json(Run(["data", "statistics", path("in.txt"), "--encoding", "gb18030", "--json"]))
        #expect(statistics["captions"] as? Int == 2)
        let measured = try Run([
            "eval", "caption", "--references", path("in.txt"), "--captions", path("in.txt"), "--encoding", "GBK",
            "--json",
        ])
        #expect(try json(measured)["pictures"] as? Int == 2)
        let unknown = try Run(arguments + ["--encoding", "latin1"])
        #expect(unknown.status == 2 && unknown.errors.contains("latin1"), "\(unknown.errors)")
    }

    @Test func whatIsLeftOutOfAListIsSaid() throws {
        defer { removeFolder() }
        let pack = try TinyPack()
        let pictures = folder.appending(path: "pictures")
        try FileManager.default.createDirectory(at: pictures, withIntermediateDirectories: true)
        for name in ["a.png", "a.webp", "b.png"] {
            try FileManager.default.copyItem(at: pack.picture(), to: pictures.appending(path: name))
        }
        try FileManager.default.createSymbolicLink(
            at: folder.appending(path: "link"), withDestinationURL: pictures)
        let arguments = ["--clip", pack.clip.path, "--device", "cpu", "--threads", "1"]
        let run = try Run(["data", "embed", path("link"), "--out", path("e")] + arguments)
        #expect(run.status == 0 && run.errors.contains("left out 1 ") && run.errors.contains("2 of 2 pictures"))
        #expect(try EmbeddingFile(contentsOf: folder.appending(path: "e")).keys == ["a", "b"])
        #expect(try Run(["data", "embed", path("link"), "--out", path("f"), "--quiet"] + arguments).errors.isEmpty)
    }

    @Test func statisticsComeAsTableJSONAndPicture() throws {
        defer { removeFolder() }
        let captions = try write("a\t一只猫。\nb\t一只猫。\nc\t两个穿T恤的人在走路\n", "c.tsv")
        let table = try Run(["data", "statistics", captions, "--plot", path("plot.png")])
        #expect(table.status == 0 && table.errors.isEmpty && table.output.contains("66.7 %"), "\(table.output)")
        #expect(try Data(contentsOf: folder.appending(path: "plot.png")).starts(with: [0x89, 0x50, 0x4E, 0x47]))
        let found = try json(Run(["data", "statistics", captions, "--json"]))
        #expect(found["captions"] as? Int == 3 && found["duplicates"] as? Int == 2)
        #expect((found["lengths"] as? [String: Any])?["maximum"] as? Int == 10)
        #expect((found["suspicious"] as? [String: Any])?["latin"] != nil)
        let words = try write("走路 12\n", "words.txt")
        let split = try json(Run(["data", "statistics", captions, "--json", "--words", words]))
        #expect((split["lengths"] as? [String: Any])?["maximum"] as? Int == 9)
    }

    @Test func captionsAreMeasuredAgainstReferencesAndPictures() throws {
        defer { removeFolder() }
        let references = try write(
            "a.jpg#zhc#0 一只猫在睡觉\na.jpg#zhc#1 猫睡着了\nb.jpg#zhc#0 两个人走在路上\nc.jpg#zhc#0 无\n", "r.txt")
        let captions = try write(
            #"{"picture": "x/a.png", "captions": [{"text": "一只猫在睡觉"}, {"text": "睡觉的猫"}]}"#
                + "\nb\t两个人走在路上\nd\t没有\n", "c.jsonl")
        let base = ["eval", "caption", "--references", references, "--captions", captions]
        let run = try Run(base + ["--json", "--first"])
        #expect(run.status == 0 && run.errors.contains("left out: 1 pictures without a reference: d"), "\(run.errors)")
        let found = try json(run)
        #expect(found["pictures"] as? Int == 2 && found["captions"] as? Int == 2 && found["references"] as? Int == 3)
        #expect((found["bleu"] as? [Double])?.allSatisfy { abs($0 - 1) < 1e-6 } == true && found["selfBleu"] != nil)
        #expect(found["tokens"] as? String == "characters" && found["clipScore"] == nil)
        #expect(try json(Run(base + ["--json"]))["captions"] as? Int == 3)

        let pack = try TinyPack()
        let pictures = folder.appending(path: "pictures")
        try FileManager.default.createDirectory(at: pictures, withIntermediateDirectories: true)
        for name in ["a", "b"] {
            try FileManager.default.copyItem(at: pack.picture(), to: pictures.appending(path: "\(name).png"))
        }
        let clip = ["--pack", pack.folder.path, "--device", "cpu", "--threads", "1"]
        let scored = try json(Run(base + clip + ["--pictures", pictures.path, "--json"]))
        #expect(
            (scored["clipScore"] as? Double).map { (0...2.5).contains($0) } == true && scored["refClipScore"] != nil)
        try FileManager.default.removeItem(at: pictures.appending(path: "b.png"))
        let missing = try Run(base + clip + ["--pictures", pictures.path])
        #expect(missing.status == 1 && missing.errors.contains("the first is b"), "\(missing.errors)")
        let other = try write("z\t猫\n", "z.tsv")
        let none = try Run(["eval", "caption", "--references", other, "--captions", captions])
        #expect(none.status == 1 && none.isOneLine && none.errors.contains("no picture in common"), "\(none.errors)")
    }

    @Test func picturesAreEmbeddedListedAndContinued() throws {
        defer { removeFolder() }
        let pack = try TinyPack()
        let pictures = folder.appending(path: "pictures")
        try FileManager.default.createDirectory(at: pictures, withIntermediateDirectories: true)
        for index in 0..<300 {
            let picture = try pack.picture(red: UInt8(index % 256))
            try FileManager.default.moveItem(at: picture, to: pictures.appending(path: "\(1000 + index).png"))
        }
        let arguments = ["--clip", pack.clip.path, "--device", "cpu", "--threads", "1"]
        func embed(_ name: String, _ extra: String...) throws -> Run {
            try Run(["data", "embed", pictures.path, "--out", path(name)] + arguments + extra)
        }
        let whole = try embed("whole", "--json")
        #expect(whole.status == 0 && whole.errors.isEmpty, "\(whole.errors)")
        let summary = try json(whole)
        #expect(summary["embedded"] as? Int == 300 && summary["width"] as? Int == 16)
        let file = try EmbeddingFile(contentsOf: folder.appending(path: "whole"))
        #expect(file.keys.first == "1000" && file.keys.count == 300 && !file.isNormalized)

        // As tihua embed has them.
        let alone = try Run(
            [
                "embed", "--model", pack.clip.path, "--image", pictures.appending(path: "1007.png").path, "--raw",
                "--json",
            ]
                + arguments.dropFirst(2))
        struct Line: Decodable { let embedding: [Float] }
        let vector = try JSONDecoder().decode(Line.self, from: Data(alone.output.utf8)).embedding
        let stored = try #require(file.embedding(of: "1007"))
        #expect(zip(stored, vector).allSatisfy { abs($0 - $1) < 1e-5 })

        // Again: nothing is done. Another model, or other pictures: refused.
        let bytes = try Data(contentsOf: folder.appending(path: "whole"))
        #expect(try json(embed("whole", "--json"))["earlier"] as? Int == 300)
        let other = try TinyPack(seed: 4)
        let foreign = try Run(
            ["data", "embed", pictures.path, "--out", path("whole"), "--clip", other.clip.path, "--device", "cpu"])
        #expect(
            foreign.status == 1 && foreign.isOneLine && foreign.errors.contains("another model"), "\(foreign.errors)")
        #expect(try embed("whole", "--unit").errors.contains("as the model gives them"))
        #expect(try embed("whole", "--view", "1").errors.contains("another view"))
        #expect(try embed("whole", "--grid").errors.contains("without their grids"))
        let grids = try embed("grids", "--grid")
        #expect(grids.status == 1 && grids.isOneLine && grids.errors.contains("what is where"), "\(grids.errors)")

        // Those that captions are of.
        try Data("1003\t一只狗\n1290.png\t海边\nelsewhere\t山\n".utf8).write(to: folder.appending(path: "few.tsv"))
        #expect(try embed("few", "--captions", path("few.tsv")).status == 0)
        #expect(try EmbeddingFile(contentsOf: folder.appending(path: "few")).keys == ["1003", "1290"])
        try Data("elsewhere\t山\n".utf8).write(to: folder.appending(path: "none.tsv"))
        let nothing = try embed("none", "--captions", path("none.tsv"))
        #expect(nothing.status == 1 && nothing.isOneLine && nothing.errors.contains("none.tsv"), "\(nothing.errors)")

        // Interrupted: what a killed run leaves is a folder of parts.
        let parts = folder.appending(path: "cut.parts")
        try interrupt(
            ["data", "embed", pictures.path, "--out", path("cut")] + arguments,
            when: parts.appending(path: "part-0.safetensors"))
        let left = FileManager.default.fileExists(atPath: parts.path)
        if left {
            let refused = try Run(
                ["data", "embed", pictures.path, "--out", path("cut"), "--clip", other.clip.path, "--device", "cpu"])
            #expect(refused.status == 1 && refused.errors.contains("cut.parts"), "\(refused.errors)")
        }
        let resumed = try embed("cut", "--json")
        #expect(resumed.status == 0, "\(resumed.errors)")
        if left { #expect((try json(resumed)["earlier"] as? Int ?? 0) >= 128) }
        #expect(try Data(contentsOf: folder.appending(path: "cut")) == bytes)
        #expect(!FileManager.default.fileExists(atPath: parts.path))

        // Bad pictures are listed and left out.
        try Data("no picture".utf8).write(to: pictures.appending(path: "1003.png"))
        try Data().write(to: pictures.appending(path: "1005.png"))
        #expect(try embed("whole").errors.contains("other pictures"))
        let bad = try embed("bad", "--unit")
        #expect(bad.status == 1 && bad.errors.contains("1003") && bad.errors.contains("298 of 300"), "\(bad.errors)")
        let good = try EmbeddingFile(contentsOf: folder.appending(path: "bad"))
        #expect(good.keys.count == 298 && good.embedding(of: "1003") == nil && good.isNormalized)
        #expect(abs(try #require(good.embedding(of: "1004")).reduce(0) { $0 + $1 * $1 } - 1) < 1e-4)
    }

    /// Runs the tool and ends it by force as soon as a file is there.
    private func interrupt(_ arguments: [String], when file: URL) throws {
        let process = Process()
        let tests = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        process.executableURL = tests.deletingLastPathComponent().appending(path: "tihua")
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(["OMP_WAIT_POLICY": "passive"]) { $1 }
        process.standardError = FileHandle.nullDevice
        try process.run()
        while process.isRunning, !FileManager.default.fileExists(atPath: file.path) { usleep(500) }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }
}
