import Foundation
import Testing
import TihuaPackSupport

/// The measures of the picture side, on a pack of random weights: what they print, and what they refuse.
@Suite struct EvalPicturesTests {
    /// A pack beside two shards of equal pictures: `labelled`, eight in two folders, and `captioned`.
    private struct Bench {
        let pack: TinyPack
        var labels: URL { pack.folder.appending(path: "labels.tsv") }
        var captions: URL { pack.folder.appending(path: "captions.txt") }
        var environment: [String: String] { ["TIHUA_CACHE": pack.folder.appending(path: "cache").path] }

        init() throws {
            pack = try TinyPack()
            var lines = ""
            for index in 0..<4 {
                for label in ["warm", "cold"] {
                    let folder = "labelled/\(label)"
                    try FileManager.default.createDirectory(
                        at: pack.folder.appending(path: folder), withIntermediateDirectories: true)
                    try pack.picture("\(folder)/\(index).png", red: UInt8(50 * index + (label == "warm" ? 40 : 0)))
                }
                let folder = pack.folder.appending(path: "captioned")
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
                try pack.picture("captioned/c\(index).png", red: UInt8(60 * index))
                lines += "c\(index)#zhc#0 山水\(index)\nc\(index)#zhc#1 江月\n"
            }
            try lines.write(to: captions, atomically: true, encoding: .utf8)
            try "label\tcaption\nwarm\t红花\nwarm\t夕阳\ncold\t江水\n".write(to: labels, atomically: true, encoding: .utf8)
            for name in ["labelled", "captioned"] { try tar(name) }
        }

        private func tar(_ name: String) throws {
            let process = Process()
            process.executableURL = URL(filePath: "/usr/bin/env")
            process.arguments = [
                "tar", "--sort=name", "-cf", shard(name), "-C", pack.folder.appending(path: name).path, ".",
            ]
            try process.run()
            process.waitUntilExit()
            try #require(process.terminationStatus == 0)
        }

        /// A shard of a folder as it is now.
        func packed(_ name: String) throws -> String {
            try tar(name)
            return shard(name)
        }

        func shard(_ name: String) -> String { pack.folder.appending(path: "\(name).tar").path }

        func check(_ text: String) throws -> String {
            let url = pack.folder.appending(path: "check.tsv")
            try text.write(to: url, atomically: true, encoding: .utf8)
            return url.path
        }

        func eval(_ arguments: [String]) throws -> Run {
            try Run(
                ["eval"] + arguments + ["--pack", pack.folder.path, "--device", "cpu", "--threads", "1"],
                environment: environment)
        }

        func retrieval(_ arguments: String...) throws -> Run {
            try eval(["retrieval", "--shard", "\(shard("captioned")),captions=\(captions.path)"] + arguments)
        }

        func zeroshot(_ arguments: String...) throws -> Run {
            try eval(["zeroshot", "--shard", "\(shard("labelled")),labels=\(labels.path)"] + arguments)
        }

        func imagery(_ text: String, _ arguments: String...) throws -> Run {
            try eval(["imagery", check(text), "--shards", pack.folder.path] + arguments)
        }
    }

    private func object(_ run: Run) throws -> [String: Any] {
        #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        return try #require(try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
    }

    /// Every labelled picture gets captions of its label, the same each time; what training holds out gets none.
    @Test func labelsBecomeCaptions() throws {
        let set = try Bench()
        let out = set.pack.folder.appending(path: "labelled.tsv")
        func labels(_ arguments: String...) throws -> Run {
            try Run(["data", "labels", "--out", out.path] + arguments)
        }
        let source = "\(set.shard("labelled")),labels=\(set.labels.path)"
        func rows() throws -> [[Substring]] {
            try String(contentsOf: out, encoding: .utf8).split(separator: "\n").map { $0.split(separator: "\t") }
        }
        let run = try labels("--shard", source, "--each", "2", "--held-out", "0")
        #expect(run.status == 0 && run.output.isEmpty && run.errors.contains("0 pictures held out"), "\(run.errors)")
        let all = try rows()
        for row in all {
            try #require(row.count == 2)
            #expect((row[0].hasPrefix("warm/") ? ["红花", "夕阳"] : ["江水"]).contains(String(row[1])), "\(row)")
        }
        let warm = Set(all.map(\.[0]).filter { $0.hasPrefix("warm/") })
        #expect(!warm.isEmpty && all.count { $0[0].hasPrefix("warm/") } == 2 * warm.count)
        #expect(try labels("--shard", source, "--each", "2", "--held-out", "0").status == 0)
        #expect(try rows() == all)
        #expect(try labels("--shard", source, "--held-out", "2", "--quiet").status == 0)
        #expect(Set(try rows().map(\.[0])).isStrictSubset(of: Set(all.map(\.[0]))))
        #expect(try labels("--shard", source, "--most", "1", "--held-out", "0", "--quiet").status == 0)
        let few = try rows().map(\.[0])
        #expect(few.count == Set(all.map { $0[0].prefix { $0 != "/" } }).count && few.count < warm.count)
        #expect(Set(few).isStrictSubset(of: Set(all.map(\.[0]))))

        for (arguments, status, part) in [
            (["--shard", set.shard("labelled")], Int32(2), "labels=FILE"),
            (["--shard", source, "--each", "0"], 2, "--each is 0"),
            (["--shard", source, "--most=-1"], 2, "--most is -1"),
            (["--shard", "/nowhere.tar,labels=\(set.labels.path)"], 1, "/nowhere.tar"),
        ] {
            let run = try Run(["data", "labels", "--out", out.path] + arguments)
            #expect(run.status == status && run.errors.contains(part), "\(run.errors)")
        }
    }

    @Test func retrievalCountsPicturesAndCaptions() throws {
        let bench = try Bench()
        let all = try object(try bench.retrieval("--json"))
        #expect(all["pictures"] as? Int == 4 && all["captions"] as? Int == 8)
        for key in ["pictureToCaption", "captionToPicture"] {
            let direction = try #require(all[key] as? [String: Double])
            #expect(Set(direction.keys) == ["recallAt1", "recallAt5", "recallAt10", "medianRank"])
            // Eight captions, four pictures: ten hold every answer.
            #expect(direction["recallAt10"] == 1)
        }
        #expect(try object(try bench.retrieval("--json", "--limit", "3"))["captions"] as? Int == 6)
        let table = try bench.retrieval()
        #expect(table.output.hasPrefix("4 pictures, 8 captions\n") && table.output.contains("caption to picture"))
        // A model without a pack.
        let alone = try Run([
            "eval", "retrieval", "--shard", "\(bench.shard("captioned")),captions=\(bench.captions.path)", "--clip",
            bench.pack.clip.path, "--device", "cpu", "--threads", "1",
        ])
        #expect(alone.output == table.output)
    }

    @Test func zeroshotMeasuresTheLabelsOfTheShard() throws {
        let bench = try Bench()
        let report = try object(try bench.zeroshot("--json", "--held-out", "1"))
        let row = try #require((report["shards"] as? [[String: Any]])?.first)
        let result = try #require(row["result"] as? [String: Any])
        #expect(report["heldOut"] as? Int == 1 && row["shard"] as? String == "labelled")
        #expect(result["pictures"] as? Int == 8 && result["top5"] == nil)
        // The heading of the table is no class, and each class has its four pictures.
        let classes = try #require(result["classes"] as? [[String: Any]])
        #expect(classes.map { $0["label"] as? String } == ["cold", "warm"])
        #expect(classes.allSatisfy { $0["pictures"] as? Int == 4 })
        // All is the default.
        #expect(try bench.zeroshot("--json").output == bench.zeroshot("--json", "--held-out", "1").output)
        let held = try object(try bench.zeroshot("--json", "--held-out", "2"))
        let some = try #require((held["shards"] as? [[String: Any]])?.first?["result"] as? [String: Any])
        #expect((1..<8).contains(try #require(some["pictures"] as? Int)))
        #expect(try bench.zeroshot("--held-out", "1").output.contains("labelled"))
    }

    /// A folder that the labels lack is named and left out, in a folder and in a shard, and so is a picture in no
    /// folder.
    @Test(arguments: ["folder", "shard"])
    func foldersThatTheLabelsLackAreNamed(kind: String) throws {
        let bench = try Bench()
        try FileManager.default.copyItem(
            at: bench.pack.folder.appending(path: "captioned"),
            to: bench.pack.folder.appending(path: "labelled/livingRoom"))
        let source =
            try kind == "folder" ? bench.pack.folder.appending(path: "labelled").path : bench.packed("labelled")
        let run = try bench.eval(["zeroshot", "--shard", "\(source),labels=\(bench.labels.path)", "--json"])
        #expect(run.status == 0 && run.isOneLine, "\(run.errors)")
        #expect(
            run.errors.contains("4 pictures of labelled have no caption") && run.errors.contains("lacks livingRoom"))
        // All of the others are measured, and no class is made up.
        #expect(run.output.contains("\"pictures\":8") && !run.output.contains("livingRoom"))
        // Nothing at all is an error that says what is missing.
        try "other\t红花\n".write(to: bench.labels, atomically: true, encoding: .utf8)
        let none = try bench.eval(["zeroshot", "--shard", "\(source),labels=\(bench.labels.path)"])
        #expect(
            none.status == 1 && none.isOneLine && none.errors.contains("lacks cold, livingRoom, warm"), "\(none.errors)"
        )
        // Without labels the names of folders stand in the captions, and these are not Chinese: said, where it is done.
        let bare = try bench.eval(["zeroshot", "--shard", source])
        if kind == "folder" {
            #expect(bare.status == 0 && bare.isOneLine && bare.errors.contains("一张cold的照片"), "\(bare.errors)")
        } else {
            #expect(bare.status == 1 && bare.isOneLine && bare.errors.contains("add captions=FILE or labels=FILE"))
        }
    }

    @Test func labelsMayBeDeeperAndOfAnotherEncoding() throws {
        let bench = try Bench()
        // As tar packs a folder by its name, with folders below the labels.
        let deep = bench.pack.folder.appending(path: "deep/labelled")
        try FileManager.default.createDirectory(at: deep, withIntermediateDirectories: true)
        try FileManager.default.moveItem(
            at: bench.pack.folder.appending(path: "labelled/warm"), to: deep.appending(path: "warm"))
        try FileManager.default.createDirectory(at: deep.appending(path: "cold"), withIntermediateDirectories: true)
        try FileManager.default.moveItem(
            at: bench.pack.folder.appending(path: "labelled/cold"), to: deep.appending(path: "cold/more"))
        // GBK, with the line ends of an old Mac: 花, 水.
        try Data(Array("warm\t".utf8) + [0xBB, 0xA8] + Array("\rcold\t".utf8) + [0xCB, 0xAE, 0x0D]).write(
            to: bench.labels)
        for source in [bench.pack.folder.appending(path: "deep").path, try bench.packed("deep")] {
            let run = try bench.eval([
                "zeroshot", "--shard", "\(source),labels=\(bench.labels.path),encoding=gbk", "--json",
            ])
            #expect(run.status == 0 && run.errors.isEmpty && run.output.contains("\"pictures\":8"), "\(run.errors)")
            let plain = try bench.eval(["zeroshot", "--shard", "\(source),labels=\(bench.labels.path)"])
            #expect(
                plain.status == 1 && plain.isOneLine && plain.errors.contains("encoding=gb18030"), "\(plain.errors)")
        }
    }

    /// Pictures in a flat folder, and in folders of it, belong to captions by their path or by their name alone.
    @Test func retrievalTakesFoldersFlatAndDeep() throws {
        let bench = try Bench()
        let table = try bench.retrieval()
        #expect(table.status == 0 && table.errors.isEmpty)
        let flat = bench.pack.folder.appending(path: "captioned")
        func retrieval(_ folder: String, _ captions: String? = nil) throws -> Run {
            try bench.eval([
                "retrieval", "--shard",
                "\(bench.pack.folder.appending(path: folder).path),captions=\(captions ?? bench.captions.path)",
            ])
        }
        #expect(try retrieval("captioned").output == table.output)
        let deep = bench.pack.folder.appending(path: "deep")
        try FileManager.default.createDirectory(at: deep, withIntermediateDirectories: true)
        try FileManager.default.copyItem(at: flat, to: deep.appending(path: "inside"))
        let below = try retrieval("deep")
        #expect(below.output == table.output && below.errors.isEmpty, "\(below.errors)")
        // Captions that know more of the path than the folder has.
        let paths = bench.pack.folder.appending(path: "paths.tsv").path
        try String(contentsOf: bench.captions, encoding: .utf8).split(separator: "\n")
            .map { "images/" + $0.replacing("#zhc", with: ".jpg#zhc") }.joined(separator: "\n")
            .write(toFile: paths, atomically: true, encoding: .utf8)
        #expect(try retrieval("captioned", paths).output == table.output)
        // A name that stands twice says nothing.
        try FileManager.default.copyItem(at: flat, to: deep.appending(path: "again"))
        let twice = try retrieval("deep")
        #expect(twice.status == 1 && twice.isOneLine && twice.errors.contains("none of its pictures has a caption"))
    }

    @Test func imageryScoresTheWordsOfKeywords() throws {
        let bench = try Bench()
        let picture = bench.pack.folder.appending(path: "captioned/c1.png").path
        let keywords = try Run(
            ["keywords", picture, "--n", "5", "--json", "--pack", bench.pack.folder.path],
            environment: bench.environment)
        let words = try #require(PoemLine.Keywords.words(keywords))
        #expect(words.count == 5)
        let text = "captioned\tc1\t\(words[0]) \(words[3])\t\(words[4])\n"
        let report = try object(try bench.imagery(text, "--json"))
        let score = try #require(report["score"] as? [String: Any])
        #expect(score["expectedShare"] as? Double == 0.4 && score["anyExpectedShare"] as? Double == 1)
        let faults = try #require(score["forbidden"] as? [[String: String]])
        #expect(faults == [["shard": "captioned", "key": "c1", "word": words[4]]])
        let pictures = try #require(report["pictures"] as? [[String: Any]])
        #expect(pictures.first?["words"] as? [String] == words)
        let table = try bench.imagery(text)
        #expect(table.output.contains("40.0 %") && table.output.contains("  captioned  c1  \(words[4])"))
    }

    @Test func fittingAddsSurenessAndMeasuresTheOtherHalf() throws {
        let bench = try Bench()
        let folder = bench.pack.folder
        let calibration = folder.appending(path: "calibration.safetensors").path
        let text = (0..<4).map { index in
            "captioned\tc\(index)\t明月\nlabelled\twarm/\(index)\t红花\nlabelled\tcold/\(index)\t远山\n"
        }.joined()
        let none = try bench.imagery(text, "--fit", calibration)
        #expect(none.status == 1 && none.isOneLine && none.errors.contains("calibration.safetensors"), "\(none.errors)")
        let written = try Run(
            ["keywords", folder.appending(path: "captioned/c1.png").path, "--write-calibration", calibration]
                + ["--pack", folder.path], environment: bench.environment)
        #expect(written.status == 0, "\(written.errors)")
        func pictures(_ arguments: String...) throws -> [[String: Any]] {
            let run = try bench.eval(
                ["imagery", bench.check(text), "--shards", folder.path, "--json"] + arguments)
            return try #require(try object(run)["pictures"] as? [[String: Any]])
        }
        let fitted = try pictures("--fit", calibration)
        // The pack does not name the file, so these are of the unfitted pack.
        let halves = try [pictures("--half", "fitted"), pictures("--half", "other")]
        func keys(_ rows: [[String: Any]]) -> [String] { rows.compactMap { $0["key"] as? String } }
        #expect(keys(fitted) == keys(halves[1]) && Set(keys(halves[0])).isDisjoint(with: keys(halves[1])))
        #expect(halves[0].count + halves[1].count == 12 && !halves[0].isEmpty && !halves[1].isEmpty)
        #expect(halves[1].allSatisfy { ($0["words"] as? [String])?.count == 5 })
        // Each has one word that is right of eight: hardly anything is sure.
        #expect(fitted.contains { (($0["words"] as? [String])?.count ?? 5) < 5 })
        let both = try bench.imagery(text, "--fit", calibration, "--half", "fitted")
        #expect(both.status == 2 && both.errors.contains("--fit measures on the other half"))
    }

    @Test(arguments: [
        ("captioned\tc1\t明月\ncaptioned\tc2\t雪山", "check.tsv, line 2: 雪山 is not in the bank"),
        ("captioned\tc1\t明月\t仙鹤", "check.tsv, line 1: 仙鹤 is not in the bank"),
        ("# x\ncaptioned\tc9\t明月", "check.tsv, line 2: captioned.tar holds no picture c9"),
        ("elsewhere\tc1\t明月", "holds no elsewhere.tar"), ("captioned\tc1", "check.tsv, line 1: 2 columns"),
        ("# nothing", "check.tsv: holds no pictures"),
    ])
    func aBadCheckIsOneLine(text: String, message: String) throws {
        let run = try Bench().imagery(text)
        #expect(run.status == 1 && run.isOneLine && run.output.isEmpty && run.errors.contains(message), "\(run.errors)")
    }

    @Test func badArgumentsAreOneLineAndTheirStatus() throws {
        let bench = try Bench()
        let (labelled, captioned) = (bench.shard("labelled"), bench.shard("captioned"))
        let cases: [([String], Int32, String)] = [
            (["retrieval", "--shard", captioned], 2, "names no captions"),
            (["retrieval", "--shard", "\(captioned),words=x"], 2, "words"),
            (["retrieval", "--shard", "\(captioned),captions=/nowhere"], 1, "/nowhere"),
            (["retrieval", "--shard", "\(captioned),captions=\(bench.captions.path)", "--limit", "0"], 2, "--limit"),
            (["retrieval", "--shard", "\(captioned),captions=\(bench.captions.path)", "--clip", "x"], 2, "--clip"),
            (
                ["retrieval", "--shard", "\(labelled),captions=\(bench.captions.path),labels=\(bench.labels.path)"], 1,
                "labels"
            ),
            (["zeroshot", "--shard", labelled], 1, "none of its pictures has a caption or a label"),
            (["zeroshot", "--shard", "/nowhere.tar,labels=\(bench.labels.path)"], 1, "/nowhere.tar"),
            (["zeroshot", "--shard", "\(captioned),captions=\(bench.captions.path)"], 1, "labels"),
            (["zeroshot", "--shard", "\(labelled),labels=\(bench.labels.path)", "--held-out", "0"], 2, "--held-out"),
            (
                ["zeroshot", "--shard", "\(labelled),labels=\(bench.labels.path)", "--held-out", "1000000007"], 1,
                "no picture is held out"
            ),
            (["zeroshot", "--shard", "\(labelled),labels=/no.tsv"], 1, "/no.tsv: cannot be read (no such file)"),
            (["zeroshot", "--shard", "\(labelled),labels=\(labelled)"], 1, "labelled.tar, line 1: not UTF-8"),
            (
                ["zeroshot", "--shard", "\(bench.labels.path),labels=\(bench.labels.path)"], 1,
                "a text file, not a tar archive"
            ),
            (["zeroshot", "--shard", "\(labelled),labels=\(bench.labels.path),encoding=latin1"], 2, "gb18030"),
            (["imagery", "/nowhere.tsv", "--shards", "/nowhere"], 1, "/nowhere.tsv"),
            (["imagery", try bench.check("captioned\tc1\t明月"), "--shards", "x", "--top", "0"], 2, "--top"),
        ]
        for (arguments, status, message) in cases {
            let run = try bench.eval(arguments)
            #expect(run.status == status && run.isOneLine && run.output.isEmpty, "\(arguments) \(run.errors)")
            #expect(run.errors.contains(message), "\(run.errors)")
        }
    }

    @Test func picturesThatCannotBeReadAreNamedAndLeftOut() throws {
        let bench = try Bench()
        let folder = bench.pack.folder.appending(path: "mixed/warm")
        try FileManager.default.createDirectory(
            at: folder.deletingLastPathComponent(), withIntermediateDirectories: true)
        try FileManager.default.copyItem(at: bench.pack.folder.appending(path: "labelled/warm"), to: folder)
        try FileManager.default.copyItem(
            at: bench.pack.folder.appending(path: "labelled/cold"),
            to: bench.pack.folder.appending(path: "mixed/cold"))
        try Data("no picture".utf8).write(to: folder.appending(path: "9.png"))
        let run = try bench.eval([
            "zeroshot", "--shard", "\(bench.pack.folder.appending(path: "mixed").path),labels=\(bench.labels.path)",
            "--held-out", "1", "--json",
        ])
        #expect(run.status == 0 && run.isOneLine && run.errors.contains("warm/9"))
        #expect(run.output.contains("\"pictures\":8"))
    }
}

extension PoemLine {
    /// The JSON line of `tihua keywords --json`.
    enum Keywords {
        private struct Line: Decodable { let keywords: [PoemLine.Keyword] }

        /// The words of the first picture.
        static func words(_ run: Run) -> [String]? {
            (try? JSONDecoder().decode(Line.self, from: Data(run.output.utf8)))?.keywords.map(\.word)
        }
    }
}
