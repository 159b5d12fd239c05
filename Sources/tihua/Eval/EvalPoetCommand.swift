import ArgumentParser
import Foundation
import Tihua
import TihuaCorpora
import TihuaDataFiles
import TihuaGeneration
import TihuaMeasures
import TihuaModels
import TihuaProsody
import TihuaTokenizers
import TihuaTorch
import TihuaTraining
import TihuaVerse

extension EvalCommand {
    /// `tihua eval poet`: a poet on poems that it was not trained on.
    struct Poet: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "poet", abstract: "Measure a poet on poems that it was not trained on.",
            discussion: """
                EXAMPLES
                  tihua eval poet --test my-poems.txt
                  tihua eval poet --measure ccpm --ccpm ccpm/valid.jsonl --limit 500
                  tihua eval poet --corpus corpus.jsonl --glosses ccpm/train.jsonl \\
                    --words Weights/mini/imagery.tsv --poet runs/poet/best \\
                    --tones off --tones strict --pqed PQED_V0.1.json --json

                --test measures on poems of your own. --corpus names the corpus of the training, from which the same \
                poems are held out as in the training; give the words and the glosses of the training too. With both, \
                the poems of --test are measured, and the corpus says what the poet has read.

                Perplexity is per character of the poems; ends of lines are not counted, except in the last column. \
                The 5-gram model, and the runs of copied characters, need the training poems of --corpus. Whether a \
                line was read in the training is known from --corpus, or else from the filter of lines beside the \
                poet. Without either, nothing is called unseen. What is written freely obeys nothing, not even the \
                format.

                Each table is printed as soon as it is measured; --json prints one object at the end.

                \(samplingHelp)
                """)

        /// What is measured.
        enum Measure: String, ExpressibleByArgument, CaseIterable {
            case perplexity, writing, metre, ccpm, pqed

            /// Whether it needs poems of a corpus or a test set.
            var needsPoems: Bool { [.perplexity, .writing, .metre].contains(self) }
        }

        @Option(help: "The pack of weights, instead of the default one.", completion: .directory)
        var pack: String?

        @Option(help: "A GPT2 poet of Tihua, instead of the pack's.", completion: .directory)
        var poet: URL?

        @Option(
            help: "Poems to measure on: JSON lines of tihua data poems, CCPC, or plain text; may stand several times.",
            completion: .file())
        var test: [String] = []

        @Option(help: "The corpus that the poet was trained on; may stand several times.", completion: .file())
        var corpus: [String] = []

        @OptionGroup(title: "DATA") var lists: PoetListArguments

        @Option(
            help: "The file of options of the training, which says how many poems it held out.",
            completion: .file(extensions: ["json"]))
        var config: String?

        @Option(help: "CCPM JSON lines, to choose among four lines by likelihood.", completion: .file())
        var ccpm: String?

        @Option(help: "PQED, to compare likelihood with the marks of people.", completion: .file())
        var pqed: String?

        @Option(
            help: """
                Measure this only: perplexity, writing, metre (what the metre takes away), ccpm or pqed; may stand \
                several times. By default everything for which there is data.
                """)
        var measure: [Measure] = []

        @Option(help: "How many poems to write in each way, equally many of each form; 0 writes none.")
        var poems = 200

        @Option(help: "How the tones are kept in what is written: strict, loose or off; may stand several times.")
        var tones: [TonePolicy] = [.strict]

        @Option(help: "How many of a poem's best keywords a prompt names.")
        var keywords = 3

        @Option(help: "Use only N poems and N items of CCPM.")
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
            guard !possible.isEmpty else {
                throw ValidationError(
                    "nothing to measure on; give --test FILE, --corpus FILE, --ccpm FILE or --pqed FILE")
            }
            if let missing = measure.first(where: { !possible.contains($0) }) {
                let needed = missing.needsPoems ? "--test FILE or --corpus FILE" : "--\(missing.rawValue) FILE"
                throw ValidationError("--measure \(missing.rawValue) needs \(needed)")
            }
        }

        /// What the given files allow to measure.
        private var possible: Set<Measure> {
            Set(
                Measure.allCases.filter {
                    switch $0 {
                    case .perplexity, .writing, .metre: !corpus.isEmpty || !test.isEmpty
                    case .ccpm: ccpm != nil
                    case .pqed: pqed != nil
                    }
                })
        }

        func run() async throws {
            let sampling = sampling.value()
            try sampling.validate()
            let device = try compute.place.prepare()
            let wanted = measure.isEmpty ? possible : Set(measure)
            // Small files are read first, so that their faults show before the long work.
            let options = try config.map { try RecipeFile(contentsOf: URL(filePath: $0)) } ?? RecipeFile()
            var poetOptions = try options.section("poet", or: PoetOptions())
            let items = try wanted.contains(.ccpm) ? ccpm.map { try MatchingItem.read(URL(filePath: $0)) } : nil
            let rated = try wanted.contains(.pqed) ? pqed.map { try RatedPoem.read(URL(filePath: $0)) } : nil
            let models = try Pack(PackLocator(pack: pack, source: "--pack"), .init(poet: poet), needing: [.poet])
            let folder = try ModelFolder(at: models.requiredPoet())
            let stock = try models.stockPairs.map { try OverusedPairs(contentsOf: $0) }
            guard folder.architecture == GPT2.architecture else {
                throw EvalPoetFailure.notMeasured(folder.url.path, folder.architecture.rawValue)
            }
            let model = try GPT2.open(folder, dtype: compute.dtype.dtype, device: device).model
            let vocabulary = try PoetVocabulary(contentsOf: folder.url.appending(path: "vocab.txt"))
            try folder.check(vocabulary: vocabulary.count, rows: model.configuration.vocabularySize)
            poetOptions.positionCount = model.configuration.positionCount

            defer { Console.progress(nil) }
            let dataset = try readCorpus(vocabulary, poetOptions)
            let own = try readTest(vocabulary, poetOptions, bank: poet == nil ? models.bank : nil)
            if own == nil, let dataset, dataset.validation.isEmpty, wanted.contains(where: \.needsPoems) {
                throw EvalPoetFailure.nothingHeldOut(corpus.joined(separator: ", "), dataset, poetOptions.holdOut)
            }
            let measures = try PoetMeasures(
                model: model, vocabulary: vocabulary, device: device,
                poems: (own ?? dataset)?.validation ?? [], known: try known(dataset, models), limit: limit,
                stock: stock, keywordCount: keywords, seed: self.sampling.seed ?? 0, progress: Console.progress)

            var report = PoetReport(
                poet: folder.url.path, of: measures, trainingPoems: dataset?.training.count, leftOut: own?.dropped)
            try show(report.head)
            if wanted.contains(.perplexity) {
                let table = PerplexityTable(names: measures.perplexityNames)
                try show(table.head, isSection: true)
                report.perplexity = try measures.perplexities { try show(table.line($0)) }
                try show(table.counts(report.perplexity))
            }
            var written: [PoetMeasures.Written] = []
            if wanted.contains(.writing), poems > 0 {
                written = try measures.write(poems, tones: tones, sampling: sampling)
                if written.isEmpty {
                    Console.progress(nil)
                    Console.note(
                        "no poem has two keywords, and a rhyme that its form allows: none is written; see --words")
                }
                report.writing = written.map(\.report)
                try show(report.writingText, isSection: true)
            }
            if wanted.contains(.metre) {
                report.removedMass = try measures.removedMass(written)
                try show(report.removedText, isSection: true)
            }
            report.matching = try items.map { try measures.matching($0) }
            try show(report.matchingText, isSection: true)
            report.ratings = try rated.map { try measures.ratings($0) }
            try show(report.ratingsText, isSection: true)
            Console.progress(nil)
            if json { try Console.print(jsonLine(report)) }
        }

        /// Prints a part of the report for people as soon as it is there.
        private func show(_ text: String, isSection: Bool = false) throws {
            guard !json, !text.isEmpty else { return }
            Console.progress(nil)
            try Console.print((isSection ? "\n" : "") + text)
        }

        private func readCorpus(_ vocabulary: PoetVocabulary, _ options: PoetOptions) throws -> PoemDataset? {
            guard !corpus.isEmpty else { return nil }
            Console.progress("reading the corpus …")
            return try lists.dataset(of: corpus, vocabulary: vocabulary, options: options)
        }

        /// The poems of `--test`, all of them held out.
        private func readTest(
            _ vocabulary: PoetVocabulary, _ options: PoetOptions, bank: URL?
        ) throws -> PoemDataset? {
            guard !test.isEmpty else { return nil }
            var (lists, options) = (lists, options)
            options.holdOut = 1
            // A few poems do not tell which words may be keywords; the bank does.
            if lists.words.isEmpty, let bank { lists.words = [bank.path] }
            let data = try lists.dataset(
                of: test, vocabulary: vocabulary, options: options, converter: try ChineseConverter())
            guard !data.validation.isEmpty else {
                throw EvalPoetFailure.nothingMeasured(test.joined(separator: ", "), data.dropped)
            }
            return data
        }

        /// What can be known of the training poems.
        private func known(_ dataset: PoemDataset?, _ models: Pack) throws -> PoetMeasures.Known {
            if let dataset { return .init(poems: dataset.training) }
            return .init(
                lines: try models.lineFilter.map { try LineFilter(contentsOf: $0) },
                endings: try models.endingFilter.map { try LineFilter(contentsOf: $0) })
        }
    }
}

/// What the command itself can find wrong.
enum EvalPoetFailure: Error, CustomStringConvertible {
    case notMeasured(String, String)
    case nothingHeldOut(String, PoemDataset, Int)
    case nothingMeasured(String, [String: Int])

    var description: String {
        switch self {
        case .notMeasured(let folder, let kind):
            "\(folder): a \(kind); tihua eval poet measures GPT2 poets of Tihua (tihua train poet --recipe gpt2)"
        case .nothingMeasured(let test, let dropped):
            "\(test): none of its poems can be measured ("
                + reasons(dropped).joined(separator: ", ") + ")"
        case .nothingHeldOut(let corpus, let dataset, let share):
            "\(corpus): none of its poems is held out (one in \(share) is, by a hash; "
                + "\(dataset.training.count) are trained on"
                + reasons(dataset.dropped).map { ", \($0)" }.joined()
                + "); name the corpus of the training"
        }
    }
}
