import Foundation
import Testing
import Tihua
import TihuaEncoders
import TihuaModels
import TihuaPictures
import TihuaTestSupport
import TihuaTokenizers
import TihuaWeightFiles

@Suite struct SentenceEncoderTests {
    private static let folder = fixture("Models/sentences")

    /// The texts of Scripts/make_sentence_fixtures.py, and the vectors that the reference gives them.
    private static func goldens(_ url: URL) throws -> (texts: [String], vectors: [[Float]]) {
        let file = try SafetensorsFile(contentsOf: url)
        let texts = try JSONDecoder().decode([String].self, from: Data((file.metadata["texts"] ?? "").utf8))
        let view = try #require(file["text_vectors"])
        let (values, width) = (try #require(view.floats()), view.shape[1])
        return (texts, texts.indices.map { Array(values[$0 * width..<($0 + 1) * width]) })
    }

    private func cosine(_ a: [Float], _ b: [Float]) -> Float { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }

    @Test func vectorsOfTextsEqualTheReference() throws {
        let (texts, expected) = try Self.goldens(fixture("Models/sentences.golden.safetensors"))
        let encoder = try SentenceEncoder(folder: Self.folder)
        let found = try encoder.encode(texts)
        #expect(encoder.width == 8 && found.count == texts.count && texts.count > 60)
        for (a, b) in zip(found, expected) { #expect(zip(a, b).allSatisfy { abs($0 - $1) < 1e-5 }) }
        #expect(try encoder.encode([]).isEmpty)
    }

    @Test(
        .enabled(
            if: ProcessInfo.processInfo.environment["TIHUA_SENTENCES"] != nil,
            "needs TIHUA_SENTENCES, a folder of Scripts/make_sentence_fixtures.py --full"))
    func publishedFolderGivesTheReferencesVectors() throws {
        let folder = URL(filePath: ProcessInfo.processInfo.environment["TIHUA_SENTENCES"] ?? "")
        let (texts, expected) = try Self.goldens(folder.appending(path: "sentences.golden.safetensors"))
        let encoder = try SentenceEncoder(folder: folder)
        let found = try encoder.encode(texts)
        #expect(texts.count > 2_000)
        let cosines = zip(found, expected).map(cosine)
        print("least cosine of \(texts.count) texts: \(cosines.min() ?? 0)")
        #expect(cosines.allSatisfy { $0 > 0.9999 })
        // A text that is too long loses its end.
        let long = String(repeating: "月", count: SentenceEncoder.maximumLength - 3)
        let vectors = try encoder.encode([long, long + "雪", String(long.dropLast()) + "雪", "月"])
        #expect(vectors[0] == vectors[1] && vectors[0] != vectors[2] && vectors[0] != vectors[3])
        // Cut, and written by Tihua: the same vectors for Chinese and Latin texts.
        let scratch = try Scratch()
        for scripts in [[.han, .latin], [.han, .letters]] as [Set<PieceScript>] {
            let target = scratch.url.appending(path: "cut\(scripts.hashValue)")
            let (before, after) = try SentenceEncoder.cut(folder, to: scripts, writing: target)
            let chinese = texts.filter { $0.unicodeScalars.allSatisfy(isChinese) }
            let (whole, part) = try (SentenceEncoder(folder: folder), SentenceEncoder(folder: target))
            #expect(try whole.encode(chinese) == part.encode(chinese))
            #expect(chinese.count > 1_000 && before == 128_000 && after < 100_000)
            print("\(after) of \(before) pieces, \(chinese.count) texts with equal vectors")
        }
    }

    private func isChinese(_ scalar: Unicode.Scalar) -> Bool {
        (0x4E00...0x9FFF).contains(scalar.value) || "，。！？、 0123456789".unicodeScalars.contains(scalar)
    }

    /// Batches are parted by their pieces; it must not matter where.
    @Test func oneByOneGivesTheSameVectorsInTheSameOrder() throws {
        let (texts, _) = try Self.goldens(fixture("Models/sentences.golden.safetensors"))
        let encoder = try SentenceEncoder(folder: Self.folder)
        let together = try encoder.encode(texts)
        for (text, row) in zip(texts, together) {
            let alone = try encoder.encode([text])[0]
            #expect(zip(alone, row).allSatisfy { abs($0 - $1) < 1e-5 }, "\(text)")
        }
    }

    @Test func aFolderThatIsCutGivesTheSameVectors() throws {
        let scratch = try Scratch()
        let target = scratch.url.appending(path: "cut")
        let (before, after) = try SentenceEncoder.cut(Self.folder, to: [.han, .latin], writing: target)
        #expect(before == 333 && (100..<300).contains(after))
        #expect(
            Set(try FileManager.default.contentsOfDirectory(atPath: target.path))
                == ["config.json", "model.safetensors", "sp.model"])
        let (whole, part) = try (SentenceEncoder(folder: Self.folder), SentenceEncoder(folder: target))
        let texts = ["一只狗在雪地里奔跑", "The old poet looks at 12 trees.", "龘，2024！", "", "东风無情"]
        #expect(try whole.encode(texts) == part.encode(texts))
        #expect(try whole.encode(["きれいな花"]) != part.encode(["きれいな花"]))
        #expect(SentenceEncoder.isOne(target) && SentenceEncoder.isOne(Self.folder))
        #expect(SentenceEncoder.isOne(Self.folder.appending(path: "weights.npz")))
        #expect(!SentenceEncoder.isOne(fixture("Models/clip-hf")) && !SentenceEncoder.isOne(scratch.url))
        #expect(try whole.fingerprint() != part.fingerprint())
    }

    private func error(_ body: () throws -> Void) -> String {
        do { try body() } catch { return "\(error)" }
        return ""
    }

    /// A folder that lacks its tokenizer, or holds that of another model, is one line that says so.
    @Test func foldersThatDoNotFitAreRefused() throws {
        let scratch = try Scratch()
        func copy(_ name: String, _ change: (URL) throws -> Void) throws -> String {
            let target = scratch.url.appending(path: name)
            try FileManager.default.copyItem(at: Self.folder, to: target)
            try change(target)
            let line = error { _ = try SentenceEncoder(folder: target) }
            #expect(!line.isEmpty && !line.contains("\n"))
            #expect(
                error { _ = try SentenceEncoder.cut(target, to: [.han], writing: scratch.url.appending(path: "x")) }
                    == line)
            return line
        }
        func model(_ scripts: Set<PieceScript>) throws -> [UInt8] {
            let bytes = Array(try Data(contentsOf: Self.folder.appending(path: "sp.model")))
            return try VocabularyCut(of: bytes, to: scripts).model
        }
        #expect(
            try copy("none") { try FileManager.default.removeItem(at: $0.appending(path: "sp.model")) }
                .contains("sp.model"))
        #expect(
            try copy("weightless") { try FileManager.default.removeItem(at: $0.appending(path: "weights.npz")) }
                .contains("weights"))
        #expect(
            try copy("other") { folder in
                try FileManager.default.removeItem(at: folder.appending(path: "sp.model"))
                try FileManager.default.copyItem(
                    at: fixture("Tokenizers/spiece.model"), to: folder.appending(path: "sp.model"))
            }.contains("<s>"))
        // The table of a cut encoder beside the vocabulary of the whole one.
        let cut = scratch.url.appending(path: "cut")
        _ = try SentenceEncoder.cut(Self.folder, to: [.han], writing: cut)
        try FileManager.default.removeItem(at: cut.appending(path: "sp.model"))
        try FileManager.default.copyItem(
            at: Self.folder.appending(path: "sp.model"), to: cut.appending(path: "sp.model"))
        #expect(error { _ = try SentenceEncoder(folder: cut) }.contains("333 tokens"))
        // And a vocabulary that was cut beside the whole table, whose rows would be those of other pieces.
        let whole = scratch.url.appending(path: "whole")
        try FileManager.default.copyItem(at: Self.folder, to: whole)
        try Data(model([])).write(to: whole.appending(path: "sp.model"))
        #expect(error { _ = try SentenceEncoder(folder: whole) }.contains("340 embedding rows"))
        // What is there is not written over.
        #expect(throws: (any Error).self) { try SentenceEncoder.cut(Self.folder, to: [.han], writing: whole) }
    }

    @Test func anEngineEmbedsTextsAndRefusesPictures() async throws {
        var overrides = Pack.Overrides()
        overrides.clip = Self.folder
        let engine = try Engine(pack: Pack(overrides, base: nil), cache: nil)
        let rows = try await engine.embeddings(of: ["雪地里", "奔跑"])
        #expect(try rows == SentenceEncoder(folder: Self.folder).encode(["雪地里", "奔跑"]))
        let picture = try Picture(contentsOf: fixture("Pictures/scene.png").path)
        await #expect(throws: PipelineError.self) { try await engine.embeddings(of: [picture]) }
        await #expect(throws: PipelineError.self) { try await engine.fingerprint }
    }
}
