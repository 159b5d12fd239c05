import Foundation
import TihuaDataFiles
public import TihuaGeneration
import TihuaModels
import TihuaTokenizers
public import TihuaTorch
import TihuaVerse

extension Pack {
    /// The pack's poet as it writes: no line of the poems that it was trained on, endings of lines that poets use. What
    /// it overdoes is not held back yet; see `stockPairs`.
    ///
    /// - Throws: `PipelineError`, `ModelError`, `WeightFileError`, `TokenizerError`, `GenerationError` and
    ///   `DataFileError` for what the pack names.
    public func poemWriter(device: Device = .cpu) throws -> PoemWriter {
        let folder = try ModelFolder(at: requiredPoet())
        guard folder.holdsLanguageModel else {
            throw PipelineError.wrongModel(
                path: folder.url.path, found: folder.architecture.rawValue, needed: "gpt2 or t5")
        }
        let vocabulary = folder.url.appending(path: "vocab.txt")
        // Reads the file as strictly as any vocabulary; the poet itself takes characters, not words.
        _ = try BertTokenizer(vocabularyAt: vocabulary)
        let format = try PoetFormat(tokens: vocabularyTokens(at: vocabulary))
        let filter = try lineFilter.map { try LineFilter(contentsOf: $0) }
        let isKnown: (String) -> Bool = { filter?.contains($0) ?? false }
        let model = try folder.openLanguageModel(device: device).model
        try folder.check(vocabulary: format.tokenCount, rows: model.vocabularySize)
        let writer = try PoemWriter(model, format: format, device: device, isKnown: isKnown)
        if let endings = try endingFilter.map({ try LineFilter(contentsOf: $0) }) {
            writer.isEnding = { endings.contains($0) }
        }
        return writer
    }
}
