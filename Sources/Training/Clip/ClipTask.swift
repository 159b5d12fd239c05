public import Foundation
import TihuaCorpora
import TihuaEvaluation
import TihuaFiles
public import TihuaModels
public import TihuaNN
public import TihuaTorch
import TihuaVerse

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

    private let towers: any TrainedTowers
    private let classifier: Linear?
    private let words: WordLessons?
    private let classes: ClassLessons?
    private let computeType: DType
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
    ///   - vocabulary: the lines of `vocab.txt`; not used with first weights
    ///   - imagery: what is learned of the words of a bank; nil learns none
    ///   - folder: a model of this recipe to start from, whose pictures may be of another size; nil starts a new one
    ///   - first: weights that the towers have learned elsewhere; nil trains a Chinese-CLIP of the options' sizes
    ///   - report: is told of what takes its time before the first step
    /// - Throws: `TrainingError` for options or pictures that cannot be trained on, `TokenizerError` if the vocabulary
    ///   lacks a special token; `ModelError`, `WeightFileError` for the folder, and `TrainingError` where its sizes are
    ///   not the options'.
    public init(
        sets: [PictureSet], validationSets: [PictureSet], pairs: [TextPair], vocabulary: [String], options: ClipOptions,
        training run: TrainingOptions, imagery: ImageryLessons? = nil, device: Device = .cpu,
        continuing folder: ModelFolder? = nil, first: FirstWeights? = nil, report: (String) -> Void = { _ in }
    ) throws {
        try options.validate()
        self.sets = sets + validationSets
        self.validationSets = validationSets
        self.pairs = pairs
        self.options = options
        self.device = device
        seed = run.seed
        computeType = run.precision.type(on: device)
        store = ParameterStore(seed: run.seed, device: device)
        if let first {
            try first.options.validate()
            var texts = (sets + validationSets).flatMap { $0.items.flatMap(\.captions) }
            texts += pairs.flatMap { [$0.first, $0.second] } + (imagery?.texts.flatMap { $0 } ?? []) + first.classNames
            towers = try DualEncoderTowers(
                first, sets: self.sets, texts: texts + [""], imageSize: options.imageSize,
                computeType: computeType, store: store, continuing: folder, report: report)
            let path = store.root / "classes"
            classes =
                first.options.classWeight > 0 && !first.classNames.isEmpty
                ? ClassLessons(first.classNames, weight: first.options.classWeight, at: path) : nil
        } else {
            let configuration = options.configuration(vocabularySize: vocabulary.count)
            try checkSize(parameterCount: configuration.parameterCount, device: device)
            towers = try ChineseCLIPTowers(
                configuration, options: options, vocabulary: vocabulary, computeType: computeType, store: store)
            classes = nil
            if let folder {
                var known = try folder.configuration(as: ChineseCLIPConfiguration.self)
                known.imageSize = configuration.imageSize
                guard known == configuration else {
                    throw TrainingError.data(path: folder.url.path, reason: "its sizes are not those of the options")
                }
                try ChineseCLIP.load(folder.checkpoint(), into: store, resizingPositions: true)
            }
        }
        let hasTeacher = options.teacherWeight > 0 && sets.contains { $0.teacher != nil }
        classifier =
            hasTeacher
            ? Linear(towers.width, SoftLabels.classCount, at: store.root / "classifier") : nil
        let wordPath = store.root / "words"
        if options.batchWords > 0, options.wordWeight > 0, let imagery {
            let towers = towers
            let sure = sets.indices.map { towers.sureClasses(of: sets[$0], place: $0) ?? sets[$0].sureClasses() }
            words = WordLessons(imagery, sets: sets, sure: sure, at: wordPath)
        } else {
            words = nil
        }
        var training: [Place] = []
        var validation: [Place] = []
        for (index, set) in sets.enumerated() {
            for (item, picture) in set.items.enumerated() {
                if picture.isHeldOut(oneIn: set.holdOut ?? options.holdOut) {
                    if !picture.captions.isEmpty { validation.append(Place(set: index, item: item)) }
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
        let side = min(options.imageSize, options.decodedSize)
        if let set = (sets + validationSets).first(where: { $0.side < side }) {
            throw TrainingError.option(
                "imageSize", "\(options.imageSize)", "at most \(set.side), the side of the decoded pictures")
        }
        self.training = training
        self.validation = validation
        batches = EpochBatches(
            shuffling: training.count, size: options.batchPictures, seed: run.seed, stream: 0xC11F)
        var data = stableHash((vocabulary + (first?.classNames ?? [])).joined(separator: "\n"))
        for place in training {
            let item = sets[place.set].items[place.item]
            data = stableHash(item.key + item.captions.joined(separator: " "), from: data)
        }
        for pair in pairs { data = stableHash(pair.first + " " + pair.second, from: data) }
        if let words { data = stableHash(words.description, from: data) }
        let dual = first.map { " " + describe($0.options) } ?? ""
        identity = "clip \(describe(options))\(dual) data \(String(data, radix: 16))"
    }

    /// A second model over the parameters and the data of another task.
    private init(sharing original: ClipTask) {
        store = ParameterStore(sharing: original.store)
        computeType = original.computeType
        towers = original.towers.sharing(store)
        let (classifierPath, wordPath, classPath) = (
            store.root / "classifier", store.root / "words", store.root / "classes"
        )
        classifier = original.classifier.map { _ in
            Linear(original.towers.width, SoftLabels.classCount, at: classifierPath)
        }
        words = original.words.map { WordLessons(sharing: $0, at: wordPath) }
        classes = original.classes.map { ClassLessons($0.names, weight: $0.weight, at: classPath) }
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
        let images = towers.images(places.map(row), using: &random)  // [B, E]
        let captions = places.map { drawnCaptions(of: $0, using: &random) }
        let groups = places.map { item($0).group }
        // Pictures of which nothing is said have no part in the contrast.
        let said = captions.indices.filter { !captions[$0].isEmpty }
        let spoken = captions.flatMap { $0 }
        let chosen = chosenPairs(places, captions.map(\.first), using: &random)
        let asked = words?.chosen(places, count: options.batchWords, using: &random) ?? []
        let names = classes?.names ?? []

        let unitImages = images.normalized()
        let (unique, rows) = deduplicated(
            spoken + chosen.map(\.first) + chosen.map(\.second) + asked.map(\.text) + names)
        let embedded = towers.texts(unique, using: random).normalized()
        let texts = embedded.gatheringSlices(0, at: rows)  // [C + 2 P + W + 1000, E], C pictures with captions
        var start = 0
        func next(_ count: Int) -> Tensor {
            defer { start += count }
            return texts.narrowed(0, start..<start + count)
        }
        let scale = towers.logitScale.exp()
        let described = next(spoken.count)
        let shown =
            said.count == places.count
            ? unitImages
            : unitImages.gatheringSlices(0, at: Tensor.ids(said.map(Int32.init), [said.count]).to(nil, device))
        let owners = captions.indices.flatMap { index in captions[index].map { _ in index } }
        let right = positives(
            said.map { (groups[$0], captions[$0]) }, owners.indices.map { (groups[owners[$0]], spoken[$0]) })
        var loss = contrast(shown, described, scale, right)
        if !chosen.isEmpty {
            let (firsts, seconds) = (next(chosen.count), next(chosen.count))
            loss =
                loss + contrast(firsts, seconds, scale, positives(chosen.map(\.second), chosen.map(\.first)))
                * options.pairWeight
        }
        if let words, !asked.isEmpty {
            let cosines = unitImages.matmul(next(asked.count).transposed(0, 1))  // [B, W]
            loss = loss + words.loss(cosines, places, asked.map(\.word)) * options.wordWeight
        }
        if let classes, let wanted = towers.classes(places.map(row)) {
            let cosines = unitImages.matmul(next(names.count).transposed(0, 1))  // [B, 1000]
            loss = loss + classes.loss(cosines, wanted)
        }
        if let distance = towers.distance(embedded, of: unique) { loss = loss + distance }
        if let classifier, let soft = softLabels(places) {
            let scores = classifier(images).logSoftmax(-1)  // [B, 1001]
            loss = loss - (soft * scores).sum() * (options.teacherWeight / Double(places.count))
        }
        // A backward pass is two forward passes.
        return BatchLoss(
            loss: loss, units: places.count,
            operations: 3 * 2 * towers.multiplications(pictures: places.count, texts: unique))
    }

    /// Pairs of texts, and as many paraphrases: two captions of the same picture.
    private func chosenPairs(_ places: [Place], _ captions: [String?], using random: inout SplitMix64) -> [TextPair] {
        guard options.batchPairs > 0 else { return [] }
        let drawn =
            pairs.isEmpty ? [] : (0..<options.batchPairs).compactMap { _ in pairs.randomElement(using: &random) }
        let described = places.indices.filter { index in
            let item = item(places[index])
            return item.group == item.key && item.captions.count > 1
        }
        let paraphrases = described.prefix(options.batchPairs).compactMap { index -> TextPair? in
            let item = item(places[index])
            guard let other = item.captions.randomElement(using: &random) else { return nil }
            return captions[index].map { TextPair($0, other) }
        }
        return drawn + paraphrases
    }

    /// Keeps the scale of the cosines within 1 to 100, as CLIP does.
    public func didStep() {
        withoutGradients { towers.logitScale.clamp_(0...4.6052) }
    }

    /// `loss` of held-out pictures against their captions in batches. With validation sets also recall at 10 of half
    /// of their pictures among all captions and pictures, and first `missed_at_10`, one less the mean of both
    /// directions.
    public func validate() throws -> [(name: String, value: Double)] {
        var sum = 0.0
        var batches = 0
        var random = SplitMix64(11)
        let shuffled = validation.indices.shuffled(using: &random).map { validation[$0] }
        for range in ranges(of: shuffled.count, size: 128) where range.count > 1 {
            let places = Array(shuffled[range])
            let captions = places.map { item($0).captions.randomElement(using: &random) ?? "" }
            let images = embed(places)
            let texts = towers.texts(captions, using: nil).normalized()
            let groups = places.map { item($0).group }
            sum += contrast(images, texts, towers.logitScale.exp(), positives(groups, captions)).item
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

    /// Whether the towers keep a parameter as it is.
    public func isFrozen(_ name: String) -> Bool { towers.isFrozen(name) }

    /// Writes the vocabulary, `config.json`, `preprocessor_config.json` and the weights in bfloat16, without what the
    /// losses alone need.
    ///
    /// - Throws: `FileError`.
    public func save(to folder: URL, tensor: @escaping (String) -> Tensor?) throws {
        try towers.save(to: folder, store, tensor: tensor)
    }

    // MARK: - Batches

    private func item(_ place: Place) -> CaptionedPictures.Item { sets[place.set].items[place.item] }

    func row(_ place: Place) -> PictureRow {
        PictureRow(place: place.set, set: sets[place.set], row: sets[place.set].rows[place.item])
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

    /// Captions of a picture, at most `captionsPerPicture` different ones.
    private func drawnCaptions(of place: Place, using random: inout SplitMix64) -> [String] {
        let captions = item(place).captions
        guard options.captionsPerPicture > 1 else {
            return captions.randomElement(using: &random).map { [$0] } ?? []
        }
        var drawn: [String] = []
        for caption in captions.shuffled(using: &random) where drawn.count < options.captionsPerPicture {
            if !drawn.contains(caption) { drawn.append(caption) }
        }
        return drawn
    }

    /// Which columns are right for each row, 1 or 0, `[B, B]`: those of its group or with its text.
    func positives(_ groups: [String], _ texts: [String]) -> Tensor {
        positives(zip(groups, texts.map { [$0] }).map { $0 }, zip(groups, texts).map { $0 })
    }

    /// The same for rows with several texts, `[rows, columns]`.
    private func positives(
        _ rows: [(group: String, texts: [String])], _ columns: [(group: String, text: String)]
    ) -> Tensor {
        // Numbers are compared faster than strings.
        var numbers: [String: Int] = [:]
        func number(_ text: String) -> Int {
            if let known = numbers[text] { return known }
            numbers[text] = numbers.count
            return numbers.count - 1
        }
        let others = columns.map { (group: number($0.group), text: number($0.text)) }
        var right = [Float](repeating: 0, count: rows.count * columns.count)
        for (index, row) in rows.enumerated() {
            let (group, texts) = (number(row.group), row.texts.map(number))
            for (column, other) in others.enumerated() where group == other.group || texts.contains(other.text) {
                right[index * columns.count + column] = 1
            }
        }
        return Tensor(right, [rows.count, columns.count]).to(nil, device)
    }

    /// The symmetric cross entropy of cosines against what is right, every right answer of a row or column with the
    /// same share (Khosla et al. 2020 for several right answers; CLIP for one). a [R, E], b [C, E]
    func contrast(_ a: Tensor, _ b: Tensor, _ scale: Tensor, _ right: Tensor) -> Tensor {
        let logits = a.matmul(b.transposed(0, 1)) * scale  // [R, C]
        let rows = (right / right.sum(1, keep: true) * logits.logSoftmax(1)).sum(1).mean()
        let columns = (right / right.sum(0, keep: true) * logits.logSoftmax(0)).sum(0).mean()
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
    private func embed(_ places: [Place]) -> Tensor { towers.images(whole: places.map(row)).normalized() }

    /// Recall at 10 of half of the validation sets' pictures among all captions, and of their captions among all
    /// pictures.
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
            ranges(of: texts.count, size: 256).map { towers.texts(Array(texts[$0]), using: nil).normalized() }, 0)
        let scores = images.matmul(encoded.transposed(0, 1)).floats  // [N, M]
        // Half of the pictures ask, so that what is chosen by them can be reported on the others.
        let asking = places.map { isHeldOut(item($0).key, oneIn: 2) }
        guard asking.contains(true) else { return nil }
        let found = Retrieval(scores: scores, owners: owners, pictureCount: places.count, asks: { asking[$0] })
        return [
            ("image_to_text_r10", found.pictureToCaption.recallAt10),
            ("text_to_image_r10", found.captionToPicture.recallAt10),
        ]
    }
}
