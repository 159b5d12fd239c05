import Foundation
import TihuaEncoders
import TihuaModels
import TihuaNN
import TihuaPictures
import TihuaTokenizers
import TihuaTorch
import TihuaVerse

/// A new Chinese-CLIP, both towers of which are trained.
final class ChineseCLIPTowers: TrainedTowers {
    private let model: ChineseCLIP
    private let configuration: ChineseCLIPConfiguration
    private let options: ClipOptions
    private let vocabulary: [String]
    private let tokenizer: BertTokenizer
    private let device: Device

    /// - Throws: `TokenizerError` if the vocabulary lacks a special token.
    init(
        _ configuration: ChineseCLIPConfiguration, options: ClipOptions, vocabulary: [String], computeType: DType,
        store: ParameterStore
    ) throws {
        model = ChineseCLIP(configuration, computeType: computeType, at: store.root)
        (self.configuration, self.options, self.vocabulary) = (configuration, options, vocabulary)
        tokenizer = try BertTokenizer(tokens: vocabulary)
        device = store.device
    }

    private init(_ original: ChineseCLIPTowers, _ store: ParameterStore) {
        configuration = original.configuration
        model = ChineseCLIP(configuration, computeType: original.model.computeType, at: store.root)
        (options, vocabulary, tokenizer) = (original.options, original.vocabulary, original.tokenizer)
        device = store.device
    }

    func sharing(_ store: ParameterStore) -> ChineseCLIPTowers { ChineseCLIPTowers(self, store) }

    var logitScale: Tensor { model.logitScale }
    var width: Int { configuration.projectionSize }

    func images(_ pictures: [PictureRow], using random: inout SplitMix64) -> Tensor {
        let cuts = pictures.map { PictureCut(of: $0.set.side, using: &random) }
        return model.encodeImages(pixels(pictures, cuts), train: true)
    }

    func images(whole pictures: [PictureRow]) -> Tensor {
        model.encodeImages(pixels(pictures, pictures.map { PictureCut(wholeOf: $0.set.side) }))
    }

    private func pixels(_ pictures: [PictureRow], _ cuts: [PictureCut]) -> Tensor {
        TihuaTraining.pixels(
            pictures, cuts, size: options.imageSize, mean: Picture.clipMean, deviation: Picture.clipDeviation,
            device: device)
    }

    func texts(_ texts: [String], using random: SplitMix64?) -> Tensor {
        model.encodeTexts(
            texts.map { tokenizer.encode($0, maximumLength: options.textLength, addingSpecialTokens: true) })
    }

    func classes(_ pictures: [PictureRow]) -> Tensor? { nil }

    func distance(_ unit: Tensor, of texts: [String]) -> Tensor? { nil }

    func multiplications(pictures: Int, texts: [String]) -> Double {
        let length = min(texts.map(\.count).max() ?? 0, options.textLength - 2)
        return configuration.multiplicationsPerPicture * Double(pictures)
            + configuration.multiplications(perTextOf: length) * Double(texts.count)
    }

    func isFrozen(_ name: String) -> Bool { false }

    func save(to folder: URL, _ store: ParameterStore, tensor: @escaping (String) -> Tensor?) throws {
        // What the losses need beside the model is not kept.
        let kept = ParameterStore(seed: 0, device: device)
        _ = ChineseCLIP(configuration, at: kept.root)
        try saveModel(configuration, kept, tokens: vocabulary, to: folder) { tensor($0) ?? store[$0] }
        // Bilinear, since training resizes its cuts so; what is used otherwise than it was learned loses a point of
        // recall.
        try Preprocessing(size: options.imageSize, filter: .bilinear).write(to: folder)
    }
}
