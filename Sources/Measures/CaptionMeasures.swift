public import Tihua
public import TihuaDataFiles
public import TihuaEvaluation

/// Captions by picture, beside what people wrote of the same pictures.
public struct CaptionPairs: Sendable, Equatable {
    /// The pictures that have both, in the order of the captions.
    public private(set) var pictures: [String] = []
    /// The captions of each picture.
    public private(set) var captions: [[String]] = []
    /// The references of each picture.
    public private(set) var references: [[String]] = []
    /// Pictures with captions and no reference.
    public private(set) var withoutReference: [String] = []
    /// How many pictures have references and no caption.
    public let withoutCaption: Int

    /// Finds the pictures of captions among those of references.
    ///
    /// A path is taken for the last part of it where only that is known: `album/1.jpg` may be `1`.
    ///
    /// - Parameters:
    ///   - references: texts by picture
    ///   - names: what the files of captions and references are called in messages
    /// - Throws: `EvaluationError.ambiguousName` for two paths that would be one picture, `.nothingInCommon`.
    public init(
        _ captions: [CaptionFile.Caption], references: [String: [String]], names: (captions: String, references: String)
    ) throws(EvaluationError) {
        var places: [String: Int] = [:]
        // What the captions call each picture of the references.
        var paths: [String: String] = [:]
        var unknown: Set<String> = []
        for caption in captions {
            let last = caption.image.split(separator: "/").last.map(String.init) ?? caption.image
            guard let image = [caption.image, last].first(where: { references[$0] != nil }) else {
                if unknown.insert(caption.image).inserted { withoutReference.append(caption.image) }
                continue
            }
            if let first = paths.updateValue(caption.image, forKey: image), first != caption.image {
                throw .ambiguousName(file: names.captions, first: first, second: caption.image, image: image)
            }
            if let place = places[image] {
                self.captions[place].append(caption.text)
            } else {
                places[image] = pictures.count
                pictures.append(image)
                self.captions.append([caption.text])
                self.references.append(references[image] ?? [])
            }
        }
        guard !pictures.isEmpty else {
            throw .nothingInCommon(captions: names.captions, references: names.references)
        }
        withoutCaption = references.count - pictures.count
    }

    /// The pairs with the first caption of each picture alone.
    public var firstOnly: CaptionPairs {
        var pairs = self
        pairs.captions = captions.map { Array($0.prefix(1)) }
        return pairs
    }

    /// The mean CLIP score and the mean RefCLIPScore of all captions.
    ///
    /// - Parameters:
    ///   - list: the pictures, by the names that the captions have
    ///   - progress: is told how many pictures are embedded
    /// - Throws: `EvaluationError.unreadablePictures` for pictures that cannot be read or are not in the list, and as
    ///   `Engine.embeddings(of:)`.
    public func clipScores(
        by engine: Engine, of list: PictureList, progress: (Int) -> Void = { _ in }
    ) async throws -> (score: Double, referenceScore: Double) {
        let found = try await engine.embeddings(of: list, progress: progress)
        let missing = pictures.filter { found.rows[$0] == nil }
        if let first = missing.first {
            throw EvaluationError.unreadablePictures(
                count: missing.count, first: first, reason: found.bad.first { $0.key == first }?.reason)
        }
        let texts = Set(captions.joined()).union(references.joined()).sorted()
        let rows = Dictionary(uniqueKeysWithValues: zip(texts, try await engine.embeddings(of: texts)))
        return clipScores(pictures: found.rows, texts: rows)
    }

    /// The mean CLIP score and the mean RefCLIPScore of all captions that have an embedding.
    func clipScores(
        pictures rows: [String: [Float]], texts: [String: [Float]]
    ) -> (score: Double, referenceScore: Double) {
        var (sum, referenceSum, count) = (0.0, 0.0, 0)
        for (place, name) in pictures.enumerated() {
            let picture = rows[name] ?? []
            let known = references[place].compactMap { texts[$0] }
            for caption in captions[place].compactMap({ texts[$0] }) {
                sum += ClipScore.score(picture: picture, caption: caption)
                referenceSum += ClipScore.score(picture: picture, caption: caption, references: known)
                count += 1
            }
        }
        return (sum / Double(count), referenceSum / Double(count))
    }
}

/// All measures of captions; those of a CLIP model are nil where there are no pictures.
public struct CaptionMeasures: Encodable {
    /// What a token is called: characters or words.
    public let tokens: String
    /// The measures of each caption against its references.
    public let evaluation: CaptionEvaluation
    /// How alike the captions of one picture are; nil where no picture has two.
    public let selfBleu: Double?
    /// The mean of 2.5 max(cos, 0).
    public var clipScore: Double?
    /// The mean of its form with references.
    public var refClipScore: Double?

    /// Measures captions against references.
    ///
    /// - Parameter firstOnly: whether the first caption of each picture is measured; self-BLEU alone uses the others
    /// - Throws: `EvaluationError`.
    public init(_ pairs: CaptionPairs, segmentation: CaptionSegmentation, tokens: String, firstOnly: Bool) throws {
        self.tokens = tokens
        let measured = firstOnly ? pairs.firstOnly : pairs
        evaluation = try CaptionEvaluation(
            captions: measured.captions, references: measured.references, segmentation: segmentation)
        selfBleu =
            firstOnly
            ? CaptionDiversity.selfBleu(pairs.captions.map { $0.map(segmentation.tokens) }) : evaluation.selfBleu
    }

    private enum Key: CodingKey { case tokens, selfBleu, clipScore, refClipScore }

    /// Writes the fields of the evaluation and these in one object.
    public func encode(to encoder: any Encoder) throws {
        try evaluation.encode(to: encoder)
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(tokens, forKey: .tokens)
        try container.encodeIfPresent(selfBleu, forKey: .selfBleu)
        try container.encodeIfPresent(clipScore, forKey: .clipScore)
        try container.encodeIfPresent(refClipScore, forKey: .refClipScore)
    }
}
