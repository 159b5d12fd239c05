import Foundation
import Testing
import Tihua
import TihuaDataFiles
import TihuaEncoders
import TihuaGeneration
import TihuaModels
import TihuaNN
import TihuaPackSupport
import TihuaPictures
import TihuaTorch

@Suite struct CaptionerTests {
    private func captioner(_ pack: TinyPack, width: Int = 16, t5: Bool = false) throws -> URL {
        try pack.addCaptioner(width: width, t5: t5)
    }

    private func make(_ tiny: TinyPack, _ folder: URL) throws -> Engine {
        var pack = try Pack(folder: tiny.folder)
        pack.captioner = folder
        return try Engine(pack: pack, threads: 1)
    }

    @Test(arguments: [false, true])
    func severalCaptionsOfAPictureDifferAndRepeat(t5: Bool) async throws {
        let tiny = try TinyPack()
        let captioner = try make(tiny, captioner(tiny, t5: t5))
        let pictures = try [tiny.picture("a.png"), tiny.picture("b.png", red: 10)].map {
            try Picture(contentsOf: $0.path)
        }
        var request = CaptionRequest()
        request.count = 3
        request.method = .sampling(Sampling(temperature: 1, topK: 0, topP: 1))
        request.sampleCount = 8
        request.maximumLength = 10
        let both = try await captioner.captions(for: pictures, request: request)
        #expect(both.count == 2)
        for captions in both {
            #expect((1...3).contains(captions.count))
            #expect(Set(captions.map(\.text)).count == captions.count)
            #expect(captions.allSatisfy { $0.logProbability <= 0 && $0.similarity != nil })
        }
        // The same alone as beside others.
        let alone = try await captioner.captions(for: [pictures[1]], request: request)
        #expect(alone[0].map(\.text) == both[1].map(\.text))
    }

    @Test(arguments: [false, true])
    func aCaptionGoesOnFromItsPrompt(t5: Bool) async throws {
        let tiny = try TinyPack()
        let captioner = try make(tiny, captioner(tiny, t5: t5))
        var request = CaptionRequest()
        request.prompt = "两个孩子"
        request.maximumLength = 10
        let embedding = (0..<16).map { Float($0) }
        let captions = try await captioner.captions(
            forFeatures: [PictureFeatures(embedding: embedding)], request: request)
        #expect(captions[0].allSatisfy { $0.text.hasPrefix("两个孩子") })
        request.prompt = "hello"
        await #expect(throws: PipelineError.self) { try await captioner.check(request) }
    }

    /// Captioners learn sentences with a full stop and phrases without; people get one kind.
    @Test func captionsEndWithoutAFullStop() async throws {
        let tiny = try TinyPack()
        let captioner = try make(tiny, captioner(tiny))
        var request = CaptionRequest()
        request.count = 60
        request.reranks = false
        request.method = .sampling(Sampling(temperature: 3, topK: 0, topP: 1))
        request.sampleCount = 60
        request.maximumLength = 10
        let embedding = (0..<16).map { Float($0) / 16 }
        let texts = try await captioner.captions(
            forFeatures: [PictureFeatures(embedding: embedding)], request: request)[0].map(\.text)
        // Empty ones are left out.
        #expect(texts.count > 20 && !texts.contains { $0.hasSuffix("。") })
        #expect(texts.contains { $0.contains("。") }, "a full stop inside stays")
    }

    @Test(arguments: [false, true])
    func captionsTakeOnAStyle(t5: Bool) async throws {
        let tiny = try TinyPack()
        let captioner = try make(tiny, captioner(tiny, t5: t5))
        let embeddings = (0..<24).map { seed in (0..<16).map { Float(($0 * (seed + 3)) % 7) - 3 } }
        var request = CaptionRequest()
        request.maximumLength = 12
        let plain = try await captioner.captions(
            forFeatures: embeddings.map { PictureFeatures(embedding: $0) }, request: request)
        let sentences = ["两个孩子在海边玩耍。", "两只狗在海边玩耍。", "孩子在草地上奔跑。"]
        /// Pairs of characters that stand in the sentences.
        func share(_ weight: Double) async throws -> Double {
            request.style = CaptionStyle(sentences: sentences, weight: weight)
            let texts = try await captioner.captions(
                forFeatures: embeddings.map { PictureFeatures(embedding: $0) }, request: request
            ).map { $0[0].text }
            let pairs = texts.flatMap { text in zip(text, text.dropFirst()).map { "\($0)\($1)" } }
            return Double(pairs.count { pair in sentences.contains { $0.contains(pair) } }) / Double(pairs.count)
        }
        let (none, some) = (try await share(0), try await share(1))
        #expect(some > none + 0.2, "\(none) \(some)")
        request.style?.weight = 0
        #expect(
            try await captioner.captions(
                forFeatures: embeddings.map { PictureFeatures(embedding: $0) }, request: request) == plain)
    }

    @Test(
        arguments: [
            (["两个孩子", "两个孩子"], 0.5, "one sentence only"), ([], 0.5, "empty"), (["一只狗", "孩子"], -1, "weight"),
            (["一只狗", "孩子"], .infinity, "weight"), (["hello", "world"], 0.5, "can write"),
        ] as [([String], Double, String)])
    func aStyleThatIsNoneIsRefused(sentences: [String], weight: Double, message: String) async throws {
        let tiny = try TinyPack()
        let captioner = try make(tiny, captioner(tiny))
        var request = CaptionRequest()
        request.maximumLength = 10
        request.style = CaptionStyle(sentences: sentences, weight: weight)
        let error = await #expect(throws: PipelineError.self) { try await captioner.check(request) }
        #expect(error?.description.contains(message) == true)
    }

    @Test func embeddingsOfAnotherWidthAreRefused() async throws {
        let tiny = try TinyPack()
        let captioner = try make(tiny, captioner(tiny, width: 12))
        let picture = try Picture(contentsOf: tiny.picture().path)
        let error = await #expect(throws: PipelineError.self) { try await captioner.captions(for: [picture]) }
        guard case .embeddingWidth(_, 12, 16) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    /// What a picture tower sees somewhere: the same embedding, another grid.
    @Test func aGridIsWrittenFromAndBelongsToItsPicture() async throws {
        let tiny = try TinyPack()
        let captioner = try make(tiny, tiny.addCaptioner(grid: (4, 3)))
        var request = CaptionRequest()
        request.maximumLength = 12
        let seen = (0..<8).map { number in
            PictureFeatures(
                embedding: Array(repeating: 1, count: 16),
                grid: PictureGrid(
                    cells: 4, width: 3, values: (0..<12).map { Float16(($0 * (number + 3) + number) % 7) - 3 }))
        }
        let together = try await captioner.captions(forFeatures: seen, request: request)
        #expect(Set(together.map { $0[0].text }).count > 1)
        for (number, picture) in seen.enumerated() {
            let alone = try await captioner.captions(forFeatures: [picture], request: request)
            #expect(alone[0].map(\.text) == together[number].map(\.text))
        }
    }

    /// A photo, and the file of embeddings that it stands in.
    @Test func aPictureIsCaptionedByItselfAsByTheFileWithItsGrid() async throws {
        let tiny = try TinyPack()
        try tiny.addTowersWithPlaces()
        let engine = try make(tiny, tiny.addCaptioner(grid: (4, 80)))
        let urls = try [10, 240].map { try tiny.picture("\($0).png", red: $0) }
        let output = tiny.folder.appending(path: "grids")
        let list = try PictureList(urls)
        _ = try await EmbeddingJob(list, engine: engine, output: output, hasGrids: true).run()
        let file = try EmbeddingFile(contentsOf: output)
        #expect(file.gridShape == GridShape(cells: 4, width: 80) && file.view == 0)
        let pictures = try urls.map { try Picture(contentsOf: $0.path) }
        let seen = try await engine.features(of: pictures)
        // The file's are in 16 bits, as those of the pictures are.
        #expect(seen == file.keys.indices.map(file.features) && seen[0].grid != seen[1].grid)
        var request = CaptionRequest()
        request.maximumLength = 12
        request.reranks = false
        let captions = try await engine.captions(for: pictures, request: request)
        let scaled = seen.map { features in
            let length = features.embedding.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return PictureFeatures(embedding: features.embedding.map { $0 / length }, grid: features.grid)
        }
        #expect(
            try await engine.captions(forFeatures: scaled, request: request).map { $0.map(\.text) }
                == captions.map { $0.map(\.text) })
        // Another view is other work, and sees other things.
        let again = await #expect(throws: PipelineError.self) {
            try await EmbeddingJob(list, engine: engine, output: output, hasGrids: true, view: 1).run()
        }
        #expect(again?.description.contains("another view") == true)
        let mirrored = tiny.folder.appending(path: "mirrored")
        _ = try await EmbeddingJob(list, engine: engine, output: mirrored, hasGrids: true, view: 1).run()
        let other = try EmbeddingFile(contentsOf: mirrored)
        #expect(other.view == 1 && other.grid(at: 0) != file.grid(at: 0))
        #expect(
            try await engine.features(of: pictures.map { $0.mirrored() }).map(\.grid)
                == other.keys.indices.map { other.features(at: $0).grid })
    }

    @Test func aCaptionerOfGridsNeedsThem() async throws {
        let tiny = try TinyPack()
        let captioner = try make(tiny, tiny.addCaptioner(grid: (4, 3)))
        let embedding = [Float](repeating: 1, count: 16)
        let picture = try Picture(contentsOf: tiny.picture().path)
        let grid = PictureGrid(cells: 3, width: 4, values: Array(repeating: 1, count: 12))
        let problems = [
            await #expect(throws: PipelineError.self) {
                try await captioner.captions(forFeatures: [PictureFeatures(embedding: embedding)])
            },
            await #expect(throws: PipelineError.self) {
                try await captioner.captions(forFeatures: [PictureFeatures(embedding: embedding, grid: grid)])
            },
            // This pack's tower tells no places.
            await #expect(throws: PipelineError.self) { try await captioner.captions(for: [picture]) },
        ]
        for (problem, found) in zip(problems, ["none", "3 cells of 4", "none"]) {
            guard case .grid(_, "4 cells of 3 numbers", found) = problem else {
                Issue.record("\(String(describing: problem))")
                continue
            }
            #expect(problem?.description.split(separator: "\n").count == 1)
        }
    }

    @Test func moreCaptionsThanAMethodFindsAreRefused() {
        var request = CaptionRequest()
        request.method = .greedy
        request.count = 2
        #expect(throws: PipelineError.self) { try request.validate() }
        #expect(throws: Never.self) { try CaptionRequest.clipCapChinese.validate() }
    }

    @Test func thePresetIsThatOfTheDecoding() {
        let decoding = Decoding.clipCapChinese(stop: 2, unknown: 1)
        let request = CaptionRequest.clipCapChinese
        #expect(request.method == .sampling(Sampling(temperature: 1, topK: 0, topP: 0.8)) && request.sampleCount == 10)
        #expect(request.count == decoding.count)
        // It counts to "more than 100" where it predicts, and cuts to 90 where it trains.
        #expect(request.maximumLength == decoding.rules.maximumLength && request.maximumLength == 101)
        #expect(!request.reranks)
    }

    @Test func aPackWithoutACaptionerSaysSo() async throws {
        let tiny = try TinyPack()
        let captioner = try Engine(pack: Pack(folder: tiny.folder), threads: 1)
        let error = await #expect(throws: PipelineError.self) { try await captioner.check(CaptionRequest()) }
        #expect(error == .missingPart(pack: "tiny", part: .captioner))
        #expect(error?.description.contains("captioner; name one") == true)
    }
}
