import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaModels

struct ChineseCLIPTests {
    // MARK: Goldens

    @Test(arguments: ["clip-hf", "clip-original", "clip-resnet"])
    func embeddingsEqualTheReference(name: String) throws {
        try withoutGradients {
            let clip = try ChineseCLIP.open(fixture("Models/\(name)")).model
            let golden = try goldens(name)
            expectClose(clip.encodeImages(try golden("pixels").to(.float32)), try golden("images"))
            expectClose(clip.encodeTexts(try golden("ids")), try golden("texts"))
        }
    }

    @Test func logitsEqualTheReference() throws {
        try withoutGradients {
            let clip = try ChineseCLIP.open(fixture("Models/clip-hf")).model
            let golden = try goldens("clip-hf")
            let images = clip.encodeImages(try golden("pixels")).normalized()
            let texts = clip.encodeTexts(try golden("ids")).normalized()
            expectClose(images.matmul(texts.transposed(0, 1)) * clip.logitScale.exp(), try golden("logits"))
        }
    }

    @Test func flashAttentionLayoutIsTheSameModel() throws {
        try withoutGradients {
            let plain = try ChineseCLIP.open(fixture("Models/clip-original")).model
            let flash = try ChineseCLIP.open(fixture("Models/clip-original-flash/clip.pt")).model
            let golden = try goldens("clip-original")
            let (pixels, ids) = (try golden("pixels"), try golden("ids"))
            #expect(plain.encodeImages(pixels).floats == flash.encodeImages(pixels).floats)
            #expect(plain.encodeTexts(ids).floats == flash.encodeTexts(ids).floats)
        }
    }

    @Test func largerPicturesResizeThePositionsAsTheReference() throws {
        try withoutGradients {
            let clip = try ChineseCLIP.open(fixture("Models/clip-original"), imageSize: 32).model
            let golden = try goldens("clip-original")
            expectClose(clip.encodeImages(try golden("big_pixels")), try golden("big_images"))
        }
    }

    // MARK: Properties

    @Test(arguments: TinyCLIP.allCases)
    func batchEqualsOneByOne(kind: TinyCLIP) {
        withoutGradients {
            let (clip, _) = kind.make()
            let pixels = kind.pixels(3)
            let single = (0..<3).map { clip.encodeImages(pixels.narrowed(0, $0..<$0 + 1)) }
            expectClose(clip.encodeImages(pixels), .concatenated(single, 0))
            let texts = (0..<3).map { clip.encodeTexts(TinyCLIP.ids.narrowed(0, $0..<$0 + 1)) }
            expectClose(clip.encodeTexts(TinyCLIP.ids), .concatenated(texts, 0))
        }
    }

    @Test func paddingDoesNotChangeATextEmbedding() {
        withoutGradients {
            let (clip, _) = TinyCLIP.transformer.make()
            let short = clip.encodeTexts(.ids([2, 49, 3], [1, 3]))
            let padded = clip.encodeTexts(.ids([2, 49, 3, 0, 0, 0, 0], [1, 7]))
            expectClose(padded, short)
            // The mask, when given, decides; what stands under it does not matter.
            let mask = Tensor([1, 1, 1, 0, 0] as [Int64], [1, 5])
            expectClose(clip.encodeTexts(.ids([2, 49, 3, 8, 9], [1, 5]), mask: mask), short)
            #expect(clip.encodeTexts(.ids([2, 49, 3, 8, 9], [1, 5])).floats != short.floats)
        }
    }

    @Test(arguments: TinyCLIP.allCases)
    func bfloat16ActivationsStayCloseToFloat32(kind: TinyCLIP) {
        withoutGradients {
            let (wide, _) = kind.make(seed: 3)
            let (narrow, _) = kind.make(seed: 3, computeType: .bfloat16)
            let pixels = kind.pixels(4)
            for (a, b) in [
                (narrow.encodeImages(pixels), wide.encodeImages(pixels)),
                (narrow.encodeTexts(TinyCLIP.ids), wide.encodeTexts(TinyCLIP.ids)),
            ] {
                #expect(a.dtype == .float32)
                let cosines = (a.normalized() * b.normalized()).sum(-1).floats
                #expect(cosines.allSatisfy { $0 > 0.999 }, "cosines \(cosines)")
                #expect(a.floats != b.floats)
            }
        }
    }

    @Test(arguments: TinyCLIP.allCases, [DType.float32, .bfloat16])
    func gradientsReachEveryParameter(kind: TinyCLIP, computeType: DType) throws {
        let (clip, store) = kind.make(computeType: computeType)
        store.requireGradients()
        // The last norm of each residual block starts at zero and would hide the block.
        for entry in store.parameters where entry.name.hasSuffix("bn3.weight") {
            withoutGradients { entry.tensor.fill_(1) }
        }
        let images = clip.encodeImages(kind.pixels(3), train: true).normalized()
        let texts = clip.encodeTexts(TinyCLIP.ids).normalized()
        let logits = images.matmul(texts.transposed(0, 1)) * clip.logitScale.exp()
        try Kernels.crossEntropy(logits, .ids([0, 1, 2], [3])).backward()
        for entry in store.parameters {
            let gradient = try #require(entry.tensor.gradient, "\(entry.name) has no gradient")
            #expect(gradient.floats.allSatisfy { $0.isFinite }, "\(entry.name)")
            // A bias of keys shifts every score of a query alike: its gradient is zero but for rounding.
            let isKeyBias = entry.name.hasSuffix("key.bias") || entry.name.hasSuffix("k_proj.bias")
            #expect(isKeyBias || gradient.abs().max().item > 0, "\(entry.name) has a gradient of zeros")
        }
    }

    @Test func trainingRecordsTheStatisticsOfTheBatch() {
        let (clip, store) = TinyCLIP.resNet.make()
        let pixels = TinyCLIP.resNet.pixels(4)
        func statistics() -> [[Float]] { store.entries.filter(\.isBuffer).map(\.tensor.floats) }
        let before = statistics()
        withoutGradients { _ = clip.encodeImages(pixels) }
        #expect(statistics() == before)
        withoutGradients { _ = clip.encodeImages(pixels, train: true) }
        #expect(statistics() != before)
    }

    @Test(arguments: TinyCLIP.allCases)
    func savedModelLoadsUnchanged(kind: TinyCLIP) throws {
        try withTemporaryFolder { folder in
            let (clip, store) = kind.make(seed: 11)
            let target = folder.appending(path: "saved")
            try ModelFolder.save(configuration: clip.configuration, store: store, to: target)
            let opened = try ChineseCLIP.open(target)
            let (loaded, other) = (opened.model, opened.store)
            #expect(loaded.configuration == clip.configuration)
            #expect(other.entries.map(\.name) == store.entries.map(\.name))
            for (a, b) in zip(store.entries, other.entries) { #expect(a.tensor.floats == b.tensor.floats, "\(a.name)") }
        }
    }

    // MARK: Configurations

    @Test func publishedConfigurationsHaveTheirPublishedNumberOfParameters() {
        // Reference: the README of Chinese-CLIP (ViT-B/16), the released files (the others).
        func vit(_ width: Int, _ layers: Int, _ heads: Int, patch: Int, side: Int = 224)
            -> ChineseCLIPConfiguration.Vision
        {
            var vision = VisionTransformerConfiguration()
            vision.hiddenSize = width
            vision.intermediateSize = 4 * width
            vision.layerCount = layers
            vision.headCount = heads
            vision.patchSize = patch
            vision.imageSize = side
            return .transformer(vision)
        }
        func bert(_ width: Int, _ layers: Int) -> BERTConfiguration {
            var text = BERTConfiguration()
            text.vocabularySize = 21128
            text.hiddenSize = width
            text.layerCount = layers
            text.headCount = width / 64
            text.intermediateSize = 4 * width
            return text
        }
        let base = bert(768, 12)
        let expected: [(ChineseCLIPConfiguration, Double)] = [
            (.init(text: bert(768, 3), vision: .resNet(.init()), projectionSize: 1024), 76_989_537),
            (.init(text: base, vision: vit(768, 12, 12, patch: 16), projectionSize: 512), 188_262_913),
            (.init(text: base, vision: vit(1024, 24, 16, patch: 14), projectionSize: 768), 406_233_089),
            (.init(text: base, vision: vit(1024, 24, 16, patch: 14, side: 336), projectionSize: 768), 406_560_769),
            (.init(text: bert(1024, 24), vision: vit(1280, 32, 16, patch: 14), projectionSize: 1024), 957_598_209),
        ]
        for (configuration, count) in expected { #expect(configuration.parameterCount == count) }
    }

    @Test(arguments: TinyCLIP.allCases)
    func parameterCountIsThatOfTheStore(kind: TinyCLIP) {
        let (clip, store) = kind.make()
        #expect(Double(store.parameterCount) == clip.configuration.parameterCount)
    }

    @Test func hubConfigurationIsFilledWithTheDefaultsOfTheClasses() throws {
        let json = #"""
            {"architectures": ["ChineseCLIPModel"], "model_type": "chinese_clip", "projection_dim": 512,
             "text_config": {"vocab_size": 21128, "bos_token_id": 0}, "text_config_dict": null,
             "vision_config": {"patch_size": 16, "dropout": 0.0}, "vision_config_dict": null}
            """#
        let configuration = try JSONDecoder().decode(ChineseCLIPConfiguration.self, from: Data(json.utf8))
        #expect(configuration.parameterCount == 188_262_913)
        #expect(configuration.text.layerNormEpsilon == 1e-12)
        #expect(configuration.initialLogitScale == 2.6592)
        let bare = try JSONDecoder().decode(ChineseCLIPConfiguration.self, from: Data("{}".utf8))
        #expect(bare.text.vocabularySize == 30522)
        #expect(bare.vision == .transformer(.init()))
        let old = #"{"text_config": {"vocab_size": 1}, "text_config_dict": {"vocab_size": 21128}}"#
        let overridden = try JSONDecoder().decode(ChineseCLIPConfiguration.self, from: Data(old.utf8))
        #expect(overridden.text.vocabularySize == 21128)
    }

    @Test func originalCheckpointTellsItsConfiguration() throws {
        func inferred(_ name: String) throws -> ChineseCLIPConfiguration {
            try ChineseCLIPConfiguration(inferredFrom: Checkpoint.open(fixture("Models/\(name)")))
        }
        let transformer = try inferred("clip-original")
        guard case .transformer(let vision) = transformer.vision else {
            Issue.record("\(transformer.vision)")
            return
        }
        #expect(vision.hiddenSize == 16 && vision.layerCount == 2 && vision.patchSize == 4 && vision.imageSize == 16)
        #expect(
            transformer.projectionSize == 12 && transformer.text.layerCount == 2
                && transformer.text.vocabularySize == 64)
        guard case .resNet(let network) = try inferred("clip-resnet").vision else {
            Issue.record("no residual network")
            return
        }
        #expect(network.layers == [1, 2, 1, 1] && network.width == 2 && network.imageSize == 64)
    }

    @Test(arguments: [
        (#"{"model_type": "clip"}"#, "model_type"), (#"{"vision_config": {"hidden_act": "gelu"}}"#, "hidden_act"),
        (#"{"vision_config": {"patch_size": 0}}"#, "patch_size"),
        (#"{"vision_config": {"image_size": 8}}"#, "patch_size"),
        (#"{"vision_config": {"num_attention_heads": 7}}"#, "num_attention_heads"),
        (#"{"vision_config": {"num_channels": 4}}"#, "num_channels"),
        (#"{"vision_config": {"layers": [1, 2, 3]}}"#, "layers"),
        (#"{"vision_config": {"layers": [1, 1, 1, 1], "image_size": 100}}"#, "image_size"),
        (#"{"vision_config": {"layers": [1, 1, 1, 1], "width": 3}}"#, "width"),
        (#"{"projection_dim": -4}"#, "projection_dim"),
    ])
    func impossibleSettingIsRefusedByName(json: String, setting: String) {
        #expect {
            try JSONDecoder().decode(ChineseCLIPConfiguration.self, from: Data(json.utf8))
        } throws: { error in
            guard case .unsupported("chinese_clip", setting, _, _)? = error as? ModelError else { return false }
            return true
        }
    }

    // MARK: Strict loading

    /// Opens a copy of the fixture whose tensors were changed; the reason that it gives.
    private func reason(_ name: String = "clip-hf", _ change: (inout [String: Tensor]) -> Void) throws -> String {
        var found = "loaded"
        try withTemporaryFolder { folder in
            let checkpoint = try Checkpoint.open(fixture("Models/\(name)"))
            var tensors: [String: Tensor] = [:]
            for view in checkpoint.tensors { tensors[view.name] = try Tensor.borrowing(view).clone() }
            change(&tensors)
            try TensorFile.write(
                tensors.map { (name: $0.key, tensor: $0.value) }, to: folder.appending(path: "model.safetensors"))
            let configuration = fixture("Models/\(name)/config.json")
            if FileManager.default.fileExists(atPath: configuration.path) {
                try FileManager.default.copyItem(at: configuration, to: folder.appending(path: "config.json"))
            }
            do {
                _ = try ChineseCLIP.open(folder)
            } catch let error as ModelError {
                #expect(!error.description.contains("\n"))
                found = error.description
                if case .checkpoint(_, let reason) = error { found = reason }
            }
        }
        return found
    }

    @Test func missingTensorIsNamed() throws {
        #expect(
            try reason { $0["visual_projection.weight"] = nil }.contains("lacks 1 parameters: visual_projection.weight")
        )
    }

    @Test func unexpectedTensorIsNamed() throws {
        #expect(try reason { $0["text_model.extra"] = .zeros([1]) }.contains("text_model.extra"))
        #expect(try reason("clip-original") { $0["visual.extra"] = .zeros([1]) }.contains("vision_model.extra"))
    }

    @Test func misshapenTensorIsNamedWithBothShapes() throws {
        let name = "vision_model.embeddings.position_embedding.weight"
        let reason = try reason { $0[name] = .zeros([26, 24]) }
        #expect(reason.contains(name) && reason.contains("[17, 24]") && reason.contains("[26, 24]"))
        let fused = "visual.transformer.resblocks.0.attn.in_proj_bias"
        #expect(try self.reason("clip-original") { $0[fused] = .zeros([47]) }.contains("three parts"))
        #expect(try self.reason("clip-original") { $0["visual.proj"] = .zeros([4]) }.contains("not a matrix"))
    }

    @Test func integersInPlaceOfWeightsAreRefused() throws {
        #expect(try reason { $0["logit_scale"] = .zeros([], dtype: .int64) }.contains("logit_scale"))
    }

    @Test func mixedLayoutsAreRefused() throws {
        let name = "text_model.embeddings.LayerNorm.bias"
        #expect(try reason { $0[name.replacing("text_model", with: "bert")] = $0[name] }.contains("layouts are mixed"))
    }

    @Test func unchangedCopyLoads() throws {
        #expect(try reason { _ in } == "loaded")
        #expect(try reason("clip-resnet") { _ in } == "loaded")
    }

    @Test func foreignWeightsWithoutConfigurationAreRefused() throws {
        try withTemporaryFolder { folder in
            try TensorFile.write([(name: "a", tensor: .zeros([2]))], to: folder.appending(path: "model.safetensors"))
            #expect {
                try ChineseCLIP.open(folder)
            } throws: { error in
                guard case .checkpoint(_, let reason)? = error as? ModelError else { return false }
                return reason.contains("config.json")
            }
        }
    }

    @Test func configurationLargerThanItsWeightsTakesNoMemory() throws {
        try withTemporaryFolder { folder in
            let json =
                #"{"model_type": "chinese_clip", "text_config": {"hidden_size": 1048576, "num_attention_heads": 1}}"#
            try Data(json.utf8).write(to: folder.appending(path: "config.json"))
            try FileManager.default.copyItem(
                at: fixture("Models/clip-hf/model.safetensors"), to: folder.appending(path: "model.safetensors"))
            #expect(throws: ModelError.self) { try ChineseCLIP.open(folder) }
        }
    }

    @Test func unknownArchitectureListsTheKnownOne() throws {
        let folder = fixture("Models/bert-plain")
        #expect(
            throws: ModelError.unknownArchitecture(
                path: folder.appending(path: "config.json").path, found: "bert", known: ["chinese_clip"])
        ) { try ChineseCLIP.open(folder) }
    }

    @Test(arguments: [0, 7, 18, 5000])
    func impossiblePictureSizeIsRefused(side: Int) {
        #expect(throws: ModelError.self) { try ChineseCLIP.open(fixture("Models/clip-hf"), imageSize: side) }
    }
}
