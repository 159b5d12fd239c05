import ArgumentParser
import Foundation
import Tihua
import TihuaCorpora
import TihuaFiles
import TihuaGeneration
import TihuaModels
import TihuaProsody
import TihuaTraining
import TihuaVerse
import TihuaWeightFiles

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

        @OptionGroup(title: "WEIGHTS") var models: PackArguments

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
            let pack = try models.chosen()
            let device = try models.place.prepare()
            let folder = try ModelFolder(at: pack.requiredPoet())
            let vocabulary = try PoetVocabulary(contentsOf: folder.url.appending(path: "vocab.txt"))
            let writer = try pack.poemWriter(device: device)

            let examples = try drawn(vocabulary)
            let plans = examples.enumerated().compactMap { index, example in
                plan(for: example, number: index, writable: writer.format.writable).map { (example, $0) }
            }
            var (written, read): ([String], [String]) = ([], [])
            // Some thousand at a time, so that one sees how far it is.
            for start in stride(from: 0, to: plans.count, by: 1024) {
                let part = Array(plans[start..<min(start + 1024, plans.count)])
                for poem in try writer.write(part.map(\.1)) {
                    written += poem.lines
                    read += part[poem.plan].0.lines
                }
                if !quiet { Console.progress("\(start + part.count) of \(plans.count) poems …") }
            }
            if !quiet { Console.progress(nil) }
            let pairs = OverusedPairs(written: written, read: read)
            try AtomicFile.write(to: URL(filePath: out)) { try $0.write(Array(pairs.text.utf8)) }
            guard !quiet else { return }
            Console.note("\(pairs.excess.count) pairs of \(plans.count) poems, \(out)")
        }

        private func drawn(_ vocabulary: PoetVocabulary) throws -> [PoemExample] {
            let dataset = try data.dataset(vocabulary: vocabulary, options: PoetOptions())
            var random = SplitMix64(seed: seed)
            let short = dataset.training.filter { $0.form.characterCount <= longest }
            guard !short.isEmpty else {
                throw ValidationError(
                    "no poem to draw: the corpus has none of at most \(longest) characters to train on")
            }
            return Array(short.shuffled(using: &random).prefix(count))
        }

        /// Nil where the form and its rhyme cannot be kept in the characters that the poet knows.
        private func plan(for example: PoemExample, number: Int, writable: Set<Character>) -> PoemPlan? {
            var random = SplitMix64(seed, UInt64(number))
            let words = example.keywords.shuffled(using: &random).prefix(Int.random(in: 0...3, using: &random))
            let constraint = try? MetreConstraint(
                form: example.form, tones: .loose, book: example.form.defaultBook, rhymeGroup: example.rhyme,
                vocabulary: writable)
            return constraint.map {
                PoemPlan(
                    prompt: PoemPrompt(form: example.form, rhyme: example.rhyme, keywords: Array(words)),
                    constraint: $0, seed: random.next())
            }
        }
    }
}
