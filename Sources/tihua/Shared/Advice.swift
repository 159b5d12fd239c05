import ArgumentParser
import Foundation
import Tihua
import TihuaDataFiles
import TihuaEvaluation
import TihuaGeneration
import TihuaTorch
import TihuaTraining
import TihuaVerse

/// What the tool says of an error. Libraries know no options; those that help stand behind the error's own line.
func describe(_ error: any Error) -> String {
    // Foundation's errors name the file only in their dictionary.
    guard let file = error as? CocoaError else { return TihuaTool.message(for: error) + (advice(on: error) ?? "") }
    return [file.filePath, file.localizedDescription].compactMap { $0 }.joined(separator: ": ")
}

private func advice(on error: any Error) -> String? {
    switch error {
    case DataFileError.nothingLeft: "; see tihua data captions --help for the forms that are read"
    case DataFileError.notUTF8(_, _, let guess):
        ": --encoding \((guess ?? .gb18030).rawValue), behind a shard encoding=\((guess ?? .gb18030).rawValue)"
    case EvaluationError.unreadablePictures(_, _, nil): " with --pictures"
    case PackError.notFound: " with --pack DIR"
    case PipelineError.missingPart(_, .bank): " with --bank FILE"
    case PipelineError.missingPart(_, let part): " with --\(part) DIR"
    case VerseError.unknownForm: " with --form"
    case TorchError.noDevice: " with --device cpu"
    case TrainingError.folderInUse: "; --resume continues it, another --out begins anew"
    case TrainingError.option("tunesLanguageModel", "false", _): "; --lm gives one"
    case TrainingError.option("clipWeight", _, "0 where there is no CLIP model"): "; --clip gives one"
    default: nil
    }
}
