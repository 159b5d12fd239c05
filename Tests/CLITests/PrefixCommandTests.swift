import Foundation
import Testing
import TihuaPackSupport

/// From pictures to poems without keywords: training, writing, comparing.
@Suite struct PrefixCommandTests {
    private func run(_ pack: TinyPack, _ arguments: String...) throws -> Run {
        try Run(
            arguments + ["--pack", pack.folder.path, "--threads", "1", "--device", "cpu"],
            environment: ["TIHUA_CACHE": pack.folder.appending(path: "cache").path])
    }

    @Test func poemsGoThroughWhatIsAsked() throws {
        let pack = try TinyPack()
        let picture = try pack.picture().path
        func poem(_ through: String?, _ more: String...) throws -> Run {
            try Run(
                ["poem", picture, "--json", "--n", "1", "--candidates", "4", "--seed", "3", "--pack", pack.folder.path]
                    + ["--threads", "1", "--device", "cpu"] + (through.map { ["--through", $0] } ?? []) + more,
                environment: ["TIHUA_CACHE": pack.folder.appending(path: "cache").path])
        }
        for through in ["prefix", "both"] {
            let missing = try poem(through)
            #expect(missing.status == 1 && missing.isOneLine && missing.output.isEmpty)
            #expect(missing.errors.contains("has no prefix"), "\(missing.errors)")
        }
        let before = try poem(nil)
        try pack.addPrefix()
        let (named, prefixed) = (try poem("keywords"), try poem("prefix"))
        #expect(named.status == 0 && named.output == before.output)
        #expect(prefixed.status == 0 && prefixed.errors.isEmpty, "\(prefixed.errors)")
        #expect(prefixed.output != named.output)
        let words = try [prefixed, named].map { try PoemLine.all($0).first?.keywords.map(\.word) }
        #expect(words[0] == words[1])
        #expect(try poem("prefix", "--prefix", pack.prefix.path).output == prefixed.output)
        for bad in [try poem("prefix", "--keywords", "小桥"), try poem("words")] {
            #expect(bad.status == 2 && bad.isOneLine && bad.output.isEmpty, "\(bad.errors)")
        }
        // Another poet than the one that it was trained with has no prefix.
        let other = try poem("prefix", "--poet", pack.poet.path)
        #expect(other.status == 1 && other.errors.contains("has no prefix"))
        let wrong = try poem("prefix", "--prefix", pack.poet.path)
        #expect(wrong.status == 1 && wrong.isOneLine && wrong.errors.contains("clipcap_prefix"), "\(wrong.errors)")
    }

    @Test func trainingMakesAPrefixThatThePackTakes() throws {
        let pack = try TinyPack()
        func file(_ name: String, _ text: String) throws -> String {
            let url = pack.folder.appending(path: name)
            try text.write(to: url, atomically: true, encoding: .utf8)
            return url.path
        }
        let tokens = try String(contentsOf: pack.poet.appending(path: "vocab.txt"), encoding: .utf8)
        let characters = tokens.components(separatedBy: "\n").filter { $0.count == 1 }.joined()
        var poems = ""
        for index in 0..<12 {
            let lines = (0..<4).map { line in
                String(characters.dropFirst(index * 28 + line * 7).prefix(5))
            }
            poems += #"{"content":"\#(lines.joined(separator: "|"))","keywords":"明月"}"# + "\n"
        }
        let corpus = try file("corpus.json", poems)
        let recipe = try file(
            "recipe.json",
            """
            {"training": {"warmup": 1, "validateEvery": 2, "checkpointEvery": 2, "logEvery": 1, "precision": "float32"},
             "prefix": {"prefixLength": 2, "batchTokens": 200, "holdOut": 4, "addsModalityOffset": false}}
            """)
        let out = pack.folder.appending(path: "run")
        func train(_ steps: String, _ more: String...) throws -> Run {
            try Run(
                ["train", "prefix", "--corpus", corpus, "--words", pack.bank.path, "--config", recipe]
                    + ["--out", out.path, "--steps", steps, "--pack", pack.folder.path, "--threads", "1"]
                    + ["--device", "cpu", "--quiet"] + more)
        }
        let first = try train("2")
        #expect(first.status == 0 && first.errors.isEmpty, "\(first.errors)")
        #expect(try train("3").status == 1)
        #expect(try train("3", "--resume").status == 0)
        let picture = try pack.picture().path
        let poem = try run(
            pack, "poem", picture, "--through", "prefix", "--prefix", out.appending(path: "best").path, "--candidates",
            "3", "--n", "1", "--quiet")
        #expect(poem.status == 0 && poem.output.hasPrefix("  〔七绝·"), "\(poem.errors)")
        // With a mean of pictures asked for, and none known.
        let offset = try file("offset.json", #"{"prefix": {"addsModalityOffset": true}}"#)
        let none = try Run([
            "train", "prefix", "--corpus", corpus, "--words", pack.bank.path, "--config", offset, "--out",
            pack.folder.appending(path: "none").path, "--pack", pack.folder.path, "--quiet", "--threads", "1",
        ])
        #expect(none.status == 1 && none.isOneLine && none.errors.contains("addsModalityOffset"), "\(none.errors)")
    }

    @Test func theWaysAreComparedAndReadBlind() throws {
        let pack = try TinyPack()
        let folder = pack.folder.appending(path: "pictures")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for name in ["a", "b", "c"] { try pack.picture("pictures/\(name).png", red: name == "a" ? 10 : 240) }
        try Data("no picture".utf8).write(to: folder.appending(path: "d.png"))
        let blind = pack.folder.appending(path: "blind.txt")
        let missing = try run(pack, "eval", "through", folder.path)
        #expect(missing.status == 1 && missing.isOneLine && missing.errors.contains("has no prefix"))
        try pack.addPrefix()
        let table = try run(
            pack, "eval", "through", folder.path, "--candidates", "3", "--blind", blind.path)
        #expect(table.status == 0 && table.output.hasPrefix("3 pictures\n"), "\(table.errors)")
        #expect(table.isOneLine && table.errors.contains("1 pictures cannot be read: d"))
        let text = try String(contentsOf: blind, encoding: .utf8)
        let key = try String(contentsOf: blind.appendingPathExtension("key"), encoding: .utf8)
        for name in ["a", "b", "c"] { #expect(text.contains("  \(name)\n")) }
        #expect(!text.contains("prefix") && text.split(separator: "\n").count { $0.hasPrefix("  A  ") } == 3)
        let rows = key.split(separator: "\n").dropFirst().map { row in row.split(separator: "\t").map { String($0) } }
        #expect(rows.map { $0[0] } == ["a", "b", "c"])
        #expect(rows.allSatisfy { Set($0.dropFirst()) == ["keywords", "prefix", "both"] })
        let json = try run(
            pack, "eval", "through", folder.path, "--candidates", "3", "--keys", "b,c", "--limit", "1", "--json")
        let report = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        let ways = try #require(report["ways"] as? [[String: Any]])
        #expect(report["pictures"] as? Int == 1 && ways.compactMap { $0["through"] as? String }.count == 3)
        for way in ways {
            #expect((0...1).contains(try #require(way["words"] as? Double)))
            #expect(try #require(way["fluency"] as? Double) < 0)
        }
        for bad in [
            try run(pack, "eval", "through", folder.path, "--keys", "nobody"),
            try run(pack, "eval", "through", folder.path, "--limit", "0"),
        ] {
            #expect(bad.status == 2 && bad.isOneLine, "\(bad.errors)")
        }
    }
}
