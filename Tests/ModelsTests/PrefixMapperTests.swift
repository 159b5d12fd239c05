import Foundation
import Testing
import TihuaNN
import TihuaTorch

@testable import TihuaModels

@Suite struct PrefixMapperTests {
    private static let shape = PrefixMapperConfiguration(embeddingSize: 5, prefixLength: 3, hiddenSize: 4)
    private static let embeddings: [[Float]] = [[1, -2, 0.5, 3, 0], [-0.25, 0.75, 2, -1, 4]]

    private func mapper(_ shape: PrefixMapperConfiguration = shape) -> (mapper: PrefixMapper, store: ParameterStore) {
        Runtime.threadCount = 1
        let store = ParameterStore(seed: 5)
        let mapper = PrefixMapper(shape, at: store.root)
        // Biases start at 0, where a mistake would not show.
        withoutGradients {
            for entry in store.entries { entry.tensor.add_(Tensor.full(entry.tensor.shape, 0.1), scale: 1) }
        }
        return (mapper, store)
    }

    private func run(_ mapper: PrefixMapper) -> Tensor {
        withoutGradients { mapper(Tensor(Self.embeddings.flatMap { $0 }, [2, 5])) }
    }

    private func scratch() -> URL {
        FileManager.default.temporaryDirectory.appending(path: "prefix-\(UUID().uuidString)")
    }

    @Test func theOutputIsThatOfAComputationByHand() throws {
        let (mapper, store) = mapper()
        func values(_ name: String) throws -> [Float] { try #require(store["clip_project.model.\(name)"]).floats }
        let (w1, b1, w2, b2) = (
            try values("0.weight"), try values("0.bias"), try values("2.weight"), try values("2.bias")
        )
        #expect(w1.count == 6 * 5 && w2.count == 12 * 6)
        let expected = Self.embeddings.flatMap { row -> [Float] in
            let length = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
            let x = row.map { $0 / length }
            let inner = b1.indices.map { i in tanh((0..<5).reduce(b1[i]) { $0 + w1[i * 5 + $1] * x[$1] }) }
            return b2.indices.map { i in (0..<6).reduce(b2[i]) { $0 + w2[i * 6 + $1] * inner[$1] } }
        }
        expectClose(run(mapper), Tensor(expected, [2, 3, 4]))
    }

    @Test func aSavedFolderIsTheSameMapper() throws {
        var shape = Self.shape
        (shape.clipModel, shape.poetModel) = ("clip", "poet")
        let (mapper, store) = mapper(shape)
        let folder = scratch()
        defer { try? FileManager.default.removeItem(at: folder) }
        try ModelFolder.save(configuration: shape, store: store, to: folder)
        let again = try PrefixMapper.open(folder).model
        #expect(again.configuration == shape)
        #expect(run(again).floats == run(mapper).floats)
        #expect(shape.parameterCount == Double(store.parameterCount))
    }

    @Test(arguments: [
        (#""clip_size": 0"#, "clip_size"), (#""prefix_length": 5000"#, "prefix_length"),
        (#""mapping_type": "bert""#, "mapping_type"), (#""hidden_size": 1048576, "prefix_length": 4096"#, "numbers"),
        (#""hidden_size": 8"#, "expected shape"), (#""model_type": "clipcap""#, "clipcap"),
    ])
    func aWrongConfigurationIsOneLine(_ part: String, _ expected: String) throws {
        let folder = scratch()
        defer { try? FileManager.default.removeItem(at: folder) }
        let (_, store) = mapper()
        try ModelFolder.save(configuration: Self.shape, store: store, to: folder)
        let file = folder.appending(path: "config.json")
        let whole = try #require(
            JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
        let change = try #require(JSONSerialization.jsonObject(with: Data("{\(part)}".utf8)) as? [String: Any])
        try JSONSerialization.data(withJSONObject: whole.merging(change) { $1 }).write(to: file)
        let message = failure { _ = try PrefixMapper.open(folder) }
        #expect(isOneLine(message) && message.contains(expected), "\(message)")
        let missing = whole.filter { $0.key != "prefix_length" }
        try JSONSerialization.data(withJSONObject: missing).write(to: file)
        #expect(failure { _ = try PrefixMapper.open(folder) }.contains("prefix_length is missing"))
    }

    /// Embeddings of tokens are read as the tokens themselves.
    @Test func aGPT2ReadsEmbeddingsAsTheirTokens() {
        Runtime.threadCount = 1
        let shape = GPT2Configuration(
            vocabularySize: 9, hiddenSize: 8, layerCount: 2, headCount: 2, positionCount: 12)
        let model = GPT2(shape, at: ParameterStore(seed: 2).root)
        let ids = Tensor.ids([1, 5, 3, 8, 2, 2], [2, 3])
        withoutGradients { expectClose(model.hidden(embeddings: model.embed(ids)), model.hidden(ids)) }
    }
}
