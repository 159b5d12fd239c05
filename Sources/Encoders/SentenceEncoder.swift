public import Foundation
import TihuaFiles
import TihuaModels
import TihuaNN
public import TihuaTokenizers
public import TihuaTorch
import TihuaWeightFiles

/// Embeds texts with the universal sentence encoder, in whose space sentences of sixteen languages lie near each other
/// when they say the same.
///
/// Not `Sendable`: it lives on the thread, or in the actor, that made it. E is the width of the space.
public final class SentenceEncoder {
    /// The width of the space (E).
    public let width: Int
    private let model: UniversalSentenceEncoder
    private let tokenizer: UniversalSentenceTokenizer
    private let folder: URL

    /// The most pieces of a text that are read, begin and end among them.
    public static let maximumLength = 4096
    /// The pieces that go through the model together, as far as texts can be parted.
    private static let budget = 1024

    /// Loads the published folder (`weights.npz`, `sp.model`) or one that Tihua wrote (`config.json`,
    /// `model.safetensors`, `sp.model`).
    ///
    /// - Throws: `ModelError`, `WeightFileError`, `TokenizerError`; `ModelError.vocabulary` where tokenizer and table
    ///   are of different models.
    public init(folder: URL, device: Device = .cpu) throws {
        let home = try Self.home(of: folder)
        // The small file first: what lacks it is known at once.
        tokenizer = try UniversalSentenceTokenizer(folder: home)
        model = try UniversalSentenceEncoder.open(folder, device: device).model
        try UniversalSentenceEncoder.check(
            vocabulary: tokenizer.vocabularySize, rows: model.configuration.vocabularySize, in: home)
        width = model.configuration.embeddingSize
        self.folder = folder
    }

    /// Whether a folder, or the folder of a file, is that of a sentence encoder: by its `config.json`, or where there
    /// is none by the names of the published files.
    public static func isOne(_ url: URL) -> Bool {
        let home = ModelFolder.home(of: url)
        func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: home.appending(path: name).path) }
        guard has("config.json") else { return has("weights.npz") || has(UniversalSentenceTokenizer.fileName) }
        return (try? ModelFolder(at: home))?.architecture == UniversalSentenceEncoder.architecture
    }

    private static func home(of url: URL) throws(WeightFileError) -> URL {
        guard FileManager.default.fileExists(atPath: url.path) else { throw .missing(path: url.path) }
        return ModelFolder.home(of: url)
    }

    /// Vectors of unit length, E numbers each, in the order of the texts. A text of more than `maximumLength` pieces
    /// loses its end.
    ///
    /// - Throws: `ModelError.notFinite` for damaged weights.
    public func encode(_ texts: [String]) throws -> [[Float]] {
        let sentences = tokenizer.encode(texts, maximumLength: Self.maximumLength)
        let rows = withoutGradients {
            batches(sentences).flatMap { batch in
                let values = model(Array(sentences[batch])).floats
                return (0..<batch.count).map { Array(values[$0 * width..<($0 + 1) * width]) }
            }
        }
        guard rows.allSatisfy({ $0.allSatisfy(\.isFinite) }) else { throw ModelError.notFinite(path: folder.path) }
        return rows
    }

    /// Sentences are not padded, so those of a batch need not be of one length.
    private func batches(_ sentences: [[Int32]]) -> [Range<Int>] {
        var (batches, start, size): ([Range<Int>], Int, Int) = ([], 0, 0)
        for (place, sentence) in sentences.enumerated() {
            if place > start, size + sentence.count > Self.budget {
                batches.append(start..<place)
                (start, size) = (place, 0)
            }
            size += sentence.count
        }
        return start < sentences.count ? batches + [start..<sentences.count] : batches
    }

    /// Names the weights, the vocabulary and the configuration of this model.
    ///
    /// - Throws: `WeightFileError`.
    public func fingerprint() throws -> String { try modelFingerprint(folder) }

    /// Writes a sentence encoder whose vocabulary is cut to texts in some scripts; their vectors stay as they are.
    ///
    /// - Parameters:
    ///   - folder: a sentence encoder, as `init(folder:device:)` reads it
    ///   - target: a new folder
    /// - Returns: the pieces that the vocabulary had, and those that are left
    /// - Throws: as `init(folder:device:)`; errors of the disk.
    public static func cut(
        _ folder: URL, to scripts: Set<PieceScript>, writing target: URL
    ) throws -> (before: Int, after: Int) {
        let home = try Self.home(of: folder)
        let file = home.appending(path: UniversalSentenceTokenizer.fileName)
        let before = try UniversalSentenceTokenizer(modelAt: file).vocabularySize
        let opened = try UniversalSentenceEncoder.open(folder)
        var configuration = opened.model.configuration
        try UniversalSentenceEncoder.check(vocabulary: before, rows: configuration.vocabularySize, in: home)
        let cut = try VocabularyCut(of: UserFile.bytes(of: file), to: scripts)
        configuration.vocabularySize = cut.ids.count
        let rows = Tensor.ids(cut.ids, [cut.ids.count])
        try AtomicFile.folder(at: target) { target in
            try ModelFolder.save(configuration: configuration, store: opened.store, to: target) { entry in
                UniversalSentenceEncoder.isPerPiece(entry.name) ? entry.tensor.indexed(by: rows) : entry.tensor
            }
            try AtomicFile.write(cut.model, to: target.appending(path: UniversalSentenceTokenizer.fileName))
        }
        return (before, cut.ids.count)
    }
}
