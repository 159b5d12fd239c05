import ArgumentParser
import Corpora
import Foundation
import Generation
import Models
import Pipelines
import Prosody
import Training
import WeightFiles

extension DataCommand {
    /// `tihua data words`: how often a corpus has the words of a bank.
    struct Words: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "words", abstract: "Count the poems that have each word of a bank, and the rhymes.",
            discussion: """
                Words that a poet has hardly read become no verse; from the words that fit a picture those that it knows are
                asked for more often, and rhymes as often as people use them. Writes word<TAB>poems and [韵:group]<TAB>poems,
                only of poems that a poet is trained on.

                  tihua data words corpus.jsonl --words Weights/mini/imagery.tsv --out Weights/mini/poet/words.tsv
                """)

        @Argument(help: "Corpora, as tihua train poet reads them.", completion: .file())
        var corpus: [String]

        @Option(name: .long, help: "The bank, or any file with words in its first column.", completion: .file())
        var words: String

        @Option(name: .long, help: "The file to write.", completion: .file(extensions: ["tsv"]))
        var out: String

        func run() async throws {
            let words = try PoetDataArguments.rows(of: words).map { $0[0] }.filter { $0.allSatisfy(\.isHan) }
            guard let longest = words.map(\.count).max() else {
                throw ValidationError("\(self.words) has no word in its first column")
            }
            var counts = Dictionary(words.map { ($0, 0) }) { first, _ in first }
            var rhymes: [String: Int] = [:]
            for file in corpus {
                for poem in try PoemFile.read(URL(filePath: file)) {
                    guard let form = PoemDataset.form(of: poem) else { continue }
                    if let group = PoemDataset.rhyme(of: poem.lines, form: form) {
                        rhymes[PoetVocabulary.token(of: group), default: 0] += 1
                    }
                    var seen: Set<String> = []
                    for line in poem.lines.map(Array.init) {
                        for start in line.indices {
                            for length in 1...longest where start + length <= line.count {
                                let word = String(line[start..<start + length])
                                if counts[word] != nil { seen.insert(word) }
                            }
                        }
                    }
                    for word in seen { counts[word, default: 0] += 1 }
                }
            }
            var written: Set<String> = []
            var rows = words.filter { written.insert($0).inserted }.map { "\($0)\t\(counts[$0] ?? 0)\n" }
            rows += rhymes.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.key)\t\($0.value)\n" }
            try AtomicFile.write(to: URL(filePath: out)) { try $0.write(Array(rows.joined().utf8)) }
        }
    }

    /// `tihua data stock`: what a poet writes too often.
    struct Stock: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "stock",
            abstract: "Find the stock phrases of a poet: what it writes more often than people do.",
            discussion: """
                Draws poems from the training part of a corpus, lets the poet answer the same form, rhyme and words, and
                compares how often two characters stand together in either. Writes pair<TAB>excess in nats, which is
                taken off while poems are written and when they are ranked.

                  tihua data stock --corpus corpus.jsonl --words Weights/mini/imagery.tsv --out Weights/mini/poet/stock.tsv
                """)

        @OptionGroup var data: PoetDataArguments

        @OptionGroup(title: "WEIGHTS") var models: PackArguments

        @Option(name: .long, help: "The file to write.", completion: .file(extensions: ["tsv"]))
        var out: String

        @Option(help: "Poems to draw.")
        var count = 8000

        @Option(help: "Characters of a poem, at most.")
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
            let pack = try models.chosen()
            let device = try models.place.prepare()
            let folder = try ModelFolder(at: pack.requiredPoet())
            let vocabulary = try PoetVocabulary(contentsOf: folder.url.appending(path: "vocab.txt"))
            let format = try PoetFormat(tokens: vocabulary.tokens)
            let lines = try pack.lineFilter.map { try LineFilter(contentsOf: $0) }
            let endings = try pack.endingFilter.map { try LineFilter(contentsOf: $0) }
            let writer = try PoemWriter(GPT2.load(folder, device: device), format: format, device: device) {
                lines?.contains($0) ?? false
            }
            if let endings { writer.isEnding = { endings.contains($0) } }

            let examples = try drawn(vocabulary)
            let plans = examples.enumerated().compactMap { index, example in
                plan(for: example, number: index, writable: format.writable).map { (example, $0) }
            }
            var (written, read): ([String], [String]) = ([], [])
            // Some thousand at a time, so that one sees how far it is.
            for start in stride(from: 0, to: plans.count, by: 1024) {
                let part = Array(plans[start..<min(start + 1024, plans.count)])
                for poem in try writer.write(part.map(\.1)) {
                    written += poem.lines
                    read += part[poem.plan].0.lines
                }
                if !quiet { showProgress("\(start + part.count) of \(plans.count) poems …") }
            }
            if !quiet { showProgress(nil) }
            let pairs = StockPairs(written: written, read: read)
            try AtomicFile.write(to: URL(filePath: out)) { try $0.write(Array(pairs.text.utf8)) }
            guard !quiet else { return }
            FileHandle.standardError.write(Data("\(pairs.excess.count) pairs of \(plans.count) poems, \(out)\n".utf8))
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
