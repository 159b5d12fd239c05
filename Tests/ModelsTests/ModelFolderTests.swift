import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaModels

@Suite struct ModelFolderTests {
    private func tensors(_ url: URL) throws -> [(name: String, tensor: Tensor)] {
        try Checkpoint.open(url).tensors.map { ($0.name, try Tensor.borrowing($0)) }
    }

    /// A copy of the GPT2 fixture whose tensors and configuration `change` edits.
    private func damaged(
        _ url: URL, tensors change: (inout [(name: String, tensor: Tensor)]) -> Void = { _ in },
        configuration: (String) -> String = { $0 }
    ) throws -> ModelFolder {
        let source = fixture("Models/gpt2")
        var all = try tensors(source)
        change(&all)
        try TensorFile.write(all, to: url.appending(path: "model.safetensors"))
        let json = try String(contentsOf: source.appending(path: "config.json"), encoding: .utf8)
        try Data(configuration(json).utf8).write(to: url.appending(path: "config.json"))
        return try ModelFolder(at: url)
    }

    private func message(
        tensors change: @escaping (inout [(name: String, tensor: Tensor)]) -> Void = { _ in },
        configuration: @escaping (String) -> String = { $0 }
    ) throws -> String {
        var text = ""
        try withTemporaryFolder { url in
            text = failure { _ = try GPT2.open(damaged(url, tensors: change, configuration: configuration)).model }
        }
        #expect(isOneLine(text), "\(text)")
        return text
    }

    @Test func theUntouchedCopyLoads() throws {
        try withTemporaryFolder { url in _ = try GPT2.open(damaged(url)).model }
    }

    @Test func namesWhatIsMissing() throws {
        let text = try message { $0.removeAll { $0.name.contains("h.1.mlp") } }
        #expect(text.contains("lacks 4 parameters") && text.contains("transformer.h.1.mlp.c_fc.weight"))
    }

    @Test func namesWhatIsTooMuch() throws {
        let text = try message { $0.append(("adapter.down.weight", .zeros([2, 2]))) }
        #expect(text.contains("adapter.down.weight") && text.contains("does not know"))
    }

    @Test func namesWhatHasAnotherShape() throws {
        // Broadcastable on purpose: [32] could fill [64, 32].
        let text = try message {
            $0 = $0.map { $0.name == "transformer.wpe.weight" ? ($0.name, .zeros([32, 1])) : $0 }
        }
        #expect(text.contains("transformer.wpe.weight") && text.contains("[32, 32]") && text.contains("[32, 1]"))
    }

    @Test func integersAreNoWeights() throws {
        let text = try message {
            $0 = $0.map { $0.name == "transformer.wpe.weight" ? ($0.name, $0.tensor.to(.int64)) : $0 }
        }
        #expect(text.contains("I64"))
    }

    @Test func aHeadThatIsNotTheEmbeddingIsRefused() throws {
        let text = try message { $0.append(("lm_head.weight", .zeros([64, 32]))) }
        #expect(text.contains("lm_head.weight") && text.contains("ties"))
    }

    @Test func aCopiedHeadIsTheEmbedding() throws {
        try withTemporaryFolder { url in
            _ = try GPT2.open(
                damaged(url) { all in
                    all += all.filter { $0.name == "transformer.wte.weight" }.map { ("lm_head.weight", $0.tensor) }
                }
            ).model
        }
    }

    @Test(arguments: [
        ("\"vocab_size\": 64", "\"vocab_size\": 16000000"), ("\"n_layer\": 2", "\"n_layer\": 10000000"),
        ("\"n_embd\": 32", "\"n_embd\": 8000000"),
    ])
    func aConfigurationFarLargerThanTheWeightsTakesNoMemory(_ change: (String, String)) throws {
        let text = try message(configuration: { $0.replacing(change.0, with: change.1) })
        #expect(text.contains("config.json describes a model of"))
    }

    @Test func aVocabularySizeThatDisagreesIsTheEmbeddingsShape() throws {
        let text = try message(configuration: { $0.replacing("\"vocab_size\": 64", with: "\"vocab_size\": 65") })
        #expect(text.contains("transformer.wte.weight") && text.contains("[65, 32]") && text.contains("[64, 32]"))
    }

    @Test(arguments: [(64, true), (65, false), (60, true), (1, true)])
    func vocabularyAndRowsAgreeUpToPadding(_ tokens: Int, agrees: Bool) throws {
        let text = failure { try folder("gpt2").check(vocabulary: tokens, rows: 64) }
        #expect(text.isEmpty == agrees)
        #expect(agrees || (isOneLine(text) && text.contains("65") && text.contains("64")))
    }

    @Test func aVocabularyOfAnotherModelIsNoPadding() throws {
        let text = failure { try folder("gpt2").check(vocabulary: 21128, rows: 32000) }
        #expect(isOneLine(text) && text.contains("21128") && text.contains("32000"))
    }

    @Test(arguments: [
        (#"{"model_type": "llama"}"#, "llama"), (#"{"architectures": ["OPTModel"]}"#, "OPTModel"),
        ("{}", "(none named)"),
    ])
    func anUnknownArchitectureNamesTheKnown(_ json: String, found: String) throws {
        try withTemporaryFolder { url in
            try Data(json.utf8).write(to: url.appending(path: "config.json"))
            let text = failure { _ = try ModelFolder(at: url) }
            #expect(isOneLine(text) && text.contains(found))
            #expect(Architecture.allCases.allSatisfy { text.contains($0.rawValue) })
        }
    }

    @Test(arguments: [
        (#"{"model_type": "mt5"}"#, T5.architecture), (#"{"architectures": ["GPT2LMHeadModel"]}"#, GPT2.architecture),
        (#"{"model_type": "chinese_clip"}"#, ChineseCLIP.architecture),
        (#"{"architectures": ["BertForMaskedLM"]}"#, BERT.architecture),
        (#"{"architectures": ["T5ForConditionalGeneration"]}"#, T5.architecture),
    ])
    func architecturesAreFoundByTypeOrClass(_ json: String, expected: Architecture) throws {
        try withTemporaryFolder { url in
            try Data(json.utf8).write(to: url.appending(path: "config.json"))
            #expect(try ModelFolder(at: url).architecture == expected)
        }
    }

    @Test(arguments: ["", "{", "[1]", "\u{0}", #"{"model_type": 3}"#])
    func aConfigurationThatIsNoneIsOneLine(_ json: String) throws {
        try withTemporaryFolder { url in
            try Data(json.utf8).write(to: url.appending(path: "config.json"))
            let text = failure { _ = try ModelFolder(at: url) }
            #expect(isOneLine(text) && text.contains("config.json"), "\(text)")
        }
    }

    @Test func aFolderWithoutConfigurationOrWeightsSaysSo() throws {
        try withTemporaryFolder { url in
            // Not inside #expect: Swift 6.3.1 gives the closure of a macro and the next one in a closure the same name.
            let empty = failure { _ = try ModelFolder(at: url) }
            try Data(#"{"model_type": "gpt2"}"#.utf8).write(to: url.appending(path: "config.json"))
            let weightless = failure { _ = try GPT2.open(ModelFolder(at: url)).model }
            #expect(isOneLine(empty) && empty.contains("config.json"))
            #expect(isOneLine(weightless) && weightless.contains("no weights"))
        }
    }

    @Test(arguments: [DType.float32, .bfloat16])
    func whatIsSavedLoadsAsItWas(_ dtype: DType) throws {
        try withTemporaryFolder { url in
            let store = ParameterStore(seed: 3, dtype: dtype)
            let configuration: GPT2Configuration = try folder("gpt2").configuration()
            let model = GPT2(configuration, computeType: dtype, at: store.root)
            let target = url.appending(path: "saved")
            let vocabulary = url.appending(path: "vocab.txt")
            try Data("[PAD]\n".utf8).write(to: vocabulary)
            for _ in 0..<2 {  // a new folder, then the same one again
                try ModelFolder.save(configuration: configuration, store: store, copying: [vocabulary], to: target)
            }
            let names = try FileManager.default.contentsOfDirectory(atPath: target.path).sorted()
            #expect(names == ["config.json", "model.safetensors", "vocab.txt"])
            #expect(try FileManager.default.contentsOfDirectory(atPath: url.path).sorted() == ["saved", "vocab.txt"])
            let saved = try ModelFolder(at: target)
            #expect(try saved.checkpoint().tensors.allSatisfy { $0.elementType == dtype.elementType })
            let copy = try GPT2.open(saved, dtype: dtype).model
            #expect(copy.configuration == configuration)
            let ids = try Golden("gpt2")["ids"]
            let difference = withoutGradients {
                (copy.logits(copy.hidden(ids)) - model.logits(model.hidden(ids))).abs().max().item
            }
            #expect(difference == 0)
        }
    }

    @Test func aFailedSaveLeavesNothingBehind() throws {
        try withTemporaryFolder { url in
            let store = ParameterStore(seed: 3)
            let configuration: GPT2Configuration = try folder("gpt2").configuration()
            _ = GPT2(configuration, at: store.root)
            let missing = url.appending(path: "vocab.txt")
            let target = url.appending(path: "saved")
            #expect(throws: (any Error).self) {
                try ModelFolder.save(configuration: configuration, store: store, copying: [missing], to: target)
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: url.path).isEmpty)
        }
    }

    @Test func aVersion5FileWithAHeadOfItsOwnKeepsIt() throws {
        // transformers 5 writes `tie_word_embeddings: true` and `scale_decoder_outputs: false` for T5 1.1.
        try withTemporaryFolder { url in
            let source = fixture("Models/t5_gated")
            try TensorFile.write(tensors(source), to: url.appending(path: "model.safetensors"))
            let json = try String(contentsOf: source.appending(path: "config.json"), encoding: .utf8).replacing(
                "\"tie_word_embeddings\": false",
                with: "\"tie_word_embeddings\": true, \"scale_decoder_outputs\": false")
            try Data(json.utf8).write(to: url.appending(path: "config.json"))
            let model = try T5.open(ModelFolder(at: url)).model
            #expect(model.head != nil)
        }
    }
}
