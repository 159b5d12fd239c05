public import Foundation
public import TihuaDataFiles
import TihuaEvaluation
import TihuaFiles
import TihuaGeneration
import TihuaModels
import TihuaTokenizers
import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

// What captioners learn from: embeddings of pictures by key, captions by key, and sentences without a picture.
// N embeddings, E width of one, P cells of a grid, D width of one.

/// Embeddings of pictures by their keys, and perhaps the grids beside them. A picture may have several rows, its views:
/// as it is, mirrored, cut.
public struct EmbeddingTable: Sendable {
    /// Numbers of one embedding (E).
    public let width: Int
    /// The key of each row, without the endings of files.
    public let keys: [String]
    /// The embeddings, `[N, E]`.
    let values: [Float]
    /// The grids; nil where there are none.
    let grids: GridTable?
    /// The further rows of pictures that have several, by their first.
    let views: [Int: [Int]]
    /// The fingerprint of the model that they are from; nil where it is not known.
    public let model: String?
    /// Whether all have length 1.
    public let isNormalized: Bool
    private let rows: [String: Int]

    /// A table of one or more pictures.
    ///
    /// - Parameter vectors: one for each key, all of one width
    /// - Throws: `TrainingError.data` for a key that stands twice and for vectors of different widths.
    public init(keys: [String], vectors: [[Float]]) throws(TrainingError) {
        try self.init(
            keys: keys, views: keys.map { _ in 0 }, values: vectors.flatMap { $0 }, width: vectors.first?.count ?? 0,
            path: "embeddings")
    }

    private init(
        keys: [String], views numbers: [Int], values: [Float], width: Int, path: String, grids: GridTable? = nil,
        model: String? = nil, isNormalized: Bool = false
    ) throws(TrainingError) {
        guard !keys.isEmpty, width > 0, values.count == keys.count * width else {
            throw .data(path: path, reason: "needs an embedding for each of \(keys.count) keys, all of one width")
        }
        guard values.allSatisfy(\.isFinite) else {
            throw .data(path: path, reason: "holds numbers that are not finite; make it again")
        }
        self.keys = keys.map(PictureName.key)
        self.values = values
        self.width = width
        self.model = model
        self.isNormalized = isNormalized
        self.grids = grids
        // The picture as it is comes first, whatever the order of the files.
        var first: [String: Int] = [:]
        var views: [Int: [Int]] = [:]
        var seen: Set<String> = []
        for row in self.keys.indices.sorted(by: { (numbers[$0], $0) < (numbers[$1], $1) }) {
            let key = self.keys[row]
            guard seen.insert("\(numbers[row]) \(key)").inserted else {
                throw .data(path: path, reason: "the picture \(key) occurs twice")
            }
            if let known = first[key] { views[known, default: []].append(row) } else { first[key] = row }
        }
        self.views = views
        rows = first
    }

    /// Files of embeddings (`EmbeddingFile`) as one table.
    ///
    /// - Throws: `WeightFileError` and `DataFileError` for what is no such file; `TrainingError.data` for files of
    ///   different models, of which some have grids and some have not, or a picture of which one view stands in two.
    public init(contentsOf urls: [URL]) throws {
        let files = try urls.map { try EmbeddingFile(contentsOf: $0) }
        let path = urls.map { $0.path(percentEncoded: false) }.joined(separator: ", ")
        guard let first = files.first, files.allSatisfy({ $0.model == first.model && $0.width == first.width }) else {
            throw TrainingError.data(
                path: path, reason: "holds embeddings of different models; make them with one")
        }
        guard files.allSatisfy({ $0.isNormalized == first.isNormalized }) else {
            throw TrainingError.data(
                path: path, reason: "some embeddings have length 1 and some have not; make them alike")
        }
        guard files.allSatisfy({ $0.gridShape == first.gridShape }) else {
            throw TrainingError.data(
                path: path, reason: "some embeddings have grids and some have not, or other ones; make them alike")
        }
        try self.init(
            keys: files.flatMap(\.keys), views: files.flatMap { file in file.keys.map { _ in file.view } },
            values: files.flatMap { $0.embeddings.floats() ?? [] }, width: first.width, path: path,
            grids: first.gridShape.map { GridTable(files.compactMap(\.grids), shape: $0) }, model: first.model,
            isNormalized: first.isNormalized)
    }

    /// The row of a picture as it is, with or without the ending of its file; nil if it is not there.
    public func row(of key: String) -> Int? { rows[PictureName.key(of: key)] }

    /// One embedding.
    public subscript(row: Int) -> ArraySlice<Float> { values[row * width..<(row + 1) * width] }
}

/// Grids of pictures in mapped files, read when they are asked for, so that memory holds those of a batch.
struct GridTable: Sendable {
    let shape: GridShape
    /// float16 `[rows, P, D]` each, one behind the other.
    private let files: [TensorView]

    init(_ files: [TensorView], shape: GridShape) {
        (self.files, self.shape) = (files, shape)
    }

    /// Cells of some rows.
    ///
    /// - Parameter cells: for each row the same number of cells; nil for all of them in their order
    /// - Returns: float32 `[rows, n, D]`
    func tensor(_ rows: [Int], cells: [[Int]]? = nil) -> Tensor {
        let count = cells?.first?.count ?? shape.cells
        let cellBytes = 2 * shape.width
        let values = [Float16](unsafeUninitializedCapacity: rows.count * count * shape.width) { buffer, filled in
            let target = UnsafeMutableRawBufferPointer(buffer)
            for (place, row) in rows.enumerated() {
                var (file, row) = (0, row)
                while row >= files[file].shape[0] {
                    row -= files[file].shape[0]
                    file += 1
                }
                files[file].withUnsafeBytes { bytes in
                    for index in 0..<count {
                        let from = (row * shape.cells + (cells?[place][index] ?? index)) * cellBytes
                        let to = (place * count + index) * cellBytes
                        target[to..<to + cellBytes].copyBytes(from: bytes[from..<from + cellBytes])
                    }
                }
            }
            filled = rows.count * count * shape.width
        }
        return Tensor(values, [rows.count, count, shape.width]).to(.float32)
    }
}

/// The sentences of a style, one a line.
///
/// - Throws: `DataFileError` for what is no text; `TrainingError.data` for fewer than two sentences, of which no style
///   can be learned.
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
        /// The row of `vectors` that it is written from.
        let row: Int
        /// The tokens, with the end of the caption unless it was cut.
        let ids: [Int32]
    }

    /// A held-out picture.
    struct HeldOut: Sendable {
        let key: String
        let row: Int
        var captions: [String]
    }

    /// The tokens of the language model, one for each id.
    public let tokens: [String]
    let tokenizer: BertTokenizer
    let training: [Example]
    let validation: [Example]
    let heldOut: [HeldOut]
    /// The embeddings that captions are written from, `[rows, E]`: pictures, then texts.
    let vectors: [Float]
    /// Numbers of one embedding (E).
    public let width: Int
    /// The grids of the pictures, by the same rows; nil where there are none.
    let grids: GridTable?
    /// The further rows of pictures that have several views, by the row of the picture as it is.
    let views: [Int: [Int]]
    /// The first row that is the embedding of a text.
    let firstText: Int
    /// The mean of the pictures' embeddings less that of the texts', all of length 1; nil without texts or pictures.
    let modalityOffset: [Float]?
    /// The fingerprint of the CLIP model; nil where it is not known.
    let clipModel: String?
    /// Whether some embeddings have length 1; the captioner must then normalise all of them.
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
    ///   - vocabulary: the tokens of the language model that training starts from; nil makes them from the captions
    ///   - embedTexts: gives the embeddings of texts in the space of the pictures, of length 1; is called only where
    ///     texts are learned without pictures
    /// - Throws: `TrainingError.data` if nothing is left to train on, with the reasons; what `embedTexts` throws.
    public init(
        _ sources: Sources, vocabulary given: [String]? = nil, options: CaptionOptions,
        embedTexts: ([String]) async throws -> [[Float]]
    ) async throws {
        var dropped: [String: Int] = [:]
        if sources.isTextOnly || !sources.sentences.isEmpty { try Self.refuseTexts(options.mapper) }
        let (kept, held) = Self.sorted(sources, holdOut: options.holdOut, &dropped)
        tokens =
            given
            ?? CaptionVocabulary.tokens(
                captions: kept.map(\.text) + sources.sentences, minimumCount: options.minimumCharacterCount)
        let tokenizer = try BertTokenizer(tokens: tokens)
        func encode(_ text: String) -> [Int32]? {
            let ids = tokenizer.encode(text, addingSpecialTokens: false)
            guard !ids.isEmpty else { return nil }
            // No end behind a caption that was cut: the model would learn to stop in the middle of a sentence.
            return ids.count < options.maximumLength
                ? ids + [tokenizer.separatorID] : Array(ids.prefix(options.maximumLength))
        }
        var training: [Example] = []
        var texts: [(ids: [Int32], text: String)] = []
        let learned = kept.map { (row: sources.isTextOnly ? nil : $0.row, text: $0.text) }
        for (row, text) in learned + sources.sentences.map({ (row: nil, text: $0) }) {
            guard let ids = encode(text) else {
                dropped["empty", default: 0] += 1
                continue
            }
            if let row { training.append(Example(row: row, ids: ids)) } else { texts.append((ids, text)) }
        }
        let embedded = try await Self.embedded(texts.map(\.text), beside: sources, embedTexts)
        let firstText = sources.pictures?.keys.count ?? 0
        training += texts.enumerated().map { Example(row: firstText + $0.offset, ids: $0.element.ids) }
        guard !training.isEmpty else {
            throw TrainingError.nothingLeft("the captions", "none", dropped: dropped, heldOut: held.count)
        }
        let width = embedded.first?.count ?? sources.pictures?.width ?? 0
        vectors = (sources.pictures?.values ?? []) + embedded.joined()
        modalityOffset =
            embedded.isEmpty
            ? nil
            : sources.pictures.map { pictures in
                let shown = Set(kept.map(\.row)).sorted().map { pictures[$0] }
                return zip(meanDirection(shown, width), meanDirection(embedded.map { $0[...] }, width)).map { $0 - $1 }
            }
        validation = held.compactMap { item in encode(item.text).map { Example(row: item.row, ids: $0) } }
        heldOut = Self.grouped(held)
        isNormalized = !texts.isEmpty || sources.pictures?.isNormalized == true
        clipModel = sources.pictures?.model ?? sources.clipModel
        (grids, views) = (sources.pictures?.grids, sources.pictures?.views ?? [:])
        (self.tokenizer, self.training, self.firstText) = (tokenizer, training, firstText)
        (self.width, self.dropped) = (width, dropped)
    }

    /// - Throws: `TrainingError.option` for a mapper that looks at grids, which texts have not.
    static func refuseTexts(_ mapper: ClipCapConfiguration.Mapper) throws(TrainingError) {
        guard mapper == .grid else { return }
        throw .option("mapper", "grid", "another one where texts are learned without pictures: texts have no grid")
    }

    /// A caption and the row of its picture, 0 where only its text is learned.
    private typealias Record = (row: Int, text: String, key: String)

    /// Sorts the captions into those that are learned and those that are held out.
    private static func sorted(
        _ sources: Sources, holdOut: Int, _ dropped: inout [String: Int]
    ) -> (kept: [Record], held: [Record]) {
        var kept: [Record] = []
        var held: [Record] = []
        for (index, caption) in (sources.captions + sources.validation).enumerated() {
            let key = PictureName.key(of: caption.image)
            guard !caption.text.allSatisfy(\.isWhitespace) else {
                dropped["empty", default: 0] += 1
                continue
            }
            // By a hash of the picture, so that all of its captions are on the same side, in every run.
            let isHeld =
                index >= sources.captions.count || isHeldOut(key, oneIn: holdOut)
            guard let row = sources.pictures?.row(of: key) ?? (sources.isTextOnly && !isHeld ? 0 : nil) else {
                dropped["without an embedding", default: 0] += 1
                continue
            }
            if isHeld { held.append((row, caption.text, key)) } else { kept.append((row, caption.text, key)) }
        }
        let heldKeys = Set(held.map(\.key))
        let before = kept.count
        kept.removeAll { heldKeys.contains($0.key) }
        if kept.count < before { dropped["of held-out pictures", default: 0] += before - kept.count }
        return (kept, held)
    }

    /// The embeddings of texts, as wide as those of the pictures.
    ///
    /// - Throws: `TrainingError.data` for embeddings of another model.
    private static func embedded(
        _ texts: [String], beside sources: Sources, _ embedTexts: ([String]) async throws -> [[Float]]
    ) async throws -> [[Float]] {
        if let one = sources.pictures?.model, let other = sources.clipModel, one != other {
            throw TrainingError.data(
                path: "the embeddings of the pictures", reason: "are of another CLIP model than the one for texts")
        }
        guard !texts.isEmpty else { return [] }
        let embedded = try await embedTexts(texts)
        guard let width = embedded.first?.count, embedded.count == texts.count,
            sources.pictures.map({ $0.width == width }) ?? true
        else {
            let (one, other) = (sources.pictures?.width ?? 0, embedded.first?.count ?? 0)
            throw TrainingError.data(
                path: "the embeddings of the pictures",
                reason: "are \(one) wide, those of texts \(other); take one CLIP model for both")
        }
        return embedded
    }

    /// The held-out pictures with all of their captions, in the order of the captions.
    private static func grouped(_ held: [Record]) -> [HeldOut] {
        var places: [String: Int] = [:]
        var pictures: [HeldOut] = []
        for item in held {
            if let place = places[item.key] {
                pictures[place].captions.append(item.text)
            } else {
                places[item.key] = pictures.count
                pictures.append(HeldOut(key: item.key, row: item.row, captions: [item.text]))
            }
        }
        return pictures
    }

    /// At most `count` of the held-out pictures, the same ones in every run.
    func heldOutSample(_ count: Int) -> [HeldOut] {
        Array(heldOut.sorted { (stableHash($0.key), $0.key) < (stableHash($1.key), $1.key) }.prefix(count))
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
        // Grids are of the models and the pictures that the embeddings are of, and may take gigabytes.
        for value in [grids?.shape.cells ?? 0, grids?.shape.width ?? 0, views.count] {
            state = (state ^ UInt64(value)) &* 0x100_0000_01b3
        }
        return String(state, radix: 16)
    }

    /// Whether some captions are written from texts rather than from pictures.
    var hasTexts: Bool { training.contains { $0.row >= firstText } }

    /// One of the views of each picture, drawn.
    func drawnViews(_ rows: [Int], using random: inout SplitMix64) -> [Int] {
        rows.map { row in views[row].flatMap { ([row] + $0).randomElement(using: &random) } ?? row }
    }

    /// What a captioner goes on from: the pictures of some rows.
    func source(_ rows: [Int], for model: ClipCap, device: Device) -> TextSource {
        TextSource(model.languageModel, model.languageModel.context(prefix(rows, of: model, device: device)))
    }

    /// The prefixes of the pictures of some rows, `[rows, P, C]`.
    func prefix(_ rows: [Int], of model: ClipCap, device: Device) -> Tensor {
        let grid = model.configuration.takesGrid ? grids?.tensor(rows).to(nil, device) : nil
        return model.prefix(embeddings(rows).to(nil, device), grid: grid)
    }

    /// The embeddings of some rows, float32 `[rows, E]`.
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
