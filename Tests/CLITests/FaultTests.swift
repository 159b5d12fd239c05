import Foundation
import Testing
import TihuaDataFiles
import TihuaPackSupport
import TihuaTestSupport

/// A library that makes one call on files fail, or ends the process there; see `Tests/Shims/faults.c`.
private enum Shim {
    /// nil where there is no C compiler.
    static let library: URL? = {
        guard let folder = try? temporaryFolder() else { return nil }
        let library = folder.appending(path: "faults.so")
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        let source = SharedData.packageRoot.appending(path: "Tests/Shims/faults.c").path
        process.arguments = ["cc", "-shared", "-fPIC", "-o", library.path, source, "-ldl"]
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return nil }
        process.waitUntilExit()
        return process.terminationStatus == 0 ? library : nil
    }()

    /// Every call and every error, not one in several (`TIHUA_FAULTS=all swift test --filter FaultTests`, some 20
    /// minutes).
    static let isThorough = ProcessInfo.processInfo.environment["TIHUA_FAULTS"] == "all"

    /// The numbers of the calls to try: all, or four over the whole course.
    static func places(_ count: Int) -> [Int] {
        isThorough || count <= 4 ? Array(1...max(1, count)) : (0..<4).map { 1 + $0 * (count - 1) / 3 }
    }
}

/// A command that writes, on data as small as it gets. What it writes lies in `out`, what it reads in `in`.
private final class Job {
    enum Kind: String, CaseIterable, CustomTestStringConvertible {
        case trainPoet, trainCaption, trainReward, trainClip, dataEmbed, modelsAverage
        static let trainings: [Kind] = [.trainPoet, .trainCaption, .trainReward, .trainClip]
        var testDescription: String { rawValue }
    }

    let kind: Kind
    let folder: URL
    private let packs: [TinyPack]
    private var out: URL { folder.appending(path: "out") }

    init(_ kind: Kind) throws {
        self.kind = kind
        folder = try temporaryFolder()
        packs = try kind == .modelsAverage ? [TinyPack(seed: 1), TinyPack(seed: 2)] : [TinyPack()]
        for name in ["in/pictures/山", "in/pictures/水", "out"] {
            try FileManager.default.createDirectory(
                at: folder.appending(path: name), withIntermediateDirectories: true)
        }
        if kind == .trainReward {
            // A captioner to go on from, that has learned something.
            try must(Run(arguments(.trainCaption, steps: 4, out: "in/captioner")))
        }
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    private func must(_ run: Run) throws {
        try #require(run.status == 0, "\(run.errors)")
    }

    private func write(_ text: String, _ name: String) throws -> String {
        let file = folder.appending(path: "in/\(name)")
        try Data(text.utf8).write(to: file)
        return file.path
    }

    /// - Parameter steps: of a training
    func arguments(steps: Int = 4) throws -> [String] { try arguments(kind, steps: steps, out: "out/run") }

    private func arguments(_ kind: Kind, steps: Int, out: String) throws -> [String] {
        let target = folder.appending(path: out).path
        let training =
            #""training": {"warmup": 1, "schedule": "constant", "validateEvery": 2, "checkpointEvery": 2, "#
            + #""logEvery": 1, "averageDecay": 0.9, "precision": "float32"}"#
        let common = [
            "--out", target, "--threads", "1", "--device", "cpu", "--quiet", "--steps", "\(steps)", "--resume",
        ]
        switch kind {
        case .trainPoet:
            var poems: [String] = []
            for index in 0..<24 {
                var lines: [String] = []
                for line in 0..<4 {
                    let characters = "山水云月风花雪江天日春秋夜人心归去来见无".shuffled(like: UInt64(4 * index + line))
                    lines.append(String(characters.prefix(5)))
                }
                poems.append("{\"content\":\"" + lines.joined(separator: "|") + "\"}")
            }
            let corpus = try write(poems.joined(separator: "\n") + "\n", "corpus.json")
            let recipe = try write(
                """
                {\(training), "poet": {"hiddenSize": 16, "layerCount": 1, "headCount": 2, "positionCount": 96,
                 "batchTokens": 400, "dropout": 0.1, "minimumCharacterCount": 1, "holdOut": 6}}
                """, "recipe.json")
            return ["train", "poet", "--corpus", corpus, "--config", recipe] + common
        case .trainCaption, .trainReward:
            let captions = (0..<12).map { index in
                "p\(index)\t" + (index % 2 == 0 ? "一只狗在草地上奔跑。\n" : "两个孩子在海边玩耍。\n")
            }
            let file = try write(captions.joined(), "captions.tsv")
            let embeddings = folder.appending(path: "in/embeddings.safetensors")
            var values: [Float] = []
            for index in 0..<12 {
                values += index % 2 == 0 ? [2, 0] : [0, 2]
                for place in 0..<4 { values.append(Float((index * 7 + place * 5) % 11) / 50) }
            }
            try EmbeddingFile.write(
                keys: (0..<12).map { "p\($0)" }, values: values, width: 6, isNormalized: false, model: "m",
                to: embeddings)
            let recipe = try write(
                """
                {\(training), "caption": {"prefixLength": 2, "hiddenSize": 16, "layerCount": 1, "headCount": 2,
                 "maximumLength": 16, "minimumCharacterCount": 1, "batchCaptions": 4, "holdOut": 4, "sampleCount": 3},
                 "reward": {"samples": 3, "batchPictures": 3, "maximumLength": 10,
                  "grammarWeight": 0.5}}
                """, "recipe.json")
            let inputs = [
                "train", "caption", "--captions", file, "--embeddings", embeddings.path, "--config", recipe,
            ]
            guard kind == .trainReward else { return inputs + common }
            let captioner = folder.appending(path: "in/captioner/best").path
            return inputs + common + ["--from", captioner, "--reward", "cider"]
        case .trainClip:
            let pictures = try pictures()
            let recipe = try write(
                """
                {\(training), "clip": {"imageSize": 32, "stages": [1, 1, 1, 1], "width": 4, "textHiddenSize": 32,
                 "textLayerCount": 1, "projectionSize": 16, "batchPictures": 4, "batchPairs": 0, "holdOut": 4}}
                """, "recipe.json")
            let cache = folder.appending(path: "in/cache").path
            return ["train", "clip", "--shard", pictures, "--cache", cache, "--config", recipe] + common
        case .dataEmbed:
            return [
                "data", "embed", try pictures(), "--out", target, "--clip", packs[0].clip.path, "--device", "cpu",
                "--threads", "1", "--quiet",
            ]
        case .modelsAverage: return ["models", "average", packs[0].poet.path, packs[1].poet.path, "--out", target]
        }
    }

    private func pictures() throws -> String {
        let place = folder.appending(path: "in/pictures")
        for (index, label) in ["山", "水", "山", "水", "山", "水", "山", "水"].enumerated() {
            let file = place.appending(path: "\(label)/\(index).png")
            if FileManager.default.fileExists(atPath: file.path) { continue }
            try FileManager.default.moveItem(at: packs[0].picture(red: UInt8(30 * index)), to: file)
        }
        return place.path
    }

    /// Runs the command; the call `at` fails with `code`, or ends the process for 0.
    func run(_ arguments: [String], at place: Int = 0, code: Int32 = 0, log: URL? = nil) throws -> Run {
        var environment = ["LD_PRELOAD": Shim.library?.path ?? "", "TIHUA_FAULT_FOLDER": out.path]
        environment["TIHUA_FAULT_AT"] = "\(place)"
        environment["TIHUA_FAULT_ERRNO"] = "\(code)"
        environment["TIHUA_FAULT_LOG"] = log?.path
        return try Run(arguments, environment: environment)
    }

    /// The calls of an undisturbed run.
    func calls(_ arguments: [String]) throws -> [String] {
        let log = folder.appending(path: "in/calls")
        try? FileManager.default.removeItem(at: log)
        try must(run(arguments, log: log))
        return try String(contentsOf: log, encoding: .utf8).split(separator: "\n").map(String.init)
    }

    func clear() throws {
        try FileManager.default.removeItem(at: out)
        try FileManager.default.createDirectory(at: out, withIntermediateDirectories: true)
    }

    func save(_ name: String) throws { try FileManager.default.copyItem(at: out, to: folder.appending(path: name)) }

    func restore(_ name: String) throws {
        try FileManager.default.removeItem(at: out)
        try FileManager.default.copyItem(at: folder.appending(path: name), to: out)
    }

    /// Every file of the result by its path: all but the logs, which hold times.
    func content() throws -> [String: Data] {
        var files: [String: Data] = [:]
        for path in FileManager.default.enumerator(atPath: out.path)?.compactMap({ $0 as? String }) ?? [] {
            let name = URL(filePath: path).lastPathComponent
            var isFolder: ObjCBool = false
            let file = out.appending(path: path)
            _ = FileManager.default.fileExists(atPath: file.path, isDirectory: &isFolder)
            if isFolder.boolValue || name == "log.txt" || name.hasPrefix("events.") || name == ".lock" { continue }
            files[path] = try Data(contentsOf: file)
        }
        return files
    }
}

extension String {
    /// The characters in an order that the number decides.
    fileprivate func shuffled(like seed: UInt64) -> String {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        var characters = Array(self)
        for index in characters.indices.reversed() where index > 0 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            characters.swapAt(index, Int(state >> 33) % (index + 1))
        }
        return String(characters)
    }
}

/// What errors and kills at each write, sync, rename and open leave behind.
@Suite(.serialized, .enabled(if: Shim.library != nil, "needs a C compiler (cc)"))
struct FaultTests {
    /// Exit 1 and one line, or exit 0 and the right result; older files are whole; nothing half written stays; the same
    /// command then succeeds with the same bytes.
    @Test(arguments: Job.Kind.allCases)
    fileprivate func anErrorAtAnyCallIsOneLineAndCostsNothing(_ kind: Job.Kind) throws {
        let job = try Job(kind)
        let isTraining = Job.Kind.trainings.contains(kind)
        if isTraining { #expect(try job.run(job.arguments(steps: 2)).status == 0) }
        try job.save("old")
        let old = try job.content()
        let calls = try job.calls(job.arguments())
        let whole = try job.content()
        #expect(!whole.isEmpty && whole != old)
        let codes = [ENOSPC, EIO, EMFILE]
        for place in Shim.places(calls.count) {
            for code in Shim.isThorough ? codes : [codes[place % 3]] {
                let what = "\(kind) call \(place) of \(calls.count), \(calls[place - 1]): errno \(code)"
                try job.restore("old")
                let run = try job.run(job.arguments(), at: place, code: code)
                let left = try job.content()
                #expect(!left.keys.contains { $0.contains(".partial-") }, "\(what): \(left.keys.sorted())")
                #expect(run.status == 0 || (run.status == 1 && run.isOneLine), "\(what): \(run.status) \(run.errors)")
                if run.status == 0 {
                    #expect(left == whole, "\(what): exit 0 with something else")
                    continue
                }
                for (path, bytes) in left where !path.contains(".parts/") && path.hasSuffix(".safetensors") {
                    #expect(
                        bytes == old[path] || bytes == whole[path] || path.hasSuffix("best/model.safetensors"),
                        "\(what): \(path)")
                }
                let again = try job.run(job.arguments())
                let result = try job.content()
                #expect(again.status == 0 && result == whole, "\(what), then again: \(again.errors)")
            }
        }
    }

    /// Killed at a call, killed again while it resumes, and then left to end: as if nothing had been.
    @Test(arguments: Job.Kind.allCases)
    fileprivate func aKillAtAnyCallCostsNothing(_ kind: Job.Kind) throws {
        let job = try Job(kind)
        let calls = try job.calls(job.arguments())
        let whole = try job.content()
        // An average that is there is not made again.
        let done: [Int32] = kind == .modelsAverage ? [0, 2] : [0]
        for place in Shim.places(calls.count) {
            let what = "\(kind) call \(place) of \(calls.count), \(calls[place - 1])"
            try job.clear()
            for _ in 0..<2 {
                let run = try job.run(job.arguments(), at: place)
                // The second time there may be less to do.
                #expect(([-SIGKILL] + done).contains(run.status), "\(what): \(run.status) \(run.errors)")
            }
            let again = try job.run(job.arguments())
            #expect(done.contains(again.status), "\(what): \(again.errors)")
            let left = try job.content()
            if kind == .modelsAverage {
                #expect(left.filter { !$0.key.contains(".partial-") } == whole, "\(what): \(left.keys.sorted())")
            } else {
                #expect(left == whole, "\(what): \(left.keys.sorted()) instead of \(whole.keys.sorted())")
            }
        }
    }

    /// A name counts only when the folder that holds it is on the disk.
    @Test func foldersAreFlushedBeforeTheyCount() throws {
        let job = try Job(.dataEmbed)
        let calls = try job.calls(job.arguments())
        let out = job.folder.appending(path: "out").path
        let made = try #require(calls.firstIndex(of: "mkdir \(out)/run.parts"))
        let planned = try #require(calls.firstIndex { $0.hasPrefix("rename") && $0.hasSuffix("run.parts/plan.json") })
        let part = try #require(
            calls.firstIndex { $0.hasSuffix("run.parts/part-0.safetensors") && $0.hasPrefix("rename") })
        #expect(calls[made..<planned].contains("fsync \(out)"), "\(calls)")
        #expect(calls[planned..<part].contains("fsync \(out)/run.parts"), "\(calls)")
        #expect(
            calls[made..<planned].contains { $0.hasPrefix("fsync") && $0.contains("plan.json.partial-") }, "\(calls)")
    }
}

/// Everything written is a function of its input: hashes are seeded anew in each process, so two processes tell.
@Suite struct DeterminismTests {
    @Test func embeddingsAreTheSameBytesAlsoWherePicturesAreBad() throws {
        let job = try Job(.dataEmbed)
        let arguments = try job.arguments()
        try Data("no picture".utf8).write(to: job.folder.appending(path: "in/pictures/山/bad.png"))
        var found: Set<Data> = []
        for _ in 0..<6 {
            try job.clear()
            let run = try Run(arguments)
            #expect(run.status == 1 && run.errors.contains("bad"), "\(run.errors)")
            found.formUnion(try job.content().values)
        }
        #expect(found.count == 1)
    }

    @Test(arguments: Job.Kind.trainings)
    fileprivate func trainingsAreTheSameBytes(_ kind: Job.Kind) throws {
        let job = try Job(kind)
        var found: [[String: Data]] = []
        for _ in 0..<3 {
            try job.clear()
            let run = try Run(job.arguments())
            #expect(run.status == 0, "\(run.errors)")
            found.append(try job.content())
        }
        #expect(found[0] == found[1] && found[1] == found[2])
    }
}
