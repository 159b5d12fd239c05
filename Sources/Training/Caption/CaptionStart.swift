public import Foundation
import TihuaModels
import TihuaTokenizers

extension CaptionTask.Start {
    /// What a training starts from, by what was named.
    ///
    /// - Parameters:
    ///   - languageModel: the folder of a GPT2 or T5, or of a captioner whose language model is taken
    ///   - captioner: a captioner that is trained further; a language model beside it is ignored
    ///   - note: is told what a person should know of the weights
    /// - Throws: `ModelError`, `WeightFileError`.
    public init(languageModel: URL?, captioner: URL?, note: (String) -> Void = { _ in }) throws {
        func noted(_ opened: ClipCap.Opened) -> ClipCap.Opened {
            opened.notes.forEach(note)
            return opened
        }
        if let captioner {
            self = .captioner(noted(try ClipCap.open(captioner)))
        } else if let languageModel {
            let folder = try ModelFolder(at: languageModel)
            let isCaptioner = folder.architecture == ClipCap.architecture
            self = isCaptioner ? .languageModelOf(noted(try ClipCap.open(folder))) : .languageModel(folder)
        } else {
            self = .new
        }
    }
}

/// The tokens of the `vocab.txt` of a model: that of its folder, or the one beside a file of weights.
///
/// - Throws: `TokenizerError`.
public func vocabularyTokens(besideModel url: URL) throws -> [String] {
    try vocabularyTokens(at: ModelFolder.home(of: url).appending(path: "vocab.txt"))
}
