public import Foundation
import TihuaEncoders
import TihuaFiles
import TihuaModels
import TihuaNN
import TihuaTokenizers
import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

// B pictures, S pixels of one side, F features of a picture, E width of the embeddings, N texts.

/// How a `VisionTextDualEncoder` is trained, whose sizes the first weights and `ClipOptions.imageSize` say: the part
/// `dual` of a `RecipeFile`.
public struct DualEncoderOptions: RecipeOptions, Codable, Sendable, Equatable {
    /// The inner width of the head of the picture tower.
    public var visionHeadSize = 1024
    /// The inner width of the head of the text tower.
    public var textHeadSize = 1024
    /// The share of a picture's features that is dropped in training.
    public var featureDropout = 0.2
    /// The share of the inner numbers of both heads that is dropped in training.
    public var headDropout = 0.3
    /// Where the picture tower is frozen: cuts of each picture whose features are computed once, the first of them the
    /// whole picture.
    public var views = 4
    /// The last so many blocks of the picture tower are trained, with what comes after them; 0 trains the heads alone.
    public var tunedBlocks = 0
    /// The weight in the loss of what the first picture tower takes a picture for, against the names of the classes.
    public var classWeight = 0.5
    /// The weight in the loss of the squared distance of a text's embedding from the sentence encoder's vector.
    public var identityWeight = 0.5

    /// The default options.
    public init() {}

    /// Checks the ranges.
    ///
    /// - Throws: `TrainingError.option` naming the first value that makes no sense.
    public func validate() throws(TrainingError) { try OptionRange.check(ranges) }

    var ranges: [OptionRange] {
        [
            .init("visionHeadSize", visionHeadSize, 1...1 << 14), .init("textHeadSize", textHeadSize, 1...1 << 14),
            .share("featureDropout", featureDropout), .share("headDropout", headDropout),
            .init("views", views, 1...64), .init("tunedBlocks", tunedBlocks, 0...256),
            .weight("classWeight", classWeight), .weight("identityWeight", identityWeight),
        ]
    }
}

/// The first weights of a `VisionTextDualEncoder`.
public struct FirstWeights: Sendable {
    /// A published EfficientNet-Lite, with its classes.
    public var vision: URL
    /// A universal sentence encoder with its vocabulary.
    public var text: URL
    /// Where features and vectors of what is frozen are kept.
    public var cache: URL
    /// The names of the picture tower's classes, in their order; empty learns nothing of them.
    public var classNames: [String] = []
    /// How they are joined.
    public var options = DualEncoderOptions()

    /// Weights of both towers.
    public init(vision: URL, text: URL, cache: URL) { (self.vision, self.text, self.cache) = (vision, text, cache) }
}

/// Two towers that others have taught, joined by heads. The sentence encoder keeps its weights, so that each text goes
/// through it once; the picture tower keeps them too, or all but its last blocks.
final class DualEncoderTowers: TrainedTowers {
    private let model: VisionTextDualEncoder
    private let configuration: VisionTextDualEncoderConfiguration
    private let options: DualEncoderOptions
    private let tokenizerFile: URL
    private let features: FrozenFeatures
    private let sentences: FrozenSentences
    private let device: Device

    /// - Parameters:
    ///   - texts: all that will be asked for
    ///   - folder: a model to go on from; nil takes the first weights
    /// - Throws: `ModelError`, `WeightFileError`, `TokenizerError`, `TrainingError`.
    init(
        _ first: FirstWeights, sets: [PictureSet], texts: [String], imageSize: Int, computeType: DType,
        store: ParameterStore, continuing folder: ModelFolder?, report: (String) -> Void
    ) throws {
        device = store.device
        options = first.options
        // The first weights stay as they are: they are the teacher of classes too.
        let pictures = try EfficientNet.open(first.vision, computeType: computeType, device: device)
        guard pictures.model.configuration.classCount == 1000 else {
            throw TrainingError.data(
                path: first.vision.path,
                reason: "tells \(pictures.model.configuration.classCount) classes, not the 1,000 of ImageNet")
        }
        let text = try UniversalSentenceEncoder.open(first.text, device: device)
        var vision = pictures.model.configuration
        vision.imageSize = imageSize
        var configuration = VisionTextDualEncoderConfiguration(vision: vision, text: text.model.configuration)
        (configuration.visionHeadSize, configuration.textHeadSize) = (options.visionHeadSize, options.textHeadSize)
        self.configuration = configuration
        model = VisionTextDualEncoder(configuration, computeType: computeType, at: store.root)
        if let folder {
            guard try folder.configuration(as: VisionTextDualEncoderConfiguration.self) == configuration else {
                throw TrainingError.data(
                    path: folder.url.path, reason: "its sizes are not those of the options and the first weights")
            }
            try VisionTextDualEncoder.load(folder.checkpoint(), into: store, as: configuration)
        } else {
            withoutGradients {
                for (prefix, source) in [
                    (VisionTextDualEncoder.visionName, pictures.store), (VisionTextDualEncoder.textName, text.store),
                ] {
                    let values = Dictionary(uniqueKeysWithValues: source.entries.map { ("\(prefix).\($0.name)", $0) })
                    for entry in store.entries {
                        if let value = values[entry.name] { entry.tensor.copy_(value.tensor) }
                    }
                }
            }
        }
        pictures.model.fold()
        features = try FrozenFeatures(
            pictures.model, weights: first.vision, sets: sets, size: imageSize,
            views: options.tunedBlocks > 0 ? 1 : options.views, cache: first.cache, device: device, report: report)
        let home = ModelFolder.home(of: first.text)
        tokenizerFile = home.appending(path: UniversalSentenceTokenizer.fileName)
        let tokenizer = try UniversalSentenceTokenizer(modelAt: tokenizerFile)
        sentences = try FrozenSentences(
            text.model, tokenizer, folder: first.text, texts: texts, cache: first.cache, device: device, report: report)
        if options.tunedBlocks > 0 { model.vision.fold(blocks: frozenBlocks) }
        pictures.notes.forEach(report)
    }

    private init(_ original: DualEncoderTowers, _ store: ParameterStore) {
        (configuration, options) = (original.configuration, original.options)
        model = VisionTextDualEncoder(configuration, computeType: original.model.computeType, at: store.root)
        (features, sentences, tokenizerFile) = (original.features, original.sentences, original.tokenizerFile)
        device = store.device
        if options.tunedBlocks > 0 { model.vision.fold(blocks: frozenBlocks) }
    }

    func sharing(_ store: ParameterStore) -> DualEncoderTowers { DualEncoderTowers(self, store) }

    var logitScale: Tensor { model.logitScale }
    var width: Int { configuration.projectionSize }

    /// Blocks of the picture tower that keep their weights.
    private var frozenBlocks: Int { max(0, model.vision.blockCount - options.tunedBlocks) }

    func isFrozen(_ name: String) -> Bool {
        let (vision, text) = ("\(VisionTextDualEncoder.visionName).", "\(VisionTextDualEncoder.textName).")
        if name.hasPrefix(text) { return true }
        guard name.hasPrefix(vision) else { return false }
        return options.tunedBlocks == 0
            || EfficientNet.isBefore(block: frozenBlocks, String(name.dropFirst(vision.count)))
    }

    func images(_ pictures: [PictureRow], using random: inout SplitMix64) -> Tensor {
        let generator = Generator(seed: random.next(), device: device)
        func embed(_ features: Tensor) -> Tensor {
            model.embed(
                features: features, featureDropout: Dropout(options.featureDropout, generator: generator),
                dropout: Dropout(options.headDropout, generator: generator))
        }
        guard options.tunedBlocks > 0 else {
            let views = pictures.map { Int.random(in: 0..<features.viewCount(of: $0.place), using: &random) }
            return embed(features.rows(pictures, views: views))
        }
        let cuts = pictures.map { PictureCut(of: $0.set.side, using: &random) }
        return embed(model.vision.features(pixels(pictures, cuts)))
    }

    func images(whole pictures: [PictureRow]) -> Tensor {
        guard options.tunedBlocks > 0 else {
            return model.embed(features: features.rows(pictures, views: pictures.map { _ in 0 }))
        }
        return model.encodeImages(pixels(pictures, pictures.map { PictureCut(wholeOf: $0.set.side) }))
    }

    private func pixels(_ pictures: [PictureRow], _ cuts: [PictureCut]) -> Tensor {
        FrozenFeatures.pixels(pictures, cuts, size: configuration.imageSize, device: device)
    }

    func texts(_ texts: [String], using random: SplitMix64?) -> Tensor {
        let vectors = sentences.rows(texts)
        guard var random else { return model.embed(sentences: vectors) }
        let generator = Generator(seed: random.next(), device: device)
        return model.embed(sentences: vectors, dropout: Dropout(options.headDropout, generator: generator))
    }

    func classes(_ pictures: [PictureRow]) -> Tensor? { features.classes(pictures) }

    /// Mean squared distance of embedded texts from the sentence encoder's vectors, both at unit length; `[]`
    func distance(_ unit: Tensor, of texts: [String]) -> Tensor? {
        guard options.identityWeight > 0 else { return nil }
        return (unit - sentences.rows(texts)).square().sum(1).mean() * options.identityWeight
    }

    func multiplications(pictures: Int, texts: [String]) -> Double {
        let (f, e) = (Double(EfficientNetConfiguration.featureCount), Double(configuration.projectionSize))
        let (v, t) = (Double(options.visionHeadSize), Double(options.textHeadSize))
        let heads = Double(pictures) * v * (f + e) + Double(texts.count) * 2 * t * e
        return heads + (options.tunedBlocks > 0 ? Double(pictures) * configuration.vision.multiplications : 0)
    }

    func save(to folder: URL, _ store: ParameterStore, tensor: @escaping (String) -> Tensor?) throws {
        let kept = ParameterStore(seed: 0, device: device)
        _ = VisionTextDualEncoder(configuration, at: kept.root)
        try saveModel(configuration, kept, copying: [tokenizerFile], to: folder) { tensor($0) ?? store[$0] }
        try FrozenFeatures.preprocessing(size: configuration.imageSize).write(to: folder)
    }
}
