public import Foundation
import TihuaGeneration
import TihuaModels
import TihuaNN
import TihuaPictures
import TihuaProsody
import TihuaTorch
import TihuaVerse

/// A whole pack with small random weights, written to a folder that goes away with it.
public final class TinyPack: Sendable {
    /// The architecture of the poet.
    public enum Poet: String, Sendable, CaseIterable {
        case gpt2
        case t5
    }

    /// The pack's folder.
    public let folder: URL
    /// The folder of the two towers.
    public var clip: URL { folder.appending(path: "clip") }
    /// The folder of the poet.
    public var poet: URL { folder.appending(path: "poet") }
    /// The folder of the mapping network, where there is one.
    public var prefix: URL { folder.appending(path: "prefix") }
    /// The bank of eight words.
    public var bank: URL { folder.appending(path: "imagery.tsv") }
    /// `pack.json`.
    public var manifest: URL { folder.appending(path: "pack.json") }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// Writes the pack; equal seeds give equal weights.
    public init(poet kind: Poet = .gpt2, seed: UInt64 = 3) throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "tihua-pack-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let characters = Self.characters
        try Self.writeClip(characters, seed: seed, to: clip)
        let tokens = PoetVocabulary(characters: characters).tokens
        switch kind {
        case .gpt2: try Self.writeGPT2(tokens, seed: seed, to: poet)
        case .t5: try Self.writeT5(tokens, seed: seed, to: poet)
        }
        try Self.write(tokens, to: poet)
        try Self.bankText.write(to: bank, atomically: true, encoding: .utf8)
        try #"{"name": "tiny", "clip": "clip", "poet": "poet", "bank": "imagery.tsv"}"#
            .write(to: manifest, atomically: true, encoding: .utf8)
    }

    /// Puts a mapping network before the poet into the pack.
    ///
    /// - Parameters:
    ///   - hiddenSize: the width of the poet that it is for; this pack's is 16
    ///   - poetModel: the fingerprint of that poet
    public func addPrefix(hiddenSize: Int = 16, poetModel: String? = nil, seed: UInt64 = 5) throws {
        var configuration = PrefixMapperConfiguration(embeddingSize: 16, prefixLength: 3, hiddenSize: hiddenSize)
        configuration.poetModel = poetModel
        let store = ParameterStore(seed: seed)
        _ = PrefixMapper(configuration, at: store.root)
        try ModelFolder.save(configuration: configuration, store: store, to: prefix)
        try #"{"name": "tiny", "clip": "clip", "poet": "poet", "bank": "imagery.tsv", "prefix": "prefix"}"#
            .write(to: manifest, atomically: true, encoding: .utf8)
    }

    /// Puts a captioner with random weights into the pack, whose vocabulary is a few words and the full stop.
    ///
    /// - Parameters:
    ///   - width: of the embeddings that it takes; this pack's is 16
    ///   - grid: the cells of the grids that it takes and their width; nil for embeddings alone
    @discardableResult
    public func addCaptioner(width: Int = 16, t5: Bool = false, grid: (cells: Int, width: Int)? = nil) throws -> URL {
        let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + "一只狗在草地上奔跑两个孩子海边玩耍。".map(String.init)
        let language: any LanguageModelConfiguration =
            t5
            ? T5Configuration(
                vocabularySize: tokens.count, hiddenSize: 8, layerCount: 1, headCount: 2, headSize: 4, innerSize: 16)
            : GPT2Configuration(
                vocabularySize: tokens.count, hiddenSize: 8, layerCount: 1, headCount: 2, positionCount: 48)
        var shape = ClipCapConfiguration(
            mapper: grid == nil ? .mlp : .grid, embeddingSize: width, prefixLength: 2, constantLength: 3,
            grid: grid ?? (0, 0), languageModel: language)
        (shape.layerCount, shape.headCount) = (1, 2)
        shape.normalizesEmbedding = true
        let store = ParameterStore(seed: 8)
        _ = ClipCap(shape, at: store.root)
        // Large enough that pictures differ in what is said of them.
        for entry in store.entries where entry.name.hasSuffix("weight") { entry.tensor.multiply_(6) }
        let captioner = folder.appending(path: "captioner-\(width)-\(t5)-\(grid?.cells ?? 0)")
        try ModelFolder.save(configuration: shape, store: store, to: captioner)
        try Self.write(tokens, to: captioner)
        var manifest = try JSONSerialization.jsonObject(with: Data(contentsOf: self.manifest)) as? [String: String]
        manifest?["captioner"] = captioner.lastPathComponent
        try JSONSerialization.data(withJSONObject: manifest ?? [:]).write(to: self.manifest)
        return captioner
    }

    /// Puts towers into the pack whose picture tower tells what is where: four cells of 80 numbers. They have no
    /// vocabulary.
    public func addTowersWithPlaces(seed: UInt64 = 6) throws {
        var vision = EfficientNetConfiguration()
        (vision.widthCoefficient, vision.imageSize) = (0.25, 64)
        var text = UniversalSentenceEncoderConfiguration()
        (text.vocabularySize, text.embeddingSize, text.branchSize, text.hiddenSize) = (51, 16, 8, 12)
        var configuration = VisionTextDualEncoderConfiguration(vision: vision, text: text)
        (configuration.visionHeadSize, configuration.textHeadSize) = (16, 20)
        let store = ParameterStore(seed: seed)
        _ = VisionTextDualEncoder(configuration, at: store.root)
        try FileManager.default.removeItem(at: clip)
        try ModelFolder.save(configuration: configuration, store: store, to: clip)
    }

    /// A picture of two colours.
    @discardableResult
    public func picture(_ name: String = "picture.png", red: UInt8 = 200) throws -> URL {
        let url = folder.appending(path: name)
        let bytes = (0..<48 * 40).flatMap { (index: Int) -> [UInt8] in [index < 960 ? red : 20, UInt8(index % 251), 90]
        }
        try Picture(width: 48, height: 40, bytes: bytes).write(to: url.path)
        return url
    }

    /// Some characters of every rhyme group of both books that forms use.
    private static let characters: [Character] = {
        var known: Set<Character> = []
        return [RhymeBook.pingshui, .cilin].flatMap(\.groups).flatMap { $0.members.prefix(40) }
            .filter { known.insert($0).inserted }
    }()

    private static let bankText = """
        word\tcategory\tdescriptions
        明月\t天象\t夜空中挂着一轮圆月 | 明亮的月亮照着大地
        夕阳\t天象\t傍晚的太阳
        远山\t山水\t远处有山
        江水\t山水\t江面很宽
        孤舟\t器物\t江上有一条小船
        垂柳\t草木\t岸边的柳树
        红花\t草木\t红色的花
        飞鸟\t鸟兽\t一只鸟在飞

        """

    private static func write(_ tokens: [String], to folder: URL) throws {
        try (tokens.joined(separator: "\n") + "\n")
            .write(to: folder.appending(path: "vocab.txt"), atomically: true, encoding: .utf8)
    }

    private static func writeClip(_ characters: [Character], seed: UInt64, to folder: URL) throws {
        let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "，", "。"] + characters.map(String.init)
        var text = BERTConfiguration()
        text.vocabularySize = tokens.count
        text.hiddenSize = 16
        text.layerCount = 1
        text.headCount = 2
        text.intermediateSize = 32
        text.positionCount = 64
        var vision = VisionTransformerConfiguration()
        vision.hiddenSize = 16
        vision.layerCount = 1
        vision.headCount = 2
        vision.intermediateSize = 32
        vision.imageSize = 32
        vision.patchSize = 16
        let configuration = ChineseCLIPConfiguration(text: text, vision: .transformer(vision), projectionSize: 16)
        let store = ParameterStore(seed: seed)
        _ = ChineseCLIP(configuration, at: store.root)
        try ModelFolder.save(configuration: configuration, store: store, to: folder)
        try write(tokens, to: folder)
        try #"{"size": {"height": 32, "width": 32}, "do_center_crop": false}"#
            .write(to: folder.appending(path: "preprocessor_config.json"), atomically: true, encoding: .utf8)
    }

    private static func writeGPT2(_ tokens: [String], seed: UInt64, to folder: URL) throws {
        let configuration = GPT2Configuration(
            vocabularySize: tokens.count, hiddenSize: 16, layerCount: 1, headCount: 2, positionCount: 192)
        let store = ParameterStore(seed: seed)
        _ = GPT2(configuration, at: store.root)
        try ModelFolder.save(configuration: configuration, store: store, to: folder)
    }

    private static func writeT5(_ tokens: [String], seed: UInt64, to folder: URL) throws {
        let configuration = T5Configuration(
            vocabularySize: tokens.count, hiddenSize: 16, layerCount: 1, headCount: 2, headSize: 8, innerSize: 32)
        let store = ParameterStore(seed: seed)
        _ = T5(configuration, at: store.root)
        try ModelFolder.save(configuration: configuration, store: store, to: folder)
    }
}
