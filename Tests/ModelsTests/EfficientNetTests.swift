import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaModels

@Suite struct EfficientNetTests {
    /// Numbers of -1 to 1 by the formula of Scripts/make_efficientnet_fixtures.py, so that no weights need to be
    /// stored.
    private static func wave(_ shape: [Int], _ seed: Double) -> Tensor {
        Tensor((0..<shape.reduce(1, *)).map { Float(sin(Double($0) * 12.9898 + seed)) }, shape)
    }

    /// The same without the regularity of a wave, which leaves hardly any gradients.
    private static func noise(_ shape: [Int], _ seed: Double) -> Tensor {
        Tensor(
            (0..<shape.reduce(1, *)).map {
                let value = sin(Double($0) * 12.9898 + seed) * 43758.5453
                return Float(2 * (value - value.rounded(.down)) - 1)
            }, shape)
    }

    /// The same weights as that script's `fill`.
    private static func fill(_ store: ParameterStore, _ numbers: ([Int], Double) -> Tensor) {
        withoutGradients {
            for (seed, entry) in store.entries.enumerated() where !entry.name.hasSuffix("num_batches_tracked") {
                let shape = entry.tensor.shape
                let values = numbers(shape, Double(seed))
                let filled =
                    if entry.name.hasSuffix("running_var") {
                        values * 0.5 + 1
                    } else if entry.name.hasSuffix("running_mean") {
                        values * 0.1
                    } else if entry.name.contains("_bn"), entry.name.hasSuffix("weight") {
                        values * 0.3 + 1
                    } else if entry.name.hasSuffix("bias") {
                        values * 0.5
                    } else {
                        values * (3 / Double(shape.dropFirst().reduce(1, *))).squareRoot()
                    }
                entry.tensor.copy_(filled)
            }
        }
    }

    private static func make(
        lite number: Int, classes: Int = 7, _ numbers: ([Int], Double) -> Tensor = wave
    ) throws -> (EfficientNet, ParameterStore) {
        var configuration = try #require(EfficientNetConfiguration(lite: number))
        configuration.classCount = classes
        let store = ParameterStore(seed: 1)
        let model = EfficientNet(configuration, at: store.root)
        fill(store, numbers)
        return (model, store)
    }

    @Test(arguments: [(0, 64), (0, 75), (2, 50)])
    func outputsEqualTheReference(lite: Int, size: Int) throws {
        let golden = try goldens("efficientnet-lite\(lite)-\(size)")
        let (model, _) = try Self.make(lite: lite)
        let pixels = Self.wave([2, 3, size, size], 0.5)
        try withoutGradients {
            for isFolded in [false, true] {
                if isFolded { model.fold() }
                expectClose(model.features(pixels), try golden("features"), atol: 1e-4)
                expectClose(model(pixels), try golden("logits"), atol: 1e-4)
            }
            model.unfold()
            expectClose(model(pixels), try golden("logits"), atol: 1e-4)
        }
    }

    @Test(
        .enabled(
            if: ProcessInfo.processInfo.environment["TIHUA_PRETRAINED"] != nil,
            "needs TIHUA_PRETRAINED, a folder of Scripts/make_efficientnet_fixtures.py --full"))
    func publishedWeightsGiveTheReferencesFeatures() throws {
        let folder = URL(filePath: ProcessInfo.processInfo.environment["TIHUA_PRETRAINED"] ?? "")
        let model = try EfficientNet.open(folder.appending(path: "lite0.pth")).model
        #expect(model.configuration == EfficientNetConfiguration())
        let checkpoint = try Checkpoint.open(folder.appending(path: "lite0.golden.safetensors"))
        func golden(_ name: String) throws -> Tensor { try Tensor.borrowing(checkpoint.tensor(name)) }
        try withoutGradients {
            model.fold()
            expectClose(model.features(try golden("pixels")), try golden("features"), atol: 1e-4)
            expectClose(model(try golden("pixels")), try golden("logits"), atol: 1e-4)
        }
        try withTemporaryFolder { temporary in
            let file = temporary.appending(path: "lite0.pth")
            let whole = try Data(contentsOf: folder.appending(path: "lite0.pth"))
            for length in [100, 20_000, whole.count / 2, whole.count - 1] {
                try whole.prefix(length).write(to: file)
                #expect(try Self.refusal(of: file).contains("lite0.pth"))
            }
        }
    }

    // MARK: Properties

    /// Of a sum of logits, by the reference. In training the batch's statistics decide which of some numbers near the
    /// ends of a ReLU6 pass, so that rounding shows: by itself, PyTorch differs from float64 by up to 3 %.
    @Test(arguments: ["inference", "training"])
    func gradientsEqualTheReference(mode: String) throws {
        let golden = try goldens("efficientnet-lite0-gradients")
        let (model, store) = try Self.make(lite: 0, Self.noise)
        store.requireGradients()
        let logits = model(Self.noise([4, 3, 64, 64], 0.5), train: mode == "training")
        try (logits * Self.noise([4, 7], 2)).sum().backward()
        for name in ["_conv_stem.weight", "_blocks.1._depthwise_conv.weight", "_blocks.2._bn2.weight", "_bn1.weight"] {
            let gradient = try #require(store[name]?.gradient)
            let expected = try golden("\(mode).\(name)")
            let scale = expected.floats.map(abs).max() ?? 0
            #expect(scale > 1e-3)
            expectClose(gradient, expected, atol: (mode == "training" ? 0.1 : 1e-4) * scale)
            let cosine = (gradient * expected).sum().item / (gradient.norm().item * expected.norm().item)
            #expect(cosine > 0.999 && cosine < 1.001, "\(name): \(cosine)")
        }
    }

    @Test(arguments: [false, true])
    func batchEqualsOneByOneAndTheShapeFollowsThePicture(isFolded: Bool) throws {
        let (model, _) = try Self.make(lite: 0)
        if isFolded { model.fold() }
        withoutGradients {
            let pixels = Self.wave([2, 3, 45, 70], 3)
            let map = model.featureMap(pixels)
            #expect(map.shape == [2, 1280, 2, 3])
            let single = (0..<2).map { model.featureMap(pixels.narrowed(0, $0..<$0 + 1)) }
            expectClose(map, .concatenated(single, 0), atol: 1e-4)
        }
    }

    /// A batch that is taken in parts, the last one smaller.
    @Test func aLargeBatchEqualsOneByOne() throws {
        let (model, _) = try Self.make(lite: 0)
        model.fold()
        let side = 200
        // Of the second block: 96 channels at half the side, 4 bytes a number.
        #expect(7 * 96 * (side / 2) * (side / 2) * 4 > EfficientNet.partBytes)
        withoutGradients {
            let pixels = Self.wave([7, 3, side, side], 3)
            let single = (0..<7).map { model.features(pixels.narrowed(0, $0..<$0 + 1)) }
            expectClose(model.features(pixels), .concatenated(single, 0), atol: 1e-4)
        }
    }

    /// One network takes pictures of several sizes and element types in turn, and each time folds as they ask for.
    @Test func foldedEqualsUnfoldedWhateverCameBefore() throws {
        let (model, _) = try Self.make(lite: 0)
        try withoutGradients {
            let pictures = [[1, 3, 64, 64], [1, 3, 75, 75], [2, 3, 64, 75], [3, 3, 64, 64]].map { Self.wave($0, 1) }
            let expected = pictures.map { model.featureMap($0) }
            model.fold()
            for (pixels, expected) in zip(pictures, expected) {
                expectClose(model.featureMap(pixels), expected, atol: 1e-4)
            }
            for level in Runtime.KernelLevel.allCases where level <= Runtime.kernelLevel {
                try Runtime.withKernels(level) {
                    let (model, _) = try Self.make(lite: 0)
                    model.fold()
                    expectClose(model.featureMap(pictures[0]), expected[0], atol: 1e-4)
                }
            }
        }
    }

    @Test func bfloat16IsNearFloat32() throws {
        let (model, store) = try Self.make(lite: 0)
        let other = ParameterStore(seed: 2)
        let narrowed = EfficientNet(model.configuration, computeType: .bfloat16, at: other.root)
        withoutGradients {
            for entry in store.entries { other[entry.name]?.copy_(entry.tensor) }
            let pixels = Self.wave([2, 3, 64, 64], 0.5)
            let expected = model.features(pixels)
            for isFolded in [false, true] {
                if isFolded { narrowed.fold() }
                let found = narrowed.features(pixels)
                #expect(found.dtype == .bfloat16)
                let cosines = (found.to(.float32).normalized() * expected.normalized()).sum(1).floats
                #expect(cosines.allSatisfy { $0 > 0.999 && $0 < 1.001 }, "\(cosines)")
            }
        }
    }

    /// Folded for inference, the network still gives the gradients of pictures, and those of what is not folded.
    @Test func foldingLeavesGradientsAsTheyAre() throws {
        let (model, store) = try Self.make(lite: 0)
        func gradient() throws -> [Float] {
            let pixels = Self.wave([2, 3, 48, 48], 2)
            pixels.requiresGradient = true
            try model(pixels).square().sum().backward()
            return try #require(pixels.gradient).floats
        }
        let expected = try gradient()
        model.fold()
        #expect(try gradient() == expected)
        model.unfold()

        let trained = store.parameters.filter { !EfficientNet.isBefore(block: 3, $0.name) }
        for parameter in trained { parameter.tensor.requiresGradient = true }
        func gradients() throws -> [Tensor] {
            for parameter in trained { parameter.tensor.clearGradient() }
            try model(Self.wave([2, 3, 48, 48], 2)).square().sum().backward()
            return try trained.map { try #require($0.tensor.gradient, "\($0.name)") }
        }
        let plain = try gradients()
        model.fold(blocks: 3)
        for (found, expected) in zip(try gradients(), plain) {
            expectClose(found, expected, atol: 1e-4 * max(1e-3, Float(expected.abs().max().item)))
        }
    }

    @Test func trainingHeedsNoFold() throws {
        let (model, store) = try Self.make(lite: 0)
        let pixels = Self.wave([4, 3, 40, 40], 2)
        model.fold()
        try withoutGradients {
            let before = try #require(store["_bn0.running_mean"]).floats
            let found = model(pixels, train: true).floats
            #expect(try #require(store["_bn0.running_mean"]).floats != before)
            let (other, _) = try Self.make(lite: 0)
            #expect(other(pixels, train: true).floats == found)
        }
    }

    @Test(arguments: 0...4)
    func theNumberOfParametersIsThatOfTheStore(lite: Int) throws {
        let (model, store) = try Self.make(lite: lite, classes: 3)
        #expect(model.configuration.parameterCount == Double(store.parameterCount))
        // Of the paper's repository: 4.7, 5.4, 6.1, 8.2, 13.0 million with 1,000 classes.
        let millions = [4.65, 5.42, 6.09, 8.2, 13.0][lite]
        let whole = try #require(EfficientNetConfiguration(lite: lite)).parameterCount / 1e6
        #expect(abs(whole - millions) < 0.06, "\(whole)")
    }

    @Test func trainingMovesTheStatisticsAndEveryParameterGetsAGradient() throws {
        let (model, store) = try Self.make(lite: 0)
        store.requireGradients()
        let before = try #require(store["_bn0.running_mean"]).floats
        let loss = model(Self.wave([2, 3, 40, 40], 2), train: true).sum()
        try loss.backward()
        #expect(try #require(store["_bn0.running_mean"]).floats != before)
        for entry in store.parameters {
            let gradient = try #require(entry.tensor.gradient, "\(entry.name)")
            #expect(gradient.floats.allSatisfy { $0.isFinite }, "\(entry.name)")
        }
    }

    @Test func aSavedFolderAndABareFileAreTheSameModel() throws {
        let (model, store) = try Self.make(lite: 0)
        try withTemporaryFolder { folder in
            let saved = folder.appending(path: "model")
            try ModelFolder.save(configuration: model.configuration, store: store, to: saved)
            let pixels = Self.wave([1, 3, 33, 33], 1)
            try withoutGradients {
                let expected = model(pixels).floats
                let wrapped = folder.appending(path: "wrapped.safetensors")
                try TensorFile.write(
                    store.entries.map { (name: "_orig_mod.module.\($0.name)", tensor: $0.tensor) }, to: wrapped)
                for url in [saved, saved.appending(path: "model.safetensors"), wrapped] {
                    let again = try EfficientNet.open(url).model
                    #expect(again.configuration == model.configuration)
                    #expect(again(pixels).floats == expected)
                }
            }
        }
    }

    @Test func weightsOfAnotherNetworkAreRefusedInOneLine() throws {
        #expect(try Self.refusal(of: fixture("Models/gpt2/model.safetensors")).contains("not an EfficientNet"))
        _ = try Self.refusal(of: fixture("Models/gpt2"))
        // Deeper than any Lite: the first blocks alone do not decide.
        var odd = EfficientNetConfiguration()
        odd.depthCoefficient = 3
        odd.classCount = 2
        let store = ParameterStore(seed: 1)
        _ = EfficientNet(odd, at: store.root)
        try withTemporaryFolder { folder in
            let saved = folder.appending(path: "model")
            try ModelFolder.save(configuration: odd, store: store, to: saved)
            #expect(try Self.refusal(of: saved.appending(path: "model.safetensors")).contains("other blocks"))
            _ = try EfficientNet.open(saved)
        }
    }

    /// EfficientNet-B0, of the same shapes with squeeze and excitation besides, must not pass for Lite0.
    @Test func anEfficientNetWithSqueezeAndExcitationIsRefused() throws {
        let (_, store) = try Self.make(lite: 0)
        try withTemporaryFolder { folder in
            let file = folder.appending(path: "efficientnet-b0.safetensors")
            let excitation = (name: "_blocks.0._se_reduce.weight", tensor: Tensor.zeros([8, 32, 1, 1]))
            try TensorFile.write(store.entries.map { (name: $0.name, tensor: $0.tensor) } + [excitation], to: file)
            let message = try Self.refusal(of: file)
            #expect(message.contains("_blocks.0._se_reduce.weight"), "\(message)")
        }
    }

    /// A `.pth` as torch wrote it before ZIP files, whole and cut off anywhere.
    @Test func aTruncatedFileIsRefusedInOneLine() throws {
        let whole = try Data(contentsOf: fixture("WeightFiles/small.legacy.pt"))
        let (model, store) = try Self.make(lite: 0, classes: 2)
        try withTemporaryFolder { folder in
            let file = folder.appending(path: "lite0.pth")
            try whole.write(to: file)
            #expect(try Self.refusal(of: file).contains("not an EfficientNet"))
            for length in [0, 1, 20, 200, whole.count / 2, whole.count - 1] {
                try whole.prefix(length).write(to: file)
                let message = try Self.refusal(of: file)
                #expect(
                    message.contains("lite0.pth") && !message.contains("not an EfficientNet"), "\(length): \(message)")
            }
            let saved = folder.appending(path: "model")
            try ModelFolder.save(configuration: model.configuration, store: store, to: saved)
            let weights = saved.appending(path: "model.safetensors")
            let bytes = try Data(contentsOf: weights)
            for length in [4, 5000, bytes.count - 4] {
                try bytes.prefix(length).write(to: weights)
                #expect(try Self.refusal(of: saved).contains("model.safetensors"), "\(length)")
            }
        }
    }

    /// The one line that opening a file ends with.
    private static func refusal(of url: URL) throws -> String {
        let error = try #require(throws: (any Error).self) { try EfficientNet.open(url) }
        #expect(!"\(error)".contains("\n"), "\(error)")
        return "\(error)"
    }

    @Test func configurationsOutOfRangeAreRefused() {
        for json in [
            #"{"width_coefficient": 100}"#, #"{"depth_coefficient": 0}"#, #"{"image_size": 100000}"#,
            #"{"num_classes": -1}"#,
        ] {
            #expect(throws: ModelError.self, "\(json)") {
                try JSONDecoder().decode(EfficientNetConfiguration.self, from: Data(json.utf8))
            }
        }
    }
}
