import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaModels

@Suite struct ClipCapTests {
    static let files = ["clipcap_mlp", "clipcap_bert", "clipcap_original"]
    static let all = files + ["clipcap_t5"]

    private func open(_ name: String) throws -> ClipCap.Opened {
        try ClipCap.open(fixture("Models/" + (name == "clipcap_t5" ? name : "\(name).pt")))
    }

    private func logits(_ model: ClipCap, _ golden: Golden) throws -> Tensor {
        try withoutGradients { try model.logits(model.hidden(model.prefix(golden["embeddings"]), golden["ids"])) }
    }

    @Test(arguments: all)
    func prefixAndLogitsAreThoseOfTheReference(_ name: String) throws {
        let golden = try Golden(name)
        let model = try open(name).model
        try expectClose(withoutGradients { try model.prefix(golden["embeddings"]) }, golden["prefix"])
        try expectClose(logits(model, golden), golden["logits"])
    }

    @Test func sizesAreReadOffAStateDict() throws {
        let mlp = try open("clipcap_mlp").model.configuration
        #expect(mlp.mapper == .mlp && mlp.prefixLength == 3 && mlp.captionOffset == 3 && mlp.embeddingSize == 12)
        let bert = try open("clipcap_bert").model.configuration
        #expect(bert.mapper == .bert && bert.prefixLength == 3 && bert.constantLength == 4 && bert.captionOffset == 4)
        #expect(bert.innerSize == 40 && bert.positionCount == 20 && bert.layerCount == 2)
        let original = try open("clipcap_original").model.configuration
        #expect(original.mapper == .transformer && original.prefixLength == 4 && original.captionOffset == 3)
        #expect(original.languageModel.vocabularySize == 40)
    }

    @Test(arguments: all)
    func aSavedFolderIsTheSameCaptioner(_ name: String) throws {
        let golden = try Golden(name)
        let opened = try open(name)
        let folder = FileManager.default.temporaryDirectory.appending(path: "clipcap-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try ModelFolder.save(configuration: opened.model.configuration, store: opened.store, to: folder)
        let again = try ClipCap.open(folder)
        #expect(again.notes.isEmpty)
        #expect(again.model.configuration == opened.model.configuration)
        try expectClose(logits(again.model, golden), golden["logits"])
    }

    /// ClipCap-Chinese builds a BERT where its user asks for an MLP.
    @Test func theMisbuiltMapperLoadsWithANote() throws {
        let golden = try Golden("clipcap_bert")
        let scratch = FileManager.default.temporaryDirectory.appending(path: "clipcap-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: scratch) }
        let named = scratch.appending(path: "mlp_finetune")
        try FileManager.default.createDirectory(at: named, withIntermediateDirectories: true)
        let file = named.appending(path: "checkpoint-35000.pt")
        try FileManager.default.copyItem(at: fixture("Models/clipcap_bert.pt"), to: file)
        let byPath = try ClipCap.open(file)
        #expect(byPath.notes.count == 1 && isOneLine(byPath.notes[0]) && byPath.notes[0].contains("bert"))
        try expectClose(logits(byPath.model, golden), golden["logits"])

        let language = try open("clipcap_bert").model.configuration.languageModel
        let stated = ClipCapConfiguration(mapper: .mlp, embeddingSize: 12, prefixLength: 3, languageModel: language)
        try JSONEncoder().encode(stated).write(to: named.appending(path: "config.json"))
        let byConfiguration = try ClipCap.open(named)
        #expect(byConfiguration.notes.count == 1 && byConfiguration.model.configuration.mapper == .bert)
        try expectClose(logits(byConfiguration.model, golden), golden["logits"])
        #expect(try open("clipcap_bert").notes.isEmpty)
    }

    @Test func mapperAndLanguageModelOfDifferentWidthsAreToldApart() throws {
        let scratch = FileManager.default.temporaryDirectory.appending(path: "clipcap-\(UUID().uuidString).safetensors")
        defer { try? FileManager.default.removeItem(at: scratch) }
        let store = ParameterStore(seed: 1)
        let wide = ClipCapConfiguration(
            mapper: .mlp, embeddingSize: 4, prefixLength: 3,
            languageModel: GPT2Configuration(
                vocabularySize: 9, hiddenSize: 8, layerCount: 1, headCount: 1, positionCount: 8)
        )
        _ = ClipCap(wide, at: store.root)
        let narrow = ParameterStore(seed: 1)
        _ = GPT2(
            .init(vocabularySize: 9, hiddenSize: 7, layerCount: 1, headCount: 1, positionCount: 8),
            at: narrow.root / "gpt2")
        let tensors = store.entries.filter { $0.name.hasPrefix("clip_project.") } + narrow.entries
        try TensorFile.write(tensors.map { ($0.name, $0.tensor) }, to: scratch)
        let message = failure { _ = try ClipCap.open(scratch) }
        #expect(isOneLine(message) && message.contains("24") && message.contains("7"), "\(message)")
    }

    @Test(arguments: ["gpt2", "clip-hf"])
    func whatIsNoCaptionerSaysSo(_ name: String) throws {
        let message = failure { _ = try ClipCap.open(fixture("Models/\(name)")) }
        #expect(isOneLine(message) && message.contains("no mapping network"), "\(message)")
    }

    @Test(arguments: [
        (#""mapping_type": "lstm""#, "lstm"), (#""mapping_type": "mlp", "clip_size": 0"#, "clip_size"),
        (#""mapping_type": "mlp", "clip_size": 12, "prefix_length": 24"#, "prefix_length"),
        (#""mapping_type": "transformer", "clip_size": 12, "mapper_heads": 3"#, "mapper_heads"),
        (#""mapping_type": "bert", "clip_size": 12, "mapper_positions": 12"#, "mapper_positions"),
        (#""mapping_type": "mlp""#, "clip_size"),
    ])
    func aWrongConfigurationIsOneLine(_ part: String, _ expected: String) throws {
        let scratch = FileManager.default.temporaryDirectory.appending(path: "clipcap-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: scratch) }
        try FileManager.default.createDirectory(at: scratch, withIntermediateDirectories: true)
        try FileManager.default.copyItem(
            at: fixture("Models/clipcap_mlp.pt"), to: scratch.appending(path: "pytorch_model.bin"))
        let language =
            #"{"model_type": "gpt2", "vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 1, "n_positions": 24}"#
        try Data("{\"model_type\": \"clipcap\", \"language_model\": \(language), \(part)}".utf8)
            .write(to: scratch.appending(path: "config.json"))
        let message = failure { _ = try ClipCap.open(scratch) }
        #expect(isOneLine(message) && message.contains(expected), "\(message)")
    }

    @Test(arguments: ClipCapConfiguration.Mapper.allCases)
    func theCountOfParametersIsTheStores(_ mapper: ClipCapConfiguration.Mapper) throws {
        let gpt2 = GPT2Configuration(vocabularySize: 9, hiddenSize: 16, layerCount: 2, headCount: 2, positionCount: 30)
        let configuration = ClipCapConfiguration(
            mapper: mapper, embeddingSize: 6, prefixLength: 4, constantLength: 5, languageModel: gpt2)
        let store = ParameterStore(seed: 1)
        let model = ClipCap(configuration, at: store.root)
        // The original layers have no bias for queries, keys and values.
        let slack = mapper == .transformer ? 3 * 16 * configuration.layerCount : 0
        #expect(abs(configuration.parameterCount - Double(store.parameterCount)) <= Double(slack + 16 * 8))
        let prefix = withoutGradients { model.prefix(.ones([2, 6])) }
        #expect(prefix.shape == [2, configuration.captionOffset, 16])
    }

    @Test func theLengthOfANormalizedEmbeddingDoesNotMatter() throws {
        var configuration = try open("clipcap_mlp").model.configuration
        configuration.normalizesEmbedding = true
        let model = ClipCap(configuration, at: ParameterStore(seed: 5).root)
        let x = try Golden("clipcap_mlp")["embeddings"]
        withoutGradients { expectClose(model.prefix(x), model.prefix(x * 7)) }
    }
}
