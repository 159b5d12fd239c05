import Foundation
import Testing
import TihuaCorpora
import TihuaModels
import TihuaNN
import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

@testable import TihuaTraining

/// Poems of mountains and of rivers, and a small poet that may have learned them; the first numbers of an embedding say
/// which.
struct ToyPrefix {
    static let descriptions = ["青山": ["一座山"], "江水": ["一条河", "河面"]]
    let scratch: Scratch
    let folder: ModelFolder
    let vocabulary: PoetVocabulary

    /// - Parameter isTrained: whether the poet does what its keywords ask
    init(in scratch: Scratch, isTrained: Bool = false) throws {
        Runtime.threadCount = 1
        self.scratch = scratch
        let characters = Set(Self.poems.flatMap { $0.lines.joined() } + "一座山条河面")
        vocabulary = PoetVocabulary(characters: characters.sorted())
        let url = scratch["poet"]
        if !FileManager.default.fileExists(atPath: url.path) {
            var options = toyPoetOptions()
            (options.holdOut, options.dropout) = (0, 0)
            let data = PoemDataset(poems: Self.poems, words: [], vocabulary: vocabulary, options: options.dataset)
            var run = toyRun(steps: isTrained ? 60 : 1)
            (run.accumulation, run.learningRate, run.averageDecay) = (1, 0.01, 0)
            let task = try PoetTask(dataset: data, options: options, training: run)
            try train(task, run, in: scratch["poet-run"])
            try task.save(to: url) { _ in nil }
        }
        folder = try ModelFolder(at: url)
    }

    /// Half of them hold mountains in every line, and half rivers.
    static let poems: [CorpusPoem] = {
        let shown = toyPoems(32).enumerated().map { index, poem in
            let word = index % 2 == 0 ? "青山" : "江水"
            return CorpusPoem(form: "", lines: poem.lines.map { word + $0.dropFirst(2) }, keywords: [word])
        }
        return shown + [CorpusPoem(form: "", lines: toyPoems(1, seed: 9)[0].lines, keywords: [])]
    }()

    static func options(_ change: (inout PrefixOptions) -> Void = { _ in }) -> PrefixOptions {
        var options = PrefixOptions()
        options.prefixLength = 2
        options.batchTokens = 300
        options.holdOut = 4
        options.noiseVariance = 0.0005
        options.addsModalityOffset = false
        change(&options)
        return options
    }

    static func embed(_ texts: [String]) -> [[Float]] {
        texts.map { text in
            let isRiver = text.contains("河") || text.contains("江水")
            let vector: [Float] = (isRiver ? [0, 1] : [1, 0]) + [0.3, Float(text.utf8.count % 3) * 0.1]
            let length = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return vector.map { $0 / length }
        }
    }

    func dataset(_ options: PrefixOptions) async throws -> PrefixDataset {
        let line = Self.poems[0].lines[1]
        return try await PrefixDataset(
            poems: Self.poems, themes: [line: ["山很高。"]], descriptions: Self.descriptions, vocabulary: vocabulary,
            options: options
        ) { Self.embed($0) }
    }

    func task(_ run: TrainingOptions, _ options: PrefixOptions = options()) async throws -> PrefixTask {
        try await PrefixTask(
            dataset: dataset(options), options: options, training: run, poet: folder, imageMean: [0.5, 0.5, 0, 0],
            clipModel: "clip", poetModel: "poet")
    }
}

@Suite struct PrefixRecipeTests {
    private func content(of folder: URL) throws -> (tensors: [String: [UInt8]], metadata: [String: String]) {
        let file = try SafetensorsFile(contentsOf: folder.appending(path: "checkpoint.safetensors"))
        return (
            Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, $0.contiguousBytes()) }), file.metadata
        )
    }

    @Test(arguments: [false, true])
    func aContinuedRunIsBitForBitTheUninterruptedOne(offset: Bool) async throws {
        let scratch = try Scratch()
        let toy = try ToyPrefix(in: scratch)
        let run = toyRun()
        let options = ToyPrefix.options { $0.addsModalityOffset = offset }
        #expect(try train(await toy.task(run, options), run, in: scratch["whole"]) == .finished)
        let poet = try Data(contentsOf: toy.folder.url.appending(path: "model.safetensors"))
        #expect(
            try train(await toy.task(run, options), run, in: scratch["parts"], interruptedAt: 3) == .interrupted)
        #expect(try train(await toy.task(run, options), run, in: scratch["parts"], resume: true) == .finished)
        let (whole, parts) = (try content(of: scratch["whole"]), try content(of: scratch["parts"]))
        #expect(whole.tensors == parts.tensors && whole.metadata == parts.metadata)
        // Nothing but the mapping network is in it, and the poet stays as it is.
        #expect(whole.tensors.keys.filter { $0.hasPrefix("model/") }.count == 4)
        #expect(try Data(contentsOf: toy.folder.url.appending(path: "model.safetensors")) == poet)
    }

    @Test func workersChangeNothing() async throws {
        let scratch = try Scratch()
        let toy = try ToyPrefix(in: scratch)
        func tensors(_ workers: Int) async throws -> [String: [UInt8]] {
            var run = toyRun(steps: 3)
            run.workers = workers
            try train(await toy.task(run), run, in: scratch["\(workers)"])
            return try content(of: scratch["\(workers)"]).tensors
        }
        #expect(try await tensors(1) == tensors(2))
    }

    /// Held-out poems become likelier, more so from their own text than from another's; the saved folder is what was
    /// trained.
    @Test func thePoetLearnsToHearTheText() async throws {
        let scratch = try Scratch()
        let toy = try ToyPrefix(in: scratch, isTrained: true)
        var run = toyRun(steps: 120)
        (run.accumulation, run.learningRate, run.averageDecay, run.validateEvery) = (1, 0.02, 0, 120)
        let task = try await toy.task(run)
        func losses() throws -> [Double] { try withoutGradients { try task.validate().map(\.value) } }
        let before = try losses()
        try train(task, run, in: scratch["run"])
        let after = try losses()
        #expect(abs(before[1] - before[0]) < 0.01, "\(before)")
        #expect(after[0] < before[0] - 0.02 && after[0] < after[1] - 0.02, "\(before) -> \(after)")

        let saved = try PrefixMapper.open(scratch["run"].appending(path: "best")).model
        #expect(saved.configuration == task.mapper.configuration)
        #expect(saved.configuration.clipModel == "clip" && saved.configuration.poetModel == "poet")
        let x = Tensor(ToyPrefix.embed(["一座山", "一条河"]).flatMap { $0 }, [2, 4])
        let (one, other) = withoutGradients { (saved(x).floats, task.mapper(x).floats) }
        // bfloat16 keeps eight bits.
        #expect(zip(one, other).allSatisfy { abs($0 - $1) < 0.05 + 0.02 * abs($1) })
    }

    /// The loss is that of the poet told the prompt and the prefix, poem by poem.
    @Test func aBatchIsItsPoemsOneByOne() async throws {
        let scratch = try Scratch()
        let toy = try ToyPrefix(in: scratch)
        let run = toyRun()
        func sum(batchTokens: Int) async throws -> (Double, Int) {
            let options = ToyPrefix.options {
                ($0.batchTokens, $0.noiseVariance) = (batchTokens, 0)
            }
            let task = try await toy.task(run, options)
            var (total, count) = (0.0, 0)
            for index in 0..<task.batchCount(epoch: 0) {
                let loss = try withoutGradients { try task.loss(epoch: 0, batch: index) }
                total += loss.loss.item * Double(loss.units)
                count += loss.units
            }
            return (total, count)
        }
        let (whole, single) = (try await sum(batchTokens: 10_000), try await sum(batchTokens: 1))
        #expect(whole.1 == single.1 && abs(whole.0 - single.0) < 1e-3 * whole.0, "\(whole) \(single)")
    }

    @Test func poemsThatShowNothingAreLeftOut() async throws {
        let toy = try ToyPrefix(in: Scratch())
        let data = try await toy.dataset(ToyPrefix.options { $0.holdOut = 0 })
        #expect(data.dropped == ["nothing to be seen": 1])
        #expect(data.counts.training == 32 && data.counts.validation == 0)
        // A couplet and a description each, and the one gloss.
        #expect(data.training.map(\.rows.count).reduce(0, +) == 65)
        // A poem with a gloss is kept before others.
        let few = try await toy.dataset(ToyPrefix.options { ($0.holdOut, $0.poems) = (0, 3) })
        #expect(few.counts.training == 3 && few.dropped["more than asked for"] == 29)
        #expect(few.training.first?.poem.theme == "山很高。")
        let rows = few.training[0].rows.map { Array(few.vectors[$0 * few.width..<($0 + 1) * few.width]) }
        #expect(rows[1] == ToyPrefix.embed(["山很高。"])[0])
    }

    @Test func whatCannotBeTrainedIsOneLine() async throws {
        let scratch = try Scratch()
        let toy = try ToyPrefix(in: scratch)
        func message(_ body: () async throws -> Void) async -> String {
            do {
                try await body()
                return "no error"
            } catch {
                #expect(!"\(error)".contains("\n"))
                return "\(error)"
            }
        }
        let short = ToyPrefix.options { $0.longestPoem = 5 }
        #expect(await message { _ = try await toy.dataset(short) }.contains("too long"))
        #expect(await message { _ = try await toy.dataset(ToyPrefix.options { $0.poems = 0 }) }.contains("poems is 0"))
        #expect(
            await message { _ = try await toy.task(toyRun(), ToyPrefix.options { $0.prefixLength = 90 }) }
                .contains("prefixLength is 90"))
        let options = ToyPrefix.options { $0.addsModalityOffset = true }
        #expect(
            await message {
                _ = try await PrefixTask(
                    dataset: toy.dataset(options), options: options, training: toyRun(), poet: toy.folder)
            }.contains("addsModalityOffset"))
        let clip = scratch["other"]
        try FileManager.default.createDirectory(at: clip, withIntermediateDirectories: true)
        try Data(#"{"model_type": "t5"}"#.utf8).write(to: clip.appending(path: "config.json"))
        #expect(
            await message {
                _ = try await PrefixTask(
                    dataset: toy.dataset(ToyPrefix.options()), options: ToyPrefix.options(), training: toyRun(),
                    poet: ModelFolder(at: clip))
            }.contains("is a t5"))
    }

    @Test func theRecipeOfTheRepositoryIsRead() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Recipes")
        let file = try RecipeFile(contentsOf: root.appending(path: "prefix-mini.json"))
        try file.section("prefix", or: PrefixOptions()).validate()
        try file.section("training", or: TrainingOptions()).validate()
    }
}
