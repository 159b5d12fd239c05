public import Foundation
import TihuaFiles
import TihuaModels
public import TihuaPictures
import TihuaTokenizers
public import TihuaTorch
import TihuaWeightFiles

/// Embeds pictures and texts in one space: Chinese-CLIP with the preprocessing that its folder states.
///
/// Not `Sendable`: it lives on the thread, or in the actor, that made it. E is the width of the space.
public final class PictureTextEncoder {
    /// E, the width of the space.
    public let width: Int
    /// The factor of the cosines that the model was trained with.
    let scale: Float
    private let model: ChineseCLIP
    private let tokenizer: BertTokenizer
    let preprocessing: Preprocessing
    private let device: Device
    private let folder: URL

    /// Pictures or texts that go through a tower together.
    static let batch = 32

    /// Loads a Hugging Face folder.
    ///
    /// - Throws: `ModelError`, `WeightFileError`, `TokenizerError`, `PipelineError.preprocessing`.
    public init(folder: URL, device: Device) throws {
        model = try ChineseCLIP.open(folder, device: device).model
        tokenizer = try BertTokenizer(folder: folder)
        let rows = model.configuration.text.vocabularySize
        guard tokenizer.vocabularySize <= rows else {
            throw ModelError.vocabulary(folder: folder.path, tokens: tokenizer.vocabularySize, rows: rows)
        }
        preprocessing = try Preprocessing(folder: folder, size: model.configuration.imageSize)
        width = model.configuration.projectionSize
        scale = Float(Foundation.exp(model.logitScale.item))
        self.device = device
        self.folder = folder
    }

    /// Embeddings of unit length, E numbers each.
    public func encode(_ pictures: [Picture]) -> [[Float]] {
        batches(pictures) { self.encodeImages($0.flatMap(self.preprocessing.pixels), count: $0.count) }
    }

    /// Embeddings of pictures that `preprocessing` has made ready, E numbers each.
    ///
    /// - Parameter isNormalized: of unit length; if not, as the model gives them
    func encode(prepared: [[Float]], isNormalized: Bool) -> [[Float]] {
        batches(prepared, isNormalized: isNormalized) { self.encodeImages($0.flatMap { $0 }, count: $0.count) }
    }

    private func encodeImages(_ pixels: [Float], count: Int) -> Tensor {
        let size = preprocessing.size
        return model.encodeImages(Tensor(pixels, [count, 3, size, size]).to(.float32, device))
    }

    /// Embeddings, E numbers each. Texts are cut to the length that the model was trained with.
    public func encode(_ texts: [String], isNormalized: Bool = true) -> [[Float]] {
        let limit = min(ChineseCLIP.contextLength, model.configuration.text.positionCount)
        return batches(texts, isNormalized: isNormalized) { part in
            let batch = self.tokenizer.encode(batch: part, maximumLength: limit)
            return self.model.encodeTexts(Tensor.ids(batch.ids, [batch.count, batch.length]).to(.int64, self.device))
        }
    }

    /// One embedding of unit length for each list of texts that say the same: the mean of theirs (prompt ensemble, Radford et
    /// al. 2021, section 3.1.4).
    public func encode(ensembles: [[String]]) -> [[Float]] {
        let rows = encode(ensembles.flatMap { $0 })
        var start = 0
        return ensembles.map { texts in
            defer { start += texts.count }
            return normalised(mean(Array(rows[start..<start + texts.count])))
        }
    }

    private func batches<Item>(
        _ items: [Item], isNormalized: Bool = true, _ embed: ([Item]) -> Tensor
    ) -> [[Float]] {
        withoutGradients {
            stride(from: 0, to: items.count, by: Self.batch).flatMap { start in
                let part = Array(items[start..<min(start + Self.batch, items.count)])
                let embeddings = embed(part)  // [B, E]
                let values = (isNormalized ? embeddings.normalized() : embeddings).floats
                return part.indices.map { Array(values[$0 * self.width..<($0 + 1) * self.width]) }
            }
        }
    }

    /// What names the weights, the vocabulary and the configuration of this model.
    func fingerprint(into fingerprint: inout Fingerprint) throws {
        try fingerprint.combine(model: folder)
    }
}

/// How a picture becomes the numbers that an image tower takes; `preprocessor_config.json`.
public struct Preprocessing: Equatable, Sendable {
    let size: Int
    var fit = PictureFit.squash
    var filter = PictureFilter.bicubic
    var mean = Picture.clipMean
    var deviation = Picture.clipDeviation

    /// Reads the file of a folder; without one, Chinese-CLIP's own preprocessing: squashed, with CLIP's mean and deviation.
    ///
    /// - Parameter size: of the model's pictures, which the file must agree with
    /// - Throws: `PipelineError.preprocessing`.
    public init(folder: URL, size: Int) throws(PipelineError) {
        self.size = size
        let file = folder.appending(path: "preprocessor_config.json")
        guard FileManager.default.fileExists(atPath: file.path) else { return }
        let data: Data
        do {
            data = Data(try UserFile.bytes(of: file, limit: 1 << 20))
        } catch {
            throw .preprocessing(path: file.path, reason: error.reason)
        }
        guard let values = try? JSONSerialization.jsonObject(with: withoutPythonNumbers(data)) as? [String: Any] else {
            throw .preprocessing(path: file.path, reason: "not a JSON object; get the file again")
        }
        func numbers(_ key: String, _ standard: [Float]) throws(PipelineError) -> [Float] {
            guard let value = values[key] else { return standard }
            let numbers = (value as? [NSNumber])?.map(\.floatValue) ?? []
            guard numbers.count == 3, numbers.allSatisfy(\.isFinite), key == "image_mean" || !numbers.contains(0) else {
                throw .preprocessing(path: file.path, reason: "\(key) must be three numbers, one for each colour")
            }
            return numbers
        }
        mean = try numbers("image_mean", mean)
        deviation = try numbers("image_std", deviation)
        if let resample = values["resample"] {
            guard let number = resample as? Int, let known = PictureFilter(rawValue: number) else {
                throw .preprocessing(
                    path: file.path, reason: "resample is \(resample); known are 2 (bilinear) and 3 (bicubic)")
            }
            filter = known
        }
        if (values["do_center_crop"] as? Bool) == true { fit = .centreCrop }
        // An int, {"height", "width"} or {"shortest_edge"}, by the version of transformers that wrote the file.
        let stated = values[fit == .centreCrop && values["crop_size"] != nil ? "crop_size" : "size"]
        let side = (stated as? Int) ?? (stated as? [String: Int])?.values.max()
        if let side, side != size {
            throw .preprocessing(
                path: file.path, reason: "prepares pictures of \(side) pixels, but the model takes \(size); correct it")
        }
    }

    /// `[3, size, size]`
    public func pixels(_ picture: Picture) -> [Float] {
        picture.pixels(size: size, fit: fit, filter: filter, mean: mean, deviation: deviation)
    }
}
