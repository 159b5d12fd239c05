import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaModels

/// What trainers put in front of the names of parameters, for every model and layout.
@Suite struct TrainerPrefixTests {
    /// Chains of `torch.compile`, DistributedDataParallel, Lightning and captioners.
    static let prefixes = [
        "_orig_mod.", "module.", "model.", "gpt.", "module._orig_mod.", "_orig_mod.module.model.",
        "model.gpt._orig_mod.",
        "_fsdp_wrapped_module.module.",
    ]
    static let models = [
        "gpt2", "gpt2_old", "t5_relu", "t5_gated", "bert-mlm", "bert-plain", "clip-hf", "clip-original",
        "clip-original-flash",
        "clip-resnet", "clipcap_mlp", "clipcap_bert", "clipcap_original", "clipcap_t5",
    ]

    private static let files = ["clipcap_mlp", "clipcap_bert", "clipcap_original"]

    /// The parameters of a fixture whose file has other names, or is as it is, sorted by name.
    private func parameters(
        _ name: String, _ rename: ((String) -> String)? = nil, adding more: [(name: String, tensor: Tensor)] = []
    ) throws -> [String: [Float]] {
        let source = fixture("Models/" + (Self.files.contains(name) ? "\(name).pt" : name))
        return try withTemporaryFolder { url in
            var place = source
            if let rename {
                let tensors = try Checkpoint.open(source).tensors.map { (rename($0.name), try Tensor.borrowing($0)) }
                try TensorFile.write(tensors + more, to: url.appending(path: "model.safetensors"))
                if let config = try? Data(contentsOf: source.appending(path: "config.json")) {
                    try config.write(to: url.appending(path: "config.json"))
                }
                place = url
            }
            return try store(name, place).entries.reduce(into: [:]) { $0[$1.name] = $1.tensor.floats }
        }
    }

    private func store(_ name: String, _ url: URL) throws -> ParameterStore {
        if name.hasPrefix("clipcap") { return try ClipCap.open(url).store }
        if name.hasPrefix("clip") { return try ChineseCLIP.open(url).store }
        return try name.hasPrefix("bert") ? BERT.open(url).store : ModelFolder(at: url).openLanguageModel().store
    }

    @Test(arguments: models, prefixes)
    func areCutWhereTheNamesFitThen(_ name: String, _ prefix: String) throws {
        #expect(try parameters(name) { prefix + $0 } == parameters(name))
    }

    @Test func areCutFromPartsThatWereWrappedAlone() throws {
        let whole = try parameters("clipcap_mlp")
        #expect(try parameters("clipcap_mlp") { $0.replacing("gpt2.", with: "gpt2._orig_mod.") } == whole)
        #expect(
            try parameters("clipcap_original") { $0.replacing("gpt.", with: "module.gpt.module.") }
                == parameters("clipcap_original"))
        #expect(try parameters("gpt2") { $0.contains(".h.1.") ? "_orig_mod.\($0)" : $0 } == parameters("gpt2"))
    }

    @Test func aMappingNetworkBeforeAPoetLosesThemToo() throws {
        let configuration = PrefixMapperConfiguration(embeddingSize: 4, prefixLength: 2, hiddenSize: 3)
        let store = ParameterStore(seed: 1)
        let mapper = PrefixMapper(configuration, at: store.root)
        try withTemporaryFolder { url in
            try ModelFolder.save(configuration: configuration, store: store, to: url)
            let tensors = store.entries.map { ("_orig_mod.module.\($0.name)", $0.tensor) }
            try TensorFile.write(tensors, to: url.appending(path: "model.safetensors"))
            let x = Tensor.ones([1, 4])
            let opened = try PrefixMapper.open(url).model
            #expect(withoutGradients { opened(x).floats == mapper(x).floats })
        }
    }

    /// A second model beside the first, such as an average that a trainer kept.
    @Test(arguments: ["gpt2", "clip-hf", "clipcap_mlp"])
    func twoModelsInOneFileAreAnError(_ name: String) throws {
        let source = fixture("Models/" + (Self.files.contains(name) ? "\(name).pt" : name))
        let copy = try Checkpoint.open(source).tensors.map { ("model.\($0.name)", try Tensor.borrowing($0)) }
        let message = failure { _ = try parameters(name, { $0 }, adding: copy) }
        #expect(isOneLine(message) && message.contains("are both"), "\(message)")
    }

    @Test func whatDoesNotFitIsShownAsItStandsInTheFile() throws {
        let message = failure { _ = try parameters("gpt2") { "policy.\($0)" } }
        #expect(isOneLine(message), "\(message)")
        #expect(message.contains("transformer.wte.weight") && message.contains("policy.transformer."), "\(message)")
        let wrong = failure { _ = try parameters("clipcap_mlp") { "policy.\($0)" } }
        #expect(isOneLine(wrong) && wrong.contains("policy."), "\(wrong)")
        // Cut, one name is still too much.
        let more = failure {
            _ = try parameters("gpt2", { "module.\($0)" }, adding: [("module.value_head.weight", .zeros([1]))])
        }
        #expect(more.contains("module.value_head.weight") && more.contains("does not know"), "\(more)")
    }
}
