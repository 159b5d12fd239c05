import Foundation
public import TihuaEncoders
import TihuaGeneration
import TihuaModels
public import TihuaPictures
import TihuaTokenizers
import TihuaTorch
import TihuaVerse

/// Captions of pictures: the picture's embedding, a mapping network, a language model.
extension Engine {
    /// What writes captions.
    struct CaptionerPart {
        let url: URL
        let model: ClipCap
        let tokenizer: BertTokenizer
    }

    private func captioner() throws -> CaptionerPart {
        try part(\.captioner) {
            let url = try pack.requiredCaptioner()
            let opened = try ClipCap.open(url, device: device)
            opened.notes.forEach(note)
            let home = ModelFolder.home(of: url)
            let tokenizer = try BertTokenizer(folder: home)
            try ModelFolder.check(
                vocabulary: tokenizer.vocabularySize, rows: opened.model.configuration.languageModel.vocabularySize,
                in: home)
            return CaptionerPart(url: url, model: opened.model, tokenizer: tokenizer)
        }
    }

    /// Whether the pack has a captioner that needs the grids of pictures.
    func captionerTakesGrid() throws -> Bool {
        try pack.captioner != nil && captioner().model.configuration.takesGrid
    }

    private func style(_ request: CaptionRequest, _ captioner: CaptionerPart) throws -> TextStyle? {
        guard let asked = request.style else { return nil }
        if let known = parts.style, known.asked == asked { return known.made }
        let unknown = captioner.tokenizer.unknownID
        let sentences = asked.sentences.map { captioner.tokenizer.encode($0, addingSpecialTokens: false) }
        guard sentences.contains(where: { $0.contains { $0 != unknown } }) else {
            throw PipelineError.setting(
                name: "the style", value: "without a character that the captioner can write", range: "Chinese sentences"
            )
        }
        let made = try TextStyle(
            sentences: sentences, end: captioner.tokenizer.separatorID,
            vocabularySize: captioner.model.configuration.languageModel.vocabularySize, weight: asked.weight)
        parts.style = (asked, made)
        return made
    }

    /// Loads the captioner and checks a request against it, before a picture is looked at.
    ///
    /// - Throws: as `captions`, for the request and the weights.
    public func check(_ request: CaptionRequest) throws {
        try request.validate()
        let captioner = try captioner()
        _ = try style(request, captioner)
        let decoding = try decoding(request, captioner)
        try decoding.validate()
    }

    /// Captions for each picture, best first.
    ///
    /// - Throws: `PipelineError`, `GenerationError`, `ModelError`, `WeightFileError`, `TokenizerError`,
    ///   `CancellationError`.
    public func captions(
        for pictures: [Picture], request: CaptionRequest = CaptionRequest()
    ) throws -> [[Caption]] {
        let captioner = try captioner()
        let towers = try towers()
        if let expected = captioner.model.configuration.clipModel {
            _ = try part(\.captionerFitsTowers) {
                let fits = try towers.fingerprint() == expected
                if !fits {
                    note(
                        "\(captioner.url.path): was trained with another CLIP model than this one; its captions may not fit"
                    )
                }
                return fits
            }
        }
        let seen = try towers.see(pictures, grid: captioner.model.configuration.takesGrid)
        return try captions(seeing: seen, request, towers: request.reranks ? towers : nil)
    }

    /// Captions of pictures that the pack's own towers have seen.
    ///
    /// - Parameter seen: with embeddings as the model gives them
    func captions(
        seeing seen: [PictureFeatures], _ request: CaptionRequest, towers: PictureTextEncoder?
    ) throws -> [[Caption]] {
        guard try captioner().model.configuration.normalizesEmbedding else {
            return try captions(seen, request, towers: towers)
        }
        let units = try self.towers().unit(seen.map(\.embedding))
        let scaled = zip(seen, units).map { PictureFeatures(embedding: $1, grid: $0.grid) }
        return try captions(scaled, request, towers: towers)
    }

    /// Captions for what was seen of each picture, best first; they are compared with the picture only where the pack
    /// has the CLIP model of the embeddings.
    ///
    /// - Throws: as for pictures; `PipelineError.embeddingWidth` and `.grid` for what the captioner does not take.
    public func captions(
        forFeatures features: [PictureFeatures], request: CaptionRequest = CaptionRequest()
    ) throws -> [[Caption]] {
        try captions(features, request, towers: request.reranks && pack.clip != nil ? towers() : nil)
    }

    private func captions(
        _ features: [PictureFeatures], _ request: CaptionRequest, towers: PictureTextEncoder?
    ) throws -> [[Caption]] {
        try request.validate()
        guard !features.isEmpty else { return [] }
        let captioner = try captioner()
        let embeddings = features.map(\.embedding)
        let width = captioner.model.configuration.embeddingSize
        if let odd = embeddings.first(where: { $0.count != width }) {
            throw PipelineError.embeddingWidth(path: captioner.url.path, expected: width, found: odd.count)
        }
        let grid = try grids(of: features, for: captioner)
        let decoding = try decoding(request, captioner)
        let style = try style(request, captioner)
        let prompt = TextPrompt(ids: try start(request, captioner), seed: request.seed)
        let written = try withoutGradients {
            let x = Tensor(embeddings.flatMap { $0 }, [embeddings.count, width]).to(nil, device)
            return try TextGenerator(captioner.model.source(x, grid: grid), device: device, style: style)
                .generate(embeddings.map { _ in prompt }, decoding)
        }
        return try zip(written, embeddings).map { texts, embedding in
            let begun = captioner.tokenizer.encode(request.prompt, addingSpecialTokens: false)
            let captions = texts.map { (text: captioner.tokenizer.decode(begun + $0.ids), generated: $0) }
            let similarities = try towers.map { try similarity(captions.map(\.text), embedding, $0) }
            let fluencies = texts.map { text in
                let leaning = style.map {
                    $0.weight * $0.meanLogProbability(of: text.ids + (text.stop.map { [$0] } ?? []), after: begun)
                }
                return text.meanLogProbability + (leaning ?? 0)
            }
            // Captioners learn from sentences with a full stop and from phrases without; people get one kind.
            let texts = captions.map { Self.withoutFullStop($0.text) }
            return select(Array(zip(texts, captions.map(\.generated))), fluencies, similarities, request)
        }
    }

    /// The grids that a captioner needs, `[B, P, C]`; nil where it needs none.
    ///
    /// - Throws: `PipelineError.grid` for pictures without grids and for grids of other sizes.
    private func grids(of features: [PictureFeatures], for captioner: CaptionerPart) throws -> Tensor? {
        let shape = captioner.model.configuration
        guard shape.takesGrid else { return nil }
        let grids = features.compactMap(\.grid)
        let odd = grids.first { $0.cells != shape.cellCount || $0.width != shape.cellWidth }
        guard odd == nil, grids.count == features.count else {
            throw PipelineError.grid(
                path: captioner.url.path, expected: "\(shape.cellCount) cells of \(shape.cellWidth) numbers",
                found: odd.map { "\($0.cells) cells of \($0.width)" } ?? "none")
        }
        return Tensor(grids.flatMap(\.values), [grids.count, shape.cellCount, shape.cellWidth]).to(.float32, device)
    }

    private static func withoutFullStop(_ text: String) -> String {
        guard let last = text.lastIndex(where: { !"。．.".contains($0) && !$0.isWhitespace }) else { return "" }
        return String(text[...last])
    }

    /// The cosines of texts with a picture.
    private func similarity(_ texts: [String], _ embedding: [Float], _ towers: PictureTextEncoder) throws -> [Double] {
        let picture = normalised(embedding)
        return try towers.encode(texts).map { Double(dot($0, picture)) }
    }

    private func select(
        _ captions: [(text: String, generated: GeneratedText)], _ fluencies: [Double], _ similarities: [Double]?,
        _ request: CaptionRequest
    ) -> [Caption] {
        var best: [Int]
        if request.reranks {
            // Fluency and likeness are of different sizes, so that each is measured by its own spread.
            let scores = zip(standardized(fluencies), similarities.map(standardized) ?? fluencies.map { _ in 0 })
                .map { $0 + $1 }
            best = selectDiverse(captions.map(\.text), scores: scores, count: request.count, diversity: 0.15)
        } else {
            best = Array(captions.indices.prefix(request.count))
        }
        // Nothing at all is no caption where there is another.
        if best.contains(where: { !captions[$0].text.isEmpty }) { best.removeAll { captions[$0].text.isEmpty } }
        return best.map { index in
            Caption(
                text: captions[index].text, logProbability: captions[index].generated.logProbability,
                similarity: similarities?[index], isFinished: captions[index].generated.stop != nil)
        }
    }

    private func start(_ request: CaptionRequest, _ captioner: CaptionerPart) throws -> [Int32] {
        guard !request.prompt.isEmpty else { return [] }
        let ids = captioner.tokenizer.encode(request.prompt, addingSpecialTokens: false)
        guard !ids.isEmpty, !ids.contains(captioner.tokenizer.unknownID) else {
            throw PipelineError.setting(
                name: "the prompt", value: request.prompt, range: "characters of the captioner's vocabulary only")
        }
        if let start = captioner.model.languageModel.startTokenID { return [start] + ids }
        return ids
    }

    private func decoding(_ request: CaptionRequest, _ captioner: CaptionerPart) throws -> Decoding {
        var rules = captioner.model.rules(
            captioner.tokenizer, maximumLength: request.maximumLength, promptLength: try start(request, captioner).count
        )
        rules.noRepeatNGram = request.noRepeatNGram
        rules.repetitionPenalty = request.repetitionPenalty
        return Decoding(request.method, count: request.candidates, rules: rules)
    }
}

/// Values with mean 0 and deviation 1; zeros where all are equal.
private func standardized(_ values: [Double]) -> [Double] {
    let mean = values.reduce(0, +) / Double(max(1, values.count))
    let deviation = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(max(1, values.count))).squareRoot()
    return values.map { deviation > 1e-9 ? ($0 - mean) / deviation : 0 }
}
