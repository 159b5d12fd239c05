import Foundation
import Testing
import TihuaFiles
import TihuaPackSupport
import TihuaTestSupport
import TihuaWeightFiles

/// What holds for all commands, and the commands that have no suite of their own.
@Suite struct ToolTests {
    @Test(
        arguments: [
            "poem", "keywords", "check", "embed", "lm", "doctor", "data", "data poems", "data lines",
            "data words", "data stock", "models", "models inspect", "models average", "train poet", "train clip",
        ])
    func helpTeachesByExample(command: String) throws {
        let run = try Run(command.split(separator: " ").map(String.init) + ["--help"])
        #expect(run.status == 0 && run.errors.isEmpty)
        let lines = run.output.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        #expect(lines.contains { $0.hasPrefix("tihua \(command)") }, "\(run.output)")
    }

    private static let commands = [
        "", "poem", "keywords", "caption", "check", "embed", "lm", "doctor", "data", "data poems", "data lines",
        "data words", "data stock", "data captions", "data labels", "data statistics", "data embed",
        "eval", "eval caption", "eval imagery", "eval poet", "eval ranking", "eval retrieval", "eval through",
        "eval zeroshot", "models", "models inspect", "models average", "train", "train poet", "train clip",
        "train caption", "train prefix",
    ]

    /// Lines end where the next word does not fit, at any width, and examples stand as they are typed.
    @Test(arguments: commands)
    func helpIsWrappedByTheTerminalAlone(command: String) throws {
        func overview(_ width: Int) throws -> [String] {
            let run = try Run(
                ["help"] + command.split(separator: " ").map(String.init), environment: ["COLUMNS": "\(width)"])
            #expect(run.status == 0 && run.errors.isEmpty)
            let lines = run.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            let overview = lines.prefix { !$0.hasPrefix("USAGE:") }
            #expect(overview.allSatisfy { $0.count <= width }, "\(overview.first { $0.count > width } ?? "")")
            return Array(overview)
        }
        let examples = { (lines: [String]) in lines.filter { $0.hasPrefix("  ") } }
        let narrow = try overview(80)
        for lines in [narrow, try overview(120)] {
            let width = lines == narrow ? 80 : 120
            for (line, next) in zip(lines, lines.dropFirst()) {
                guard !line.isEmpty, !line.hasPrefix(" "), let word = next.split(separator: " ").first,
                    !next.hasPrefix(" ")
                else { continue }
                #expect(line.count + 1 + word.count >= width, "\(line) / \(next)")
            }
            #expect(examples(lines) == examples(narrow))
        }
    }

    @Test func versionAndTheListOfCommands() throws {
        let version = try Run(["--version"])
        #expect(version.status == 0 && version.output.contains(/^\d+\.\d+\.\d+\n$/))
        let help = try Run([])
        #expect(help.status == 0)
        for command in ["poem", "keywords", "embed", "lm", "check", "train", "data", "models", "doctor"] {
            #expect(help.output.contains("\n  \(command) "), "no \(command)")
        }
    }

    @Test func completionScriptIsOneThatBashReads() throws {
        let run = try Run(["--generate-completion-script", "bash"])
        #expect(run.status == 0 && run.output.contains("keywords") && run.output.contains("--acrostic"))
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let script = folder.appending(path: "tihua.bash")
        try Data(run.output.utf8).write(to: script)
        let bash = Process()
        bash.executableURL = URL(filePath: "/bin/bash")
        bash.arguments = ["-n", script.path]
        try bash.run()
        bash.waitUntilExit()
        #expect(bash.terminationStatus == 0)
    }

    @Test(
        arguments: [
            (["pome"], 2, "pome"), (["models", "inspect"], 2, "path"), (["lm", "--text", "山"], 2, "--model"),
            (["lm", "--model", "x"], 2, "--text"), (["lm", "--model", "x", "--ids", "1", "--device", "tpu"], 1, "x"),
            (["lm", "--model", "x", "--ids", "1", "--threads", "0"], 2, "--threads 0"),
            (["models", "inspect", "/nowhere"], 1, "/nowhere"), (["keywords"], 2, "pictures"),
            (["data", "poems", "/nowhere", "--out", "/nowhere/corpus"], 1, "/nowhere"),
            (["data", "lines", "/nowhere", "--out", "/nowhere/filter"], 1, "/nowhere"),
            (["train", "poet", "--corpus", "/nowhere/corpus", "--out", "/nowhere/run"], 1, "/nowhere/corpus"),
        ] as [([String], Int32, String)])
    func whatIsWrongIsOneLineWithItsStatus(arguments: [String], status: Int32, message: String) throws {
        let run = try Run(arguments)
        #expect(run.status == status && run.isOneLine && run.output.isEmpty, "\(run.status) \(run.errors)")
        #expect(run.errors.contains(message) && run.errors.hasPrefix("Error: "), "\(run.errors)")
    }

    private struct Scored: Decodable, Equatable {
        let ids: [Int]
        let logprobs: [Double]
        let generated: [Int]
    }

    @Test(arguments: ["gpt2", "t5_relu", "t5_gated"])
    func languageModelContinuesAlikeWithAndWithoutItsCache(name: String) throws {
        let source = name == "gpt2" ? [] : ["--encoder-ids", "5,9,12,1"]
        let arguments =
            ["lm", "--model", fixture("Models/\(name)").path, "--ids", "0,7,11", "--generate", "6", "--greedy"]
            + ["--json", "--device", "cpu", "--threads", "1"] + source
        func scored(_ extra: String...) throws -> Scored {
            let run = try Run(arguments + extra)
            try #require(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
            return try JSONDecoder().decode(Scored.self, from: Data(run.output.utf8))
        }
        let cached = try scored()
        #expect(cached.ids == [0, 7, 11] && cached.logprobs.count == 2 && cached.logprobs.allSatisfy { $0 < 0 })
        #expect((1...6).contains(cached.generated.count))
        #expect(try scored("--no-cache").generated == cached.generated)
    }

    @Test(
        arguments: [
            (["--ids", "1,x"], "“x”"), (["--ids", "1,99999"], "99999"), (["--ids=-1"], "-1"),
            (["--text", "山", "--ids", "1"], "not both"), (["--ids", "1", "--generate", "-2"], "--generate"),
            (["--ids", "1", "--encoder-ids", "2"], "--encoder-ids"), (["--ids", "1", "--device", "tpu"], "tpu"),
            (["--ids", "1", "--generate", "5", "--beams", "2", "--greedy"], "--beams"),
            (["--ids", "1", "--generate", "5", "--beams", "2", "--n", "3"], "1 to 2"),
            (["--ids", "1", "--generate", "5", "--contrastive", "2"], "0 to 1"),
            (["--ids", "1", "--generate", "5", "--length-penalty", "2"], "--length-penalty"),
        ])
    func badTokensAreUsageErrors(arguments: [String], message: String) throws {
        let run = try Run(["lm", "--model", fixture("Models/gpt2").path] + arguments)
        #expect(run.status == 2 && run.isOneLine && run.output.isEmpty, "\(run.status) \(run.errors)")
        #expect(run.errors.contains(message), "\(run.errors)")
    }

    @Test func languageModelWritesSeveralTextsBestFirst() throws {
        struct Written: Decodable {
            struct Text: Decodable {
                let generated: [Int]
                let logprob: Double
                let score: Double
            }
            let generated: [Int]
            let texts: [Text]
        }
        let run = try Run([
            "lm", "--model", fixture("Models/gpt2").path, "--ids", "35,48", "--generate", "8", "--beams", "4", "--n",
            "3",
            "--no-repeat-ngram", "2", "--json", "--device", "cpu", "--threads", "1",
        ])
        try #require(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        let written = try JSONDecoder().decode(Written.self, from: Data(run.output.utf8))
        #expect(written.texts.count == 3 && Set(written.texts.map(\.generated)).count == 3)
        #expect(written.generated == written.texts[0].generated)
        for (better, worse) in zip(written.texts, written.texts.dropFirst()) { #expect(better.score >= worse.score) }
        for text in written.texts { #expect(abs(text.logprob / Double(text.generated.count) - text.score) < 1e-4) }
    }

    @Test func moreTokensThanPositionsAreRefused() throws {
        let run = try Run(["lm", "--model", fixture("Models/gpt2").path, "--ids", "1", "--generate", "1000"])
        #expect(run.status == 1 && run.isOneLine && run.errors.contains("1001 tokens"), "\(run.errors)")
    }

    @Test func modelIsInspectedAndAPickleThatWouldRunACommandIsNot() throws {
        struct Inspection: Decodable {
            struct Tensor: Decodable {
                let name: String
                let shape: [Int]
            }
            let architecture: String?
            let parameters: Int
            let tensors: [Tensor]
        }
        let run = try Run(["models", "inspect", fixture("Models/gpt2").path, "--json"])
        #expect(run.status == 0 && run.errors.isEmpty)
        let found = try JSONDecoder().decode(Inspection.self, from: Data(run.output.utf8))
        #expect(found.architecture == "gpt2")
        #expect(found.parameters == found.tensors.reduce(0) { $0 + $1.shape.reduce(1, *) })
        #expect(found.tensors.contains { $0.name.hasSuffix("wte.weight") && $0.shape.last == 32 })
        for evil in ["evil.system2.pt", "evil.system4.pt"] {
            let run = try Run(["models", "inspect", fixture("WeightFiles/\(evil)").path])
            #expect(run.status == 1 && run.isOneLine && run.output.isEmpty)
            #expect(run.errors.contains("system"), "\(run.errors)")
        }
    }

    /// The mean of two states has their mean weights, and runs; a run gives the average that it keeps.
    @Test func statesOfAModelAreAveraged() throws {
        let (first, second) = (try TinyPack(seed: 3), try TinyPack(seed: 4))
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let out = folder.appending(path: "mean")
        let run = try Run(["models", "average", "\(first.poet.path)=3", second.poet.path, "--out", out.path])
        #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        func weights(_ folder: URL) throws -> SafetensorsFile {
            try SafetensorsFile(contentsOf: folder.appending(path: "model.safetensors"))
        }
        let (a, b, mean) = (try weights(first.poet), try weights(second.poet), try weights(out))
        #expect(mean.tensors.map(\.name) == a.tensors.map(\.name) && !mean.tensors.isEmpty)
        for tensor in mean.tensors {
            let (x, y) = (try #require(a[tensor.name]?.floats()), try #require(b[tensor.name]?.floats()))
            let expected = zip(x, y).map { 0.75 * $0 + 0.25 * $1 }
            let found = try #require(tensor.floats())
            #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-6 }, "\(tensor.name)")
        }
        let written = try Run([
            "poem", first.picture().path, "--pack", first.folder.path, "--poet", out.path, "--candidates", "2",
        ])
        #expect(written.status == 0, "\(written.errors)")

        // A run keeps its average under names of its own.
        let kept = folder.appending(path: "run")
        try FileManager.default.createDirectory(at: kept, withIntermediateDirectories: true)
        try SafetensorsWriter.write(
            b.tensors.enumerated().map { index, view in
                .init(
                    name: (index == 0 ? "model/" : "average/") + view.name, elementType: view.elementType,
                    shape: view.shape
                ) { sink in try view.withUnsafeBytes { try sink.write($0) } }
            }, to: kept.appending(path: "checkpoint.safetensors"))
        let again = folder.appending(path: "again")
        let ofRun = try Run(["models", "average", "\(first.poet.path)=3", kept.path, "--out", again.path])
        #expect(ofRun.status == 0, "\(ofRun.errors)")
        #expect(
            try Data(contentsOf: again.appending(path: "model.safetensors"))
                == Data(contentsOf: out.appending(path: "model.safetensors")))

        for (arguments, status, message) in [
            ([first.poet.path], 2, "at least two"), ([first.poet.path, "\(second.poet.path)=x"], 2, "above 0"),
            ([first.poet.path, first.clip.path], 1, "clip"), ([kept.path, kept.path], 2, "all sources are runs"),
            ([first.poet.path, "/nowhere"], 1, "/nowhere"),
        ] as [([String], Int32, String)] {
            let failed = try Run(["models", "average"] + arguments + ["--out", folder.appending(path: "none").path])
            #expect(failed.status == status && failed.isOneLine && failed.errors.contains(message), "\(failed.errors)")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["again", "mean", "run"])
        let twice = try Run(["models", "average", first.poet.path, second.poet.path, "--out", out.path])
        #expect(twice.status == 2 && twice.errors.contains("there already"), "\(twice.errors)")
    }

    @Test func poemsOfAFolderBecomeACorpusWithItsCounts() throws {
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let poems = folder.appending(path: "全唐诗")
        try FileManager.default.createDirectory(at: poems, withIntermediateDirectories: true)
        let poem = """
            {"author": "王之渙", "title": "登鸛雀樓", "paragraphs": ["白日依山盡，黃河入海流。", "欲窮千里目，更上一層樓。"]}
            """
        try Data("[\(poem), \(poem)]".utf8).write(to: poems.appending(path: "poet.tang.0.json"))
        let corpus = folder.appending(path: "corpus.jsonl")
        let run = try Run(["data", "poems", folder.path, "--out", corpus.path, "--json"])
        #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        let counts = try #require(JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
        #expect(counts["read"] as? Int == 2 && counts["written"] as? Int == 1 && counts["lines"] as? Int == 4)
        #expect(try String(contentsOf: corpus, encoding: .utf8).contains("更上一层楼"))
        // What cannot be written leaves nothing behind.
        let blocked = corpus.appending(path: "below-a-file.jsonl")
        let failed = try Run(["data", "poems", folder.path, "--out", blocked.path])
        #expect(failed.status == 1 && failed.isOneLine, "\(failed.errors)")
    }

    /// Libraries know no options; the tool names them behind their errors.
    @Test func optionsThatHelpStandBehindErrors() throws {
        let device = try Run(["lm", "--model", fixture("Models/gpt2").path, "--ids", "1", "--device", "cuda:77"])
        #expect(device.status == 2 && device.isOneLine && device.errors.contains("--device cpu"), "\(device.errors)")
        let picture = fixture("Pictures/strokes.png").path
        let named = try Run(["keywords", picture, "--pack", "/nowhere"])
        #expect(named.status == 1 && named.isOneLine && named.errors.contains("--pack names /nowhere"))

        // A copy of the tool far from any pack.
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let tool = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
            .appending(path: "tihua")
        let copy = folder.appending(path: "tihua")
        try FileManager.default.copyItem(at: tool, to: copy)
        let process = Process()
        process.executableURL = copy
        process.arguments = ["keywords", picture]
        process.environment = ProcessInfo.processInfo.environment.filter { $0.key != "TIHUA_PACK" }
            .merging(["OMP_WAIT_POLICY": "passive"]) { $1 }
        let pipe = Pipe()
        process.standardError = pipe
        try process.run()
        let errors = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 1 && errors.contains("--pack DIR"), "\(errors)")
    }
}
