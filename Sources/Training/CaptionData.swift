public import Foundation
public import TihuaCorpora
import TihuaEvaluation
import TihuaFiles
import TihuaTokenizers
import TihuaTorch
import TihuaWeightFiles

// What captioners learn from: embeddings of pictures by key, captions by key, and sentences without a picture.
// N pictures, E width of an embedding.

/// Embeddings of pictures by their keys.
public struct EmbeddingTable: Sendable {
    /// E.
    public let width: Int
    /// The keys of the pictures, without the endings of files, in order.
    public let keys: [String]
    /// `[N, E]`
    let values: [Float]
    /// The fingerprint of the model that they are from; nil where it is not known.
    public let model: String?
    /// Whether all have length 1.
    public let isNormalized: Bool
    private let rows: [String: Int]

    /// A table of one or more pictures.
    ///
    /// - Parameter vectors: as many as `keys`, all as wide
    /// - Throws: `TrainingError.data` for a key that stands twice and for vectors of different widths.
    public init(keys: [String], vectors: [[Float]]) throws(TrainingError) {
        try self.init(keys: keys, values: vectors.flatMap { $0 }, width: vectors.first?.count ?? 0, path: "embeddings")
    }

    private init(
        keys: [String], values: [Float], width: Int, path: String, model: String? = nil, isNormalized: Bool = false
    ) throws(TrainingError) {
        guard !keys.isEmpty, width > 0, values.count == keys.count * width else {
            throw .data(path: path, reason: "needs an embedding for each of \(keys.count) keys, all of one width")
        }
        guard values.allSatisfy(\.isFinite) else {
            throw .data(path: path, reason: "holds numbers that are not finite; make it again with tihua data embed")
        }
        self.keys = keys.map(PictureName.key)
        self.values = values
        self.width = width
        self.model = model
        self.isNormalized = isNormalized
        var rows: [String: Int] = [:]
        for (row, key) in self.keys.enumerated() {
            guard rows.updateValue(row, forKey: key) == nil else {
                throw .data(path: path, reason: "the picture \(key) stands in it twice")
            }
        }
        self.rows = rows
    }

    /// Files of `tihua data embed` as one table.
    ///
    /// - Throws: `WeightFileError` and `CorporaError` for what is no such file; `TrainingError.data` for files of different
    ///   models, or a picture that stands in two.
    public init(contentsOf urls: [URL]) throws {
        let files = try urls.map { try EmbeddingFile(contentsOf: $0) }
        let path = urls.map { $0.path(percentEncoded: false) }.joined(separator: ", ")
        guard let first = files.first, files.allSatisfy({ $0.model == first.model && $0.width == first.width }) else {
            throw TrainingError.data(
                path: path, reason: "holds embeddings of different models; make them with one (tihua data embed --clip)"
            )
        }
        guard files.allSatisfy({ $0.isNormalized == first.isNormalized }) else {
            throw TrainingError.data(
                path: path, reason: "some embeddings have length 1 and some have not; make them alike")
        }
        try self.init(
            keys: files.flatMap(\.keys), values: files.flatMap { $0.embeddings.floats() ?? [] }, width: first.width,
            path: path, model: first.model, isNormalized: first.isNormalized)
    }

    /// The row of a picture, with or without the ending of its file; nil if it is not there.
    public func row(of key: String) -> Int? { rows[PictureName.key(of: key)] }

    /// One embedding.
    public subscript(row: Int) -> ArraySlice<Float> { values[row * width..<(row + 1) * width] }
}

/// The sentences of a style, one a line.
///
/// - Throws: `CorporaError` for what is no text; `TrainingError.data` for fewer than two sentences, of which no style can be
///   learned.
public func readSentences(_ url: URL, encoding: TextEncoding? = nil) throws -> [String] {
    let lines = try TextFile.lines(of: url, encoding: encoding)
        .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    guard Set(lines).count > 1 else {
        throw TrainingError.data(
            path: url.path(percentEncoded: false),
            reason: "holds \(lines.isEmpty ? "no sentence" : "one sentence only"); a style takes many, one a line")
    }
    return lines
}

/// Captions as ids with the embeddings that they are written from, split by picture into training and held-out ones.
public struct CaptionDataset: Sendable {
    /// One caption to learn.
    struct Example: Sendable {
        /// Of `vectors`.
        let row: Int
        /// With the end of the caption, unless it was cut.
        let ids: [Int32]
    }

    /// A held-out picture.
    struct HeldOut: Sendable {
        let key: String
        let row: Int
        let captions: [String]
    }

    /// The tokens of the language model, one for each id.
    public let tokens: [String]
    let tokenizer: BertTokenizer
    let training: [Example]
    let validation: [Example]
    let heldOut: [HeldOut]
    /// `[rows, E]`: pictures, then texts.
    let vectors: [Float]
    /// E.
    public let width: Int
    /// Rows from here on are embeddings of texts.
    let firstText: Int
    /// The mean of the pictures' embeddings less that of the texts', all of length 1; nil without texts or pictures.
    let modalityOffset: [Float]?
    /// The fingerprint of the CLIP model; nil where it is not known.
    let clipModel: String?
    /// Whether some embeddings have length 1, so that the captioner must bring all to it.
    let isNormalized: Bool
    /// How many captions were left out, by reason.
    public let dropped: [String: Int]

    /// What a captioner is trained on.
    public struct Sources: Sendable {
        /// Captions of pictures.
        public var captions: [CaptionFile.Caption]
        /// Embeddings of these pictures, and perhaps of others.
        public var pictures: EmbeddingTable?
        /// Captions that are held out beside those that the options hold out.
        public var validation: [CaptionFile.Caption] = []
        /// Sentences to learn without a picture, as CapDec does.
        public var sentences: [String] = []
        /// Leaves the pictures of the captions to the validation and learns their texts alone.
        public var isTextOnly = false
        /// The fingerprint of the model that embeds texts, where it is known.
        public var clipModel: String?

        /// Captions of pictures that are embedded.
        public init(captions: [CaptionFile.Caption], pictures: EmbeddingTable?) {
            self.captions = captions
            self.pictures = pictures
        }
    }

    /// Builds the examples.
    ///
    /// - Parameters:
    ///   - vocabulary: of the language model that is gone on with; nil makes one from the captions
    ///   - embedTexts: the embeddings of texts in the space of the pictures, of length 1; asked for sentences only
    /// - Throws: `TrainingError.data` if nothing is left to train on, with the reasons; what `embedTexts` throws.
    public init(
        _ sources: Sources, vocabulary given: [String]? = nil, options: CaptionOptions,
        embedTexts: ([String]) async throws -> [[Float]]
    ) async throws {
        var dropped: [String: Int] = [:]
        var kept: [(row: Int, text: String, key: String)] = []
        var held: [(row: Int, text: String, key: String)] = []
        for (records, isValidation) in [(sources.captions, false), (sources.validation, true)] {
            for record in records {
                let key = PictureName.key(of: record.image)
                guard !record.text.allSatisfy(\.isWhitespace) else {
                    dropped["empty", default: 0] += 1
                    continue
                }
                // By a hash of the picture, so that all of its captions are on one side, and the same in every run.
                let isHeld = options.holdOut > 0 && stableHash(key) % UInt64(options.holdOut) == 0
                let row = sources.pictures?.row(of: key)
                if isValidation || isHeld {
                    guard let row else {
                        dropped["without an embedding", default: 0] += 1
                        continue
                    }
                    held.append((row, record.text, key))
                } else if let row {
                    kept.append((row, record.text, key))
                } else if sources.isTextOnly {
                    kept.append((0, record.text, key))
                } else {
                    dropped["without an embedding", default: 0] += 1
                }
            }
        }
        let heldKeys = Set(held.map(\.key))
        let before = kept.count
        kept.removeAll { heldKeys.contains($0.key) }
        if kept.count < before { dropped["of held-out pictures", default: 0] += before - kept.count }

        tokens =
            given
            ?? CaptionVocabulary.tokens(
                captions: kept.map(\.text) + sources.sentences, minimumCount: options.minimumCharacterCount)
        let tokenizer = try BertTokenizer(tokens: tokens)
        func encode(_ text: String) -> [Int32]? {
            let ids = tokenizer.encode(text, addingSpecialTokens: false)
            guard !ids.isEmpty else { return nil }
            // An end after half a sentence would teach to end there.
            return ids.count < options.maximumLength
                ? ids + [tokenizer.separatorID] : Array(ids.prefix(options.maximumLength))
        }
        var training: [Example] = []
        var texts: [(ids: [Int32], text: String)] = []
        for caption in kept {
            guard let ids = encode(caption.text) else {
                dropped["empty", default: 0] += 1
                continue
            }
            if sources.isTextOnly {
                texts.append((ids, caption.text))
            } else {
                training.append(Example(row: caption.row, ids: ids))
            }
        }
        for sentence in sources.sentences {
            guard let ids = encode(sentence) else {
                dropped["empty", default: 0] += 1
                continue
            }
            texts.append((ids, sentence))
        }
        if let one = sources.pictures?.model, let other = sources.clipModel, one != other {
            throw TrainingError.data(
                path: "the embeddings of the pictures",
                reason: "are of another CLIP model than the one for texts; name theirs with --clip")
        }
        firstText = sources.pictures?.keys.count ?? 0
        var vectors = sources.pictures?.values ?? []
        var width = sources.pictures?.width ?? 0
        var offset: [Float]?
        if !texts.isEmpty {
            let embedded = try await embedTexts(texts.map(\.text))
            guard let first = embedded.first, embedded.count == texts.count,
                sources.pictures == nil || first.count == width
            else {
                throw TrainingError.data(
                    path: "the embeddings of the pictures",
                    reason:
                        "are \(width) wide, those of texts \(embedded.first?.count ?? 0); take one CLIP model for both")
            }
            width = first.count
            vectors += embedded.joined()
            for (index, text) in texts.enumerated() { training.append(Example(row: firstText + index, ids: text.ids)) }
            if let pictures = sources.pictures {
                let used = Set(kept.map(\.row))
                offset = zip(
                    meanDirection(used.sorted().map { pictures[$0] }, width),
                    meanDirection(embedded.map { $0[...] }, width)
                ).map { $0 - $1 }
            }
        }
        validation = held.compactMap { item in encode(item.text).map { Example(row: item.row, ids: $0) } }
        var order: [String] = []
        var captions: [String: HeldOut] = [:]
        for item in held {
            if captions[item.key] == nil { order.append(item.key) }
            let others = captions[item.key]?.captions ?? []
            captions[item.key] = HeldOut(key: item.key, row: item.row, captions: others + [item.text])
        }
        heldOut = order.compactMap { captions[$0] }
        self.tokenizer = tokenizer
        self.training = training
        self.vectors = vectors
        self.width = width
        self.dropped = dropped
        modalityOffset = offset
        isNormalized = !texts.isEmpty || sources.pictures?.isNormalized == true
        clipModel = sources.pictures?.model ?? sources.clipModel
        guard !training.isEmpty else {
            let reasons =
                dropped.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" } + ["\(held.count) held out"]
            throw TrainingError.data(
                path: "the captions", reason: "none are left to train on (\(reasons.joined(separator: ", ")))")
        }
    }

    /// Captions to train on, captions that are held out, and the pictures of the latter.
    public var counts: (training: Int, validation: Int, pictures: Int) {
        (training.count, validation.count, heldOut.count)
    }

    /// A number that differs where the examples differ.
    var fingerprint: String {
        var state = stableHash(tokens.joined(separator: "\n"))
        for example in training {
            for id in example.ids { state = (state ^ UInt64(UInt32(bitPattern: id))) &* 0x100_0000_01b3 }
            state = (state ^ UInt64(example.row)) &* 0x100_0000_01b3
        }
        for value in vectors { state = (state ^ UInt64(value.bitPattern)) &* 0x100_0000_01b3 }
        return String(state, radix: 16)
    }

    /// float32 `[rows, E]`
    func embeddings(_ rows: [Int]) -> Tensor {
        Tensor(rows.flatMap { vectors[$0 * width..<($0 + 1) * width] }, [rows.count, width])
    }
}

/// The mean of vectors after each is brought to length 1.
private func meanDirection(_ vectors: [ArraySlice<Float>], _ width: Int) -> [Float] {
    var sum = [Float](repeating: 0, count: width)
    for vector in vectors {
        let length = max(1e-12, vector.reduce(0) { $0 + $1 * $1 }.squareRoot())
        for (index, value) in vector.enumerated() { sum[index] += value / length }
    }
    return sum.map { $0 / Float(max(1, vectors.count)) }
}

/// The vocabulary of a new captioner: BERT's special tokens, then Han characters, punctuation and whole Latin words.
public enum CaptionVocabulary {
    /// The lines of `vocab.txt`, most frequent first, for texts in lower case as the tokenizer reads them.
    ///
    /// - Parameter minimumCount: tokens that occur less often become `[UNK]`
    public static func tokens(captions: [String], minimumCount: Int) -> [String] {
        var counts: [String: Int] = [:]
        for caption in captions {
            var word = ""
            func end() {
                if !word.isEmpty { counts[word, default: 0] += 1 }
                word = ""
            }
            for scalar in caption.lowercased().unicodeScalars {
                if scalar.isASCII, scalar.properties.isAlphabetic || scalar.properties.numericType != nil {
                    word.unicodeScalars.append(scalar)
                    continue
                }
                end()
                if !scalar.properties.isWhitespace { counts[String(scalar), default: 0] += 1 }
            }
            end()
        }
        let kept = counts.filter { $0.value >= max(1, minimumCount) }
            .sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
        return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + kept
    }
}
