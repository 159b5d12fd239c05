public import Foundation
public import TihuaEncoders
import TihuaGeneration
import TihuaModels
public import TihuaPictures
import TihuaProsody
import TihuaTokenizers
import TihuaTorch
import TihuaVerse

/// Poems of pictures: the embedding finds words in the bank of imagery, or becomes a prefix by a mapping network;
/// candidates are written for different choices of words, or behind the prefix, under the metre; the best that differ
/// are given back.
extension Engine {
    /// The bank of imagery beside the towers.
    struct ImageryPart {
        let index: ImageryIndex
        let scale: Float
        /// See `Pack.calibration`.
        var calibration: Calibration?

        /// What all pictures have in common, as a text sees it.
        func bias(_ text: [Float]) -> Float { calibration.map { dot(text, $0.imageMean) } ?? 0 }

        func keywords(for image: [Float], count: Int) -> [Keyword] {
            keywords(from: index.cosines(with: image), count: count)
        }

        func keywords(from cosines: [Float], count: Int) -> [Keyword] {
            index.keywords(from: cosines, count: count, scale: scale, sureness: calibration?.sureness)
        }
    }

    /// What writes poems.
    struct PoetPart {
        let writer: PoemWriter
        let converter: ChineseConverter
        let uses: WordFrequencies?
    }

    private func imagery() throws -> ImageryPart {
        try part(\.imagery) {
            let towers = try towers()
            try towers.prepareForTexts()
            var bank = try ImageryBank(contentsOf: try pack.requiredBank())
            if let extra = pack.extraBank {
                let converter = try ChineseConverter()
                bank = bank.merging(try ImageryBank(contentsOf: extra) { try converter.simplified($0) })
            }
            let cache = BankCache(folder: cacheFolder, shipped: pack.bankCache)
            let index = ImageryIndex(bank: bank, embeddings: try cache.embeddings(of: bank, with: towers))
            return ImageryPart(
                index: index, scale: towers.scale, calibration: try pack.readCalibration(width: towers.width))
        }
    }

    private func poet() throws -> PoetPart {
        try part(\.poet) {
            let writer = try pack.poemWriter(device: device)
            writer.stock = try pack.stockPairs.map { try OverusedPairs(contentsOf: $0) }
            return PoetPart(
                writer: writer, converter: try ChineseConverter(),
                uses: try pack.wordUses.map { try WordFrequencies(contentsOf: $0) })
        }
    }

    /// The mapping network, which must be the poet's and the CLIP model's own.
    private func prefixMapper() throws -> PrefixMapper {
        try part(\.prefix) {
            let url = try pack.requiredPrefix()
            let mapper = try PrefixMapper.open(url, device: device).model
            let poet = try pack.requiredPoet()
            let folder = try ModelFolder(at: poet)
            guard folder.architecture == GPT2.architecture else {
                throw PipelineError.wrongModel(
                    path: poet.path, found: folder.architecture.rawValue, needed: "gpt2, for a prefix,")
            }
            let shape = try folder.configuration(as: GPT2Configuration.self)
            let known = mapper.configuration.poetModel
            guard shape.hiddenSize == mapper.configuration.hiddenSize,
                try known == nil || known == modelFingerprint(poet)
            else { throw PipelineError.otherModel(path: url.path, model: "poet") }
            if let known = mapper.configuration.clipModel, try known != modelFingerprint(pack.requiredClip()) {
                throw PipelineError.otherModel(path: url.path, model: "CLIP model")
            }
            return mapper
        }
    }

    /// What the mapping network makes of an embedding: K embeddings of the poet, one after the other.
    private func prefix(of image: [Float]) throws -> [Float] {
        let mapper = try prefixMapper()
        guard mapper.configuration.embeddingSize == image.count else {
            throw PipelineError.embeddingWidth(
                path: try pack.requiredPrefix().path, expected: mapper.configuration.embeddingSize, found: image.count)
        }
        let values = withoutGradients { mapper(Tensor(image, [1, image.count]).to(nil, device)).floats }
        guard values.allSatisfy(\.isFinite) else { throw ModelError.notFinite(path: try pack.requiredPrefix().path) }
        return values
    }

    // MARK: - Words

    /// The words of the bank that fit the pictures, best first; several pictures count as one (the mean of their
    /// embeddings).
    ///
    /// - Throws: `PipelineError`, `ModelError`, `WeightFileError`.
    public func keywords(for pictures: [Picture], count: Int = 8) throws -> [Keyword] {
        let imagery = try imagery()
        return try imagery.keywords(for: middle(of: towers().encode(pictures)), count: count)
    }

    /// The words of the bank that fit each picture alone, as `keywords(for:count:)` finds them, embedded in batches.
    ///
    /// - Throws: `PipelineError`, `ModelError`, `WeightFileError`.
    public func keywords(forEach pictures: [Picture], count: Int = 8) throws -> [[Keyword]] {
        try keywords(forEmbeddings: embeddings(of: pictures), count: count)
    }

    /// The words of the bank that fit each embedding of a picture, of unit length.
    ///
    /// - Throws: `PipelineError`, `ModelError`, `WeightFileError`.
    public func keywords(forEmbeddings embeddings: [[Float]], count: Int = 8) throws -> [[Keyword]] {
        let imagery = try imagery()
        return embeddings.map { imagery.keywords(for: $0, count: count) }
    }

    /// The bank that words are taken from: the pack's, with what was given beside it.
    ///
    /// - Throws: `PipelineError`, `ModelError`, `WeightFileError`.
    public func bank() throws -> ImageryBank { try imagery().index.bank }

    /// Writes the mean of many pictures' embeddings of unit length for the pack; see `Pack.calibration`.
    ///
    /// - Throws: `PipelineError.noPicture`, `WeightFileError`.
    public func writeCalibration(_ embeddings: [[Float]], to url: URL) throws {
        guard !embeddings.isEmpty else { throw PipelineError.noPicture }
        try Calibration(imageMean: mean(embeddings)).write(to: url)
    }

    /// Fits how sure the words of the bank are of a picture, and adds it to a file that `writeCalibration` wrote for
    /// this pack's CLIP model; from then on this engine says what is sure by it.
    ///
    /// - Parameters:
    ///   - embeddings: of pictures, of unit length
    ///   - right: for each of them the words that a person accepts
    /// - Throws: `PipelineError.noPicture`, `.manifest` for a file of another model, `WeightFileError`.
    public func writeSureness(_ embeddings: [[Float]], right: [Set<String>], to url: URL) throws {
        guard !embeddings.isEmpty, embeddings.count == right.count else { throw PipelineError.noPicture }
        var imagery = try imagery()
        let mean = try Calibration(contentsOf: url, width: towers().width).imageMean
        let cosines = embeddings.map(imagery.index.cosines)
        let fitted = Calibration(
            imageMean: mean, sureness: Sureness(fitting: cosines, right: right, bank: imagery.index.bank))
        try fitted.write(to: url)
        // As it will be read: the file has fewer digits.
        imagery.calibration = try Calibration(contentsOf: url, width: towers().width)
        parts.imagery = imagery
    }

    /// Writes the embeddings of the pack's bank for the pack; see `Pack.bankCache`.
    ///
    /// - Throws: `WeightFileError`.
    public func writeBankCache(to url: URL) throws {
        let index = try imagery().index
        let key = try BankCache(folder: nil, shipped: nil).key(of: index.bank, with: towers())
        try BankCache.write(index.embeddings, key: key, to: url)
    }

    /// The direction of the mean of embeddings.
    private func middle(of embeddings: [[Float]]) throws -> [Float] {
        guard !embeddings.isEmpty else { throw PipelineError.noPicture }
        return normalised(mean(embeddings))
    }

    // MARK: - Poems

    /// The characters that the poet can write.
    ///
    /// - Throws: as `check`, for the weights.
    public func writableCharacters() throws -> Set<Character> { try poet().writer.format.writable }

    /// Checks a request without any weights but the poet's vocabulary and its prefix, so that what cannot be met is
    /// known before a picture is looked at.
    ///
    /// - Throws: as `poems`, for the request alone.
    public func check(_ request: PoemRequest) throws {
        let poet = try poet()
        let request = try request.simplified(poet.converter)
        if request.through != .keywords { _ = try prefixMapper() }
        for form in request.forms { _ = try request.constraint(for: form, vocabulary: poet.writer.format.writable) }
    }

    /// Poems for the pictures; several pictures become one poem together.
    ///
    /// Equal requests with equal seeds give equal poems on the same machine.
    ///
    /// - Parameter progress: told what is done, as it is done; `done` is told too, before it is returned
    /// - Throws: `PipelineError`, `ProsodyError`, `GenerationError`, `VerseError` for the request, `ModelError`,
    ///   `WeightFileError`, `TokenizerError` for the weights, `CancellationError`.
    public func poems(
        for pictures: [Picture], request: PoemRequest = PoemRequest(),
        progress: @Sendable (PoemEvent) -> Void = { _ in }
    ) throws -> PoemResult {
        try poems(request, progress) { try features(of: pictures) }
    }

    /// As `poems(for:request:progress:)`, for more pictures than memory holds.
    ///
    /// - Parameter features: what was seen of all the pictures, as `features(of:)` gives it; the caption is that of the
    ///   first, and the grids of the others are not needed
    public func poems(
        forFeatures features: [PictureFeatures], request: PoemRequest = PoemRequest(),
        progress: @Sendable (PoemEvent) -> Void = { _ in }
    ) throws -> PoemResult {
        try poems(request, progress) { features }
    }

    /// As `poems(for:request:progress:)`, as a stream of what happens; the last value is `done`. Ending the iteration
    /// ends the work at the next line.
    public nonisolated func events(
        for pictures: [Picture], request: PoemRequest = PoemRequest()
    ) -> AsyncThrowingStream<PoemEvent, any Error> {
        AsyncThrowingStream { continuation in
            let work = Task {
                do {
                    _ = try await poems(for: pictures, request: request) { continuation.yield($0) }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in work.cancel() }
        }
    }

    private func poems(
        _ request: PoemRequest, _ progress: (PoemEvent) -> Void, see: () throws -> [PictureFeatures]
    ) throws -> PoemResult {
        let poet = try poet()
        let request = try request.simplified(poet.converter)
        let vocabulary = poet.writer.format.writable
        let constraints = try request.forms.map { try request.constraint(for: $0, vocabulary: vocabulary) }
        let imagery = try imagery()
        let seen = try see()
        let image = try middle(of: towers().unit(seen.map(\.embedding)))
        progress(.seen(pictures: seen.count))
        let cosines = imagery.index.cosines(with: image)
        var keywords = imagery.keywords(from: cosines, count: 8)
        if !request.keywords.isEmpty { keywords = request.keywords.map { Keyword(word: $0, category: "", score: 1) } }
        let caption = try whatHappens(in: seen[0])
        progress(.words(keywords, caption: caption))
        let prefix = request.through == .keywords ? [] : try prefix(of: image)
        // The surest five of the words that are shown: a word that is not to be seen harms more than a missing one.
        let asked =
            request.keywords.isEmpty
            ? Array(keywords.filter { request.withheld.isDisjoint(with: $0.word) }.prefix(Self.promptWords)) : keywords
        let plans = request.plans(
            // The user's own words are not joined by a guess.
            keywords: asked, caption: request.keywords.isEmpty ? caption : nil, prefix: prefix,
            constraints: constraints, uses: poet.uses)
        let evidence = imagery.index.evidence(from: cosines)
        let leaning = leaning(request, evidence, cosines, imagery)
        var written = try poet.writer.write(plans, sampling: request.sampling, leaning: leaning) {
            progress(.draft($0, of: plans.count))
        }
        guard !written.isEmpty else { throw GenerationError.nothingWritten(candidates: plans.count) }
        if let occasion = request.occasion {
            let fitting = written.filter { occasion.admits($0.lines) }
            if !fitting.isEmpty { written = fitting }
        }

        let scores = try score(written, plans, evidence, image, imagery, poet)
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
        let result = PoemResult(keywords: keywords, caption: caption, poems: poems, seed: request.seed)
        progress(.done(result))
        return result
    }

    /// What is added to the log-probability of characters, in nats, for what is to be seen and what is asked for.
    func leaning(
        _ request: PoemRequest, _ evidence: [Character: (mean: Float, best: Float)], _ cosines: [Float],
        _ imagery: ImageryPart
    ) -> [Character: Float] {
        var leaning = evidence.mapValues { max(-3, min(1.2, ($0.best - Self.likely) * Self.leaning)) }
        if let sureness = imagery.calibration?.sureness {
            let asked = request.keywords.joined() + (request.theme ?? "") + request.acrostic
            let said = imagery.index.sureCharacters(from: cosines, sureness).union(asked)
            for character in Self.ages.subtracting(said) { leaning[character] = Self.unseenAge }
        }
        // What the occasion asks for need not be seen.
        for character in request.occasion?.words.joined() ?? "" { leaning[character] = max(0, leaning[character] ?? 0) }
        for character in request.withheld { leaning[character] = -.infinity }
        return leaning
    }

    /// What happens in a picture, as the pack's captioner says it; nil without one.
    private func whatHappens(in seen: PictureFeatures) throws -> String? {
        guard pack.captioner != nil else { return nil }
        var asked = CaptionRequest()
        asked.method = .greedy
        asked.reranks = false
        asked.maximumLength = 32
        let text = try captions(seeing: [seen], asked, towers: nil).first?.first?.text
        return text.map { $0.filter { $0.isHan } }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// How many of the words that fit a picture the prompts are made of.
    private static let promptWords = 5
    /// The deviations of a character's best word above which the picture speaks for the character: about one word in
    /// fifteen.
    private static let likely: Float = 1.5
    /// How much that adds to the character's log-probability, in nats a deviation: enough against moon and snow by day,
    /// too little to hold against a verse that the model is sure of.
    private static let leaning: Float = 1.2
    /// Characters that make an old person of whoever is to be seen.
    private static let ages: Set<Character> = ["老", "翁", "叟", "妪", "媪", "鬓"]
    /// What is added to their log-probability, in nats, where no word with them is sure: poets grow old in every third
    /// poem, people in pictures seldom.
    private static let unseenAge: Float = -6

    private func score(
        _ written: [WrittenPoem], _ plans: [PoemPlan], _ evidence: [Character: (mean: Float, best: Float)],
        _ image: [Float], _ imagery: ImageryPart,
        _ poet: PoetPart
    ) throws -> [PoemScores] {
        let texts = try towers().encode(written.map { $0.lines.joined(separator: "，") + "。" })
        let scores = try zip(written, texts).map { poem, text in
            let plan = plans[poem.plan]
            let report = try ProsodyChecker(tones: .strict, book: plan.constraint.book)
                .check(poem.lines, as: plan.constraint.form)
            let known = poem.lines.count(where: poet.writer.isKnown)
            let own = plan.constraint.form.withoutRepeats(poem.lines)
            // In their order: a set's changes from run to run, and with it the last digit of the sum.
            let seen = poem.lines.joined().compactMap { evidence[$0]?.mean }
            return PoemScores(
                picture: Double(dot(text, image) - imagery.bias(text)),
                imagery: Double(seen.reduce(0, +) / Float(max(1, seen.count))),
                fluency: (poem.logProbability - (poet.writer.stock?.excess(in: own) ?? 0))
                    / Double(max(1, poem.tokenCount)),
                tone: report.toneAccuracy ?? 1,
                coverage: PoemRanking.coverage(of: plan.prompt.keywords, in: poem.lines.joined(separator: " ")),
                repetition: PoemRanking.repetition(in: own),
                novelty: 1 - Double(known) / Double(max(1, poem.lines.count)))
        }
        return PoemRanking.total(scores, named: written.map { plans[$0.plan].prefix.isEmpty })
    }
}
