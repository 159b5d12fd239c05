public import Foundation
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

// How the two towers are trained: pictures against captions with a contrastive loss in which everything that is said of the
// same thing counts as right (a label stands many times in a batch), a teacher's soft labels through a classifier that is thrown
// away afterwards, pairs of texts that mean the same, and the words of an imagery bank, each shown or not by itself.

/// The size of a new two-tower model and how its batches are drawn. Read from the same JSON file as `TrainingOptions`.
public struct ClipOptions: RecipeOptions, Codable, Sendable, Equatable {
    /// Pixels of one side.
    public var imageSize = 96
    /// `resnet` or `vit`.
    public var tower = Tower.resnet
    /// Residual network: blocks of its four stages, 1 to 256 each.
    public var stages = [2, 2, 2, 2]
    /// Residual network: channels of the first stage, even.
    public var width = 24
    /// Vision transformer: its width, a multiple of 64 (the width of a head) or less than 64.
    public var hiddenSize = 256
    /// Vision transformer: layers, 1 to 256.
    public var layerCount = 6
    /// Vision transformer: pixels of one side of a patch, a divisor of `imageSize`.
    public var patchSize = 12
    /// Text tower: its width, a multiple of 64 (the width of a head) or less than 64.
    public var textHiddenSize = 192
    /// Text tower: layers, 1 to 256.
    public var textLayerCount = 3
    /// The width of the embeddings that both towers end in.
    public var projectionSize = 256
    /// Pictures of one batch.
    public var batchPictures = 192
    /// Pairs of texts of one batch, 0 for none.
    public var batchPairs = 64
    /// The weight of the teacher's soft labels in the loss, at least 0; the pictures with captions weigh 1.
    public var teacherWeight = 1.0
    /// The weight of the pairs of texts in the loss, at least 0.
    public var pairWeight = 0.5
    /// Words of the imagery bank that a batch is compared with, 0 for none.
    public var batchWords = 0
    /// The weight of those words in the loss, at least 0.
    public var wordWeight = 0.5
    /// Ids of a text, the rest is cut off.
    public var textLength = 32
    /// One picture in so many of a labelled set is held out.
    public var holdOut = 20

    /// What sees the pictures: CLIP's residual network, or a vision transformer.
    public enum Tower: String, Codable, Sendable, CaseIterable {
        case resnet, vit
    }

    /// The default options.
    public init() {}

    /// Keys that are missing keep the defaults.
    ///
    /// - Throws: `DecodingError` for an unknown key or a value of another type.
    public init(from decoder: any Decoder) throws {
        self.init()
        let values = try OptionReader(decoder, keyedBy: CodingKeys.self)
        try values.read(.imageSize, &imageSize)
        try values.read(.tower, &tower)
        try values.read(.stages, &stages)
        try values.read(.width, &width)
        try values.read(.hiddenSize, &hiddenSize)
        try values.read(.layerCount, &layerCount)
        try values.read(.patchSize, &patchSize)
        try values.read(.textHiddenSize, &textHiddenSize)
        try values.read(.textLayerCount, &textLayerCount)
        try values.read(.projectionSize, &projectionSize)
        try values.read(.batchPictures, &batchPictures)
        try values.read(.batchPairs, &batchPairs)
        try values.read(.teacherWeight, &teacherWeight)
        try values.read(.pairWeight, &pairWeight)
        try values.read(.batchWords, &batchWords)
        try values.read(.wordWeight, &wordWeight)
        try values.read(.textLength, &textLength)
        try values.read(.holdOut, &holdOut)
    }

    /// Checks the ranges.
    ///
    /// - Throws: `TrainingError.option` naming the first value that makes no sense.
    public func validate() throws(TrainingError) {
        try OptionRange.check(ranges)
        guard textHiddenSize < 64 || textHiddenSize % 64 == 0 else {
            throw .option("textHiddenSize", "\(textHiddenSize)", "a multiple of 64, the width of a head")
        }
        switch tower {
        case .resnet:
            guard stages.count == 4, stages.allSatisfy((1...256).contains) else {
                throw .option("stages", "\(stages)", "four numbers of 1 to 256")
            }
            guard width % 2 == 0 else { throw .option("width", "\(width)", "even") }
            guard imageSize % 32 == 0 else { throw .option("imageSize", "\(imageSize)", "a multiple of 32") }
        case .vit:
            guard imageSize % patchSize == 0 else {
                throw .option("patchSize", "\(patchSize)", "a divisor of imageSize, \(imageSize)")
            }
            guard hiddenSize < 64 || hiddenSize % 64 == 0 else {
                throw .option("hiddenSize", "\(hiddenSize)", "a multiple of 64, the width of a head")
            }
        }
    }

    var ranges: [OptionRange] {
        // Losses compare all of a batch with all of it.
        [
            .init("imageSize", imageSize, 32...1024), .init("width", width, 2...1024),
            .init("hiddenSize", hiddenSize, 1...1 << 14), .init("layerCount", layerCount, 1...256),
            .init("patchSize", patchSize, 1...1024), .init("textHiddenSize", textHiddenSize, 1...1 << 14),
            .init("textLayerCount", textLayerCount, 1...256), .init("projectionSize", projectionSize, 1...1 << 14),
            .init("batchPictures", batchPictures, 2...1 << 14), .init("batchPairs", batchPairs, 0...1 << 13),
            .weight("teacherWeight", teacherWeight), .weight("pairWeight", pairWeight),
            .init("batchWords", batchWords, 0...1 << 13), .weight("wordWeight", wordWeight),
            .init("textLength", textLength, 3...Self.textPositions),
            .init("holdOut", holdOut, 0...OptionRange.countLimit),
        ]
    }

    /// Positions of a new text tower.
    private static let textPositions = 64

    /// The configuration of a new model.
    func configuration(vocabularySize: Int) -> ChineseCLIPConfiguration {
        var text = BERTConfiguration()
        text.vocabularySize = vocabularySize
        text.hiddenSize = textHiddenSize
        text.layerCount = textLayerCount
        text.headCount = max(1, textHiddenSize / 64)
        text.intermediateSize = 4 * textHiddenSize
        text.positionCount = Self.textPositions
        let vision: ChineseCLIPConfiguration.Vision
        switch tower {
        case .resnet:
            var resNet = CLIPResNetConfiguration()
            resNet.layers = stages
            resNet.width = width
            resNet.imageSize = imageSize
            vision = .resNet(resNet)
        case .vit:
            var transformer = VisionTransformerConfiguration()
            transformer.hiddenSize = hiddenSize
            transformer.intermediateSize = 4 * hiddenSize
            transformer.layerCount = layerCount
            transformer.headCount = max(1, hiddenSize / 64)
            transformer.imageSize = imageSize
            transformer.patchSize = patchSize
            vision = .transformer(transformer)
        }
        return ChineseCLIPConfiguration(text: text, vision: vision, projectionSize: projectionSize)
    }
}

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

/// The task of training a two-tower model.
public final class ClipTask: TrainingTask {
    /// The parameters of the model, and of the classifier where there is a teacher.
    public let store: ParameterStore
    /// Pictures; pairs of texts do not count.
    public let unit = "pictures"
    /// None: dropout is not used, and what else is drawn depends on seed, epoch and batch alone.
    public let generators: [(name: String, generator: Generator)] = []
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
    private var order: (epoch: Int, places: [Place])?

    struct Place: Hashable {
        let set: Int
        let item: Int
    }

    /// Classes that the teacher knows, the background among them.
    private static let teacherClasses = 1001

    /// - Parameters:
    ///   - sets: what is trained on, less what is held out of labelled sets
    ///   - validationSets: what is only measured on
    ///   - vocabulary: the lines of `vocab.txt`
    ///   - imagery: by which pictures the words of a bank are learned; nil learns none
    ///   - folder: a model of this recipe to go on from, whose pictures may be of another size; nil starts a new one
    /// - Throws: `TrainingError` for options or pictures that cannot be trained on, `TokenizerError` if the vocabulary lacks a
    ///   special token; `ModelError`, `WeightFileError` for the folder, and `TrainingError` where its sizes are not the options'.
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
            ? Linear(options.projectionSize, Self.teacherClasses, at: store.root / "classifier") : nil
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
        var data = stableHash(vocabulary.joined(separator: "\n"))
        for place in training {
            let item = self.sets[place.set].items[place.item]
            data = stableHash(item.key + item.captions.joined(separator: " "), from: data)
        }
        for pair in pairs { data = stableHash(pair.first + " " + pair.second, from: data) }
        if let words { data = stableHash(words.description, from: data) }
        identity = "clip \(describe(options)) data \(String(data, radix: 16))"
    }

    /// A second model over the parameters of another task, for its data.
    private init(sharing original: ClipTask) {
        store = ParameterStore(sharing: original.store)
        model = ChineseCLIP(original.configuration, computeType: original.model.computeType, at: store.root)
        let (classifierPath, wordPath) = (store.root / "classifier", store.root / "words")
        classifier = original.classifier.map { _ in
            Linear(original.options.projectionSize, Self.teacherClasses, at: classifierPath)
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
        identity = original.identity
    }

    /// A second model with the same parameters. Each normalises by its own batch; the running statistics are those of the first
    /// model's batches, as with PyTorch's DistributedDataParallel.
    public func replica() -> ClipTask? { ClipTask(sharing: self) }

    /// Pictures that are trained on and held out.
    public var counts: (training: Int, validation: Int) { (training.count, validation.count) }

    /// Whole batches of the training pictures, at least 1; the rest of an epoch is left out.
    public func batchCount(epoch: Int) -> Int { max(1, training.count / options.batchPictures) }

    /// The contrastive loss of pictures and captions, with that of pairs and the teacher's where there are any, each in nats
    /// per picture or pair and with its weight.
    public func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let places = Array(places(of: epoch).dropFirst(batch * options.batchPictures).prefix(options.batchPictures))
        var random = SplitMix64(seed, UInt64(epoch), UInt64(batch))
        let pixels = pixels(places, augmenting: &random)
        let captions = places.map { sets[$0.set].items[$0.item].captions.randomElement(using: &random) ?? "" }
        let chosen = chosenPairs(places, captions, using: &random)
        let asked = words?.chosen(places, count: options.batchWords, using: &random) ?? []

        let images = model.encodeImages(pixels, train: true)  // [B, E]
        let unitImages = images.normalized()
        let (unique, rows) = deduplicated(
            captions + chosen.map(\.first) + chosen.map(\.second) + asked.map(\.text))
        let texts = model.encodeTexts(ids(unique)).gatheringSlices(0, at: rows)  // [B + 2 P + W, E]
        let scale = model.logitScale.exp()
        let groups = places.map { sets[$0.set].items[$0.item].group }
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

    /// Pairs of texts, and as many paraphrases: what is said of a picture, and what else is said of the same picture.
    private func chosenPairs(_ places: [Place], _ captions: [String], using random: inout SplitMix64) -> [TextPair] {
        guard options.batchPairs > 0 else { return [] }
        let drawn =
            pairs.isEmpty ? [] : (0..<options.batchPairs).compactMap { _ in pairs.randomElement(using: &random) }
        let described = places.indices.filter { index in
            let item = sets[places[index].set].items[places[index].item]
            return item.group == item.key && item.captions.count > 1
        }
        let paraphrases = described.prefix(options.batchPairs).compactMap { index -> TextPair? in
            let item = sets[places[index].set].items[places[index].item]
            return item.captions.randomElement(using: &random).map { TextPair(captions[index], $0) }
        }
        return drawn + paraphrases
    }

    /// Keeps the scale of the cosines within 1 to 100.
    public func didStep() {
        // The cosines are scaled by at most 100, as in CLIP.
        withoutGradients { model.logitScale.clamp_(0...4.6052) }
    }

    /// `loss` of held-out pictures against their captions in batches. With validation sets also recall at 10 among all their
    /// captions and pictures, and first `missed_at_10`, one less the mean of both directions.
    public func validate() throws -> [(name: String, value: Double)] {
        var sum = 0.0
        var batches = 0
        var random = SplitMix64(11)
        let shuffled = validation.indices.shuffled(using: &random).map { validation[$0] }
        for start in stride(from: 0, to: shuffled.count - 1, by: 128) {
            let places = Array(shuffled[start..<min(start + 128, shuffled.count)])
            let captions = places.map { sets[$0.set].items[$0.item].captions.randomElement(using: &random) ?? "" }
            let images = embed(places)
            let texts = model.encodeTexts(ids(captions)).normalized()
            let groups = places.map { sets[$0.set].items[$0.item].group }
            sum += contrast(images, texts, model.logitScale.exp(), positives: positives(groups, captions)).item
            batches += 1
        }
        guard batches > 0 else { return [] }
        let loss = ("loss", sum / Double(batches))
        guard let recall = recall() else { return [(name: loss.0, value: loss.1)] }
        // The scale of the cosines goes on growing while the order still improves, so the order decides what is best.
        let missed = ("missed_at_10", 1 - recall.reduce(0) { $0 + $1.1 } / Double(recall.count))
        return ([missed, loss] + recall).map { (name: $0.0, value: $0.1) }
    }

    /// Writes `vocab.txt`, `config.json`, `preprocessor_config.json` and the weights in bfloat16, without the classifier.
    ///
    /// - Throws: `WeightFileError`.
    public func save(to folder: URL, tensor: (String) -> Tensor?) throws {
        try writeVocabulary(vocabulary, to: folder)
        // Bilinear, since training resizes its cuts so; what is used otherwise than it was learned loses a point of recall.
        try Preprocessing(size: options.imageSize, filter: .bilinear).write(to: folder)
        // The classifier belongs to the training, not to the model.
        let kept = ParameterStore(seed: 0, device: device)
        _ = ChineseCLIP(configuration, at: kept.root)
        try withoutActuallyEscaping(tensor) { tensor in
            try ModelFolder.save(configuration: configuration, store: kept, dtype: .bfloat16, to: folder) { entry in
                tensor(entry.name) ?? self.store[entry.name] ?? entry.tensor
            }
        }
    }

    // MARK: - Batches

    func places(of epoch: Int) -> [Place] {
        if let order, order.epoch == epoch { return order.places }
        var random = SplitMix64(seed, UInt64(epoch), 0xC11F)
        let places = training.shuffled(using: &random)
        order = (epoch, places)
        return places
    }

    /// float32 `[B, 3, S, S]`: a random cut of 0.65 to 1 of each side, half of them mirrored, one in ten grey, with a little
    /// change of light and colour.
    func pixels(_ places: [Place], augmenting random: inout SplitMix64) -> Tensor {
        let size = options.imageSize
        var values = [Float](repeating: 0, count: places.count * 3 * size * size)
        for (index, place) in places.enumerated() {
            let side = Float(sets[place.set].side)
            let extent = side * Float.random(in: 0.65...1, using: &random)
            let gain = Float.random(in: 0.75...1.25, using: &random)
            let cut = Cut(
                x: Float.random(in: 0...(side - extent), using: &random),
                y: Float.random(in: 0...(side - extent), using: &random), extent: extent,
                isMirrored: Bool.random(using: &random), isGrey: Int.random(in: 0..<10, using: &random) == 0,
                gains: (0..<3).map { _ in gain * Float.random(in: 0.92...1.08, using: &random) },
                lift: Float.random(in: -0.1...0.1, using: &random))
            copy(place, cut, to: &values, at: index * 3 * size * size)
        }
        return Tensor(values, [places.count, 3, size, size]).to(nil, device).channelsLast()
    }

    /// float32 `[B, 3, S, S]`: the whole of each picture, as it is seen in use.
    private func pixels(_ places: [Place]) -> Tensor {
        let size = options.imageSize
        var values = [Float](repeating: 0, count: places.count * 3 * size * size)
        for (index, place) in places.enumerated() {
            let whole = Cut(
                x: 0, y: 0, extent: Float(sets[place.set].side), isMirrored: false, isGrey: false, gains: [1, 1, 1],
                lift: 0)
            copy(place, whole, to: &values, at: index * 3 * size * size)
        }
        return Tensor(values, [places.count, 3, size, size]).to(nil, device).channelsLast()
    }

    /// A square of a picture, in its pixels, and what is done to its light.
    private struct Cut {
        let x: Float
        let y: Float
        let extent: Float
        let isMirrored: Bool
        let isGrey: Bool
        let gains: [Float]
        let lift: Float
    }

    /// Writes the cut, resized bilinearly to `imageSize`, as three planes of normalised values from `start` on.
    private func copy(_ place: Place, _ cut: Cut, to values: inout [Float], at start: Int) {
        let set = sets[place.set]
        let (side, size) = (set.side, options.imageSize)
        let columns = (0..<size).map { Tap(cut.isMirrored ? size - 1 - $0 : $0, of: size, in: cut.x, cut.extent, side) }
        let rows = (0..<size).map { Tap($0, of: size, in: cut.y, cut.extent, side) }
        values.withUnsafeMutableBufferPointer { values in
            set.pixels.withUnsafeBytes { bytes in
                let picture = set.rows[place.item] * 3 * side * side
                for channel in 0..<3 {
                    let gain = cut.gains[channel] / 255
                    for (y, row) in rows.enumerated() {
                        let above = picture + (channel * side + row.first) * side
                        let below = picture + (channel * side + row.second) * side
                        let to = start + (channel * size + y) * size
                        for (x, column) in columns.enumerated() {
                            let top =
                                Float(bytes[above + column.first]) * (1 - column.share)
                                + Float(bytes[above + column.second]) * column.share
                            let bottom =
                                Float(bytes[below + column.first]) * (1 - column.share)
                                + Float(bytes[below + column.second]) * column.share
                            let value = top + (bottom - top) * row.share
                            values[to + x] = min(1, max(0, value * gain + cut.lift))
                        }
                    }
                }
            }
            let plane = size * size
            for place in start..<start + plane {
                var colour = (values[place], values[place + plane], values[place + 2 * plane])
                if cut.isGrey {
                    let grey = 0.299 * colour.0 + 0.587 * colour.1 + 0.114 * colour.2
                    colour = (grey, grey, grey)
                }
                values[place] = (colour.0 - Picture.clipMean[0]) / Picture.clipDeviation[0]
                values[place + plane] = (colour.1 - Picture.clipMean[1]) / Picture.clipDeviation[1]
                values[place + 2 * plane] = (colour.2 - Picture.clipMean[2]) / Picture.clipDeviation[2]
            }
        }
    }

    /// The two pixels of a row or column that a resized pixel lies between, and the share of the second.
    private struct Tap {
        let first: Int
        let second: Int
        let share: Float

        init(_ index: Int, of size: Int, in origin: Float, _ extent: Float, _ side: Int) {
            let place = min(Float(side - 1), max(0, origin + (Float(index) + 0.5) * extent / Float(size) - 0.5))
            first = Int(place)
            second = min(side - 1, first + 1)
            share = place - Float(first)
        }
    }

    /// The distinct texts, and for each text the row (int64) of its copy.
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

    /// The share of each column in each row's answer, `[B, B]`: every row with the same group or the same text.
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

    /// The symmetric cross entropy of cosines against shares (Khosla et al. 2020 for several right answers; CLIP for one).
    func contrast(_ a: Tensor, _ b: Tensor, _ scale: Tensor, positives: Tensor) -> Tensor {
        let logits = a.matmul(b.transposed(0, 1)) * scale  // [B, B]
        let rows = (positives * logits.logSoftmax(1)).sum(1).mean()
        // Each column's own shares: the relation is symmetric, but not each answer of a row has as many answers itself.
        let columns = (positives.transposed(0, 1) * logits.logSoftmax(0)).sum(0).mean()
        return -(rows + columns) * 0.5
    }

    /// The words that a batch is asked for, and which of its pictures show them.
    private final class WordLessons: CustomStringConvertible {
        private let texts: [[String]]
        /// The words of each picture, by set and item.
        private let shown: [[[Int]]]
        /// The logarithm of the factor of the cosines, and what is added to them: a word is shown by few pictures.
        private let scale: Tensor
        private let bias: Tensor

        init(_ lessons: ImageryLessons, sets: [PictureSet], at path: ParameterPath) {
            texts = lessons.texts
            shown = sets.map { set in
                let sure = set.sureClasses()
                return set.items.indices.map { index in
                    let item = set.items[index]
                    return lessons.rules.words(label: item.label, captions: item.captions, teacherClass: sure[index])
                }
            }
            scale = path.parameter("scale", [], .constant(3))
            bias = path.parameter("bias", [], .constant(-10))
        }

        init(sharing original: WordLessons, at path: ParameterPath) {
            texts = original.texts
            shown = original.shown
            scale = path.parameter("scale", [], .constant(0))
            bias = path.parameter("bias", [], .constant(0))
        }

        var description: String {
            texts.flatMap { $0 }.joined(separator: "|") + shown.map { "\($0)" }.joined(separator: "|")
        }

        /// Words for a batch, each with one of its texts: three quarters of them such as a picture of the batch shows, as far as
        /// there are so many.
        func chosen(
            _ places: [Place], count: Int, using random: inout SplitMix64
        ) -> [(word: Int, text: String)] {
            let present = Set(places.flatMap { shown[$0.set][$0.item] }).sorted().shuffled(using: &random)
            let drawn = present.prefix(max(1, 3 * count / 4))
            let others = texts.indices.shuffled(using: &random).filter { !drawn.contains($0) }
            return (drawn + others.prefix(count - drawn.count)).map { word in
                (word, texts[word].randomElement(using: &random) ?? "")
            }
        }

        /// The sigmoid loss (Zhai et al. 2023, SigLIP) for several right answers: each word is shown or not, whatever else is.
        /// In nats per picture.
        ///
        /// - Parameter cosines: `[B, W]`
        func loss(_ cosines: Tensor, _ places: [Place], _ words: [Int]) -> Tensor {
            var signs = [Float](repeating: -1, count: places.count * words.count)
            for (row, place) in places.enumerated() {
                let shown = Set(shown[place.set][place.item])
                for (column, word) in words.enumerated() where shown.contains(word) {
                    signs[row * words.count + column] = 1
                }
            }
            let signed =
                (cosines * scale.exp() + bias) * Tensor(signs, [places.count, words.count]).to(nil, cosines.device)
            // log σ(x) = log softmax of x against 0, which does not overflow.
            let logs = Tensor.stacked([signed, signed * 0], 2).logSoftmax(2)  // [B, W, 2]
            return -logs.narrowed(2, 0..<1).sum() * (1 / Double(places.count))
        }
    }

    /// The teacher's probabilities `[B, 1001]`, rows without a teacher all zero; nil if no row has one.
    func softLabels(_ places: [Place]) -> Tensor? {
        var values = [Float](repeating: 0, count: places.count * Self.teacherClasses)
        var any = false
        for (index, place) in places.enumerated() {
            let set = sets[place.set]
            guard let teacher = set.teacher else { continue }
            any = true
            let width = teacher.classes.shape[1]
            let row = set.rows[place.item]
            teacher.classes.withUnsafeBytes { classes in
                teacher.probabilities.withUnsafeBytes { probabilities in
                    var total: Float = 0
                    for rank in 0..<width { total += Float(probabilities[row * width + rank]) }
                    for rank in 0..<width where total > 0 {
                        let label = Int(classes.loadUnaligned(fromByteOffset: 2 * (row * width + rank), as: Int16.self))
                        guard (0..<Self.teacherClasses).contains(label) else { continue }
                        values[index * Self.teacherClasses + label] = Float(probabilities[row * width + rank]) / total
                    }
                }
            }
        }
        return any ? Tensor(values, [places.count, Self.teacherClasses]).to(nil, device) : nil
    }

    // MARK: - Measuring

    /// Normalised embeddings `[B, E]`.
    private func embed(_ places: [Place]) -> Tensor { model.encodeImages(pixels(places)).normalized() }

    /// Recall at 10 of the validation sets' pictures among all their captions, and of the captions among the pictures.
    private func recall() -> [(String, Double)]? {
        let places = validation.filter { $0.set >= sets.count - validationSets.count }
        guard places.count > 10 else { return nil }
        let images = Tensor.concatenated(
            stride(from: 0, to: places.count, by: 128).map { embed(Array(places[$0..<min($0 + 128, places.count)])) }, 0
        )
        var texts: [String] = []
        var owners: [Int] = []
        for (index, place) in places.enumerated() {
            // The written captions: the first five of each picture.
            for caption in sets[place.set].items[place.item].captions.prefix(5) {
                texts.append(caption)
                owners.append(index)
            }
        }
        let encoded = Tensor.concatenated(
            stride(from: 0, to: texts.count, by: 256).map {
                model.encodeTexts(ids(Array(texts[$0..<min($0 + 256, texts.count)]))).normalized()
            }, 0)
        let scores = images.matmul(encoded.transposed(0, 1)).floats  // [N, M]
        let found = Retrieval(scores: scores, owners: owners, pictureCount: places.count)
        return [
            ("image_to_text_r10", found.pictureToCaption.recallAt10),
            ("text_to_image_r10", found.captionToPicture.recallAt10),
        ]
    }
}

/// The vocabulary of a new text tower: BERT's special tokens, then characters.
public enum ClipVocabulary {
    /// The lines of `vocab.txt`: characters that stand at least twice in `captions`, and every one of `always`, most frequent
    /// first. Lower case, as the tokenizer reads.
    public static func tokens(captions: [String], always: [String]) -> [String] {
        var counts: [Character: Int] = [:]
        for text in captions { for character in text.lowercased() { counts[character, default: 0] += 1 } }
        for text in always { for character in text.lowercased() { counts[character, default: 0] += 2 } }
        let characters = counts.filter { $0.value >= 2 && !$0.key.isWhitespace && $0.key.unicodeScalars.count == 1 }
            .sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + characters.map { String($0.key) }
    }
}
