public import Foundation
import TihuaEncoders
import TihuaEvaluation
import TihuaFiles
import TihuaGeneration
public import TihuaModels
public import TihuaNN
import TihuaTokenizers
public import TihuaTorch
import TihuaVerse

// Self-critical training of a captioner that has been trained on captions (Rennie et al. 2017; Cho et al. 2022,
// Fine-grained Image Captioning with CLIP Reward, arXiv 2205.13115): captions are drawn, rewarded, and made more or
// less probable by how much better they are than the other captions of the same picture (Kool et al. 2019, leave one
// out). B pictures of a batch, n captions of each, E width of the embeddings.

/// What a caption is rewarded for. The part `reward` of a `RecipeFile`.
public struct RewardOptions: RecipeOptions, Codable, Sendable, Equatable {
    /// The weight of the CLIP score, 2.5 · max(0, cosine of caption and picture).
    public var clipWeight = 2.0
    /// The weight of CIDEr-D against the picture's own captions, 0...10 a caption, on the model's tokens with the end.
    public var ciderWeight = 0.0
    /// The weight of the grammar term, which is at most 0; see `CaptionGrammar`.
    public var grammarWeight = 1.0
    /// The weight, within the grammar term, of the mean log-probability under the captioner that training began with.
    public var likelihoodWeight = 0.2
    /// Captions drawn of each picture (n), at least 2.
    public var samples = 5
    /// Pictures of one batch (B).
    public var batchPictures = 16
    /// Tokens of a caption that is drawn, its end counted.
    public var maximumLength = 40

    /// What is rewarded, by name.
    public enum Preset: String, Sendable, CaseIterable {
        /// Likeness to the picture, and grammar, without which captions become heaps of words.
        case clip
        /// Likeness to the picture's own captions.
        case cider
        /// All three.
        case mixture
    }

    /// The CLIP score and grammar.
    public init() {}

    /// These options with the weights of a preset.
    public func with(_ preset: Preset) -> RewardOptions {
        var options = self
        switch preset {
        case .clip: (options.clipWeight, options.ciderWeight, options.grammarWeight) = (2, 0, 1)
        case .cider: (options.clipWeight, options.ciderWeight, options.grammarWeight) = (0, 1, 0)
        case .mixture: (options.clipWeight, options.ciderWeight, options.grammarWeight) = (2, 1, 1)
        }
        return options
    }

    /// Checks the ranges.
    ///
    /// - Throws: `TrainingError.option` naming the first value that makes no sense.
    public func validate() throws(TrainingError) {
        try OptionRange.check(ranges)
        guard clipWeight + ciderWeight + grammarWeight > 0 else {
            throw .option("clipWeight", "0", "above 0, or one of the other weights")
        }
    }

    var ranges: [OptionRange] {
        [
            .weight("clipWeight", clipWeight), .weight("ciderWeight", ciderWeight),
            .weight("grammarWeight", grammarWeight), .weight("likelihoodWeight", likelihoodWeight),
            .init("samples", samples, 2...1000), .init("batchPictures", batchPictures, 1...1 << 16),
            .init("maximumLength", maximumLength, 2...1 << 16),
        ]
    }
}

/// A measure of grammar that needs no grammar: captions lose by repeating themselves and by not coming to an end.
public enum CaptionGrammar {
    /// The share of pairs and triples of tokens that stand in the caption before, and of tokens that double the last
    /// one. 0 for a caption without any, below 1.
    public static func repetition(_ ids: [Int32]) -> Double {
        guard ids.count > 1 else { return 0 }
        var repeated = 0
        var total = 0
        for size in 2...3 where ids.count >= size {
            var seen: Set<ArraySlice<Int32>> = []
            for start in 0...ids.count - size {
                total += 1
                if !seen.insert(ids[start..<start + size]).inserted { repeated += 1 }
            }
        }
        let doubled = zip(ids, ids.dropFirst()).count { $0 == $1 }
        return Double(repeated + doubled) / Double(total + ids.count - 1)
    }

    /// Minus 2 times the repetition, minus 1 for a caption that was cut off or is empty; at most 0.
    public static func score(_ ids: [Int32], isFinished: Bool) -> Double {
        -2 * repetition(ids) - (isFinished && !ids.isEmpty ? 0 : 1)
    }
}

/// The task of training a captioner by reward.
public final class CaptionRewardTask: TrainingTask {
    /// The parameters of the captioner.
    public let store: ParameterStore
    /// Captions that were drawn and rewarded.
    public let unit = "captions"
    /// The options and a hash of the data.
    public let identity: String

    private let model: ClipCap
    /// The captioner that training began with.
    private let supervised: ClipCap
    private let dataset: CaptionDataset
    private let options: RewardOptions
    private let tunesLanguageModel: Bool
    private let seed: UInt64
    private let device: Device
    private let report: (String) -> Void
    private let clip: PictureTextEncoder?
    private let rules: TokenRules
    /// Rows of the training pictures, and the captions of each as ids.
    private let pictures: [(row: Int, references: [[Int32]])]
    private let scorer: CiderScorer<Int32>?
    private let heldOut: [(row: Int, references: [[Int32]])]
    private let heldOutScorer: CiderScorer<Int32>?
    private var batches: EpochBatches

    /// - Parameters:
    ///   - dataset: pictures with captions, made with the captioner's vocabulary
    ///   - captioner: a trained one, opened in float32
    ///   - clip: the CLIP model of the embeddings, for its texts; needed where the CLIP score counts
    ///   - report: receives a few captions of held-out pictures at each validation
    /// - Throws: `TrainingError`; `ModelError`, `WeightFileError` and `TokenizerError` for the CLIP model.
    public init(
        dataset: CaptionDataset, caption: CaptionOptions, options: RewardOptions, training: TrainingOptions,
        captioner: ClipCap.Opened, clip folder: URL?, device: Device = .cpu,
        report: @escaping (String) -> Void = { _ in }
    ) throws {
        try caption.validate()
        try options.validate()
        self.dataset = dataset
        self.options = options
        self.device = device
        self.report = report
        tunesLanguageModel = caption.tunesLanguageModel
        seed = training.seed
        let computeType: DType = training.precision.type(on: device)
        (model, store) = try CaptionTask.copy(of: captioner, for: dataset, computeType: computeType, device: device)
        (supervised, _) = try CaptionTask.copy(of: captioner, for: dataset, computeType: computeType, device: device)
        rules = model.rules(dataset.tokenizer, maximumLength: options.maximumLength)
        guard rules.maximumLength > 1 else {
            throw TrainingError.option(
                "maximumLength", "\(options.maximumLength)", "2 or more behind the picture's embeddings")
        }
        let grouped = Dictionary(grouping: dataset.training.filter { $0.row < dataset.firstText }, by: \.row)
        let pictures = grouped.keys.sorted().map { row in (row: row, references: (grouped[row] ?? []).map(\.ids)) }
        self.pictures = pictures
        guard !pictures.isEmpty else {
            throw TrainingError.data(
                path: "the captions", reason: "are of no picture, so there is nothing to be like")
        }
        let counts = options.ciderWeight > 0
        scorer = counts ? try CiderScorer(references: pictures.map(\.references)) : nil
        let end = dataset.tokenizer.separatorID
        let heldOut = dataset.heldOutSample(caption.sampleCount).map { picture in
            (
                row: picture.row,
                references: picture.captions.map { dataset.tokenizer.encode($0, addingSpecialTokens: false) + [end] }
            )
        }
        self.heldOut = heldOut
        heldOutScorer = heldOut.isEmpty ? nil : try CiderScorer(references: heldOut.map(\.references))
        if options.clipWeight > 0 {
            guard let folder else {
                throw TrainingError.option(
                    "clipWeight", "\(options.clipWeight)", "0 where there is no CLIP model")
            }
            let texts = try PictureTextEncoder(folder: folder, device: device)
            guard texts.width == dataset.width else {
                throw TrainingError.data(
                    path: folder.path,
                    reason: "embeds texts in \(texts.width) numbers, but the pictures' embeddings have \(dataset.width)"
                )
            }
            clip = texts
        } else {
            clip = nil
        }
        batches = EpochBatches(
            shuffling: pictures.count, size: options.batchPictures, seed: training.seed, stream: 0x4E3A)
        identity = "reward \(describe(options)) caption \(describe(caption)) data \(dataset.fingerprint)"
    }

    /// The parameters of a language model that is not tuned keep their values.
    public func isFrozen(_ name: String) -> Bool {
        !tunesLanguageModel && name.hasPrefix(model.configuration.languageModel.path + ".")
    }

    /// Batches of one epoch, all pictures once.
    public func batchCount(epoch: Int) -> Int { batches[epoch].count }

    /// Minus the mean, over the tokens of all captions drawn, of log-probability times advantage.
    public func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let places = batches[epoch][batch]
        let rows = places.map { pictures[$0].row }
        let drawing = Decoding(
            .sampling(Sampling(temperature: 1, topK: 0, topP: 1)), count: options.samples, rules: rules)
        let seeds = places.map { SplitMix64(seed, UInt64(epoch), UInt64(batch), UInt64($0)).peek }
        let drawn = try write(rows, drawing, seeds: seeds)
        let rewards = try rewards(drawn, rows: rows) { picture, ids in scorer?.score(ids, at: places[picture]) ?? 0 }
        var ids: [[Int32]] = []
        var advantages: [Float] = []
        for (texts, totals) in zip(drawn, rewards.map { $0.map(\.total) }) {
            let sum = totals.reduce(0, +)
            for (text, total) in zip(texts, totals) where text.tokenCount > 0 {
                ids.append(text.ids + (text.stop.map { [$0] } ?? []))
                advantages.append(Float(total - (sum - total) / Double(max(1, totals.count - 1))))
            }
        }
        guard !ids.isEmpty else {
            throw TrainingError.data(path: "the captioner", reason: "draws nothing but empty captions; train it first")
        }
        let captions = LearnedTokens(captions: ids, unknown: nil, device: device)
        let owners = zip(rows, drawn).flatMap { row, texts in texts.filter { $0.tokenCount > 0 }.map { _ in row } }
        let logProbabilities = logProbabilities(of: captions, rows: owners, model)  // [N]
        let weights = zip(ids, advantages).flatMap { Array(repeating: $1, count: $0.count) }
        let loss = -(logProbabilities * Tensor(weights).to(nil, device)).sum() / Double(weights.count)
        let passes = 8.0 * Double(store.parameterCount)  // drawn, rewarded under the first captioner, learned
        return BatchLoss(loss: loss, units: ids.count, operations: passes * Double(captions.paddedCount))
    }

    /// `reward_missed`, minus the mean reward of greedy captions of held-out pictures, then the parts of the reward.
    public func validate() throws -> [(name: String, value: Double)] {
        guard let heldOutScorer, !heldOut.isEmpty else { return [] }
        var sum = Reward()
        var lines: [String] = []
        for range in ranges(of: heldOut.count, size: 64) {
            let rows = heldOut[range].map(\.row)
            let texts = try write(rows, .greedy(rules: rules), seeds: rows.map { _ in 0 })
            let found = try rewards(texts, rows: rows) { heldOutScorer.score($1, at: range.lowerBound + $0) }
            for reward in found.joined() { sum.add(reward) }
            lines += texts.prefix(max(0, 5 - lines.count)).compactMap { texts in
                texts.first.map { "  " + dataset.tokenizer.decode($0.ids) }
            }
        }
        report(lines.joined(separator: "\n"))
        let count = Double(heldOut.count)
        return [
            ("reward_missed", -sum.total / count), ("clip_score", sum.clip / count), ("cider", 100 * sum.cider / count),
            ("grammar", sum.grammar / count),
        ]
    }

    /// Writes `vocab.txt`, `config.json` and the weights in bfloat16, as `ClipCap.open` reads them.
    ///
    /// - Throws: `FileError`.
    public func save(to folder: URL, tensor: @escaping (String) -> Tensor?) throws {
        try saveModel(model.configuration, store, tokens: dataset.tokens, to: folder, tensor: tensor)
    }

    // MARK: - Parts

    /// The reward of one caption and its parts; also sums of these.
    private struct Reward {
        var clip = 0.0
        var cider = 0.0
        var grammar = 0.0
        var total = 0.0

        mutating func add(_ other: Reward) {
            clip += other.clip
            cider += other.cider
            grammar += other.grammar
            total += other.total
        }
    }

    private func write(_ rows: [Int], _ decoding: Decoding, seeds: [UInt64]) throws -> [[GeneratedText]] {
        try withoutGradients {
            let source = dataset.source(rows, for: model, device: device)
            return try TextGenerator(source, device: device).generate(seeds.map { TextPrompt(seed: $0) }, decoding)
        }
    }

    /// - Parameter cider: gives the CIDEr-D of a caption with its end, for the picture at a place of `rows`
    private func rewards(
        _ texts: [[GeneratedText]], rows: [Int], cider: (Int, [Int32]) -> Double
    ) throws -> [[Reward]] {
        let captions = texts.flatMap { $0 }
        let owners = zip(rows, texts).flatMap { row, texts in texts.map { _ in row } }
        let likeness = try withoutGradients { try clip.map { try cosines(captions, owners, $0) } }
        let means = withoutGradients { likelihood(captions, owners) }
        var place = 0
        return texts.enumerated().map { picture, texts in
            texts.map { text in
                defer { place += 1 }
                var reward = Reward()
                reward.clip = 2.5 * max(0, likeness?[place] ?? 0)
                reward.cider = cider(picture, text.ids + (text.stop == nil ? [] : [dataset.tokenizer.separatorID]))
                reward.grammar =
                    CaptionGrammar.score(text.ids, isFinished: text.stop != nil) + options.likelihoodWeight
                    * means[place]
                reward.total =
                    options.clipWeight * reward.clip + options.ciderWeight * reward.cider
                    + options.grammarWeight * reward.grammar
                return reward
            }
        }
    }

    private func cosines(_ captions: [GeneratedText], _ rows: [Int], _ clip: PictureTextEncoder) throws -> [Double] {
        let texts = try clip.encode(captions.map { dataset.tokenizer.decode($0.ids) }).flatMap { $0 }
        let pictures = dataset.embeddings(rows).normalized()  // [N, E]
        return (Tensor(texts, pictures.shape) * pictures).sum(1).floats.map(Double.init)
    }

    /// The mean log-probability of each caption under the captioner that training began with; 0 where its weight is 0.
    private func likelihood(_ captions: [GeneratedText], _ rows: [Int]) -> [Double] {
        guard options.grammarWeight * options.likelihoodWeight > 0 else { return captions.map { _ in 0 } }
        var means = captions.map { _ in 0.0 }
        let full = captions.indices.filter { captions[$0].tokenCount > 0 }
        guard !full.isEmpty else { return means }
        let ids = full.map { captions[$0].ids + (captions[$0].stop.map { [$0] } ?? []) }
        let tokens = LearnedTokens(captions: ids, unknown: nil, device: device)
        let values = logProbabilities(of: tokens, rows: full.map { rows[$0] }, supervised).floats
        var start = 0
        for (index, ids) in zip(full, ids) {
            means[index] = Double(values[start..<start + ids.count].reduce(0, +)) / Double(ids.count)
            start += ids.count
        }
        return means
    }

    /// The log-probability of every token of captions, one after the other. `[N]`
    private func logProbabilities(of captions: LearnedTokens, rows: [Int], _ model: ClipCap) -> Tensor {
        let prefix = dataset.prefix(rows, of: model, device: device)
        let hidden = captions.asked(model.hidden(prefix, captions.inputs()))
        return model.logits(hidden).logSoftmax(1).gathered(1, captions.wanted().unsqueezed(1)).squeezed(1)
    }
}
