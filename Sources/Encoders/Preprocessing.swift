public import Foundation
import TihuaFiles
public import TihuaModels
public import TihuaPictures

/// How a picture becomes the numbers that an image tower takes; `preprocessor_config.json`, read and written.
public struct Preprocessing: Equatable, Sendable {
    /// The side of the square that the tower takes, in pixels.
    public let size: Int
    /// How a picture that is no square becomes one.
    public var fit = PictureFit.squash
    /// The filter that it is resized with.
    public var filter = PictureFilter.bicubic
    /// What is subtracted from each colour, of values from 0 to 1.
    public var mean = Picture.clipMean
    /// What each colour is then divided by.
    public var deviation = Picture.clipDeviation

    private static let fileName = "preprocessor_config.json"

    /// Chinese-CLIP's own: squashed, with CLIP's mean and deviation.
    public init(size: Int, filter: PictureFilter = .bicubic) {
        self.size = size
        self.filter = filter
    }

    /// Reads the file of a folder; without one, Chinese-CLIP's own preprocessing.
    ///
    /// - Parameter size: of the model's pictures, which the file must agree with
    /// - Throws: `ModelError.configuration`.
    public init(folder: URL, size: Int) throws(ModelError) {
        self.init(size: size)
        let file = folder.appending(path: Self.fileName)
        guard FileManager.default.fileExists(atPath: file.path) else { return }
        func wrong(_ reason: String) -> ModelError { .configuration(path: file.path, reason: reason) }
        let data: Data
        do {
            data = Data(try UserFile.bytes(of: file, limit: 1 << 20))
        } catch {
            throw wrong(error.reason)
        }
        guard let values = try? JSONSerialization.jsonObject(with: withoutPythonNumbers(data)) as? [String: Any] else {
            throw wrong("not a JSON object; get the file again")
        }
        func numbers(_ key: String, _ standard: [Float]) throws(ModelError) -> [Float] {
            guard let value = values[key] else { return standard }
            let numbers = (value as? [NSNumber])?.map(\.floatValue) ?? []
            guard numbers.count == 3, numbers.allSatisfy(\.isFinite), key == "image_mean" || !numbers.contains(0) else {
                throw wrong("\(key) must be three numbers, one for each colour")
            }
            return numbers
        }
        mean = try numbers("image_mean", mean)
        deviation = try numbers("image_std", deviation)
        if let resample = values["resample"] {
            guard let number = resample as? Int, let known = PictureFilter(rawValue: number) else {
                throw wrong("resample is \(resample); known are 2 (bilinear) and 3 (bicubic)")
            }
            filter = known
        }
        if (values["do_center_crop"] as? Bool) == true { fit = .centreCrop }
        // An int, {"height", "width"} or {"shortest_edge"}, by the version of transformers that wrote the file.
        let stated = values[fit == .centreCrop && values["crop_size"] != nil ? "crop_size" : "size"]
        let side = (stated as? Int) ?? (stated as? [String: Int])?.values.max()
        if let side, side != size {
            throw wrong("prepares pictures of \(side) pixels, but the model takes \(size); correct it")
        }
    }

    /// Writes the file into a folder, as transformers reads it.
    ///
    /// - Throws: `FileError`.
    public func write(to folder: URL) throws {
        let text = """
            {
              "do_resize": true,
              "do_center_crop": \(fit == .centreCrop),
              "do_normalize": true,
              "size": {"height": \(size), "width": \(size)},
              "resample": \(filter.rawValue),
              "image_mean": \(mean),
              "image_std": \(deviation),
              "image_processor_type": "ChineseCLIPImageProcessor"
            }

            """
        try AtomicFile.write(text.utf8, to: folder.appending(path: Self.fileName))
    }

    /// The numbers of a picture, `[3, size, size]`.
    public func pixels(_ picture: Picture) -> [Float] {
        picture.pixels(size: size, fit: fit, filter: filter, mean: mean, deviation: deviation)
    }
}
