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

    /// The same weights as that script's `fill`.
    private static func fill(_ store: ParameterStore) {
        withoutGradients {
            for (seed, entry) in store.entries.enumerated() where !entry.name.hasSuffix("num_batches_tracked") {
                let shape = entry.tensor.shape
                let values = wave(shape, Double(seed))
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

    private static func make(lite number: Int, classes: Int = 7) throws -> (EfficientNet, ParameterStore) {
        var configuration = try #require(EfficientNetConfiguration(lite: number))
        configuration.classCount = classes
        let store = ParameterStore(seed: 1)
        let model = EfficientNet(configuration, at: store.root)
        fill(store)
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
    }

    // MARK: Properties

    @Test func batchEqualsOneByOneAndTheShapeFollowsThePicture() throws {
        let (model, _) = try Self.make(lite: 0)
        withoutGradients {
            let pixels = Self.wave([2, 3, 45, 70], 3)
            let map = model.featureMap(pixels)
            #expect(map.shape == [2, 1280, 2, 3])
            let single = (0..<2).map { model.featureMap(pixels.narrowed(0, $0..<$0 + 1)) }
            expectClose(map, .concatenated(single, 0), atol: 1e-4)
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
        func message(_ url: URL) -> String {
            do {
                _ = try EfficientNet.open(url)
                return "no error"
            } catch {
                return "\(error)"
            }
        }
        #expect(message(fixture("Models/gpt2/model.safetensors")).contains("not an EfficientNet"))
        #expect(!message(fixture("Models/gpt2")).contains("\n"))
        // Deeper than any Lite: the first blocks alone do not decide.
        var odd = EfficientNetConfiguration()
        odd.depthCoefficient = 3
        odd.classCount = 2
        let store = ParameterStore(seed: 1)
        _ = EfficientNet(odd, at: store.root)
        try withTemporaryFolder { folder in
            let saved = folder.appending(path: "model")
            try ModelFolder.save(configuration: odd, store: store, to: saved)
            #expect(message(saved.appending(path: "model.safetensors")).contains("other blocks"))
            #expect(message(saved) == "no error")
        }
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
