import Foundation
import TihuaEncoders
import TihuaFiles
import TihuaModels
import TihuaPictures
import TihuaTokenizers
import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

// B pictures, F features of a picture, V cuts of each, N texts, E width of a sentence's vector.

/// The features of cuts of pictures by a picture tower that keeps its weights, computed once and kept in files.
final class FrozenFeatures {
    private let network: EfficientNet
    /// float32 `[pictures, F]` for each set and cut.
    private let stored: [[TensorView]]
    private let device: Device
    private static let batch = 64
    private static let width = EfficientNetConfiguration.featureCount

    /// Computes what the cache lacks.
    ///
    /// - Parameters:
    ///   - views: cuts of each picture; the first is the whole picture
    ///   - files: the weights, which the files are named after
    /// - Throws: `FileError`, `WeightFileError`; `TrainingError.data` for a file that is not what its name says.
    init(
        _ network: EfficientNet, weights files: URL, sets: [PictureSet], size: Int, views: Int, cache: URL,
        device: Device, report: (String) -> Void
    ) throws {
        (self.network, self.device) = (network, device)
        let weights = try modelFingerprint(files)
        try AtomicFile.makeFolder(at: cache)
        stored = try sets.map { set in
            try (0..<min(views, set.views ?? views)).map { view in
                let file = cache.appending(path: "\(set.cacheName)-\(size)-\(view)-\(weights).features")
                let count = set.pixels.shape[0]
                if !FileManager.default.fileExists(atPath: file.path) {
                    report("features of \(count) pictures of \(set.cacheName), cut \(view + 1)")
                    try Self.write(network, set, size: size, view: view, device: device, to: file)
                }
                guard let features = try SafetensorsFile(contentsOf: file)["features"],
                    features.shape == [count, Self.width], features.elementType == .float32
                else {
                    throw TrainingError.data(
                        path: file.path, reason: "not the features of \(set.cacheName); delete it and start again")
                }
                return features
            }
        }
    }

    private static func write(
        _ network: EfficientNet, _ set: PictureSet, size: Int, view: Int, device: Device, to file: URL
    ) throws {
        let count = set.pixels.shape[0]
        let source = SafetensorsWriter.Source(name: "features", elementType: .float32, shape: [count, width]) { sink in
            for start in stride(from: 0, to: count, by: batch) {
                let pictures = (start..<min(start + batch, count)).map { PictureRow(place: 0, set: set, row: $0) }
                let cuts = pictures.map { picture in
                    var random = SplitMix64(0xFEA7, UInt64(view), UInt64(picture.row))
                    return view == 0
                        ? PictureCut(wholeOf: set.side) : PictureCut(of: set.side, using: &random)
                }
                let features = withoutGradients {
                    network.features(pixels(pictures, cuts, size: size, device: device)).to(.float32, .cpu).contiguous()
                }
                try features.withUnsafeBytes { try sink.write($0) }
            }
        }
        try SafetensorsWriter.write([source], to: file)
    }

    /// How many cuts there are of the pictures of a set.
    func viewCount(of place: Int) -> Int { stored[place].count }

    /// The features of one cut of each picture, float32 `[B, F]`.
    func rows(_ pictures: [PictureRow], views: [Int]) -> Tensor {
        let width = Self.width
        let values = [Float](unsafeUninitializedCapacity: pictures.count * width) { buffer, count in
            let target = UnsafeMutableRawBufferPointer(buffer)
            for (index, (picture, view)) in zip(pictures, views).enumerated() {
                stored[picture.place][view].withUnsafeBytes { bytes in
                    let row = bytes[4 * picture.row * width..<4 * (picture.row + 1) * width]
                    target.baseAddress?.advanced(by: 4 * index * width).copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: row).baseAddress!, byteCount: 4 * width)
                }
            }
            count = pictures.count * width
        }
        return Tensor(values, [pictures.count, width]).to(nil, device)
    }

    /// What the network takes whole pictures for: probabilities `[B, classes]`.
    func classes(_ pictures: [PictureRow]) -> Tensor {
        withoutGradients { network.logits(features: rows(pictures, views: pictures.map { _ in 0 })).softmax(-1) }
    }

    /// How pictures are made ready for the network. Bilinear, since cuts are resized so.
    static func preprocessing(size: Int) -> Preprocessing {
        var preprocessing = Preprocessing(size: size, filter: .bilinear)
        preprocessing.mean = Array(repeating: EfficientNet.pixelMean, count: 3)
        preprocessing.deviation = Array(repeating: EfficientNet.pixelDeviation, count: 3)
        return preprocessing
    }

    /// Cuts of pictures as the network takes them: float32 `[B, 3, size, size]`
    static func pixels(_ pictures: [PictureRow], _ cuts: [PictureCut], size: Int, device: Device) -> Tensor {
        let made = preprocessing(size: size)
        return TihuaTraining.pixels(
            pictures, cuts, size: size, mean: made.mean, deviation: made.deviation, device: device)
    }
}

/// The vectors of texts by a sentence encoder that keeps its weights, computed once and kept in a file.
final class FrozenSentences {
    private let indices: [String: Int32]
    /// float32 `[N, E]`
    private let vectors: Tensor
    private let device: Device

    /// Computes what the cache lacks.
    ///
    /// - Parameters:
    ///   - folder: the weights with their tokenizer, which the file is named after
    ///   - texts: all that will be asked for
    /// - Throws: `TokenizerError`, `FileError`, `WeightFileError`; `TrainingError.data` for a file that is not what its
    ///   name says.
    init(
        _ encoder: UniversalSentenceEncoder, _ tokenizer: UniversalSentenceTokenizer, folder: URL, texts: [String],
        cache: URL,
        device: Device, report: (String) -> Void
    ) throws {
        self.device = device
        let unique = Set(texts).sorted()
        indices = Dictionary(uniqueKeysWithValues: zip(unique, Int32(0)...))
        let name = String(stableHash(unique.joined(separator: "\n")), radix: 36)
        let file = cache.appending(path: "texts-\(name)-\(try modelFingerprint(folder)).vectors")
        let shape = [unique.count, encoder.configuration.embeddingSize]
        try AtomicFile.makeFolder(at: cache)
        if !FileManager.default.fileExists(atPath: file.path) {
            report("vectors of \(unique.count) texts")
            let source = SafetensorsWriter.Source(name: "vectors", elementType: .float32, shape: shape) { sink in
                for range in ranges(of: unique.count, size: 256) {
                    let ids = unique[range].map { tokenizer.encode($0, maximumLength: 128) }
                    let vectors = withoutGradients { encoder(ids).to(.float32, .cpu).contiguous() }
                    try vectors.withUnsafeBytes { try sink.write($0) }
                }
            }
            try SafetensorsWriter.write([source], to: file)
        }
        guard let stored = try SafetensorsFile(contentsOf: file)["vectors"], stored.shape == shape,
            stored.elementType == .float32
        else {
            throw TrainingError.data(path: file.path, reason: "not the vectors of the texts; delete it and start again")
        }
        vectors = try Tensor.borrowing(stored)
    }

    /// The vectors of texts that were named at the start, float32 `[N, E]` at unit length.
    func rows(_ texts: [String]) -> Tensor {
        let rows = texts.map { text in
            guard let row = indices[text] else { preconditionFailure("a text that was not named: \(text)") }
            return row
        }
        return vectors.indexed(by: Tensor.ids(rows, [rows.count])).to(nil, device)
    }
}
