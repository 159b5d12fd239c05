import Foundation
import TihuaEncoders
public import TihuaGeneration
import TihuaModels
public import TihuaPictures
import TihuaTokenizers
public import TihuaTorch
import TihuaVerse

/// What captions are asked for.
public struct CaptionRequest: Sendable, Equatable {
    /// How captions are found.
    public enum Method: Sendable, Equatable {
        /// The most probable token every time; one caption.
        case greedy
        /// The most probable captions; as many as there are beams.
        case beam(BeamSearch)
        /// So many samples, of which the best are given.
        case sampling(Sampling, candidates: Int)
        /// A probable token that is unlike what stands before; one caption.
        case contrastive(ContrastiveSearch)
    }

    /// How many captions a picture gets, at most.
    public var count = 1
    /// How captions are found.
    public var method = Method.beam(BeamSearch(width: 5))
    /// What every caption begins with; it goes on from there.
    public var prompt = ""
    /// Tokens of a caption, its end counted.
    public var maximumLength = 60
    /// No sequence of so many tokens comes twice; 0 allows all.
    public var noRepeatNGram = 0
    /// See `TokenRules.repetitionPenalty`.
    public var repetitionPenalty = 1.0
    /// Sentences whose manner the captions shall have.
    public var style: CaptionStyle?
    /// Whether candidates are ordered by likeness to the picture too, and by how unlike each other they are.
    public var reranks = true
    /// Equal seeds give equal captions, whatever other pictures are captioned with them.
    public var seed: UInt64 = 1

    /// One caption by beam search.
    public init() {}

    /// What ClipCap-Chinese does when it predicts: the samples of `Decoding.seed`, as they come.
    public static let seed: CaptionRequest = {
        let decoding = Decoding.seed(stop: 0, unknown: nil)
        var request = CaptionRequest()
        request.count = decoding.count
        if case .sampling(let sampling) = decoding.method {
            request.method = .sampling(sampling, candidates: decoding.count)
        }
        request.reranks = false
        request.maximumLength = decoding.rules.maximumLength
        return request
    }()

    /// - Throws: `PipelineError.setting` for a number out of range.
    public func validate() throws(PipelineError) {
        guard (1...1000).contains(count) else {
            throw .setting(name: "the number of captions", value: "\(count)", range: "1 to 1000")
        }
        let most: Int
        switch method {
        case .greedy, .contrastive: most = 1
        case .beam(let search): most = search.width
        case .sampling(_, let candidates):
            guard (1...1000).contains(candidates) else {
                throw .setting(name: "the number of candidates", value: "\(candidates)", range: "1 to 1000")
            }
            most = candidates
        }
        guard count <= most else {
            throw .setting(
                name: "the number of captions", value: "\(count)",
                range: "at most \(most), which is all that this way of decoding finds")
        }
        guard (2...10_000).contains(maximumLength) else {
            throw .setting(name: "the maximum length", value: "\(maximumLength)", range: "2 to 10000")
        }
        if let style {
            guard style.sentences.contains(where: { $0 != style.sentences.first }) else {
                throw .setting(
                    name: "the style", value: style.sentences.isEmpty ? "empty" : "one sentence only",
                    range: "many sentences")
            }
            let megabytes = style.sentences.reduce(0) { $0 + $1.utf8.count } >> 20
            guard megabytes < 32 else {
                throw .setting(name: "the style", value: "\(megabytes) MB of text", range: "less than 32 MB")
            }
            guard (0...1).contains(style.weight) else {
                throw .setting(name: "the weight of the style", value: "\(style.weight)", range: "0 to 1")
            }
        }
    }

    var decoding: Decoding.Method {
        switch method {
        case .greedy: .sampling(.greedy)
        case .beam(let search): .beam(search)
        case .sampling(let sampling, _): .sampling(sampling)
        case .contrastive(let search): .contrastive(search)
        }
    }

    /// Candidates of a picture.
    var candidates: Int {
        switch method {
        case .greedy, .contrastive: 1
        case .beam(let search): reranks ? search.width : count
        case .sampling(_, let candidates): candidates
        }
    }
}

/// Sentences whose manner captions take on while they are written; nothing is trained.
public struct CaptionStyle: Sendable, Equatable {
    /// At least two different ones.
    public var sentences: [String]
    /// How much they count beside the captioner, 0 to 1; see `TextStyle`.
    public var weight: Double

    /// - Precondition: see `CaptionRequest.validate` for the ranges.
    public init(sentences: [String], weight: Double = 0.7) {
        self.sentences = sentences
        self.weight = weight
    }
}

/// A caption of a picture.
public struct Caption: Sendable, Equatable, Codable {
    /// What is said, the prompt included, without a full stop at the end.
    public let text: String
    /// The natural logarithm of its probability, the end included, the prompt not.
    public let logProbability: Double
    /// Its cosine with the picture in the space of the CLIP model; nil where nothing was compared.
    public let similarity: Double?
    /// Whether it came to its own end, rather than to the maximum length.
    public let isFinished: Bool
}

/// Captions for pictures, with a pack of weights: the picture's embedding, a mapping network, a language model.
///
///     let captioner = try Captioner(pack: try Pack(folder: PackLocator().locate()))
///     let captions = try await captioner.captions(for: [try Picture(contentsOf: "photo.jpg")])
///
/// An actor on a thread of its own, as libtorch asks; only values cross. Weights are loaded at the first use of each.
public actor Captioner {
    private let thread: TorchThread
    private let pack: Pack
    private let device: Device
    private let note: @Sendable (String) -> Void
    private var loadedEye: PictureTextEncoder?
    private var loadedHand: Hand?
    private var isWarned = false
    /// The last one asked for.
    private var loadedStyle: (asked: CaptionStyle, made: TextStyle)?

    /// The thread that all of this actor's work runs on.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    /// - Parameters:
    ///   - pack: with a captioner, and a CLIP model where pictures are given
    ///   - threads: of one operation; nil leaves libtorch's choice
    ///   - note: is told what a person should know of the weights
    /// - Throws: `TorchError.noThread`.
    public init(
        pack: Pack, device: Device = .cpu, threads: Int? = nil, note: @escaping @Sendable (String) -> Void = { _ in }
    ) throws(TorchError) {
        self.pack = pack
        self.device = device
        self.note = note
        thread = try TorchThread(name: "tihua.captioner", intraOpThreads: threads)
    }

    /// What writes.
    private struct Hand {
        let url: URL
        let model: ClipCap
        let tokenizer: BertTokenizer
    }

    private func eye() throws -> PictureTextEncoder {
        if let loadedEye { return loadedEye }
        let eye = try PictureTextEncoder(folder: try pack.requiredClip(), device: device)
        loadedEye = eye
        return eye
    }

    private func hand() throws -> Hand {
        if let loadedHand { return loadedHand }
        let url = try pack.requiredCaptioner()
        let opened = try ClipCap.open(url, device: device)
        for text in opened.notes { note(text) }
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder)
        let home = isFolder.boolValue ? url : url.deletingLastPathComponent()
        let tokenizer = try BertTokenizer(folder: home)
        let rows = opened.model.configuration.languageModel.vocabularySize
        guard tokenizer.vocabularySize <= rows, rows - tokenizer.vocabularySize < 512 else {
            throw ModelError.vocabulary(folder: home.path, tokens: tokenizer.vocabularySize, rows: rows)
        }
        let hand = Hand(url: url, model: opened.model, tokenizer: tokenizer)
        loadedHand = hand
        return hand
    }

    private func style(_ request: CaptionRequest, _ hand: Hand) throws -> TextStyle? {
        guard let asked = request.style else { return nil }
        if let loadedStyle, loadedStyle.asked == asked { return loadedStyle.made }
        let unknown = hand.tokenizer.unknownID
        let sentences = asked.sentences.map { hand.tokenizer.encode($0, addingSpecialTokens: false) }
        guard sentences.contains(where: { $0.contains { $0 != unknown } }) else {
            throw PipelineError.setting(
                name: "the style", value: "without a character that the captioner can write", range: "Chinese sentences"
            )
        }
        let made = try TextStyle(
            sentences: sentences, end: hand.tokenizer.separatorID,
            vocabularySize: hand.model.configuration.languageModel.vocabularySize, weight: asked.weight)
        loadedStyle = (asked, made)
        return made
    }

    /// Whether the captioner was trained on embeddings of length 1.
    func takesUnitEmbeddings() throws -> Bool { try hand().model.configuration.normalizesEmbedding }

    /// Loads the captioner and checks a request against it, before a picture is looked at.
    ///
    /// - Throws: as `captions`, for the request and the weights.
    public func check(_ request: CaptionRequest) throws {
        try request.validate()
        let hand = try hand()
        _ = try style(request, hand)
        let decoding = try decoding(request, hand)
        try decoding.validate()
    }

    /// Captions for each picture, best first.
    ///
    /// - Throws: `PipelineError`, `GenerationError`, `ModelError`, `WeightFileError`, `TokenizerError`, `CancellationError`.
    public func captions(
        for pictures: [Picture], request: CaptionRequest = CaptionRequest()
    ) throws -> [[Caption]] {
        let hand = try hand()
        let eye = try eye()
        let isNormalized = hand.model.configuration.normalizesEmbedding
        if let expected = hand.model.configuration.clipModel {
            var fingerprint = Fingerprint()
            try eye.fingerprint(into: &fingerprint)
            if fingerprint.hexadecimal != expected, !isWarned {
                isWarned = true
                note("\(hand.url.path): was trained with another CLIP model than this one; its captions may not fit")
            }
        }
        let seen = try eye.encode(prepared: pictures.map(eye.preprocessing.pixels), isNormalized: isNormalized)
        return try captions(seen, request, eye: request.reranks ? eye : nil)
    }

    /// Captions for each embedding of a picture, best first; they are compared with the picture only where the pack has the
    /// CLIP model of the embeddings.
    ///
    /// - Throws: as for pictures; `PipelineError.embeddingWidth`.
    public func captions(
        forEmbeddings embeddings: [[Float]], request: CaptionRequest = CaptionRequest()
    ) throws -> [[Caption]] {
        try captions(embeddings, request, eye: request.reranks && pack.clip != nil ? eye() : nil)
    }

    private func captions(
        _ embeddings: [[Float]], _ request: CaptionRequest, eye: PictureTextEncoder?
    ) throws -> [[Caption]] {
        try request.validate()
        guard !embeddings.isEmpty else { return [] }
        let hand = try hand()
        let width = hand.model.configuration.embeddingSize
        if let odd = embeddings.first(where: { $0.count != width }) {
            throw PipelineError.embeddingWidth(path: hand.url.path, expected: width, found: odd.count)
        }
        let decoding = try decoding(request, hand)
        let style = try style(request, hand)
        let prompt = TextPrompt(ids: try start(request, hand), seed: request.seed)
        let written = try withoutGradients {
            let x = Tensor(embeddings.flatMap { $0 }, [embeddings.count, width]).to(nil, device)
            return try TextGenerator(hand.model.source(x), device: device, style: style)
                .generate(embeddings.map { _ in prompt }, decoding)
        }
        return try zip(written, embeddings).map { texts, embedding in
            let begun = hand.tokenizer.encode(request.prompt, addingSpecialTokens: false)
            let captions = texts.map { (text: hand.tokenizer.decode(begun + $0.ids), generated: $0) }
            let similarities = try eye.map { try similarity(captions.map(\.text), embedding, $0) }
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

    static func withoutFullStop(_ text: String) -> String {
        guard let last = text.lastIndex(where: { !"。．.".contains($0) && !$0.isWhitespace }) else { return "" }
        return String(text[...last])
    }

    /// The cosines of texts with a picture.
    private func similarity(_ texts: [String], _ embedding: [Float], _ eye: PictureTextEncoder) throws -> [Double] {
        let picture = normalised(embedding)
        return try eye.encode(texts).map { Double(dot($0, picture)) }
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

    private func start(_ request: CaptionRequest, _ hand: Hand) throws -> [Int32] {
        guard !request.prompt.isEmpty else { return [] }
        let ids = hand.tokenizer.encode(request.prompt, addingSpecialTokens: false)
        guard !ids.isEmpty, !ids.contains(hand.tokenizer.unknownID) else {
            throw PipelineError.setting(
                name: "the prompt", value: request.prompt, range: "characters of the captioner's vocabulary only")
        }
        if case .t5(let model) = hand.model.languageModel { return [Int32(model.configuration.startTokenID)] + ids }
        return ids
    }

    private func decoding(_ request: CaptionRequest, _ hand: Hand) throws -> Decoding {
        var rules = hand.model.rules(
            hand.tokenizer, maximumLength: request.maximumLength, promptLength: try start(request, hand).count)
        rules.noRepeatNGram = request.noRepeatNGram
        rules.repetitionPenalty = request.repetitionPenalty
        return Decoding(request.decoding, count: request.candidates, rules: rules)
    }
}

/// Values with mean 0 and deviation 1; zeros where all are equal.
private func standardized(_ values: [Double]) -> [Double] {
    let mean = values.reduce(0, +) / Double(max(1, values.count))
    let deviation = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(max(1, values.count))).squareRoot()
    return values.map { deviation > 1e-9 ? ($0 - mean) / deviation : 0 }
}
