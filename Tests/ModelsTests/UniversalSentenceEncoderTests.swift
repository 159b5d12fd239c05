import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaModels

@Suite struct UniversalSentenceEncoderTests {
    /// The sentences of Scripts/make_sentence_fixtures.py.
    private static let sentences: [[Int32]] = [
        [1, 4, 2], [1, 2], [1, 33, 17, 5, 6, 7, 8, 9, 2], [1, 50, 16, 34, 2],
    ]

    private static var archive: URL { fixture("Models/sentences/weights.npz") }

    @Test func vectorsEqualTheReference() throws {
        let golden = try goldens("sentences")
        let opened = try UniversalSentenceEncoder.open(Self.archive)
        #expect(
            opened.model.configuration.vocabularySize == 340
                && opened.model.configuration.layerNormEpsilon == Double(Float(1e-6)))
        try withoutGradients { expectClose(opened.model(Self.sentences), try golden("vectors"), atol: 1e-5) }
    }

    @Test func oneByOneGivesTheSameVectors() throws {
        let model = try UniversalSentenceEncoder.open(Self.archive).model
        withoutGradients {
            let single = Tensor.concatenated(Self.sentences.map { model([$0]) }, 0)
            expectClose(model(Self.sentences), single, atol: 1e-6)
        }
    }

    @Test func whatIsSavedAsAFolderIsReadAgain() throws {
        let opened = try UniversalSentenceEncoder.open(Self.archive)
        let folder = URL.temporaryDirectory.appending(path: UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: folder) }
        try ModelFolder.save(configuration: opened.model.configuration, store: opened.store, to: folder)
        let again = try UniversalSentenceEncoder.open(folder).model
        #expect(again.configuration == opened.model.configuration)
        withoutGradients { #expect(again(Self.sentences).floats == opened.model(Self.sentences).floats) }
    }

    @Test func anotherNetworksWeightsAreRefused() throws {
        let folder = URL.temporaryDirectory.appending(path: UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: folder) }
        try ModelFolder.save(
            configuration: ["model_type": "universal_sentence_encoder"], store: ParameterStore(seed: 1), to: folder)
        #expect(throws: ModelError.self) { try UniversalSentenceEncoder.open(folder) }
        #expect(throws: ModelError.self) {
            try UniversalSentenceEncoder.open(fixture("Models/sentences.golden.safetensors"))
        }
    }

    /// Arrays of other shapes or types than the file says it has are errors of one line, never a trap.
    @Test(arguments: ["q2", "scale", "lo", "ln_g2", "ln_b5", "proj3", "d2", "eps", "q17"])
    func arraysThatDoNotFitAreRefused(name: String) throws {
        let whole = try Checkpoint.open(Self.archive)
        for isShape in [true, false] {
            let folder = URL.temporaryDirectory.appending(path: UUID().uuidString)
            defer { try? FileManager.default.removeItem(at: folder) }
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let tensors = try whole.tensors.map { view in
                let tensor = try Tensor.borrowing(view)
                guard view.name == name else { return (name: view.name, tensor: tensor) }
                let odd = Tensor.zeros([3, 1], dtype: tensor.dtype)
                return (name: name, tensor: isShape ? odd : tensor.to(tensor.dtype == .uint8 ? .float32 : .int64))
            }
            let file = folder.appending(path: "model.safetensors")
            try TensorFile.write(tensors, to: file)
            // The number that norms add is read as it is, whatever its shape.
            if name == "eps", isShape { continue }
            #expect(throws: ModelError.self) { try UniversalSentenceEncoder.open(file) }
        }
    }

    /// A configuration beside them that tells another size is an error too.
    @Test func aVocabularyOfAnotherSizeIsRefused() throws {
        let folder = URL.temporaryDirectory.appending(path: UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (whole, configuration) = try (
            Checkpoint.open(Self.archive), UniversalSentenceEncoder.open(Self.archive).model.configuration
        )
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let tensors = try whole.tensors.map { (name: $0.name, tensor: try Tensor.borrowing($0)) }
        try TensorFile.write(tensors, to: folder.appending(path: "model.safetensors"))
        var other = configuration
        other.vocabularySize = 339
        for (described, fits) in [(configuration, true), (other, false)] {
            try JSONEncoder().encode(described).write(to: folder.appending(path: "config.json"))
            if fits {
                _ = try UniversalSentenceEncoder.open(folder)
            } else {
                #expect(throws: ModelError.self) { try UniversalSentenceEncoder.open(folder) }
            }
        }
    }

    @Test(
        .enabled(
            if: ProcessInfo.processInfo.environment["TIHUA_SENTENCES"] != nil,
            "needs TIHUA_SENTENCES, a folder of Scripts/make_sentence_fixtures.py --full"))
    func publishedWeightsGiveTheReferencesVectors() throws {
        let folder = URL(filePath: ProcessInfo.processInfo.environment["TIHUA_SENTENCES"] ?? "")
        let model = try UniversalSentenceEncoder.open(folder.appending(path: "weights.npz")).model
        let golden = try Checkpoint.open(folder.appending(path: "sentences.golden.safetensors"))
        func integers(_ name: String) throws -> [Int] {
            try Tensor.borrowing(golden.tensor(name)).to(.float32).floats.map { Int($0) }
        }
        var flat = try integers("ids")[...]
        let sentences = try integers("lengths").map { length in
            defer { flat = flat.dropFirst(length) }
            return flat.prefix(length).map(Int32.init)
        }
        let expected = try Tensor.borrowing(golden.tensor("text_vectors"))
        withoutGradients {
            for start in stride(from: 0, to: sentences.count, by: 64) {
                let batch = start..<min(start + 64, sentences.count)
                expectClose(model(Array(sentences[batch])), expected.narrowed(0, batch), atol: 1e-4)
            }
        }
    }
}
