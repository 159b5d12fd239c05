import ArgumentParser
import Foundation
import Tihua
import TihuaCorpora
import TihuaFiles
import TihuaGeneration
import TihuaMeasures
import TihuaModels
import TihuaTraining
import TihuaVerse

extension DataCommand {
    /// `tihua data stock`: what a poet writes too often.
    struct Stock: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "stock",
            abstract: "Find the stock phrases of a poet: what it writes more often than people do.",
            discussion: """
                Draws poems from the training part of a corpus, lets the poet write poems of the same form, rhyme and \
                words, and compares how often two characters stand together in the two. Writes PAIR<TAB>EXCESS in \
                nats, which is subtracted while poems are written and when they are ranked.

                  tihua data stock --corpus corpus.jsonl --words Weights/mini/imagery.tsv \\
                    --out Weights/mini/poet/stock.tsv
                """)

        @OptionGroup var data: PoetDataArguments

        @OptionGroup(title: "WEIGHTS") var weights: PoetArguments

        @Option(name: .long, help: "The file to write.", completion: .file(extensions: ["tsv"]))
        var out: String

        @Option(help: "How many poems to draw.")
        var count = 8000

        @Option(help: "Draw only poems of at most N characters.")
        var longest = 56

        @Option(help: "Equal seeds draw equal poems.")
        var seed: UInt64 = 0

        @Flag(help: "Say nothing but errors.")
        var quiet = false

        func validate() throws {
            guard (1...1_000_000).contains(count) else {
                throw ValidationError("--count is \(count); give 1 to 1000000")
            }
        }

        func run() async throws {
            try protect(data.corpus + data.lists.words + data.lists.glosses, from: out, "--out")
            let pack = try weights.pack()
            let device = try weights.place.prepare()
            let folder = try ModelFolder(at: pack.requiredPoet())
            let vocabulary = try PoetVocabulary(contentsOf: folder.url.appending(path: "vocab.txt"))
            let writer = try pack.poemWriter(device: device)

            let examples = try data.dataset(vocabulary: vocabulary, options: PoetOptions()).training
            guard let survey = StockSurvey(examples, count: count, longest: longest, seed: seed) else {
                throw ValidationError(
                    "no poem to draw: the corpus has none of at most \(longest) characters to train on")
            }
            let progress = ProgressLine(isQuiet: quiet)
            let (pairs, planned) = try survey.pairs(of: writer) { done, all in
                progress("\(done) of \(all) poems …")
            }
            progress(nil)
            try AtomicFile.write(pairs.text.utf8, to: URL(filePath: out))
            guard !quiet else { return }
            Console.note("\(pairs.excess.count) pairs of \(planned) poems, \(out)")
        }
    }
}
