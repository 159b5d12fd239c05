public import Foundation
import TihuaCorpora
import TihuaEncoders
import TihuaEvaluation
import TihuaFiles
public import TihuaModels
public import TihuaNN
import TihuaPictures
import TihuaTokenizers
public import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

/// Two texts that mean the same.
public struct TextPair: Sendable, Equatable {
    /// One text.
    public let first: String
    /// The other.
    public let second: String

    /// A pair; the order does not matter.
    public init(_ first: String, _ second: String) {
        self.first = first
        self.second = second
    }
}

// How the two towers are trained: pictures against captions with a contrastive loss in which everything that is said of
// the same thing counts as right (a label stands many times in a batch), a teacher's soft labels through a classifier
// that is thrown away afterwards, pairs of texts that mean the same, and the words of an imagery bank, each shown or
// not by itself. B pictures of a batch, S pixels of one side, E width of the embeddings, P pairs, W words.

/// The task of training a two-tower model.
public final class ClipTask: TrainingTask {
    /// The parameters of the model, and of the classifier where there is a teacher.
    public let store: ParameterStore
    /// Pictures, without the pairs of texts.
    public let unit = "pictures"
    /// The options of the model and a hash of vocabulary, training pictures' captions and pairs.
    public let identity: String

    private let model: ChineseCLIP
    private let classifier: Linear?
    private let words: WordLessons?
    private let configuration: ChineseCLIPConfiguration
    private let tokenizer: BertTokenizer
    private let vocabulary: [String]
    private let sets: [PictureSet]
    private let validationSets: [PictureSet]
    private let pairs: [TextPair]
    private let options: ClipOptions
    private let seed: UInt64
    private let device: Device
    let training: [Place]
    let validation: [Place]
    /// Batches of indices of `training`. The last one of an epoch may be smaller; it is then left out.
    var batches: EpochBatches

    struct Place: Hashable {
        let set: Int
        let item: Int
    }

    /// - Parameters:
    ///   - sets: pictures to train on, some of which the options hold out
    ///   - validationSets: pictures to measure on, which are never trained on
    ///   - vocabulary: the lines of `vocab.txt`
    ///   - imagery: what is learned of the words of a bank; nil learns none
    ///   - folder: a model of this recipe to start from, whose pictures may be of another size; nil starts a new one
    /// - Throws: `TrainingError` for options or pictures that cannot be trained on, `TokenizerError` if the vocabulary
    ///   lacks a special token; `ModelError`, `WeightFileError` for the folder, and `TrainingError` where its sizes are
    ///   not the options'.
    public init(
        sets: [PictureSet], validationSets: [PictureSet], pairs: [TextPair], vocabulary: [String], options: ClipOptions,
        training run: TrainingOptions, imagery: ImageryLessons? = nil, device: Device = .cpu,
        continuing folder: ModelFolder? = nil
    ) throws {
        try options.validate()
        self.sets = sets + validationSets
        self.validationSets = validationSets
        self.pairs = pairs
        self.options = options
        self.vocabulary = vocabulary
        self.device = device
        seed = run.seed
        tokenizer = try BertTokenizer(tokens: vocabulary)
        configuration = options.configuration(vocabularySize: vocabulary.count)
        try checkSize(parameterCount: configuration.parameterCount, device: device)
        store = ParameterStore(seed: run.seed, device: device)
        model = ChineseCLIP(
            configuration, computeType: run.precision.type(on: device), at: store.root)
        if let folder {
            var known = try folder.configuration(as: ChineseCLIPConfiguration.self)
            known.imageSize = configuration.imageSize
            guard known == configuration else {
                throw TrainingError.data(path: folder.url.path, reason: "its sizes are not those of the options")
            }
            try ChineseCLIP.load(folder.checkpoint(), into: store, resizingPositions: true)
        }
        let hasTeacher = options.teacherWeight > 0 && sets.contains { $0.teacher != nil }
        classifier =
            hasTeacher
            ? Linear(options.projectionSize, SoftLabels.classCount, at: store.root / "classifier") : nil
        let wordPath = store.root / "words"
        words =
            options.batchWords > 0 && options.wordWeight > 0
            ? imagery.map { WordLessons($0, sets: sets, at: wordPath) } : nil
        var training: [Place] = []
        var validation: [Place] = []
        for (index, set) in sets.enumerated() {
            for (item, picture) in set.items.enumerated() {
                if picture.isHeldOut(oneIn: options.holdOut) {
                    validation.append(Place(set: index, item: item))
                } else {
                    training += repeatElement(Place(set: index, item: item), count: set.repeats)
                }
            }
        }
        for (index, set) in validationSets.enumerated() {
            validation += set.items.indices.map { Place(set: sets.count + index, item: $0) }
        }
        guard training.count >= 2 else {
            throw TrainingError.data(
                path: "the shards", reason: "\(training.count) pictures to train on, at least 2 are needed")
        }
        if let set = (sets + validationSets).first(where: { $0.side < options.imageSize }) {
            throw TrainingError.option(
                "imageSize", "\(options.imageSize)", "at most \(set.side), the side of the decoded pictures")
        }
        self.training = training
        self.validation = validation
        batches = EpochBatches(
            shuffling: training.count, size: options.batchPictures, seed: run.seed, stream: 0xC11F)
        var data = stableHash(vocabulary.joined(separator: "\n"))
        for place in training {
            let item = sets[place.set].items[place.item]
            data = stableHash(item.key + item.captions.joined(separator: " "), from: data)
        }
        for pair in pairs { data = stableHash(pair.first + " " + pair.second, from: data) }
        if let words { data = stableHash(words.description, from: data) }
        identity = "clip \(describe(options)) data \(String(data, radix: 16))"
    }

    /// A second model over the parameters and the data of another task.
    private init(sharing original: ClipTask) {
        store = ParameterStore(sharing: original.store)
        model = ChineseCLIP(original.configuration, computeType: original.model.computeType, at: store.root)
        let (classifierPath, wordPath) = (store.root / "classifier", store.root / "words")
        classifier = original.classifier.map { _ in
            Linear(original.options.projectionSize, SoftLabels.classCount, at: classifierPath)
        }
        words = original.words.map { WordLessons(sharing: $0, at: wordPath) }
        configuration = original.configuration
        tokenizer = original.tokenizer
        vocabulary = original.vocabulary
        sets = original.sets
        validationSets = original.validationSets
        pairs = original.pairs
        options = original.options
        seed = original.seed
        device = original.device
        training = original.training
        validation = original.validation
        batches = original.batches
        identity = original.identity
    }

    /// A second model with the same parameters. Each normalises by its own batch; the running statistics are those of
    /// the first model's batches, as with PyTorch's DistributedDataParallel.
    public func replica() -> ClipTask? { ClipTask(sharing: self) }

    /// Pictures that are trained on and held out.
    public var counts: (training: Int, validation: Int) { (training.count, validation.count) }

    /// Whole batches of the training pictures, at least 1; the rest of an epoch is left out.
    public func batchCount(epoch: Int) -> Int { max(1, training.count / options.batchPictures) }

    /// The contrastive loss of pictures and captions, with that of pairs and the teacher's where there are any, each in
    /// nats per picture or pair and with its weight.
    public func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let places = batches[epoch][batch].map { training[$0] }
        var random = SplitMix64(seed, UInt64(epoch), UInt64(batch))
        let pixels = pixels(places, augmenting: &random)
        let captions = places.map { item($0).captions.randomElement(using: &random) ?? "" }
        let chosen = chosenPairs(places, captions, using: &random)
        let asked = words?.chosen(places, count: options.batchWords, using: &random) ?? []

        let images = model.encodeImages(pixels, train: true)  // [B, E]
        let unitImages = images.normalized()
        let (unique, rows) = deduplicated(
            captions + chosen.map(\.first) + chosen.map(\.second) + asked.map(\.text))
        let texts = model.encodeTexts(ids(unique)).gatheringSlices(0, at: rows)  // [B + 2 P + W, E]
        let scale = model.logitScale.exp()
        let groups = places.map { item($0).group }
        var loss = contrast(
            unitImages, texts.narrowed(0, 0..<places.count).normalized(), scale,
            positives: positives(groups, captions))
        if !chosen.isEmpty {
            let count = places.count
            let firsts = texts.narrowed(0, count..<count + chosen.count).normalized()
            let seconds = texts.narrowed(0, count + chosen.count..<count + 2 * chosen.count).normalized()
            loss =
                loss + contrast(firsts, seconds, scale, positives: positives(chosen.map(\.second), chosen.map(\.first)))
                * options.pairWeight
        }
        if let words, !asked.isEmpty {
            let start = places.count + 2 * chosen.count
            let cosines = unitImages.matmul(
                texts.narrowed(0, start..<start + asked.count).normalized().transposed(0, 1))  // [B, W]
            loss = loss + words.loss(cosines, places, asked.map(\.word)) * options.wordWeight
        }
        if let classifier, let soft = softLabels(places) {
            let scores = classifier(images).logSoftmax(-1)  // [B, 1001]
            loss = loss - (soft * scores).sum() * (options.teacherWeight / Double(places.count))
        }
        // A backward pass is two forward passes.
        let forward =
            configuration.multiplicationsPerPicture * Double(places.count)
            + configuration.multiplications(perTextOf: min(unique.map(\.count).max() ?? 0, options.textLength - 2))
            * Double(unique.count)
        return BatchLoss(loss: loss, units: places.count, operations: 3 * 2 * forward)
    }

    /// Pairs of texts, and as many paraphrases: two captions of the same picture.
    private func chosenPairs(_ places: [Place], _ captions: [String], using random: inout SplitMix64) -> [TextPair] {
        guard options.batchPairs > 0 else { return [] }
        let drawn =
            pairs.isEmpty ? [] : (0..<options.batchPairs).compactMap { _ in pairs.randomElement(using: &random) }
        let described = places.indices.filter { index in
            let item = item(places[index])
            return item.group == item.key && item.captions.count > 1
        }
        let paraphrases = described.prefix(options.batchPairs).compactMap { index -> TextPair? in
            let item = item(places[index])
            return item.captions.randomElement(using: &random).map { TextPair(captions[index], $0) }
        }
        return drawn + paraphrases
    }

    /// Keeps the scale of the cosines within 1 to 100, as CLIP does.
    public func didStep() {
        withoutGradients { model.logitScale.clamp_(0...4.6052) }
    }

    /// `loss` of held-out pictures against their captions in batches. With validation sets also recall at 10 among all
    /// their captions and pictures, and first `missed_at_10`, one less the mean of both directions.
    public func validate() throws -> [(name: String, value: Double)] {
        var sum = 0.0
        var batches = 0
        var random = SplitMix64(11)
        let shuffled = validation.indices.shuffled(using: &random).map { validation[$0] }
        for range in ranges(of: shuffled.count, size: 128) where range.count > 1 {
            let places = Array(shuffled[range])
            let captions = places.map { item($0).captions.randomElement(using: &random) ?? "" }
            let images = embed(places)
            let texts = model.encodeTexts(ids(captions)).normalized()
            let groups = places.map { item($0).group }
            sum += contrast(images, texts, model.logitScale.exp(), positives: positives(groups, captions)).item
            batches += 1
        }
        guard batches > 0 else { return [] }
        let loss = ("loss", sum / Double(batches))
        guard let recall = recall() else { return [(name: loss.0, value: loss.1)] }
        // The loss also depends on the scale of the cosines, which goes on growing; recall depends on their order
        // alone.
        let missed = ("missed_at_10", 1 - recall.reduce(0) { $0 + $1.1 } / Double(recall.count))
        return ([missed, loss] + recall).map { (name: $0.0, value: $0.1) }
    }

    /// Writes `vocab.txt`, `config.json`, `preprocessor_config.json` and the weights in bfloat16, without the
    /// classifier.
    ///
    /// - Throws: `FileError`.
    public func save(to folder: URL, tensor: @escaping (String) -> Tensor?) throws {
        // The classifier belongs to the training, not to the model.
        let kept = ParameterStore(seed: 0, device: device)
        _ = ChineseCLIP(configuration, at: kept.root)
        try saveModel(configuration, kept, tokens: vocabulary, to: folder) { tensor($0) ?? self.store[$0] }
        // Bilinear, since training resizes its cuts so; what is used otherwise than it was learned loses a point of
        // recall.
        try Preprocessing(size: options.imageSize, filter: .bilinear).write(to: folder)
    }

    // MARK: - Batches

    private func item(_ place: Place) -> CaptionedPictures.Item { sets[place.set].items[place.item] }

    /// float32 `[B, 3, S, S]`: a random cut of each picture.
    func pixels(_ places: [Place], augmenting random: inout SplitMix64) -> Tensor {
        pixels(places, places.map { PictureCut(of: sets[$0.set].side, using: &random) })
    }

    /// float32 `[B, 3, S, S]`
    private func pixels(_ places: [Place], _ cuts: [PictureCut]) -> Tensor {
        let size = options.imageSize
        var values = [Float](repeating: 0, count: places.count * 3 * size * size)
        for (index, (place, cut)) in zip(places, cuts).enumerated() {
            let set = sets[place.set]
            cut.copy(
                set.pixels, row: set.rows[place.item], side: set.side, size: size, to: &values,
                at: index * 3 * size * size)
        }
        return Tensor(values, [places.count, 3, size, size]).to(nil, device).channelsLast()
    }

    /// The distinct texts, and for each text its index among them (int64).
    func deduplicated(_ texts: [String]) -> ([String], Tensor) {
        var indices: [String: Int32] = [:]
        var unique: [String] = []
        let rows = texts.map { text -> Int32 in
            if let index = indices[text] { return index }
            indices[text] = Int32(unique.count)
            unique.append(text)
            return Int32(unique.count - 1)
        }
        return (unique, Tensor.ids(rows, [rows.count]).to(nil, device))
    }

    /// int64 `[N, T]`
    private func ids(_ texts: [String]) -> Tensor {
        let rows = texts.map { tokenizer.encode($0, maximumLength: options.textLength, addingSpecialTokens: true) }
        let width = rows.map(\.count).max() ?? 1
        var ids = [Int32](repeating: Int32(ChineseCLIP.padding), count: rows.count * width)
        for (row, values) in rows.enumerated() {
            for (column, value) in values.enumerated() { ids[row * width + column] = value }
        }
        return Tensor.ids(ids, [rows.count, width]).to(nil, device)
    }

    /// The target distribution of each row over the columns, `[B, B]`: uniform over those of its group or with its
    /// text.
    func positives(_ groups: [String], _ texts: [String]) -> Tensor {
        let count = groups.count
        var shares = [Float](repeating: 0, count: count * count)
        for row in 0..<count {
            var found = 0
            for column in 0..<count where groups[row] == groups[column] || texts[row] == texts[column] {
                shares[row * count + column] = 1
                found += 1
            }
            for column in 0..<count { shares[row * count + column] /= Float(found) }
        }
        return Tensor(shares, [count, count]).to(nil, device)
    }

    /// The symmetric cross entropy of cosines against shares (Khosla et al. 2020 for several right answers; CLIP for
    /// one).
    func contrast(_ a: Tensor, _ b: Tensor, _ scale: Tensor, positives: Tensor) -> Tensor {
        let logits = a.matmul(b.transposed(0, 1)) * scale  // [B, B]
        let rows = (positives * logits.logSoftmax(1)).sum(1).mean()
        // The relation is symmetric, but the shares are not: a right answer of a row may have more right answers
        // itself.
        let columns = (positives.transposed(0, 1) * logits.logSoftmax(0)).sum(0).mean()
        return -(rows + columns) * 0.5
    }

    /// The teacher's probabilities `[B, 1001]`, rows without a teacher all zero; nil if no row has one.
    func softLabels(_ places: [Place]) -> Tensor? {
        guard places.contains(where: { sets[$0.set].teacher != nil }) else { return nil }
        var values = [Float](repeating: 0, count: places.count * SoftLabels.classCount)
        for (index, place) in places.enumerated() {
            let set = sets[place.set]
            set.teacher?.copy(row: set.rows[place.item], to: &values, at: index * SoftLabels.classCount)
        }
        return Tensor(values, [places.count, SoftLabels.classCount]).to(nil, device)
    }

    // MARK: - Measuring

    /// Normalised embeddings `[B, E]`.
    private func embed(_ places: [Place]) -> Tensor {
        let whole = places.map { PictureCut(wholeOf: sets[$0.set].side) }
        return model.encodeImages(pixels(places, whole)).normalized()
    }

    /// Recall at 10 of the validation sets' pictures among all their captions, and of the captions among the pictures.
    private func recall() -> [(String, Double)]? {
        let places = validation.filter { $0.set >= sets.count - validationSets.count }
        guard places.count > 10 else { return nil }
        let images = Tensor.concatenated(
            ranges(of: places.count, size: 128).map { embed(Array(places[$0])) }, 0)
        var texts: [String] = []
        var owners: [Int] = []
        for (index, place) in places.enumerated() {
            // The first five captions of each picture are written by people.
            for caption in item(place).captions.prefix(5) {
                texts.append(caption)
                owners.append(index)
            }
        }
        let encoded = Tensor.concatenated(
            ranges(of: texts.count, size: 256).map { model.encodeTexts(ids(Array(texts[$0]))).normalized() }, 0)
        let scores = images.matmul(encoded.transposed(0, 1)).floats  // [N, M]
        let found = Retrieval(scores: scores, owners: owners, pictureCount: places.count)
        return [
            ("image_to_text_r10", found.pictureToCaption.recallAt10),
            ("text_to_image_r10", found.captionToPicture.recallAt10),
        ]
    }
}
