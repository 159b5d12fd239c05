import Foundation
import Testing
import TihuaCorpora
import TihuaEncoders
import TihuaModels
import TihuaNN
import TihuaTestSupport
import TihuaTorch

@testable import TihuaTraining

@Suite struct DualEncoderTests {
    private func values(_ task: ClipTask) -> [String: [Float]] {
        Dictionary(uniqueKeysWithValues: task.store.entries.map { ($0.name, $0.tensor.to(.float32).floats) })
    }

    /// What the trainer moves, by the beginning of its names.
    @Test(arguments: [0, 2])
    func onlyWhatIsTunedMoves(blocks: Int) throws {
        let scratch = try Scratch()
        let run = toyRun()
        let task = try toyDualTask(in: scratch, run) { $0.options.tunedBlocks = blocks }
        let before = values(task)
        try train(task, run, in: scratch["run"])
        let moved = values(task).filter { before[$0.key] != $0.value }.keys
        func isMoved(_ prefix: String) -> Bool { moved.contains { $0.hasPrefix(prefix) } }
        #expect(isMoved("visual_projection.") && isMoved("text_projection.") && isMoved("classes."))
        #expect(!isMoved("text_model.") && !isMoved("vision_model._blocks.13.") && !isMoved("vision_model._conv_stem."))
        #expect(
            isMoved("vision_model._blocks.14.") == (blocks == 2) && isMoved("vision_model._conv_head.") == (blocks == 2)
        )
        // The norms keep the statistics that they came with.
        #expect(!moved.contains { $0.hasSuffix("running_mean") || $0.hasSuffix("running_var") })
    }

    @Test func theSavedFolderEmbedsAsTheTaskDoes() throws {
        let scratch = try Scratch()
        var run = toyRun()
        run.averageDecay = 0
        let task = try toyDualTask(in: scratch, run)
        try train(task, run, in: scratch["run"])
        let encoder = try PictureTextEncoder(folder: scratch["run"].appending(path: "best"), device: .cpu)
        #expect(encoder.width == 8 && encoder.preprocessing.size == 32)
        let rows = try encoder.encode(["丹山", "碧水"])
        #expect(rows.allSatisfy { abs($0.reduce(0) { $0 + $1 * $1 } - 1) < 1e-4 } && rows[0] != rows[1])
        let again = try toyDualTask(in: scratch, run, from: ModelFolder(at: scratch["run"].appending(path: "best")))
        // Weights are stored in 16 bits.
        for (name, value) in values(again) where name.hasPrefix("visual_projection") {
            for (a, b) in zip(value, values(task)[name] ?? []) {
                #expect(abs(a - b) <= 0.01 * abs(b) + 1e-6, "\(name)")
            }
        }
    }

    @Test func featuresOfOtherWeightsAreNotTaken() throws {
        let scratch = try Scratch()
        _ = try toyDualTask(in: scratch, toyRun())
        func features() throws -> Set<String> {
            Set(
                try FileManager.default.contentsOfDirectory(atPath: scratch["cache"].path).filter {
                    $0.hasSuffix(".features")
                })
        }
        let first = try features()
        // Two cuts of each of two sets.
        #expect(first.count == 4)
        let store = ParameterStore(seed: 9)
        var configuration = EfficientNetConfiguration()
        configuration.widthCoefficient = 0.25
        _ = EfficientNet(configuration, at: store.root)
        try ModelFolder.save(configuration: configuration, store: store, to: scratch["other"])
        _ = try toyDualTask(in: scratch, toyRun()) { $0.vision = scratch["other"] }
        #expect(try features().subtracting(first).count == 4)
    }

    @Test func aDamagedCacheIsNamed() throws {
        let scratch = try Scratch()
        _ = try toyDualTask(in: scratch, toyRun())
        let files = try FileManager.default.contentsOfDirectory(at: scratch["cache"], includingPropertiesForKeys: nil)
        let features = try #require(files.filter { $0.pathExtension == "features" }.min { $0.path < $1.path })
        let vectors = try #require(files.first { $0.pathExtension == "vectors" })
        for file in [features, vectors] {
            let whole = try Data(contentsOf: file)
            try FileManager.default.removeItem(at: file)
            try FileManager.default.copyItem(
                at: fixture("Models/efficientnet-lite0-64.golden.safetensors"), to: file)
            #expect { _ = try toyDualTask(in: scratch, toyRun()) } throws: { "\($0)".contains(file.lastPathComponent) }
            try FileManager.default.removeItem(at: file)
            try whole.write(to: file)
        }
    }

    @Test func firstWeightsWithoutTheClassesOfImageNetAreRefused() throws {
        let scratch = try Scratch()
        var configuration = EfficientNetConfiguration()
        (configuration.widthCoefficient, configuration.classCount) = (0.25, 7)
        let store = ParameterStore(seed: 8)
        _ = EfficientNet(configuration, at: store.root)
        try ModelFolder.save(configuration: configuration, store: store, to: scratch["seven"])
        #expect(throws: TrainingError.self) { try toyDualTask(in: scratch, toyRun()) { $0.vision = scratch["seven"] } }
    }

    @Test func namesOfClassesAreReadInTheirOrder() throws {
        let scratch = try Scratch()
        let lines = (0..<1000).map { "\($0)\t名\($0)\t类" }
        func file(_ lines: [String]) throws -> URL {
            try scratch.write("index\tname\tkind\n" + lines.joined(separator: "\n") + "\n", to: "classes.tsv")
        }
        let names = try ClassNames.read(file(lines))
        #expect(names.count == 1000 && names[0] == "名0" && names[999] == "名999")
        #expect { try ClassNames.read(file(Array(lines.dropLast()))) } throws: { "\($0)".contains("999 classes") }
        #expect { try ClassNames.read(file(lines.reversed())) } throws: { "\($0)".contains("line 2") }
    }

    /// Pictures of which nothing is said are trained on by what the first tower takes them for alone.
    @Test func picturesWithoutAWordAreLearnedFrom() throws {
        let scratch = try Scratch()
        _ = try ToyPictures(in: scratch)
        var source = PictureSet.Source(shard: scratch["captioned.tar"])
        #expect(throws: (any Error).self) {
            try PictureSet(source, side: ToyPictures.side, cache: scratch["cache"], report: { _ in })
        }
        source.isUnlabelled = true
        source.holdOut = 0
        let set = try PictureSet(source, side: ToyPictures.side, cache: scratch["cache"], report: { _ in })
        #expect(set.items.count == 8 && set.items.allSatisfy { $0.captions.isEmpty && $0.label == nil })
        let captioned = try ToyPictures(in: Scratch()).labelled
        let run = toyRun()
        let task = try ClipTask(
            sets: [captioned, set], validationSets: [], pairs: [], vocabulary: [], options: toyClipOptions(),
            training: run, first: toyFirstWeights(in: scratch))
        #expect(task.counts.training > 8)
        for batch in 0..<task.batchCount(epoch: 0) { #expect(try task.loss(epoch: 0, batch: batch).loss.item.isFinite) }
    }

    @Test func everyRangeIsChecked() throws {
        var options = DualEncoderOptions()
        options.views = 0
        #expect(throws: TrainingError.self) { try options.validate() }
        options = DualEncoderOptions()
        options.headDropout = 1
        #expect(throws: TrainingError.self) { try options.validate() }
    }
}
