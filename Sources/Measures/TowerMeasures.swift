public import Foundation
public import TihuaCorpora
import TihuaEncoders
public import TihuaEvaluation
import TihuaFiles
import TihuaPictures
public import TihuaTorch

/// Half of the pictures of a validation set, by a hash of their keys: what is chosen on one is reported on the other.
public enum RetrievalHalf: String, Sendable, CaseIterable {
    /// The half that training chooses its best model by.
    case chosen
    /// The other.
    case reported

    func contains(_ key: String) -> Bool { isHeldOut(key, oneIn: 2) == (self == .chosen) }
}

/// CCPM by likeness: the share of items whose right line was the nearest.
public struct LikenessReport: Encodable, Equatable, Sendable {
    /// How many items there are.
    public let items: Int
    /// The share, 0...1.
    public let accuracy: Double
}

/// Measures of a two-tower model on shards of pictures.
///
/// Not `Sendable`: it lives on the thread that made it.
public struct TowerMeasures {
    private let encoder: PictureTextEncoder
    private let progress: (String?) -> Void
    private let note: (String) -> Void

    /// Loads a model.
    ///
    /// - Parameters:
    ///   - progress: is told in words what is done now, and nil where something else may be shown
    ///   - note: is told what a person should know of the pictures
    /// - Throws: `ModelError`, `WeightFileError`, `TokenizerError`.
    public init(
        folder: URL, device: Device, progress: @escaping (String?) -> Void = { _ in },
        note: @escaping (String) -> Void = { _ in }
    ) throws {
        encoder = try PictureTextEncoder(folder: folder, device: device)
        (self.progress, self.note) = (progress, note)
    }

    /// How well the pictures of a shard and their captions find each other.
    ///
    /// - Parameters:
    ///   - limit: the first so many pictures; nil takes all
    ///   - half: the pictures that ask, and whose captions do; all answer
    /// - Throws: `EvaluationError.unmeasurable` if no picture has captions of its own or none can be read,
    ///   `ModelError.notFinite`, `DataFileError`.
    public func retrieval(
        _ shard: CaptionedPictures, limit: Int? = nil, half: RetrievalHalf? = nil
    ) throws -> Retrieval {
        let captioned = shard.items.indices.filter { shard.items[$0].label == nil }
        guard !captioned.isEmpty else {
            throw EvaluationError.unmeasurable(
                name: shard.name, reason: "its pictures have labels, and none has a caption of its own")
        }
        let (indices, pictures) = try embed(shard, Array(captioned.prefix(limit ?? captioned.count)))
        var (captions, owners): ([String], [Int]) = ([], [])
        for (picture, index) in indices.enumerated() {
            captions += shard.items[index].captions
            owners += shard.items[index].captions.map { _ in picture }
        }
        // Equal texts are embedded once.
        let unique = Set(captions).sorted()
        let rows = Dictionary(uniqueKeysWithValues: zip(unique, try encoder.encode(unique)))
        let asking = indices.map { half?.contains(shard.items[$0].key) ?? true }
        guard asking.contains(true) else {
            throw EvaluationError.unmeasurable(name: shard.name, reason: "none of its pictures is in that half")
        }
        return Retrieval(
            scores: Self.products(pictures, captions.compactMap { rows[$0] }), owners: owners,
            pictureCount: indices.count, asks: { asking[$0] })
    }

    /// How well the captions of labels classify the pictures of a shard: a class is the mean of the embeddings of all
    /// captions of its label, at unit length.
    ///
    /// - Parameter heldOut: only the one picture in so many that training leaves out; 1 takes all
    /// - Throws: as `retrieval`; `EvaluationError.unmeasurable` for fewer than two labels too.
    public func classification(_ shard: CaptionedPictures, heldOut: Int = 1) throws -> Classification {
        var captions: [String: [String]] = [:]
        for item in shard.items { if let label = item.label { captions[label] = item.captions } }
        let labels = captions.keys.sorted()
        guard labels.count >= 2 else {
            throw EvaluationError.unmeasurable(
                name: shard.name,
                reason: "\(labels.count) labels with captions, at least 2 are needed; add labels=FILE")
        }
        let held = shard.items.indices.filter { shard.items[$0].isHeldOut(oneIn: heldOut) }
        guard !held.isEmpty else {
            throw EvaluationError.unmeasurable(
                name: shard.name, reason: "no picture is held out where one in \(heldOut) is; give a smaller number")
        }
        let (indices, pictures) = try embed(shard, held)
        let classes = try encoder.encode(ensembles: labels.map { captions[$0] ?? [] })
        let places = Dictionary(uniqueKeysWithValues: zip(labels, labels.indices))
        return Classification(
            scores: Self.products(pictures, classes),
            truths: indices.compactMap { shard.items[$0].label.flatMap { places[$0] } }, labels: labels)
    }

    /// How often the classical line whose embedding is the nearest to a modern sentence's is the one that says the
    /// same.
    ///
    /// - Parameter file: what errors call the items
    /// - Throws: `EvaluationError.unmeasurable` without items, `ModelError.notFinite`, `TokenizerError`.
    public func matching(_ items: [MatchingItem], of file: String) throws -> LikenessReport {
        guard !items.isEmpty else {
            throw EvaluationError.unmeasurable(name: file, reason: "it holds no sentence")
        }
        progress("\(items.count) sentences …")
        defer { progress(nil) }
        let texts = Set(items.flatMap { [$0.translation] + $0.choices }).sorted()
        let rows = Dictionary(uniqueKeysWithValues: zip(texts, try encoder.encode(sentences: texts)))
        let right = items.count { item in
            guard let sentence = rows[item.translation] else { return false }
            let scores = item.choices.map { choice in
                zip(sentence, rows[choice] ?? []).reduce(Float(0)) { $0 + $1.0 * $1.1 }
            }
            return scores.indices.max { scores[$0] < scores[$1] } == item.answer
        }
        return LikenessReport(items: items.count, accuracy: Double(right) / Double(items.count))
    }

    /// Embeds the pictures of a shard that can be read; `note` is told of the others.
    ///
    /// - Parameter indices: places in `shard.items`
    /// - Returns: the places of the pictures that could be read, and their embeddings of unit length
    private func embed(_ shard: CaptionedPictures, _ indices: [Int]) throws -> (indices: [Int], embeddings: [[Float]]) {
        var (good, bad): ([Int], [String]) = ([], [])
        var embeddings: [[Float]] = []
        defer { progress(nil) }
        for start in stride(from: 0, to: indices.count, by: PictureTextEncoder.batch) {
            progress("\(shard.name)  \(start)/\(indices.count) …")
            var pictures: [Picture] = []
            for index in indices[start..<min(start + PictureTextEncoder.batch, indices.count)] {
                do {
                    let bytes = Array(try shard.bytes(at: index))
                    pictures.append(try Picture(encoded: bytes, name: shard.items[index].key))
                    good.append(index)
                } catch is PictureError {
                    bad.append(shard.items[index].key)
                }
            }
            embeddings += try encoder.encode(pictures)
        }
        progress(nil)
        guard !good.isEmpty else {
            throw EvaluationError.unmeasurable(
                name: shard.name, reason: "none of its \(indices.count) pictures can be read")
        }
        if !bad.isEmpty {
            note("\(bad.count) pictures of \(shard.name) cannot be read: \(bad.prefix(5).joined(separator: ", "))")
        }
        return (good, embeddings)
    }

    /// The product of every row with every column, `[rows, columns]`; cosines where all have length 1.
    private static func products(_ rows: [[Float]], _ columns: [[Float]]) -> [Float] {
        func tensor(_ vectors: [[Float]]) -> Tensor {
            Tensor(vectors.flatMap { $0 }, [vectors.count, vectors.first?.count ?? 0])
        }
        return withoutGradients { tensor(rows).matmul(tensor(columns).transposed(0, 1)).floats }
    }
}
