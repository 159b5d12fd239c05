import Foundation
import Testing
import TihuaCorpora
import TihuaWeightFiles

@testable import TihuaTraining

/// The built tool, on a corpus of a few toy poems.
@Suite struct TrainCommandTests {
    private static var tool: URL {
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().appending(path: "tihua")
    }

    private func start(_ arguments: [String], limited: Bool = false) throws -> (process: Process, error: Pipe) {
        let process = Process()
        if limited {
            // No file may grow beyond 32 KiB (dash) or 64 KiB (bash): writes fail as on a full disk.
            process.executableURL = URL(filePath: "/bin/sh")
            process.arguments = ["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"", Self.tool.path] + arguments
        } else {
            process.executableURL = Self.tool
            process.arguments = arguments
        }
        let error = Pipe()
        process.standardError = error
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        return (process, error)
    }

    private func run(_ arguments: [String], limited: Bool = false) throws -> (status: Int32, error: String) {
        let (process, error) = try start(arguments, limited: limited)
        let text = String(decoding: error.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text)
    }

    /// The arguments of a small run in `scratch`, with a corpus in CCPC's format.
    private func arguments(_ scratch: Scratch, recipe: String = "gpt2", steps: Int) throws -> [String] {
        let poems = toyPoems(24).map { poem in
            let keywords = (poem.keywords ?? []).joined(separator: " ")
            return #"{"content":"\#(poem.lines.joined(separator: "|"))","keywords":"\#(keywords)"}"#
        }
        try scratch.write(poems.joined(separator: "\n") + "\n", to: "corpus.json")
        try scratch.write(
            """
            {"training": {"warmup": 1, "validateEvery": 100000, "checkpointEvery": 3, "logEvery": 1, "precision": "float32"},
             "poet": {"hiddenSize": 32, "layerCount": 1, "headCount": 2, "positionCount": 96, "batchTokens": 200,
              "dropout": 0.1, "minimumCharacterCount": 1, "holdOut": 6},
             "t5": {"innerSize": 64, "headSize": 16}}
            """, to: "recipe.json")
        return [
            "train", "poet", "--recipe", recipe, "--corpus", scratch["corpus.json"].path, "--config",
            scratch["recipe.json"].path, "--out", scratch["run"].path, "--threads", "1", "--device", "cpu", "--quiet",
            "--steps",
            "\(steps)",
        ]
    }

    private func step(_ scratch: Scratch) throws -> Int {
        let file = try SafetensorsFile(contentsOf: scratch["run"].appending(path: "checkpoint.safetensors"))
        return try JSONDecoder().decode(RunProgress.self, from: Data((file.metadata["progress"] ?? "").utf8)).step
    }

    @Test(arguments: ["gpt2", "t5", "image2poem-gpt2", "image2poem-t5"])
    func everyRecipeTrains(recipe: String) throws {
        let scratch = try Scratch()
        let result = try run(arguments(scratch, recipe: recipe, steps: 2))
        #expect(result.status == 0 && result.error.isEmpty, "\(result.error)")
        #expect(try step(scratch) == 2)
        for name in ["best/model.safetensors", "best/config.json", "best/vocab.txt", "log.txt", "run.json"] {
            #expect(FileManager.default.fileExists(atPath: scratch["run"].appending(path: name).path), "\(name)")
        }
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
    func aSignalWritesACheckpointThatContinues(signal: Int32) throws {
        let scratch = try Scratch()
        let whole = try arguments(scratch, steps: 1_000_000)
        let (process, _) = try start(whole)
        let log = scratch["run"].appending(path: "log.txt")
        let deadline = ContinuousClock.now + .seconds(120)
        while process.isRunning, ContinuousClock.now < deadline {
            if let text = try? String(contentsOf: log, encoding: .utf8), text.contains("step 4/") { break }
            Thread.sleep(forTimeInterval: 0.02)
        }
        if signal == SIGTERM {
            // A second run in the folder is told, and the first goes on.
            let second = try run(whole + ["--resume"])
            #expect(second.status == 1 && second.error.contains("another process is training there"), "\(second.error)")
            #expect(second.error.split(separator: "\n").count == 1 && process.isRunning)
        }
        #expect(kill(process.processIdentifier, signal) == 0)
        // The shell tells of a closed terminal, and the kernel too.
        if signal == SIGHUP { kill(process.processIdentifier, signal) }
        process.waitUntilExit()
        #expect(process.terminationReason == .exit && process.terminationStatus == 130)
        let reached = try step(scratch)
        #expect(reached >= 4)
        #expect(try String(contentsOf: log, encoding: .utf8).contains("interrupted at step \(reached)"))

        guard signal == SIGINT else { return }
        let refused = try run(whole)
        #expect(
            refused.status == 1 && refused.error.contains("--resume") && refused.error.split(separator: "\n").count == 1
        )
        let continued = try run(Array(whole.dropLast()) + ["\(reached + 2)", "--resume"])
        #expect(continued.status == 0, "\(continued.error)")
        #expect(try step(scratch) == reached + 2)
    }

    @Test func aRunUnderNohupOutlivesItsTerminal() throws {
        let scratch = try Scratch()
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments =
            try ["-c", "trap '' HUP; exec \"$0\" \"$@\"", Self.tool.path] + arguments(scratch, steps: 1_000_000)
        process.standardError = FileHandle.nullDevice
        try process.run()
        let log = scratch["run"].appending(path: "log.txt")
        func wait(for text: String) {
            let deadline = ContinuousClock.now + .seconds(120)
            while process.isRunning, ContinuousClock.now < deadline {
                if let found = try? String(contentsOf: log, encoding: .utf8), found.contains(text) { break }
                Thread.sleep(forTimeInterval: 0.02)
            }
        }
        wait(for: "step 2/")
        kill(process.processIdentifier, SIGHUP)
        let reached = try String(contentsOf: log, encoding: .utf8).split(separator: "step ").count
        wait(for: "step \(reached + 8)/")
        #expect(process.isRunning)
        kill(process.processIdentifier, SIGTERM)
        process.waitUntilExit()
        #expect(process.terminationStatus == 130)
    }

    @Test func aFullDiskKeepsTheLastCheckpoint() throws {
        let scratch = try Scratch()
        #expect(try run(arguments(scratch, steps: 2)).status == 0)
        let file = scratch["run"].appending(path: "checkpoint.safetensors")
        let before = try Data(contentsOf: file)
        #expect(before.count > 1 << 17)
        let result = try run(arguments(scratch, steps: 50) + ["--resume"], limited: true)
        #expect(result.status == 1 && result.error.contains(file.path), "\(result.error)")
        #expect(result.error.split(separator: "\n").count == 1, "\(result.error)")
        #expect(try Data(contentsOf: file) == before)
        let names = try FileManager.default.contentsOfDirectory(atPath: scratch["run"].path)
        #expect(!names.contains { $0.contains("partial") }, "\(names)")
        // With room again it goes on.
        #expect(try run(arguments(scratch, steps: 4) + ["--resume"]).status == 0)
        #expect(try step(scratch) == 4)
    }

    @Test func badInputIsOneLine() throws {
        let scratch = try Scratch()
        let good = try arguments(scratch, steps: 1)
        try scratch.write("山水云月风花\n花雪江天日春\n春秋夜人心归\n来见无有一不\n", to: "prose.txt")
        try scratch.write(#"{"poet": {"hidenSize": 8}}"#, to: "misspelt.json")
        try scratch.write("", to: "file")
        func replacing(_ flag: String, _ value: String) -> [String] {
            var arguments = good
            if let index = good.firstIndex(of: flag) { arguments[index + 1] = value }
            return arguments
        }
        let cases: [([String], Int32, String)] = [
            (replacing("--corpus", "/nowhere/corpus.json"), 1, "/nowhere/corpus.json"),
            (replacing("--corpus", scratch["prose.txt"].path), 1, "no poems are left to train on"),
            (replacing("--config", scratch["misspelt.json"].path), 1, "poet.hidenSize: unknown key"),
            (replacing("--out", scratch["file"].path), 1, scratch["file"].path),
            (replacing("--steps", "0"), 2, "--steps 0"),
            (good + ["--words", "/nowhere/words.tsv"], 1, "/nowhere/words.tsv"),
        ]
        for (arguments, status, message) in cases {
            let result = try run(arguments)
            #expect(result.status == status, "\(message): \(result.status) \(result.error)")
            #expect(result.error.contains(message) && result.error.split(separator: "\n").count == 1, "\(result.error)")
        }
        #expect(!FileManager.default.fileExists(atPath: scratch["run"].path))
    }
}
