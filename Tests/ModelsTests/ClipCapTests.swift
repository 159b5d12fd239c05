import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaModels

@Suite struct ClipCapTests {
    static let files = ["clipcap_mlp", "clipcap_bert", "clipcap_original", "clipcap_grid"]
    static let all = files + ["clipcap_t5"]

    private func open(_ name: String) throws -> ClipCap.Opened {
        try ClipCap.open(fixture("Models/" + (name == "clipcap_t5" ? name : "\(name).pt")))
    }

    private func prefix(_ model: ClipCap, _ golden: Golden) throws -> Tensor {
        try withoutGradients {
            try model.prefix(golden["embeddings"], grid: model.configuration.takesGrid ? golden["grid"] : nil)
        }
    }

    private func logits(_ model: ClipCap, _ golden: Golden) throws -> Tensor {
        try withoutGradients { try model.logits(model.hidden(prefix(model, golden), golden["ids"])) }
    }

    @Test(arguments: all)
    func prefixAndLogitsAreThoseOfTheReference(_ name: String) throws {
        let golden = try Golden(name)
        let model = try open(name).model
        try expectClose(prefix(model, golden), golden["prefix"])
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
        let grid = try open("clipcap_grid").model.configuration
        #expect(grid.mapper == .grid && grid.prefixLength == 2 && grid.constantLength == 3 && grid.layerCount == 2)
        #expect(grid.cellCount == 9 && grid.cellWidth == 6 && grid.captionOffset == 3 && grid.takesGrid)
    }

    /// A picture has the prefix that it has beside others; and some of its cells, in any order, are what those places
    /// say.
    @Test func thePrefixOfAGridIsItsOwn() throws {
        let golden = try Golden("clipcap_grid")
        let model = try open("clipcap_grid").model
        let (x, grid) = (try golden["embeddings"], try golden["grid"])
        withoutGradients {
            let both = model.prefix(x, grid: grid)
            for picture in 0..<2 {
                let range = picture..<picture + 1
                expectClose(
                    model.prefix(x.narrowed(0, range), grid: grid.narrowed(0, range)), both.narrowed(0, range))
            }
            let order: [Int32] = [4, 8, 0, 1, 7, 2, 3, 6, 5]
            func some(_ cells: [Int32]) -> (grid: Tensor, which: Tensor) {
                let places = Tensor.ids(cells, [cells.count])
                return (grid.gatheringSlices(1, at: places), Tensor.ids(cells + cells, [2, cells.count]))
            }
            let turned = some(order)
            expectClose(model.prefix(x, grid: turned.grid, cells: turned.which), both)
            // Attention knows no order, so that what differs is what a cell says of its place.
            #expect((model.prefix(x, grid: turned.grid) - both).abs().max(0, 1, 2).item > 1e-3)
            let few = some([4, 0, 7])
            let seen = model.prefix(x, grid: few.grid, cells: few.which)
            #expect(seen.shape == both.shape && (seen - both).abs().max(0, 1, 2).item > 1e-3)
        }
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

    /// A grid mapper without embeddings of the whole.
    @Test func aGridAloneIsEnough() throws {
        let gpt2 = GPT2Configuration(vocabularySize: 9, hiddenSize: 16, layerCount: 1, headCount: 2, positionCount: 30)
        let configuration = ClipCapConfiguration(
            mapper: .grid, embeddingSize: 6, prefixLength: 0, constantLength: 5, grid: (9, 7), languageModel: gpt2)
        let store = ParameterStore(seed: 1)
        let model = ClipCap(configuration, at: store.root)
        #expect(store["clip_project.linear.weight"] == nil)
        let grid = Tensor.randn([2, 9, 7], generator: Generator(seed: 3))
        let folder = FileManager.default.temporaryDirectory.appending(path: "clipcap-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try ModelFolder.save(configuration: configuration, store: store, to: folder)
        let again = try ClipCap.open(folder)
        #expect(again.model.configuration == configuration && again.notes.isEmpty)
        withoutGradients {
            let prefix = model.prefix(.ones([2, 6]), grid: grid)
            #expect(prefix.floats == model.prefix(.zeros([2, 6]), grid: grid).floats && prefix.shape == [2, 5, 16])
            #expect(prefix.floats == again.model.prefix(.ones([2, 6]), grid: grid).floats)
        }
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
        (#""mapping_type": "mlp", "clip_size": 12, "prefix_length": 0"#, "prefix_length"),
        (#""mapping_type": "grid", "clip_size": 12, "grid_width": 6, "mapper_heads": 2"#, "grid_cells"),
        (#""mapping_type": "grid", "clip_size": 12, "grid_cells": 6, "mapper_heads": 2"#, "grid_width"),
        (#""mapping_type": "grid", "clip_size": 12, "grid_cells": -1, "grid_width": 6"#, "grid_cells"),
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
            mapper: mapper, embeddingSize: 6, prefixLength: 4, constantLength: 5, grid: (9, 7), languageModel: gpt2)
        let store = ParameterStore(seed: 1)
        let model = ClipCap(configuration, at: store.root)
        // The original layers have no bias for queries, keys and values.
        let slack = [.transformer, .grid].contains(mapper) ? 3 * 16 * configuration.layerCount : 0
        #expect(abs(configuration.parameterCount - Double(store.parameterCount)) <= Double(slack + 16 * 8))
        let prefix = withoutGradients { model.prefix(.ones([2, 6]), grid: .ones([2, 9, 7])) }
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
