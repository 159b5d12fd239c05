import Foundation
import Testing
import TihuaCorpora
import TihuaDataFiles
import TihuaPackSupport
import TihuaProsody
import TihuaTestSupport

@Suite struct EvalPoetTests {
    /// A pack and a corpus of regular poems in its characters, of which one in three is held out.
    private final class Case {
        let pack: TinyPack
        let folder: URL
        var corpus: URL { folder.appending(path: "corpus.jsonl") }
        var config: URL { folder.appending(path: "config.json") }

        deinit { try? FileManager.default.removeItem(at: folder) }

        init(poet: TinyPack.Poet = .gpt2) throws {
            pack = try TinyPack(poet: poet)
            folder = try temporaryFolder()
            let known = try String(contentsOf: pack.poet.appending(path: "vocab.txt"), encoding: .utf8)
                .split(separator: "\n").filter { $0.count == 1 }.compactMap(\.first)
            var random = Numbers()
            var lines: [Data] = []
            for form in [Form.wujue, .qijue] {
                let group = try form.defaultBook.group(named: "七阳", for: form)
                let constraint = try MetreConstraint(
                    form: form, tones: .strict, book: form.defaultBook, rhymeGroup: group, vocabulary: Set(known))
                for _ in 0..<30 {
                    var state = MetreState(constraint)
                    var text = ""
                    while !state.isComplete {
                        let character = known[Int(random.next() % UInt64(known.count))]
                        if state.append(character) { text.append(character) }
                    }
                    let size = form.lineLengths[0]
                    let characters = Array(text)
                    let verse = (0..<4).map { String(characters[$0 * size..<($0 + 1) * size]) }
                    let poem = CorpusPoem(
                        form: form.name, lines: verse,
                        keywords: [String(verse[0].prefix(2)), String(verse[2].suffix(2))])
                    lines.append(try JSONEncoder().encode(poem))
                }
            }
            try Data(lines.joined(separator: [0x0A])).write(to: corpus)
            try Data(#"{"poet": {"holdOut": 3}}"#.utf8).write(to: config)
        }

        func run(_ arguments: String...) throws -> Run {
            try Run(
                ["eval", "poet", "--pack", pack.folder.path, "--corpus", corpus.path, "--config", config.path]
                    + ["--threads", "1", "--device", "cpu"] + arguments)
        }
    }

    /// What the poet overdoes, and how often its corpus has a word, become files that its pack reads.
    @Test func aCorpusTellsStockPairsAndUses() throws {
        let some = try Case()
        let (stock, words) = (some.folder.appending(path: "stock.tsv"), some.folder.appending(path: "words.tsv"))
        let drawn = try Run([
            "data", "stock", "--pack", some.pack.folder.path, "--corpus", some.corpus.path, "--out", stock.path,
            "--count", "40", "--threads", "1", "--device", "cpu",
        ])
        #expect(drawn.status == 0 && drawn.errors.contains("pairs of 40 poems"), "\(drawn.errors)")
        // A poet that was never trained writes nothing more often than people do twelve times over.
        #expect(drawn.errors.contains("0 pairs of"))
        #expect(try String(contentsOf: stock, encoding: .utf8).isEmpty)
        let none = try Run([
            "data", "stock", "--pack", some.pack.folder.path, "--corpus", some.corpus.path, "--out", stock.path,
            "--longest", "3",
        ])
        #expect(none.status == 2 && none.isOneLine && none.errors.contains("no poem to draw"), "\(none.errors)")

        let first = try #require(PoemFile.read(some.corpus).first?.lines.first)
        let list = some.folder.appending(path: "list.tsv")
        try "word\tcategory\n\(first.prefix(2))\t物\n龘龘\t物\n".write(to: list, atomically: true, encoding: .utf8)
        let counted = try Run(["data", "words", some.corpus.path, "--words", list.path, "--out", words.path])
        #expect(counted.status == 0, "\(counted.errors)")
        let rows = try String(contentsOf: words, encoding: .utf8).split(separator: "\n").map {
            $0.split(separator: "\t")
        }
        // All sixty poems rhyme in one group.
        #expect(rows.count == 3 && rows[0][0] == first.prefix(2) && (Int(rows[0][1]) ?? 0) >= 1)
        #expect(rows[1] == ["龘龘", "0"] && rows[2] == ["[韵:七阳]", "60"])
        try "word\n".write(to: list, atomically: true, encoding: .utf8)
        let empty = try Run(["data", "words", some.corpus.path, "--words", list.path, "--out", words.path])
        #expect(empty.status == 2 && empty.isOneLine && empty.errors.contains("no word"), "\(empty.errors)")
    }

    private struct Report: Decodable {
        struct Row: Decodable {
            struct Figures: Decodable {
                let poems: Int
                let characters: Int
                let perplexity: Double
                let perplexityWithEnds: Double
            }

            let model: String
            let prompt: String
            let forms: [String: Figures]
        }

        struct Writing: Decodable {
            struct Regularity: Decodable {
                let format: Double
                let rhyme: Double
                let askedRhyme: Double?
                let regular: Double
            }

            let name: String
            let asked: Int
            let written: Int
            let longestCopiedRun: Int?
            let poemsWithCopiedLine: Double?
            let regularity: Regularity?
        }

        struct Removed: Decodable {
            struct Part: Decodable { let mean: Double }

            let poems: String
            let poemCount: Int
            let all: Part?
        }

        struct Matching: Decodable {
            struct Accuracies: Decodable {
                let items: Int
                let ngram: Double?
            }

            let items: Int
            let all: Accuracies?
            let counted: Accuracies?
            let unseen: Accuracies?
        }

        struct Ratings: Decodable {
            struct Correlations: Decodable {
                let poems: Int
                let poet: [String: Double]
                let ngram: [String: Double]?
            }

            let all: Correlations
            let unseen: Correlations?
        }

        let heldOutPoems: Int
        let trainingPoems: Int?
        let knownPoems: Int?
        let leftOut: [String: Int]?
        let perplexity: [Row]
        let writing: [Writing]
        let removedMass: [Removed]
        let matching: Matching?
        let ratings: Ratings?
    }

    /// Items of CCPM and poems of PQED that are made of the corpus.
    private func judged(_ test: Case) throws -> (ccpm: String, pqed: String) {
        // The first item's answer is a line of the corpus' poems; each poem has four, so some are trained on.
        let poems = try PoemFile.read(test.corpus)
        let lines = poems.map { $0.lines[1] }
        let items = (0..<poems.count).map { index in
            let choices = (0..<4).map { lines[(index + $0) % 30 + index / 30 * 30] }
            return #"{"translation": "天上有月", "choices": ["\#(choices.joined(separator: #"", ""#))"], "answer": 0}"#
        }
        let ccpm = test.folder.appending(path: "ccpm.jsonl")
        try Data(items.joined(separator: "\n").utf8).write(to: ccpm)
        let rated = poems.prefix(5).enumerated().map {
            #"{"poem": "\#($1.lines.joined(separator: "|"))", "fluency": \#(Double($0)), "overall score": 3.5}"#
        }
        let pqed = test.folder.appending(path: "pqed.json")
        try Data(rated.joined(separator: "\n").utf8).write(to: pqed)
        return (ccpm.path, pqed.path)
    }

    private func report(_ run: Run) throws -> Report {
        #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        return try JSONDecoder().decode(Report.self, from: Data(run.output.utf8))
    }

    private static let place = ["--threads", "1", "--device", "cpu"]

    @Test func aTestSetOfOnesOwnNeedsNoCorpus() throws {
        let test = try Case()
        let (ccpm, pqed) = try judged(test)
        let mine = test.folder.appending(path: "mine.jsonl")
        let free = #"{"form": "杂言", "lines": ["山", "水水"], "source": "", "title": "", "author": "", "dynasty": ""}"#
        try (String(contentsOf: test.corpus, encoding: .utf8) + "\n" + free)
            .write(to: mine, atomically: true, encoding: .utf8)
        let base = ["eval", "poet", "--poet", test.pack.poet.path, "--test", mine.path, "--json", "--poems", "4"]
        let unknown = try report(Run(base + ["--ccpm", ccpm, "--pqed", pqed] + Self.place))
        #expect(unknown.heldOutPoems == 60 && unknown.leftOut == ["form without a metre": 1])
        #expect(unknown.trainingPoems == nil && unknown.knownPoems == nil)
        // Nobody can tell what this poet has read: no 5-gram model, no copies, nothing unseen.
        #expect(Set(unknown.perplexity.map(\.model)) == ["poet"] && unknown.perplexity.count >= 7)
        #expect(unknown.writing.map(\.name) == ["people", "poet, free", "poet, tones strict"])
        #expect(unknown.writing.allSatisfy { $0.longestCopiedRun == nil && $0.poemsWithCopiedLine == nil })
        #expect(unknown.removedMass.count == 4)
        #expect(unknown.matching?.all?.items == 60 && unknown.matching?.all?.ngram == nil)
        #expect(unknown.matching?.counted == nil && unknown.matching?.unseen == nil)
        #expect(unknown.ratings?.all.poems == 5 && unknown.ratings?.all.ngram == nil && unknown.ratings?.unseen == nil)

        // The filter of lines beside the poet tells which poems were read.
        let read = try PoemFile.read(test.corpus).prefix(20).flatMap(\.lines)
        try LineFilter(lines: read, falsePositiveRate: 0.0001).write(to: test.pack.poet.appending(path: "lines.filter"))
        let known = try report(
            Run(base + ["--ccpm", ccpm, "--pqed", pqed, "--measure", "ccpm", "--measure", "pqed"] + Self.place))
        #expect(known.knownPoems == 20 && known.trainingPoems == nil && known.perplexity.isEmpty)
        #expect(known.matching?.all == nil && known.matching?.counted?.items == 40)
        #expect(known.ratings?.unseen?.poems == 0)

        // With the corpus of the training too.
        let both = try report(
            Run(
                base + ["--corpus", test.corpus.path, "--config", test.config.path, "--measure", "perplexity"]
                    + Self.place))
        #expect(both.heldOutPoems == 60 && (1..<60).contains(both.trainingPoems ?? 0))
        #expect(both.knownPoems == both.trainingPoems && both.perplexity.suffix(2).allSatisfy { $0.model == "5-gram" })
    }

    @Test func eachMeasureByItself() throws {
        let test = try Case()
        let (ccpm, pqed) = try judged(test)
        let titles = [
            "perplexity": "Perplexity per character", "writing": "Writing for the prompts",
            "metre": "Probability that strict",
            "ccpm": "CCPM, of 60 items", "pqed": "PQED, Spearman",
        ]
        for (measure, title) in titles {
            let data = ["ccpm": ["--ccpm", ccpm], "pqed": ["--pqed", pqed]][measure] ?? ["--test", test.corpus.path]
            let base = ["eval", "poet", "--poet", test.pack.poet.path, "--limit", "6", "--poems", "4"]
            let run = try Run(base + data + ["--measure", measure] + Self.place)
            #expect(run.status == 0 && run.errors.isEmpty, "\(measure): \(run.errors)")
            for (other, text) in titles { #expect(run.output.contains(text) == (other == measure), "\(run.output)") }
            #expect(
                run.output.contains(title) && !run.output.contains("training poem")
                    && !run.output.contains("not trained"))
            let none = try Run(["eval", "poet", "--measure", measure])
            #expect(
                none.status == 2 && none.isOneLine && none.errors.contains("nothing to measure on"), "\(none.errors)")
            let other = measure == "ccpm" ? ["--pqed", pqed] : ["--ccpm", ccpm]
            let without = try Run(["eval", "poet", "--measure", measure] + other)
            #expect(
                without.status == 2 && without.isOneLine && without.errors.contains("needs --"), "\(without.errors)")
        }
        let foreign = test.folder.appending(path: "foreign.txt")
        try #"{"form": "杂言", "lines": ["山", "水水"], "source": "", "title": "", "author": "", "dynasty": ""}"#
            .write(to: foreign, atomically: true, encoding: .utf8)
        let nothing = try Run(["eval", "poet", "--poet", test.pack.poet.path, "--test", foreign.path] + Self.place)
        #expect(
            nothing.status == 1 && nothing.isOneLine && nothing.errors.contains("form without a metre"),
            "\(nothing.errors)")
    }

    /// What is written at once comes out of a pipe at once.
    @Test func tablesArePrintedAsTheyAreMeasured() throws {
        let test = try Case()
        let process = Process()
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appending(path: "tihua")
        process.arguments =
            ["eval", "poet", "--poet", test.pack.poet.path, "--test", test.corpus.path, "--poems", "6"] + Self.place
        process.environment = ProcessInfo.processInfo.environment.merging(["OMP_WAIT_POLICY": "passive"]) { $1 }
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        var (pieces, text) = (0, "")
        while case let piece = pipe.fileHandleForReading.availableData, !piece.isEmpty {
            pieces += 1
            text += String(decoding: piece, as: UTF8.self)
        }
        process.waitUntilExit()
        #expect(process.terminationStatus == 0 && text.contains("Perplexity") && text.contains("Writing"))
        #expect(text.utf8.count < 4096 && pieces > 2, "\(pieces) pieces of \(text.utf8.count) bytes")
    }

    @Test func reportHasEveryMeasure() throws {
        let test = try Case()
        let (ccpm, pqed) = try judged(test)

        let arguments = ["--poems", "6", "--tones", "off", "--tones", "strict", "--seed", "3"]
        let options = ["--ccpm", ccpm, "--pqed", pqed]
        let base = [
            "eval", "poet", "--poet", test.pack.poet.path, "--corpus", test.corpus.path, "--config", test.config.path,
        ]
        let run = try Run(base + arguments + options + ["--json", "--threads", "1", "--device", "cpu"])
        #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        let report = try JSONDecoder().decode(Report.self, from: Data(run.output.utf8))
        #expect(report.heldOutPoems > 0 && report.heldOutPoems + (report.trainingPoems ?? 0) == 60)
        #expect(report.perplexity.map(\.model).suffix(2) == ["5-gram", "5-gram"] && report.perplexity.count == 9)
        let characters = report.perplexity.map { $0.forms["all"]?.characters }
        #expect(Set(characters).count == 1 && characters[0] ?? 0 > 0)
        let nothing = report.perplexity.first { $0.model == "5-gram" && $0.prompt == "nothing" }?.forms["all"]
        let lengths = report.perplexity.first { $0.prompt == "line lengths" }?.forms["all"]
        #expect(try #require(lengths).perplexity < #require(nothing).perplexity)

        #expect(report.writing.map(\.name) == ["people", "poet, free", "poet, tones off", "poet, tones strict"])
        let people = try #require(report.writing[0].regularity)
        #expect(people.regular == 1 && people.askedRhyme == 1)
        let strict = try #require(report.writing[3].regularity)
        #expect(strict.format == 1 && strict.rhyme == 1 && strict.askedRhyme == 1 && strict.regular == 1)
        // Random weights do not count characters.
        #expect(try #require(report.writing[1].regularity).format < 1)

        #expect(report.removedMass.map(\.poems) == ["people", "people", "poet", "poet"])
        #expect(report.removedMass[0].poemCount == report.heldOutPoems)
        #expect(report.removedMass.allSatisfy { (0...1).contains($0.all?.mean ?? -1) })
        // Right lines of training poems do not count.
        #expect(report.matching?.items == 60 && report.matching?.counted?.items == report.heldOutPoems)
        #expect(report.ratings?.all.poems == 5 && report.ratings?.all.poet["fluency"] != nil)
        #expect(report.ratings?.all.poet["overall score"] == nil, "equal marks have no order")
    }

    @Test func tableIsForPeopleAndSeedsRepeat() throws {
        let test = try Case()
        let run = try test.run("--poems", "4", "--limit", "8", "--seed", "2")
        #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        #expect(run.output.contains("Perplexity per character") && run.output.contains("poet, tones strict"))
        #expect(try test.run("--poems", "4", "--limit", "8", "--seed", "2").output == run.output)
        #expect(try test.run("--poems", "4", "--limit", "8", "--seed", "4").output != run.output)
    }

    @Test func whatIsTypedWrongIsOneLineAndTwo() throws {
        let test = try Case()
        for arguments in [
            ["--limit", "0"], ["--poems", "-1"], ["--keywords", "9"], ["--tones", "lax"], ["--temperature", "-1"],
            ["--poet", test.pack.poet.path],
        ] {
            let run = try Run(
                ["eval", "poet", "--pack", test.pack.folder.path, "--corpus", test.corpus.path] + arguments)
            #expect(run.status == 2 && run.isOneLine && run.output.isEmpty, "\(arguments): \(run.errors)")
        }
    }

    @Test func badInputIsOneLine() throws {
        let test = try Case()
        func expect(_ run: Run, _ part: String) {
            #expect(run.status == 1 && run.isOneLine && run.output.isEmpty, "\(run.errors)")
            #expect(run.errors.contains(part), "\(run.errors)")
        }
        let base = ["eval", "poet", "--corpus"]
        expect(try Run(base + ["/nowhere.jsonl", "--pack", test.pack.folder.path]), "/nowhere.jsonl")
        expect(try Run(base + [test.corpus.path, "--poet", "/nowhere"]), "/nowhere")
        let none = test.folder.appending(path: "none.json")
        try Data(#"{"poet": {"holdOut": 0}}"#.utf8).write(to: none)
        let unheld = try Run(
            base + [test.corpus.path, "--pack", test.pack.folder.path, "--config", none.path])
        expect(unheld, "none of its poems is held out")
        let t5 = try TinyPack(poet: .t5)
        expect(try Run(base + [test.corpus.path, "--poet", t5.poet.path]), "t5")
        // The tokens of an Image2Poem GPT2.
        let tokens = try String(contentsOf: test.pack.poet.appending(path: "vocab.txt"), encoding: .utf8)
            .replacing("[KW]", with: "[X]")
        try Data(tokens.utf8).write(to: test.pack.poet.appending(path: "vocab.txt"))
        expect(try test.run(), "[KW]")
        let bad = test.folder.appending(path: "bad.json")
        try Data("{\"poem\": \"山|水\", \"fluency\": 1}\n{\"poem\": \"山\"}".utf8).write(to: bad)
        expect(try test.run("--pqed", bad.path), "line 2")
    }

    private struct Numbers {
        private var state: UInt64 = 11

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
    }
}
