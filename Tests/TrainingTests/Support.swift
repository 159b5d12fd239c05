import Foundation
import Testing
import TihuaCorpora
import TihuaFiles
import TihuaModels
import TihuaNN
import TihuaPictures
import TihuaTestSupport
import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

@testable import TihuaTraining

/// A folder that goes away with the test.
final class Scratch {
    let url = FileManager.default.temporaryDirectory.appending(path: "training-\(UUID().uuidString)")

    init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(at: url) }

    subscript(name: String) -> URL { url.appending(path: name) }

    @discardableResult
    func write(_ text: String, to name: String) throws -> URL {
        try Data(text.utf8).write(to: self[name])
        return self[name]
    }
}

/// Quatrains of common characters without sense, the same for a seed; keywords stand in them.
func toyPoems(_ count: Int, syllables: Int = 5, seed: UInt64 = 1) -> [CorpusPoem] {
    let characters = Array("山水云月风花雪江天日春秋夜人心归去来见无有一不知何处青白黄红远近高低长空")
    var random = SplitMix64(seed)
    return (0..<count).map { _ in
        let lines = (0..<4).map { _ in
            String((0..<syllables).map { _ in characters.randomElement(using: &random) ?? "山" })
        }
        return CorpusPoem(form: "", lines: lines, keywords: [String(lines[0].prefix(2)), String(lines[1].suffix(2))])
    }
}

func toyPoetOptions() -> PoetOptions {
    var options = PoetOptions()
    options.hiddenSize = 32
    options.layerCount = 1
    options.headCount = 2
    options.positionCount = 96
    options.batchTokens = 400
    options.dropout = 0.1
    options.minimumCharacterCount = 1
    options.holdOut = 8
    return options
}

/// Few steps in float32 with everything that a checkpoint must keep: accumulation, averages, a schedule.
func toyRun(steps: Int = 6) -> TrainingOptions {
    var options = TrainingOptions()
    options.steps = steps
    options.accumulation = 2
    options.learningRate = 3e-3
    options.warmup = 2
    options.averageDecay = 0.9
    options.validateEvery = 2
    options.checkpointEvery = 100
    options.logEvery = 2
    options.precision = .float32
    return options
}

/// Two shards of eight pictures of one colour each with a slope in it, by label and by caption; the first has a
/// teacher.
struct ToyPictures {
    let labelled: PictureSet
    let captioned: PictureSet
    static let side = 36

    init(in scratch: Scratch, decodedTo side: Int = side) throws {
        let folder = scratch["pictures"]
        func write(_ data: Data, _ path: String) throws {
            let file = folder.appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try data.write(to: file)
        }
        let labels = try scratch.write("warm\t红色的山\nwarm\t红山\ncold\t蓝色的水\n", to: "labels.tsv")
        var captions = ""
        for index in 0..<8 {
            let label = index % 2 == 0 ? "warm" : "cold"
            try write(Self.png(warm: index % 2 == 0, slope: index), "labelled/\(label)/\(index).png")
            try write(Self.png(warm: index % 2 == 1, slope: index), "captioned/c\(index).png")
            captions += "c\(index)#zhc#0 \(index % 2 == 1 ? "红" : "蓝")色的第\(index)张\n"
        }
        let captionFile = try scratch.write(captions, to: "captions.txt")
        for name in ["labelled", "captioned"] {
            try Self.tar(folder.appending(path: name), to: scratch["\(name).tar"])
        }
        // Rows in the order of the shard: half of the probability on one class, half on another.
        let classes = (0..<16).map { Int16($0 % 2 == 0 ? 7 : 1000) }
        let probabilities = [UInt8](repeating: 100, count: 16)
        let tensors: [SafetensorsWriter.Source] = [
            .init(name: "class", elementType: .int16, shape: [8, 2]) { sink in
                try classes.withUnsafeBytes { try sink.write($0) }
            },
            .init(name: "prob_u8", elementType: .uint8, shape: [8, 2]) { try $0.write(probabilities) },
        ]
        try SafetensorsWriter.write(tensors, to: scratch["teacher.safetensors"])
        func open(_ source: PictureSet.Source) throws -> PictureSet {
            try PictureSet(source, side: side, cache: scratch["cache"], report: { _ in })
        }
        labelled = try open(
            .init(shard: scratch["labelled.tar"], labels: labels, teacher: scratch["teacher.safetensors"]))
        captioned = try open(.init(shard: scratch["captioned.tar"], captions: [captionFile]))
    }

    /// Brighter to the right and further down.
    private static func png(warm: Bool, slope: Int) throws -> Data {
        let pixels = (0..<side * side).flatMap { place -> [UInt8] in
            let light = UInt8(20 + (2 + slope % 2) * (place % side) + 2 * (place / side))
            return warm ? [light, light / 2, light / 2] : [light / 2, light / 2, light]
        }
        return Data(try Picture(width: side, height: side, bytes: pixels).encoded(as: .png))
    }

    private static func tar(_ folder: URL, to archive: URL) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["tar", "--sort=name", "-cf", archive.path, "-C", folder.path, "."]
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
    }
}

func toyClipOptions() -> ClipOptions {
    var options = ClipOptions()
    options.imageSize = 32
    options.stages = [1, 1, 1, 1]
    options.width = 4
    options.hiddenSize = 32
    options.layerCount = 1
    options.patchSize = 8
    options.textHiddenSize = 32
    options.textLayerCount = 1
    options.projectionSize = 16
    options.batchPictures = 5
    options.batchPairs = 2
    options.batchWords = 3
    options.holdOut = 4
    return options
}

func toyLessons(in scratch: Scratch) throws -> ImageryLessons {
    let rules = try scratch.write("丹山\twarm\t红色\n碧水\tcold t:7\t蓝色\n白雪\t\t雪\n", to: "imagery.tsv")
    return try ImageryLessons(
        rules: ImageryRules(contentsOf: rules),
        bank: [("丹山", ["红山"]), ("明月", ["月"]), ("碧水", ["蓝色的水", "水"]), ("白雪", ["雪"])])
}

func toyClipTask(
    in scratch: Scratch, _ run: TrainingOptions, from folder: ModelFolder? = nil,
    _ change: (inout ClipOptions) -> Void = { _ in }
) throws -> ClipTask {
    var options = toyClipOptions()
    change(&options)
    let pictures = try ToyPictures(in: scratch, decodedTo: max(ToyPictures.side, options.imageSize))
    let pairs = [TextPair("红色的山", "丹山"), TextPair("蓝色的水", "碧水"), TextPair("山水", "丹山碧水")]
    let texts = (pictures.labelled.items + pictures.captioned.items).flatMap(\.captions)
    return try ClipTask(
        sets: [pictures.labelled], validationSets: [pictures.captioned], pairs: pairs,
        vocabulary: ClipVocabulary.tokens(captions: texts, always: pairs.flatMap { [$0.first, $0.second] }),
        options: options, training: run, imagery: toyLessons(in: scratch), continuing: folder)
}

/// First weights of two towers as small as they get: random ones, in the forms of the published files.
func toyFirstWeights(in scratch: Scratch) throws -> FirstWeights {
    var configuration = EfficientNetConfiguration()
    configuration.widthCoefficient = 0.25
    let store = ParameterStore(seed: 8)
    _ = EfficientNet(configuration, at: store.root)
    try ModelFolder.save(configuration: configuration, store: store, to: scratch["vision"])
    var first = FirstWeights(
        vision: scratch["vision"], text: fixture("Models/sentences"), cache: scratch["cache"])
    (first.options.visionHeadSize, first.options.textHeadSize, first.options.views) = (16, 16, 2)
    first.classNames = (0..<1000).map { "第\($0)类" }
    return first
}

func toyDualTask(
    in scratch: Scratch, _ run: TrainingOptions, from folder: ModelFolder? = nil,
    _ change: (inout FirstWeights) -> Void = { _ in }
) throws -> ClipTask {
    var options = toyClipOptions()
    options.captionsPerPicture = 2
    let pictures = try ToyPictures(in: scratch)
    var first = try toyFirstWeights(in: scratch)
    change(&first)
    return try ClipTask(
        sets: [pictures.labelled], validationSets: [pictures.captioned], pairs: [TextPair("红色的山", "丹山")],
        vocabulary: [], options: options, training: run, imagery: toyLessons(in: scratch), continuing: folder,
        first: first)
}

/// Every recipe, as small as it gets.
enum Toy: String, CaseIterable, CustomTestStringConvertible {
    case gpt2, t5, image2poemGPT2, image2poemT5, clipResNet, clipTransformer, dualHeads, dualTuned

    var testDescription: String { rawValue }

    func task(_ run: TrainingOptions, in scratch: Scratch, _ change: (inout PoetOptions) -> Void = { _ in }) throws
        -> any TrainingTask
    {
        Runtime.threadCount = 1
        var options = toyPoetOptions()
        change(&options)
        var shape = T5Options()
        shape.innerSize = 64
        shape.headSize = 16
        shape.isGated = self == .t5
        func dataset() -> PoemDataset { PoemDataset(poems: toyPoems(48), words: [], options: options.dataset) }
        switch self {
        case .gpt2: return try PoetTask(dataset: dataset(), options: options, training: run)
        case .t5:
            return try T5PoetTask(dataset: dataset(), options: options, shape: shape, format: .tihua, training: run)
        case .image2poemGPT2:
            return try Image2PoemTask(dataset: dataset(), options: options, objective: .init(), training: run)
        case .image2poemT5:
            return try T5PoetTask(
                dataset: dataset(), options: options, shape: shape, format: .image2poem(.init()), training: run)
        case .clipResNet: return try toyClipTask(in: scratch, run)
        case .clipTransformer: return try toyClipTask(in: scratch, run) { $0.tower = .vit }
        case .dualHeads: return try toyDualTask(in: scratch, run)
        case .dualTuned: return try toyDualTask(in: scratch, run) { $0.options.tunedBlocks = 2 }
        }
    }
}

/// Trains in `folder`; `interruptedAt` asks for the end after so many steps of this part.
@discardableResult
func train(
    _ task: some TrainingTask, _ run: TrainingOptions, in folder: URL, resume: Bool = false,
    interruptedAt limit: Int? = nil
) throws -> TrainingOutcome {
    Runtime.threadCount = 1
    let trainer = try Trainer(task, options: run, folder: folder, resume: resume, quiet: true)
    var steps = 0
    return try trainer.run {
        steps += 1
        return steps == limit
    }
}
