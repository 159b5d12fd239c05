import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch

@testable import TihuaModels

struct BERTTests {
    @Test(arguments: ["bert-plain", "bert-mlm"])
    func hiddenStatesEqualTheReference(name: String) throws {
        try withoutGradients {
            let bert = try BERT.open(fixture("Models/\(name)")).model
            let golden = try goldens(name)
            let ids = try golden("ids")
            let mask = ids.differs(from: 0).unsqueezed(1).unsqueezed(1)
            expectClose(try bert(ids, tokenTypes: golden("types"), mask: mask), try golden("hidden"))
        }
    }

    @Test func additiveMaskEqualsBoolMask() throws {
        try withoutGradients {
            let bert = try BERT.open(fixture("Models/bert-plain")).model
            let ids = try goldens("bert-plain")("ids")
            let attend = ids.differs(from: 0).unsqueezed(1).unsqueezed(1)
            let additive = (attend.to(.float32) - 1.0) * 10_000
            expectClose(bert(ids, mask: additive), bert(ids, mask: attend))
        }
    }

    @Test func parameterCountIsThatOfTheStore() throws {
        var configuration = BERTConfiguration()
        configuration.vocabularySize = 31
        configuration.hiddenSize = 12
        configuration.layerCount = 3
        configuration.headCount = 2
        configuration.intermediateSize = 20
        let store = ParameterStore(seed: nil)
        _ = BERT(configuration, at: store.root)
        #expect(Double(store.parameterCount) == configuration.parameterCount)
    }

    @Test(arguments: [
        (#"{"hidden_act": "relu"}"#, "hidden_act"), (#"{"num_attention_heads": 5}"#, "num_attention_heads"),
        (#"{"num_hidden_layers": 0}"#, "num_hidden_layers"), (#"{"vocab_size": 99999999999}"#, "vocab_size"),
        (#"{"layer_norm_eps": -1}"#, "layer_norm_eps"),
    ])
    func impossibleSettingIsRefusedByName(json: String, setting: String) {
        #expect {
            try JSONDecoder().decode(BERTConfiguration.self, from: Data(json.utf8))
        } throws: { error in
            guard case .unsupported(model: "bert", setting, _, _)? = error as? ModelError else { return false }
            return true
        }
    }

    @Test func openingAnotherArchitectureSaysSo() {
        let folder = fixture("Models/clip-hf")
        #expect(
            throws: ModelError.unknownArchitecture(
                path: folder.appending(path: "config.json").path, found: "chinese_clip", known: ["bert"])
        ) { try BERT.open(folder) }
    }
}
