import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaModels

@Suite struct VisionTextDualEncoderTests {
    private static let sentences: [[Int32]] = [[1, 4, 2], [1, 2], [1, 33, 17, 5, 6, 7, 8, 9, 2]]

    private static func configuration() -> VisionTextDualEncoderConfiguration {
        var vision = EfficientNetConfiguration()
        (vision.widthCoefficient, vision.imageSize) = (0.25, 64)
        var text = UniversalSentenceEncoderConfiguration()
        (text.vocabularySize, text.embeddingSize, text.branchSize, text.hiddenSize) = (51, 24, 8, 12)
        var configuration = VisionTextDualEncoderConfiguration(vision: vision, text: text)
        (configuration.visionHeadSize, configuration.textHeadSize) = (16, 20)
        return configuration
    }

    private static func make() -> (VisionTextDualEncoder, ParameterStore) {
        let store = ParameterStore(seed: 3)
        let model = VisionTextDualEncoder(configuration(), at: store.root)
        // A text head of zeroes and a table of zeroes would hide what is wrong with them.
        let random = Generator(seed: 4)
        withoutGradients {
            for name in ["text_projection.fc2.weight", "text_model.embedding"] {
                guard let tensor = store[name] else { continue }
                tensor.copy_((Tensor.rand(tensor.shape, generator: random) * (name.hasSuffix("bedding") ? 255 : 0.2)))
            }
        }
        return (model, store)
    }

    private static func pixels(_ count: Int = 2) -> Tensor {
        Tensor.randn([count, 3, 64, 64], generator: Generator(seed: 5))
    }

    @Test func theConfigurationCountsTheParameters() {
        let (model, store) = Self.make()
        let buffers = store.entries.filter(\.isBuffer).reduce(0) { $0 + $1.tensor.count }
        let table = Self.configuration().text.vocabularySize * (Self.configuration().text.embeddingSize + 2)
        #expect(Int(model.configuration.parameterCount) == store.parameterCount + table)
        #expect(buffers > table)
    }

    @Test func embeddingsAreThoseOfTheTowersAndHeads() {
        let (model, _) = Self.make()
        withoutGradients {
            let features = model.vision.features(Self.pixels())
            #expect(features.shape == [2, 1280])
            expectClose(model.encodeImages(Self.pixels()), model.embed(features: features), atol: 1e-6)
            let vectors = model.text(Self.sentences)
            expectClose(model.encodeSentences(Self.sentences), vectors, atol: 0)
            expectClose(model.encodeTexts(Self.sentences), model.embed(sentences: vectors), atol: 1e-6)
        }
    }

    @Test func aNewTextHeadChangesNothing() {
        let store = ParameterStore(seed: 3)
        let model = VisionTextDualEncoder(Self.configuration(), at: store.root)
        withoutGradients {
            expectClose(model.encodeTexts(Self.sentences), model.text(Self.sentences), atol: 0)
        }
    }

    @Test func theGridIsThePlacesOfTheFeatures() throws {
        let (model, _) = Self.make()
        try withoutGradients {
            let (embeddings, grid) = try #require(model.encodeImagesAndGrid(Self.pixels()))
            expectClose(embeddings, model.encodeImages(Self.pixels()), atol: 1e-6)
            let map = model.vision.bottleneck(Self.pixels())  // [2, C, 2, 2]
            #expect(map.shape == [2, 80, 2, 2] && grid.shape == [2, 4, 80])
            // Row by row: place 1 is the upper right.
            let place = map.narrowed(2, 0..<1).narrowed(3, 1..<2).reshaped(2, 80)
            expectClose(grid.selected(1, 1), place, atol: 1e-6)
        }
    }

    @Test func preparedForInferenceItGivesTheSame() {
        let (model, _) = Self.make()
        withoutGradients {
            let before = model.encodeImages(Self.pixels())
            model.prepareForInference()
            expectClose(model.encodeImages(Self.pixels()), before, atol: 1e-4)
        }
    }

    @Test func oneByOneGivesTheSameEmbeddings() {
        let (model, _) = Self.make()
        withoutGradients {
            let pixels = Self.pixels(3)
            let single = Tensor.concatenated((0..<3).map { model.encodeImages(pixels.narrowed(0, $0..<$0 + 1)) }, 0)
            expectClose(model.encodeImages(pixels), single, atol: 1e-5)
            let texts = Tensor.concatenated(Self.sentences.map { model.encodeTexts([$0]) }, 0)
            expectClose(model.encodeTexts(Self.sentences), texts, atol: 1e-6)
        }
    }

    @Test func whatIsSavedIsReadAgain() throws {
        let (model, store) = Self.make()
        let folder = URL.temporaryDirectory.appending(path: UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: folder) }
        try ModelFolder.save(configuration: model.configuration, store: store, to: folder)
        let again = try openTwoTowers(folder)
        #expect(again.imageSize == 64 && again.projectionSize == 24 && again.vocabularySize == 51)
        withoutGradients {
            #expect(again.encodeImages(Self.pixels(), train: false).floats == model.encodeImages(Self.pixels()).floats)
            #expect(again.encodeTexts(Self.sentences).floats == model.encodeTexts(Self.sentences).floats)
        }
    }

    /// In 16 bits the parameters are rounded; statistics and the scales of the table are not.
    @Test func buffersKeepTheirPrecisionInSixteenBits() throws {
        let (model, store) = Self.make()
        let folder = URL.temporaryDirectory.appending(path: UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: folder) }
        try ModelFolder.save(configuration: model.configuration, store: store, dtype: .bfloat16, to: folder)
        let file = try SafetensorsFile(contentsOf: folder.appending(path: "model.safetensors"))
        #expect(file["vision_model._bn0.running_var"]?.elementType == .float32)
        #expect(file["text_model.embedding_scale"]?.elementType == .float32)
        #expect(file["text_model.embedding"]?.elementType == .uint8)
        #expect(file["visual_projection.fc1.weight"]?.elementType == .bfloat16)
    }

    @Test func otherConfigurationsAreRefused() throws {
        let whole = try JSONSerialization.jsonObject(with: JSONEncoder().encode(Self.configuration())) as? [String: Any]
        for change: ([String: Any]) -> [String: Any] in [
            { $0.filter { $0.key != "text_config" } },
            { values in
                var vision = values["vision_config"] as? [String: Any] ?? [:]
                vision["num_classes"] = 1000
                return values.merging(["vision_config": vision]) { $1 }
            },
            { $0.merging(["text_head_size": 0]) { $1 } },
        ] {
            let folder = URL.temporaryDirectory.appending(path: UUID().uuidString)
            defer { try? FileManager.default.removeItem(at: folder) }
            try ModelFolder.save(configuration: Self.configuration(), store: Self.make().1, to: folder)
            try JSONSerialization.data(withJSONObject: change(whole ?? [:])).write(
                to: folder.appending(path: "config.json"))
            #expect(throws: ModelError.self) { try openTwoTowers(folder) }
        }
    }
}
