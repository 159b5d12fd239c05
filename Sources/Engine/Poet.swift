public import Foundation
import TihuaEncoders
import TihuaGeneration
import TihuaModels
public import TihuaPictures
import TihuaProsody
import TihuaTokenizers
public import TihuaTorch
import TihuaVerse

/// From pictures to classical poems, with a pack of weights.
///
///     let poet = try Poet(pack: try Pack(folder: PackLocator().locate()))
///     let result = try await poet.poems(for: [try Picture(contentsOf: "photo.jpg")])
///
/// The picture's embedding finds keywords in the bank of imagery, or becomes a prefix by a mapping network; candidates are
/// written for different choices of keywords, or behind the prefix, under the metre; the best that differ are given back. An actor on a thread of its own, as libtorch asks; only values
/// cross. Weights are loaded at the first use of each.
public actor Poet {
    private let thread: TorchThread
    private let pack: Pack
    private let extraBank: URL?
    private let device: Device
    private let cacheFolder: URL?
    private var loadedEye: Eye?
    private var loadedHand: Hand?
    private var loadedMapper: PrefixMapper?
    private let captioner: Captioner?

    /// The thread that all of this actor's work runs on.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    /// - Parameters:
    ///   - bank: entries beside those of the pack
    ///   - threads: of one operation; nil leaves libtorch's choice
    ///   - cache: where derived files are kept; nil keeps none
    /// - Throws: `TorchError.noThread`.
    public init(
        pack: Pack, bank: URL? = nil, device: Device = .cpu, threads: Int? = nil, cache: URL? = CacheFolder.url()
    ) throws(TorchError) {
        self.pack = pack
        extraBank = bank
        self.device = device
        cacheFolder = cache
        thread = try TorchThread(name: "tihua.poet", intraOpThreads: threads)
        captioner =
            pack.captioner != nil && pack.clip != nil
            ? try Captioner(pack: pack, device: device, threads: threads) : nil
    }

    /// What sees: the CLIP model and the bank.
    private struct Eye {
        let encoder: PictureTextEncoder
        let index: ImageryIndex
        let calibration: Calibration?

        /// What all pictures have in common, as a text sees it.
        func bias(_ text: [Float]) -> Float { calibration.map { dot(text, $0.imageMean) } ?? 0 }
    }

    /// What writes.
    private struct Hand {
        let writer: PoemWriter
        let converter: ChineseConverter
        let uses: WordFrequencies?
    }

    private func eye() throws -> Eye {
        if let loadedEye { return loadedEye }
        let converter = try ChineseConverter()
        let encoder = try PictureTextEncoder(folder: try pack.requiredClip(), device: device)
        var bank = try ImageryBank(contentsOf: try pack.requiredBank())
        if let extraBank {
            bank = bank.merging(try ImageryBank(contentsOf: extraBank) { try converter.simplified($0) })
        }
        let calibration = try pack.calibration.map { try Calibration(contentsOf: $0, width: encoder.width) }
        let cache = BankCache(folder: cacheFolder, shipped: pack.bankCache)
        let eye = Eye(
            encoder: encoder,
            index: ImageryIndex(bank: bank, embeddings: try cache.embeddings(of: bank, with: encoder)),
            calibration: calibration)
        loadedEye = eye
        return eye
    }

    private func hand() throws -> Hand {
        if let loadedHand { return loadedHand }
        let writer = try pack.poemWriter(device: device)
        writer.stock = try pack.stockPairs.map { try OverusedPairs(contentsOf: $0) }
        let hand = Hand(
            writer: writer, converter: try ChineseConverter(),
            uses: try pack.wordUses.map { try WordFrequencies(contentsOf: $0) })
        loadedHand = hand
        return hand
    }

    /// Loads the mapping network and sees that it is the poet's and the CLIP model's own.
    private func mapper() throws -> PrefixMapper {
        if let loadedMapper { return loadedMapper }
        let url = try pack.requiredPrefix()
        let mapper = try PrefixMapper.open(url, device: device)
        let poet = try pack.requiredPoet()
        let folder = try ModelFolder(at: poet)
        guard folder.architecture == .gpt2 else {
            throw PipelineError.wrongModel(
                path: poet.path, found: folder.architecture.rawValue, needed: "gpt2, for a prefix,")
        }
        let shape = try folder.configuration(as: GPT2Configuration.self)
        let known = mapper.configuration.poetModel
        guard shape.hiddenSize == mapper.configuration.hiddenSize, try known == nil || known == modelFingerprint(poet)
        else { throw PipelineError.otherModel(path: url.path, model: "poet") }
        if let known = mapper.configuration.clipModel, try known != modelFingerprint(pack.requiredClip()) {
            throw PipelineError.otherModel(path: url.path, model: "CLIP model")
        }
        loadedMapper = mapper
        return mapper
    }

    /// What the mapping network makes of an embedding: K embeddings of the poet, one after the other.
    private func prefix(of image: [Float]) throws -> [Float] {
        let mapper = try mapper()
        guard mapper.configuration.embeddingSize == image.count else {
            throw PipelineError.embeddingWidth(
                path: try pack.requiredPrefix().path, expected: mapper.configuration.embeddingSize, found: image.count)
        }
        let values = withoutGradients { mapper(Tensor(image, [1, image.count]).to(nil, device)).floats }
        guard values.allSatisfy(\.isFinite) else { throw ModelError.notFinite(path: try pack.requiredPrefix().path) }
        return values
    }

    /// Checks a request without any weights but the poet's vocabulary and its prefix, so that what cannot be met is known before a picture
    /// is looked at.
    ///
    /// - Throws: as `poems`, for the request alone.
    public func check(_ request: PoemRequest) throws {
        let hand = try hand()
        let request = try request.simplified(hand.converter)
        if request.through != .keywords { _ = try mapper() }
        for form in request.forms { _ = try request.constraint(for: form, vocabulary: hand.writer.format.writable) }
    }

    /// The characters that the poet can write.
    ///
    /// - Throws: as `check`, for the weights.
    public func characters() throws -> Set<Character> { try hand().writer.format.writable }

    /// The words of the bank that fit the pictures, best first; several pictures count as one (the mean of their embeddings).
    ///
    /// - Throws: `PipelineError`, `ModelError`, `WeightFileError`.
    public func keywords(for pictures: [Picture], count: Int = 8) throws -> [Keyword] {
        let eye = try eye()
        return eye.index.keywords(for: try embedding(of: pictures, eye), count: count, scale: eye.encoder.scale)
    }

    /// The words of the bank that fit each picture alone, as `keywords(for:count:)` finds them, embedded in batches.
    ///
    /// - Throws: `PipelineError`, `ModelError`, `WeightFileError`.
    public func keywords(forEach pictures: [Picture], count: Int = 8) throws -> [[Keyword]] {
        let eye = try eye()
        return try eye.encoder.encode(pictures).map {
            eye.index.keywords(for: $0, count: count, scale: eye.encoder.scale)
        }
    }

    /// The bank that words are taken from: the pack's, with what was given beside it.
    ///
    /// - Throws: `PipelineError`, `ModelError`, `WeightFileError`.
    public func bank() throws -> ImageryBank { try eye().index.bank }

    private func embedding(of pictures: [Picture], _ eye: Eye) throws -> [Float] {
        guard !pictures.isEmpty else { throw PipelineError.noPicture }
        return normalised(mean(try eye.encoder.encode(pictures)))
    }

    /// Poems for the pictures; several pictures become one poem together.
    ///
    /// Equal requests with equal seeds give equal poems on the same machine.
    ///
    /// - Throws: `PipelineError`, `ProsodyError`, `GenerationError`, `VerseError` for the request, `ModelError`,
    ///   `WeightFileError`, `TokenizerError` for the weights, `CancellationError`.
    public func poems(for pictures: [Picture], request: PoemRequest = PoemRequest()) async throws -> PoemResult {
        try await poems(request, first: pictures.first) { try self.embedding(of: pictures, $0) }
    }

    /// As `poems(for:request:)`, for more pictures than memory holds.
    ///
    /// - Parameters:
    ///   - embeddings: of all the pictures, as `embeddings(of:)` gives them
    ///   - first: the picture whose caption is taken
    public func poems(
        forEmbeddings embeddings: [[Float]], first: Picture, request: PoemRequest = PoemRequest()
    ) async throws -> PoemResult {
        try await poems(request, first: first) { _ in
            guard !embeddings.isEmpty else { throw PipelineError.noPicture }
            return normalised(mean(embeddings))
        }
    }

    private func poems(
        _ request: PoemRequest, first: Picture?, image: (Eye) throws -> [Float]
    ) async throws -> PoemResult {
        let hand = try hand()
        let request = try request.simplified(hand.converter)
        let vocabulary = hand.writer.format.writable
        let constraints = try request.forms.map { try request.constraint(for: $0, vocabulary: vocabulary) }
        let eye = try eye()
        let image = try image(eye)
        var keywords = eye.index.keywords(for: image, count: 8, scale: eye.encoder.scale)
        if !request.keywords.isEmpty { keywords = request.keywords.map { Keyword(word: $0, category: "", score: 1) } }
        let caption = try await caption(of: first, eye)
        let prefix = request.through == .keywords ? [] : try prefix(of: image)
        // The surest five of the words that are shown: a word that is not to be seen harms more than a missing one.
        let asked = request.keywords.isEmpty ? Array(keywords.prefix(Self.promptWords)) : keywords
        let plans = request.plans(
            // The user's own words are not joined by a guess.
            keywords: asked, caption: request.keywords.isEmpty ? caption : nil, prefix: prefix,
            constraints: constraints,
            uses: hand.uses)
        let evidence = eye.index.evidence(for: image)
        var leaning = evidence.mapValues { max(-3, min(1.2, ($0.best - Self.likely) * Self.leaning)) }
        for character in request.withheld { leaning[character] = -.infinity }
        let written = try hand.writer.write(plans, sampling: request.sampling, leaning: leaning)
        guard !written.isEmpty else { throw GenerationError.nothingWritten(candidates: plans.count) }

        let scores = try score(written, plans, evidence, image, eye, hand)
        let best = PoemRanking.select(written.map(\.lines), totals: scores.map(\.total), count: request.count)
        let poems = best.map { index in
            let plan = plans[written[index].plan]
            let rhymes = written[index].rhymeGroups.compactMap {
                $0.ids.first.map { plan.constraint.book.groups[$0].name }
            }
            let form = plan.constraint.form
            return RankedPoem(
                form: form.name, rhyme: rhymes.first ?? "", rhymes: rhymes, lines: written[index].lines,
                breaks: form.breaks, scores: scores[index])
        }
        return PoemResult(keywords: keywords, caption: caption, poems: poems, seed: request.seed)
    }

    /// What happens in a picture, as the pack's captioner says it; nil without one.
    private func caption(of picture: Picture?, _ eye: Eye) async throws -> String? {
        guard let captioner, let picture else { return nil }
        var asked = CaptionRequest()
        asked.method = .greedy
        asked.reranks = false
        asked.maximumLength = 32
        let seen = try eye.encoder.encode(
            prepared: [eye.encoder.preprocessing.pixels(picture)],
            isNormalized: try await captioner.takesUnitEmbeddings())
        let text = try await captioner.captions(forEmbeddings: seen, request: asked).first?.first?.text
        return text.map { $0.filter { $0.isHan } }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Of how many words that fit a picture the prompts are made.
    private static let promptWords = 5
    /// The deviations of a character's best word above which the picture speaks for the character: about one word in fifteen.
    private static let likely: Float = 1.5
    /// How much that adds to the character's log-probability, in nats a deviation: enough against moon and snow by day, too little
    /// to hold against a verse that the model is sure of.
    private static let leaning: Float = 1.2

    private func score(
        _ written: [WrittenPoem], _ plans: [PoemPlan], _ evidence: [Character: (mean: Float, best: Float)],
        _ image: [Float], _ eye: Eye,
        _ hand: Hand
    ) throws -> [PoemScores] {
        let texts = try eye.encoder.encode(written.map { $0.lines.joined(separator: "，") + "。" })
        let scores = try zip(written, texts).map { poem, text in
            let plan = plans[poem.plan]
            let report = try ProsodyChecker(tones: .strict, book: plan.constraint.book)
                .check(poem.lines, as: plan.constraint.form)
            let known = poem.lines.count(where: hand.writer.isKnown)
            let own = plan.constraint.form.withoutRepeats(poem.lines)
            // In their order: a set's changes from run to run, and with it the last digit of the sum.
            let seen = poem.lines.joined().compactMap { evidence[$0]?.mean }
            return PoemScores(
                picture: Double(dot(text, image) - eye.bias(text)),
                imagery: Double(seen.reduce(0, +) / Float(max(1, seen.count))),
                fluency: (poem.logProbability - (hand.writer.stock?.excess(in: own) ?? 0))
                    / Double(max(1, poem.tokenCount)),
                tone: report.toneAccuracy ?? 1,
                coverage: PoemRanking.coverage(of: plan.prompt.keywords, in: poem.lines.joined(separator: " ")),
                repetition: PoemRanking.repetition(in: own),
                novelty: 1 - Double(known) / Double(max(1, poem.lines.count)))
        }
        return PoemRanking.total(scores, named: written.map { plans[$0.plan].prefix.isEmpty })
    }

    /// The embeddings of pictures in the space of the CLIP model, of unit length.
    ///
    /// - Throws: `ModelError`, `WeightFileError`.
    public func embeddings(of pictures: [Picture]) throws -> [[Float]] { try eye().encoder.encode(pictures) }

    /// Writes the mean of many pictures' embeddings for the pack; see `Pack.calibration`.
    ///
    /// - Throws: `PipelineError.noPicture`, `WeightFileError`.
    public func writeCalibration(_ embeddings: [[Float]], to url: URL) throws {
        guard !embeddings.isEmpty else { throw PipelineError.noPicture }
        try Calibration(imageMean: mean(embeddings)).write(to: url)
    }

    /// Writes the embeddings of the pack's bank for the pack; see `Pack.bankCache`.
    ///
    /// - Throws: `WeightFileError`.
    public func writeBankCache(to url: URL) throws {
        let eye = try eye()
        let key = try BankCache(folder: nil, shipped: nil).key(of: eye.index.bank, with: eye.encoder)
        try BankCache.write(eye.index.embeddings, key: key, to: url)
    }
}
