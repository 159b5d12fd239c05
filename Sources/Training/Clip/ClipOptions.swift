import TihuaModels

/// The size of a two-tower model and how its batches are drawn. The part `clip` of a `RecipeFile`.
public struct ClipOptions: RecipeOptions, Codable, Sendable, Equatable {
    /// Pixels of one side of a picture.
    public var imageSize = 96
    /// Pixels of one side of the decoded pictures that cuts are taken of; 0 is an eighth more than `imageSize`. Less
    /// saves room where the pictures are small; cuts are then enlarged.
    public var pictureSize = 0
    /// The kind of the picture tower: `resnet` or `vit`.
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
    /// Captions of each picture in a batch, as far as it has so many.
    public var captionsPerPicture = 1
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
    /// Ids of a text; longer texts are cut.
    public var textLength = 32
    /// One picture in this many of a labelled set is held out; 0 holds out none.
    public var holdOut = 20

    /// The kind of a picture tower: CLIP's residual network, or a vision transformer.
    public enum Tower: String, Codable, Sendable, CaseIterable {
        case resnet, vit
    }

    /// The default options.
    public init() {}

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

    /// Pixels of one side of the decoded pictures.
    public var decodedSize: Int { pictureSize > 0 ? pictureSize : imageSize + imageSize / 8 }

    var ranges: [OptionRange] {
        // A loss compares each element of a batch with every other, so that memory grows with the square of its size.
        [
            .init("imageSize", imageSize, 32...1024), .init("pictureSize", pictureSize, 0...2048),
            .init("width", width, 2...1024),
            .init("hiddenSize", hiddenSize, 1...1 << 14), .init("layerCount", layerCount, 1...256),
            .init("patchSize", patchSize, 1...1024), .init("textHiddenSize", textHiddenSize, 1...1 << 14),
            .init("textLayerCount", textLayerCount, 1...256), .init("projectionSize", projectionSize, 1...1 << 14),
            .init("batchPictures", batchPictures, 2...1 << 14), .init("captionsPerPicture", captionsPerPicture, 1...64),
            .init("batchPairs", batchPairs, 0...1 << 13),
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
