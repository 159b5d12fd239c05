import ArgumentParser
import Corpora
import Foundation
import Generation
import Models
import Pipelines
import Prosody
import Torch
import Training

extension EvalCommand {
    /// `tihua eval poet`: a poet on the poems that its training held out.
    struct Poet: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "poet", abstract: "Measure a poet on held-out poems.",
            discussion: """
                Give the corpus, the words and the glosses of the training: the same poems are then held out.

                  tihua eval poet --corpus corpus.jsonl --words Weights/mini/imagery.tsv --glosses ccpm/train.jsonl
                  tihua eval poet --corpus corpus.jsonl --words Weights/mini/imagery.tsv --poet runs/poet/best \\
                      --tones off --tones strict --ccpm ccpm/train.jsonl --pqed PQED_V0.1.json --json

                Perplexity is per character of the poems; ends of lines are not counted, except where the table says so. The
                5-gram model is trained on the same training poems. What is written freely obeys nothing, not even the format.
                """)

        @Option(help: "The pack of weights, instead of the default one.", completion: .directory)
        var pack: String?

        @Option(help: "A GPT2 poet of Tihua, instead of the pack's.", completion: .directory)
        var poet: String?

        @OptionGroup(title: "DATA") var data: PoetDataArguments

        @Option(
            help: "The options that the poet was trained with, for its share of held-out poems.",
            completion: .file(extensions: ["json"]))
        var config: String?

        @Option(help: "CCPM JSON lines, to choose among four lines by likelihood.", completion: .file())
        var ccpm: String?

        @Option(help: "PQED, to compare likelihood with the marks of people.", completion: .file())
        var pqed: String?

        @Option(help: "How many poems to write in each way, of equal shares of forms; 0 writes none.")
        var poems = 200

        @Option(help: "How the tones are kept in what is written: strict, loose or off; may stand several times.")
        var tones: [TonePolicy] = [.strict]

        @Option(help: "How many of a poem's keywords a prompt names, the best ones.")
        var keywords = 3

        @Option(help: "Look at so many held-out poems and items of CCPM only.")
        var limit: Int?

        @OptionGroup(title: "SAMPLING") var sampling: SamplingArguments
        @OptionGroup(title: "COMPUTATION") var compute: ComputeOptions

        @Flag(help: "Print one JSON object.")
        var json = false

        func validate() throws {
            if pack != nil, poet != nil {
                throw ValidationError("--pack and --poet both name a poet; give one of them")
            }
            guard (0...100_000).contains(poems) else { throw ValidationError("--poems takes 0 to 100000") }
            guard (1...6).contains(keywords) else { throw ValidationError("--keywords takes 1 to 6") }
            if let limit, limit < 1 { throw ValidationError("--limit \(limit) is not at least 1") }
        }

        func run() async throws {
            let sampling = Sampling(
                temperature: sampling.temperature, topK: sampling.topK, topP: sampling.topP)
            try usage { try sampling.validate() }
            let device = try compute.place.prepare()
            // Small files first: what is wrong with them shows before the long work.
            let options = try config.map { try RecipeFile(contentsOf: URL(filePath: $0)) } ?? RecipeFile()
            var poetOptions = try options.section("poet", or: PoetOptions())
            let items = try ccpm.map { try MatchingItem.read(URL(filePath: $0)) }
            let rated = try pqed.map { try RatedPoem.read(URL(filePath: $0)) }
            let models = try models()
            guard let poet = models.poet else { throw EvalPoetFailure.noPoet(models.name) }
            let folder = try ModelFolder(at: poet)
            let stock = try models.stockPairs.map { try StockPairs(contentsOf: $0) }
            guard folder.architecture == .gpt2 else {
                throw EvalPoetFailure.notMeasured(folder.url.path, folder.architecture.rawValue)
            }
            let model = try GPT2.load(folder, dtype: compute.dtype.dtype, device: device)
            let vocabulary = try PoetVocabulary(contentsOf: folder.url.appending(path: "vocab.txt"))
            try folder.check(vocabulary: vocabulary.count, rows: model.configuration.vocabularySize)
            poetOptions.positionCount = model.configuration.positionCount

            Console.progress("reading the corpus …")
            defer { Console.progress(nil) }
            let dataset = try data.dataset(vocabulary: vocabulary, options: poetOptions)
            guard !dataset.validation.isEmpty else {
                throw EvalPoetFailure.nothingHeldOut(data.corpus.joined(separator: ", "), dataset, poetOptions.holdOut)
            }
            let measures = try PoetMeasures(
                model: model, vocabulary: vocabulary, device: device, dataset: dataset, limit: limit, stock: stock,
                keywordCount: keywords, seed: self.sampling.seed ?? 0)
            var report = EvalPoetReport(
                poet: folder.url.path, seed: self.sampling.seed ?? 0, trainingPoems: dataset.training.count,
                heldOutPoems: measures.heldOut.count, keywords: keywords)
            report.perplexity = try measures.perplexities()
            let written = try measures.write(poems, tones: tones, sampling: sampling)
            report.writing = written.map(\.report)
            report.removedMass = try measures.removedMass(written)
            report.matching = try items.map { try measures.matching($0) }
            report.ratings = try rated.map { try measures.ratings($0) }
            Console.progress(nil)
            try Console.print(json ? try jsonLine(report) : report.text)
        }

        private func models() throws -> Pack {
            if let poet { return Pack(clip: nil, poet: URL(filePath: poet), base: nil) }
            return try Pack(folder: PackLocator(pack: pack).locate())
        }
    }
}

/// What the command itself can find wrong.
enum EvalPoetFailure: Error, CustomStringConvertible {
    case notMeasured(String, String)
    case noPoet(String)
    case nothingHeldOut(String, PoemDataset, Int)

    var description: String {
        switch self {
        case .notMeasured(let folder, let kind):
            "\(folder): a \(kind); tihua eval poet measures GPT2 poets of Tihua (tihua train poet --recipe gpt2)"
        case .noPoet(let pack): "\(pack): this pack has no poet; name one with --poet DIR"
        case .nothingHeldOut(let corpus, let dataset, let share):
            "\(corpus): none of its poems is held out (one in \(share) is, by a hash; \(dataset.training.count) are trained on"
                + dataset.dropped.sorted { $0.key < $1.key }.map { ", \($0.value) \($0.key)" }.joined()
                + "); name the corpus of the training"
        }
    }
}
