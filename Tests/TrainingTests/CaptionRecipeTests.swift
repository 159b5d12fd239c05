import Foundation
import Testing
import TihuaDataFiles
import TihuaGeneration
import TihuaModels
import TihuaNN
import TihuaTokenizers
import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

@testable import TihuaTraining

/// Twelve pictures of two kinds: the first numbers of an embedding say which, and the captions say it too.
struct ToyCaptions {
    static let width = 6
    /// Four cells of five numbers, the second of which says what kind of picture it is.
    static let grid = GridShape(cells: 4, width: 5)
    let table: EmbeddingTable
    let captions: [CaptionFile.Caption]

    init() throws {
        var random = SplitMix64(seed: 4)
        var keys: [String] = []
        var vectors: [[Float]] = []
        var captions: [CaptionFile.Caption] = []
        for index in 0..<12 {
            let isDog = index % 2 == 0
            keys.append("p\(index).jpg")
            let noise = (0..<Self.width - 2).map { _ in Float.random(in: -0.1...0.1, using: &random) }
            vectors.append((isDog ? [2, 0] : [0, 2]) + noise)
            let lines = isDog ? ["一只狗在草地上奔跑。", "草地上的狗。"] : ["两个孩子在海边玩耍。", "海边的孩子。"]
            captions += lines.map { CaptionFile.Caption(image: "p\(index)", text: $0) }
        }
        table = try EmbeddingTable(keys: keys, vectors: vectors)
        self.captions = captions
    }

    static func options(_ change: (inout CaptionOptions) -> Void = { _ in }) -> CaptionOptions {
        var options = CaptionOptions()
        options.prefixLength = 2
        options.constantLength = 3
        options.mapperLayerCount = 1
        options.mapperHeadCount = 2
        options.hiddenSize = 16
        options.layerCount = 1
        options.headCount = 2
        options.dropout = 0.1
        options.maximumLength = 16
        options.minimumCharacterCount = 1
        options.batchCaptions = 4
        options.holdOut = 4
        options.sampleCount = 3
        change(&options)
        return options
    }

    /// An embedding of a text that says which kind it is of.
    static func embed(_ texts: [String]) -> [[Float]] {
        texts.map { text in
            let vector: [Float] = (text.contains("狗") ? [1, 0] : [0, 1]) + [0.3, 0, 0, Float(text.count % 3) * 0.1]
            let length = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return vector.map { $0 / length }
        }
    }

    /// The same pictures with grids, in two views, and with embeddings that say nothing.
    func gridTable(in scratch: Scratch) throws -> EmbeddingTable {
        var random = SplitMix64(seed: 9)
        let files = try [1, 0].map { view in
            let url = scratch["grids-\(UUID().uuidString).safetensors"]
            let values = table.keys.indices.flatMap { index in
                (0..<4).flatMap { cell in
                    (0..<5).map { column in
                        let sign: Float = column == 0 && cell == 1 ? (index % 2 == 0 ? 2 : -2) : 0
                        return Float16(sign + Float.random(in: -0.1...0.1, using: &random))
                    }
                }
            }
            try EmbeddingFile.write(
                keys: table.keys, values: Array(repeating: 1, count: table.keys.count * Self.width), width: Self.width,
                grids: .init(shape: Self.grid, values: values), view: view, isNormalized: false, model: "towers",
                to: url)
            return url
        }
        return try EmbeddingTable(contentsOf: files)
    }

    func dataset(
        _ options: CaptionOptions, vocabulary: [String]? = nil,
        _ change: (inout CaptionDataset.Sources) -> Void = { _ in }
    ) async throws -> CaptionDataset {
        var sources = CaptionDataset.Sources(captions: captions, pictures: table)
        change(&sources)
        return try await CaptionDataset(sources, vocabulary: vocabulary, options: options) { Self.embed($0) }
    }
}

/// Every way to train a captioner, as small as it gets.
enum ToyCaptioner: String, CaseIterable, CustomTestStringConvertible {
    case mlp, transformer, bert, grid, t5, textOnly, frozen, reward, gridReward

    var testDescription: String { rawValue }

    func task(_ run: TrainingOptions, in scratch: Scratch) async throws -> any TrainingTask {
        Runtime.threadCount = 1
        let toy = try ToyCaptions()
        let options = ToyCaptions.options { options in
            switch self {
            case .transformer: options.mapper = .transformer
            case .bert: options.mapper = .bert
            case .grid, .gridReward:
                options.mapper = .grid
                options.cellDropout = 0.25
            case .t5: options.languageModel = .t5
            case .textOnly: options.addsModalityOffset = true
            case .frozen: options.tunesLanguageModel = false
            default: break
            }
        }
        switch self {
        case .frozen:
            let folder = scratch["lm-\(UUID().uuidString)"]
            let tokens = try await toy.dataset(options).tokens
            let store = ParameterStore(seed: 3)
            let shape = GPT2Configuration(
                vocabularySize: tokens.count, hiddenSize: 16, layerCount: 1, headCount: 2, positionCount: 24)
            _ = GPT2(shape, at: store.root)
            try ModelFolder.save(configuration: shape, store: store, to: folder)
            return try await CaptionTask(
                dataset: toy.dataset(options, vocabulary: tokens), options: options, training: run,
                start: .languageModel(ModelFolder(at: folder)))
        case .reward, .gridReward:
            let grids = self == .gridReward ? try toy.gridTable(in: scratch) : nil
            func dataset() async throws -> CaptionDataset {
                try await toy.dataset(options) { sources in grids.map { sources.pictures = $0 } }
            }
            // The same captioner each time, with weights large enough to write something.
            let first = try await CaptionTask(dataset: dataset(), options: options, training: toyRun())
            let folder = scratch["captioner-\(UUID().uuidString)"]
            try first.save(to: folder) { _ in nil }
            let opened = try ClipCap.open(folder)
            var reward = RewardOptions().with(.cider)
            reward.grammarWeight = 0.5
            reward.samples = 3
            reward.batchPictures = 3
            reward.maximumLength = 10
            return try await CaptionRewardTask(
                dataset: dataset(), caption: options, options: reward, training: run, captioner: opened, clip: nil)
        case .grid:
            let grids = try toy.gridTable(in: scratch)
            return try await CaptionTask(
                dataset: toy.dataset(options) { $0.pictures = grids }, options: options, training: run)
        default:
            return try await CaptionTask(
                dataset: toy.dataset(options) { $0.isTextOnly = self == .textOnly }, options: options, training: run)
        }
    }
}

@Suite struct CaptionRecipeTests {
    private func content(of folder: URL) throws -> (tensors: [String: [UInt8]], metadata: [String: String]) {
        let file = try SafetensorsFile(contentsOf: folder.appending(path: "checkpoint.safetensors"))
        return (
            Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, $0.contiguousBytes()) }), file.metadata
        )
    }

    @discardableResult
    private func train(
        _ toy: ToyCaptioner, _ run: TrainingOptions, _ scratch: Scratch, _ name: String, resume: Bool = false,
        interruptedAt limit: Int? = nil
    ) async throws -> TrainingOutcome {
        try TrainingTests.train(
            await toy.task(run, in: scratch), run, in: scratch[name], resume: resume, interruptedAt: limit)
    }

    @Test(arguments: ToyCaptioner.allCases)
    func aContinuedRunIsBitForBitTheUninterruptedOne(_ toy: ToyCaptioner) async throws {
        let scratch = try Scratch()
        let run = toyRun()
        #expect(try await train(toy, run, scratch, "whole") == .finished)
        #expect(try await train(toy, run, scratch, "parts", interruptedAt: 3) == .interrupted)
        #expect(try await train(toy, run, scratch, "parts", resume: true) == .finished)
        let (whole, parts) = (try content(of: scratch["whole"]), try content(of: scratch["parts"]))
        let different = Set(whole.tensors.keys).union(parts.tensors.keys).filter {
            whole.tensors[$0] != parts.tensors[$0]
        }
        #expect(different.isEmpty, "\(different.sorted().prefix(5))")
        #expect(whole.metadata == parts.metadata)
    }

    /// Batches side by side are summed as one after the other, dropout and noise included.
    @Test(arguments: [ToyCaptioner.mlp, .grid, .textOnly])
    func workersDoNotChangeARun(_ toy: ToyCaptioner) async throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 3)
        try await train(toy, run, scratch, "one")
        run.workers = 2
        try await train(toy, run, scratch, "two")
        let (one, two) = (try content(of: scratch["one"]).tensors, try content(of: scratch["two"]).tensors)
        #expect(one.keys == two.keys && !one.isEmpty)
        #expect(one.keys.filter { one[$0] != two[$0] }.isEmpty)
    }

    @Test(arguments: [ToyCaptioner.mlp, .transformer, .bert, .t5, .textOnly])
    func aFewStepsTellTwoKindsOfPicturesApart(_ toy: ToyCaptioner) async throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 120)
        run.learningRate = 0.01
        run.accumulation = 1
        run.averageDecay = 0
        run.validateEvery = 120
        try await train(toy, run, scratch, "run")
        let folder = scratch["run"].appending(path: "best")
        let opened = try ClipCap.open(folder)
        let tokenizer = try BertTokenizer(folder: folder)
        let pictures = Tensor([2, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0] as [Float], [2, 6])
        let texts = try TextGenerator(withoutGradients { opened.model.source(pictures) })
            .generate([TextPrompt(), TextPrompt()], .greedy(rules: opened.model.rules(tokenizer, maximumLength: 16)))
        let captions = texts.map { tokenizer.decode($0[0].ids) }
        #expect(captions[0].contains("狗") && captions[1].contains("孩"), "\(captions)")
        #expect(texts.allSatisfy { $0[0].stop != nil })
        #expect(opened.model.configuration.normalizesEmbedding)
    }

    /// The embeddings are all alike, so that what is written comes of a cell.
    @Test func aFewStepsTellGridsApart() async throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 120)
        run.learningRate = 0.01
        run.accumulation = 1
        run.averageDecay = 0
        run.validateEvery = 120
        try await train(.grid, run, scratch, "run")
        let folder = scratch["run"].appending(path: "best")
        let opened = try ClipCap.open(folder)
        #expect(opened.model.configuration.cellCount == 4 && opened.model.configuration.cellWidth == 5)
        #expect(opened.model.configuration.clipModel == "towers")
        let tokenizer = try BertTokenizer(folder: folder)
        var cells = [Float](repeating: 0, count: 2 * 4 * 5)
        (cells[5], cells[25]) = (2, -2)
        let source = withoutGradients { opened.model.source(.ones([2, 6]), grid: Tensor(cells, [2, 4, 5])) }
        let texts = try TextGenerator(source)
            .generate([TextPrompt(), TextPrompt()], .greedy(rules: opened.model.rules(tokenizer, maximumLength: 16)))
        let captions = texts.map { tokenizer.decode($0[0].ids) }
        #expect(captions[0].contains("狗") && captions[1].contains("孩"), "\(captions)")
    }

    /// Rows come from the files in any order, the picture as it is before its other views, cells as they are asked for.
    @Test func viewsAndGridsOfAPictureAreFound() throws {
        let scratch = try Scratch()
        func file(_ view: Int, _ keys: [String], _ name: String, cells: Int = 3) throws -> URL {
            let first = Float(10 * view)
            try EmbeddingFile.write(
                keys: keys, values: keys.indices.map { first + Float($0) }, width: 1,
                grids: .init(
                    shape: GridShape(cells: cells, width: 2),
                    values: (0..<keys.count * cells * 2).map { Float16(100 * view + $0) }),
                view: view, isNormalized: false, model: "m", to: scratch[name])
            return scratch[name]
        }
        let files = [
            try file(2, ["b", "a"], "two"), try file(0, ["a", "b", "c"], "plain"), try file(1, ["c"], "one"),
        ]
        let table = try EmbeddingTable(contentsOf: files)
        let rows = try ["a", "b", "c"].map { try #require(table.row(of: $0)) }
        #expect(rows == [2, 3, 4] && table.views == [2: [1], 3: [0], 4: [5]])
        #expect(rows.map { Array(table[$0]) } == [[0], [1], [2]] && Array(table[1]) == [21])
        let grids = try #require(table.grids)
        #expect(grids.tensor([3]).floats == [6, 7, 8, 9, 10, 11] && grids.tensor([3]).shape == [1, 3, 2])
        #expect(grids.tensor([5, 1], cells: [[2, 0], [1, 1]]).floats == [104, 105, 100, 101, 208, 209, 208, 209])
        let again = #expect(throws: TrainingError.self) { try EmbeddingTable(contentsOf: [files[1], files[1]]) }
        #expect(again?.description.contains("twice") == true)
        let other = try file(3, ["a"], "other", cells: 4)
        let odd = #expect(throws: TrainingError.self) { try EmbeddingTable(contentsOf: files + [other]) }
        #expect(odd?.description.contains("grids") == true)
    }

    @Test func aGridMapperNeedsGridsAndPictures() async throws {
        let scratch = try Scratch()
        let toy = try ToyCaptions()
        let options = ToyCaptions.options { $0.mapper = .grid }
        let without = try await toy.dataset(options)
        let missing = #expect(throws: TrainingError.self) {
            try CaptionTask(dataset: without, options: options, training: toyRun())
        }
        #expect(missing?.description.contains("no grids") == true)
        let texts = await #expect(throws: TrainingError.self) {
            try await toy.dataset(options) { $0.isTextOnly = true }
        }
        #expect(texts?.description.contains("texts have no grid") == true)
        let grids = try toy.gridTable(in: scratch)
        let task = try await CaptionTask(
            dataset: toy.dataset(options) { $0.pictures = grids }, options: options, training: toyRun())
        try task.save(to: scratch["captioner"]) { _ in nil }
        // A captioner that goes on brings its mapper along, whatever the options say.
        let plain = ToyCaptions.options()
        let further = try await toy.dataset(plain, vocabulary: task.dataset.tokens)
        let refused = #expect(throws: TrainingError.self) {
            try CaptionTask(
                dataset: further, options: plain, training: toyRun(),
                start: .captioner(ClipCap.open(scratch["captioner"])))
        }
        #expect(refused?.description.contains("no grids") == true)
        let styled = try await toy.dataset(plain, vocabulary: task.dataset.tokens) {
            $0.pictures = grids
            $0.sentences = ["一只狗", "海边的孩子"]
        }
        let style = #expect(throws: TrainingError.self) {
            try CaptionTask(
                dataset: styled, options: plain, training: toyRun(),
                start: .captioner(ClipCap.open(scratch["captioner"])))
        }
        #expect(style?.description.contains("texts have no grid") == true)
    }

    @Test func frozenParametersKeepTheirBytesAndHaveNoMoments() async throws {
        let scratch = try Scratch()
        var run = toyRun(steps: 3)
        run.averageDecay = 0
        let before = try await ToyCaptioner.frozen.task(run, in: scratch)
        let frozen = before.isFrozen
        let names = before.store.entries.map(\.name).filter(frozen)
        #expect(!names.isEmpty && names.count < before.store.entries.count)
        let start = Dictionary(uniqueKeysWithValues: before.store.entries.map { ($0.name, $0.tensor.floats) })
        try TrainingTests.train(before, run, in: scratch["run"])
        for entry in before.store.entries {
            #expect((entry.tensor.floats == start[entry.name]) == frozen(entry.name), "\(entry.name)")
        }
        let stored = try content(of: scratch["run"]).tensors.keys
        #expect(
            !stored.contains { $0.hasPrefix("first/gpt2.") } && stored.contains { $0.hasPrefix("first/clip_project.") })
    }

    /// So many times the batches of an epoch, until the task is told another number.
    @Test func theEpochsOfTheOptionsAreTheRuns() async throws {
        let scratch = try Scratch()
        let options = ToyCaptions.options { $0.epochs = 2 }
        for (epochs, name) in [(2, "two"), (0, "none")] {
            let task = try await CaptionTask(
                dataset: ToyCaptions().dataset(options), options: options, training: toyRun())
            #expect(task.epochs == 2)
            task.epochs = epochs
            try TrainingTests.train(task, toyRun(steps: 1), in: scratch[name])
            let steps = epochs > 0 ? epochs * task.batchCount(epoch: 0) : 1
            #expect(RunCheckpoint(folder: scratch[name]).options?.steps == steps && steps != 2)
        }
    }

    @Test func aNewLanguageModelCannotBeFrozen() async throws {
        let options = ToyCaptions.options { $0.tunesLanguageModel = false }
        let dataset = try await ToyCaptions().dataset(options)
        #expect(throws: TrainingError.self) { try CaptionTask(dataset: dataset, options: options, training: toyRun()) }
    }

    @Test func paddingAndUnknownTokensAreNotLearned() async throws {
        let run = toyRun()
        let options = ToyCaptions.options { $0.dropout = 0 }
        let dataset = try await ToyCaptions().dataset(options)
        let task = try CaptionTask(dataset: dataset, options: options, training: run)
        let rows = LearnedTokens(captions: [[7, 8, 3], [9, 1, 10, 11, 3]], unknown: 1, device: .cpu)
        #expect(rows.width == 5)
        #expect(rows.places == [0, 1, 2, 5, 7, 8, 9])
        // A batch's loss is the mean over the tokens of its captions, one by one.
        let batch = try withoutGradients { try task.loss(epoch: 0, batch: 0) }
        #expect(batch.units == 4 * 11 || batch.units == 4 * 7 || batch.units > 4 * 6)
        var sum = 0.0
        var count = 0
        for index in 0..<task.batchCount(epoch: 0) {
            let loss = try withoutGradients { try task.loss(epoch: 0, batch: index) }
            sum += loss.loss.item * Double(loss.units)
            count += loss.units
        }
        var single = options
        single.batchCaptions = 1
        let alone = try CaptionTask(dataset: dataset, options: single, training: run)
        var other = 0.0
        for index in 0..<alone.batchCount(epoch: 0) {
            let loss = try withoutGradients { try alone.loss(epoch: 0, batch: index) }
            other += loss.loss.item * Double(loss.units)
        }
        #expect(abs(sum - other) < 1e-3 * abs(other), "\(sum) \(other)")
        #expect(count == dataset.training.reduce(0) { $0 + $1.ids.count })
    }

    @Test func allCaptionsOfAPictureAreOnOneSide() async throws {
        let dataset = try await ToyCaptions().dataset(ToyCaptions.options())
        let held = Set(dataset.heldOut.map(\.row))
        #expect(!held.isEmpty)
        #expect(Set(dataset.training.map(\.row)).isDisjoint(with: held))
        #expect(Set(dataset.validation.map(\.row)) == held)
        #expect(dataset.training.count + dataset.validation.count == 24)
    }

    @Test func captionsWithoutAnEmbeddingAreCounted() async throws {
        let dataset = try await ToyCaptions().dataset(ToyCaptions.options()) {
            $0.captions += [
                CaptionFile.Caption(image: "nobody", text: "一只猫"), CaptionFile.Caption(image: "p0", text: " "),
            ]
        }
        #expect(dataset.dropped["without an embedding"] == 1)
        #expect(dataset.dropped["empty"] == 1)
        await #expect(throws: TrainingError.self) {
            try await ToyCaptions().dataset(ToyCaptions.options()) {
                $0.captions = [CaptionFile.Caption(image: "nobody", text: "一只猫")]
            }
        }
    }

    @Test(arguments: [256, 512, 640, 1024])
    func theNoiseIsAsLongAtEveryWidth(_ width: Int) {
        Runtime.threadCount = 1
        let unit = Tensor.ones([4000, width]).normalized()
        let moved = CaptionNoise.applied(to: unit, variance: 0.016, offset: nil, generator: Generator(seed: 1))
        let cosine = (unit * moved).sum(1).mean().item
        // |noise| = sqrt(640 * 0.016) = 3.2 against a signal of 1.
        #expect(abs(cosine - 1 / (1 + 3.2 * 3.2).squareRoot()) < 0.01, "\(cosine)")
        #expect(abs(moved.norm(-1).mean().item - 1) < 1e-5)
        let still = CaptionNoise.applied(to: unit, variance: 0, offset: nil, generator: Generator(seed: 1))
        #expect((still - unit).abs().max(0).max(0).item < 1e-6)
    }

    @Test func theModalityOffsetLeadsFromTextsToPictures() async throws {
        let toy = try ToyCaptions()
        let dataset = try await toy.dataset(ToyCaptions.options()) { $0.isTextOnly = true }
        let offset = try #require(dataset.modalityOffset)
        let texts = ToyCaptions.embed(["草地上的狗。", "海边的孩子。"])
        let pictures = [toy.table[0], toy.table[1]].map { vector in
            let length = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return vector.map { $0 / length }
        }
        func mean(_ rows: [[Float]]) -> [Float] {
            (0..<6).map { i in rows.reduce(0) { $0 + $1[i] } / Float(rows.count) }
        }
        func distance(_ a: [Float], _ b: [Float]) -> Float {
            zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        }
        let moved = zip(mean(texts), offset).map { $0 + $1 }
        #expect(distance(moved, mean(pictures)) < 0.3 * distance(mean(texts), mean(pictures)))
        #expect(dataset.training.allSatisfy { $0.row >= dataset.firstText })
    }

    @Test func aCaptionerTakesOnlyEmbeddingsOfItsWidth() async throws {
        let scratch = try Scratch()
        let toy = try ToyCaptions()
        let options = ToyCaptions.options()
        let dataset = try await toy.dataset(options)
        let task = try CaptionTask(dataset: dataset, options: options, training: toyRun())
        try task.save(to: scratch["captioner"]) { _ in nil }
        let wide = try EmbeddingTable(
            keys: toy.table.keys, vectors: toy.table.keys.indices.map { Array(toy.table[$0]) + [0] })
        let other = try await toy.dataset(options, vocabulary: dataset.tokens) { $0.pictures = wide }
        let error = #expect(throws: TrainingError.self) {
            try CaptionTask(
                dataset: other, options: options, training: toyRun(),
                start: .captioner(ClipCap.open(scratch["captioner"])))
        }
        #expect(error?.description.contains("7 wide, but the captioner takes 6") == true)
    }

    @Test(arguments: [("", "no sentence"), ("一句\n", "one sentence only"), ("一句\n\n一句\n", "one sentence only")])
    func aStyleTakesMoreThanOneSentence(_ text: String, _ expected: String) throws {
        let scratch = try Scratch()
        let style = try scratch.write(text, to: "style.txt")
        let error = #expect(throws: TrainingError.self) { try readSentences(style) }
        #expect(error?.description.contains(expected) == true)
    }

    @Test func linesWithoutATabAreNamed() throws {
        let scratch = try Scratch()
        let file = try scratch.write("a\t一只狗\nb 一只猫\n", to: "captions.tsv")
        let error = #expect(throws: DataFileError.self) { try CaptionFile(contentsOf: file) }
        #expect(error?.description.contains("line 2") == true)
        let good = try scratch.write("a.jpg\t一只狗\n\nb\t一只 猫\n", to: "good.tsv")
        #expect(
            try CaptionFile(contentsOf: good).captions == [
                .init(image: "a", text: "一只狗"), .init(image: "b", text: "一只 猫"),
            ])
        let flickr = try scratch.write("a.jpg#zhc#0 一只狗\n", to: "flickr.txt")
        #expect(try CaptionFile(contentsOf: flickr).captions == [.init(image: "a", text: "一只狗", language: "zhc")])
    }

    @Test func aLongCaptionIsCutWithoutAnEnd() async throws {
        let options = ToyCaptions.options { $0.maximumLength = 6 }
        let dataset = try await ToyCaptions().dataset(options)
        let end = dataset.tokenizer.separatorID
        #expect(dataset.training.allSatisfy { $0.ids.count <= 6 })
        #expect(dataset.training.contains { $0.ids.last != end })
        #expect(Set(dataset.training.map { $0.ids.contains(end) }).contains(false))
    }

    @Test func theRecipesOfTheRepositoryAreRead() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Recipes")
        for name in ["caption-seed", "caption-mini", "caption-reward"] {
            let file = try RecipeFile(contentsOf: root.appending(path: "\(name).json"))
            try file.section("caption", or: CaptionOptions()).validate()
            try file.section("training", or: TrainingOptions()).validate()
        }
        let seed = try RecipeFile(contentsOf: root.appending(path: "caption-seed.json"))
        let options = try seed.section("caption", or: CaptionOptions())
        #expect(
            options.batchCaptions == 40 && options.epochs == 40 && options.prefixLength == 10
                && options.constantLength == 10)
        let training = try seed.section("training", or: TrainingOptions())
        #expect(training.learningRate == 2e-5 && training.warmup == 5000 && training.schedule == .linear)
    }
}

@Suite struct CaptionRewardTests {
    @Test(arguments: [([5, 6, 7, 8], 0), ([5, 5], 0.5), ([], 0), ([5], 0)] as [([Int32], Double)])
    func repetitionIsAShare(_ ids: [Int32], _ expected: Double) {
        #expect(abs(CaptionGrammar.repetition(ids) - expected) < 1e-9)
    }

    @Test func whatRepeatsItselfOrIsCutOffIsWorse() {
        let plain: [Int32] = [5, 6, 7, 8, 9, 10]
        let heap: [Int32] = [5, 6, 5, 6, 5, 6]
        #expect(CaptionGrammar.score(plain, isFinished: true) == 0)
        #expect(CaptionGrammar.score(heap, isFinished: true) < CaptionGrammar.score(plain, isFinished: true))
        #expect(CaptionGrammar.score(plain, isFinished: false) == -1)
        #expect(CaptionGrammar.score([], isFinished: true) == -1)
        #expect(CaptionGrammar.repetition(heap) < 1)
    }

    /// Where only the grammar term counts, a captioner that babbles learns to come to an end.
    @Test func trainingByRewardRaisesIt() async throws {
        Runtime.threadCount = 1
        let scratch = try Scratch()
        let toy = try ToyCaptions()
        let options = ToyCaptions.options { options in
            options.dropout = 0
            options.sampleCount = 12
        }
        let dataset = try await toy.dataset(options)
        try CaptionTask(dataset: dataset, options: options, training: toyRun()).save(to: scratch["first"]) { _ in nil }
        var reward = RewardOptions()
        (reward.clipWeight, reward.ciderWeight, reward.grammarWeight, reward.likelihoodWeight) = (0, 0, 1, 0)
        reward.samples = 8
        reward.batchPictures = 4
        reward.maximumLength = 10
        var run = toyRun(steps: 60)
        run.accumulation = 1
        run.learningRate = 0.003
        run.averageDecay = 0
        run.weightDecay = 0
        run.validateEvery = 100
        let task = try CaptionRewardTask(
            dataset: dataset, caption: options, options: reward, training: run,
            captioner: ClipCap.open(scratch["first"]),
            clip: nil)
        func missed() throws -> Double { try withoutGradients { try task.validate()[0].value } }
        let before = try missed()
        try Trainer(task, options: run, folder: scratch["reward"], resume: false, quiet: true).run()
        let after = try missed()
        #expect(before > 1 && after < 0.4 * before, "\(before) -> \(after)")
    }

    @Test(arguments: [#"{"samples": 1}"#, #"{"clipWeight": -1}"#, #"{"clipWeight": 0, "grammarWeight": 0}"#])
    func optionsOutOfRangeAreErrors(_ json: String) throws {
        let scratch = try Scratch()
        let file = try RecipeFile(contentsOf: scratch.write(#"{"reward": \#(json)}"#, to: "recipe.json"))
        let options = try file.section("reward", or: RewardOptions())
        #expect(throws: TrainingError.self) { try options.validate() }
    }

    /// Another mapper in front of the language model of a captioner: frozen, it stays as it was.
    @Test func aCaptionersLanguageModelCanBeTaken() async throws {
        Runtime.threadCount = 1
        let scratch = try Scratch()
        let toy = try ToyCaptions()
        let options = ToyCaptions.options()
        let first = try await CaptionTask(dataset: toy.dataset(options), options: options, training: toyRun())
        try first.save(to: scratch["captioner"]) { _ in nil }
        let opened = try ClipCap.open(scratch["captioner"])

        let frozen = ToyCaptions.options {
            $0.mapper = .transformer
            $0.constantLength = 2
            $0.tunesLanguageModel = false
        }
        let tokens = try await toy.dataset(options).tokens
        let task = try await CaptionTask(
            dataset: toy.dataset(frozen, vocabulary: tokens), options: frozen, training: toyRun(),
            start: .languageModelOf(opened))
        func language(_ store: ParameterStore) -> [String: [Float]] {
            Dictionary(
                uniqueKeysWithValues: store.parameters.filter { $0.name.hasPrefix("gpt2.") }.map {
                    ($0.name, $0.tensor.floats)
                })
        }
        #expect(language(task.store) == language(opened.store) && !language(task.store).isEmpty)
        let mappers = task.store.parameters.filter { !$0.name.hasPrefix("gpt2.") }
        let before = mappers.map(\.tensor.floats)
        try train(task, toyRun(), in: scratch["run"])
        #expect(language(task.store) == language(opened.store))
        #expect(before != mappers.map(\.tensor.floats))
    }
}
