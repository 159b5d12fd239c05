import ArgumentParser
import Corpora
import Foundation
import Generation
import Models
import Pipelines
import Prosody
import Tokenizers
import Torch
import Training
import WeightFiles

extension DataCommand {
    /// `tihua data rivals`: beside each poem of a corpus one that a poet wrote to the same prompt.
    struct Rivals: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rivals", abstract: "Let a poet answer the prompts of a corpus, for training a critic.",
            discussion: """
                Draws poems from the training part of the corpus (what tihua train poet trains on), asks the poet for a poem
                to the same form, rhyme and words, and writes both, one JSON object a line. Poems that break the tones their
                form asks for are left out: a critic that learns from these pairs should not learn metre.

                  tihua data rivals --corpus corpus.jsonl --words Weights/mini/imagery.tsv --count 30000 --out rivals.jsonl
                  tihua train critic --rivals rivals.jsonl --out runs/critic
                """)

        @OptionGroup var data: PoetDataArguments

        @OptionGroup(title: "WEIGHTS") var models: PackArguments

        @Option(name: .long, help: "The file to write.", completion: .file(extensions: ["jsonl"]))
        var out: String

        @Option(help: "Poems to draw.")
        var count = 30_000

        @Option(help: "Characters of a poem, at most.")
        var longest = 56

        @Option(help: "Temperatures, with commas; each is used for as many poems as the others.")
        var temperatures = "0.75,0.9,1.05"

        @Option(help: "Equal seeds draw equal poems.")
        var seed: UInt64 = 0

        @Flag(help: "Say nothing but errors.")
        var quiet = false

        func run() async throws {
            let values = temperatures.split(separator: ",").compactMap { Double($0) }
            guard !values.isEmpty, values.allSatisfy({ $0 > 0 && $0 <= 2 }) else {
                throw ValidationError("--temperatures is \(temperatures); give numbers above 0, up to 2, with commas")
            }
            let pack = try models.chosen()
            let folder = try ModelFolder(at: pack.requiredPoet())
            let tokens = try readText(folder.url.appending(path: "vocab.txt")).split(separator: "\n").map(String.init)
            let format = try PoetFormat(tokens: tokens)
            let filter = try pack.lineFilter.map { try LineFilter(contentsOf: $0) }
            let endings = try pack.endingFilter.map { try LineFilter(contentsOf: $0) }
            let writer = try PoemWriter(GPT2.load(folder), format: format) { filter?.contains($0) ?? false }
            if let endings { writer.isEnding = { endings.contains($0) } }

            let examples = try drawn(vocabulary: PoetVocabulary(tokens: tokens))
            var lines: [String] = []
            let batch = 128
            for (number, start) in stride(from: 0, to: examples.count, by: batch).enumerated() {
                var sampling = Sampling()
                sampling.temperature = values[number % values.count]
                let part = examples[start..<min(start + batch, examples.count)]
                let plans = part.enumerated().compactMap { index, example in
                    plan(for: example, number: start + index, writable: format.writable).map { (example, $0) }
                }
                for poem in try writer.write(plans.map(\.1), sampling: sampling) {
                    let (example, plan) = plans[poem.plan]
                    lines.append(
                        try jsonLine(
                            Rivalry(
                                form: example.form.name, words: plan.prompt.keywords, human: example.lines,
                                rival: poem.lines)) + "\n")
                }
                if !quiet { showProgress("\(lines.count) of \(examples.count) …") }
            }
            try AtomicFile.write(to: URL(filePath: out)) { try $0.write(Array(lines.joined().utf8)) }
        }

        /// Poems of the training part that keep their metre, drawn by the seed; those of one form stand together.
        private func drawn(vocabulary: PoetVocabulary) throws -> [PoemExample] {
            let dataset = try data.dataset(vocabulary: vocabulary, options: PoetOptions())
            var random = SplitMix64(seed: seed)
            let kept = dataset.training.lazy.filter { $0.form.characterCount <= longest }
                .shuffled(using: &random).lazy.filter { example in
                    let checker = ProsodyChecker(tones: .loose, book: example.form.defaultBook)
                    return (try? checker.check(example.lines, as: example.form))?.faults.isEmpty == true
                }.prefix(count)
            return kept.sorted { $0.form.name < $1.form.name }
        }

        private func plan(for example: PoemExample, number: Int, writable: Set<Character>) -> PoemPlan? {
            var random = SplitMix64(seed, UInt64(number))
            let words = example.keywords.shuffled(using: &random).prefix(Int.random(in: 0...3, using: &random))
            let prompt = PoemPrompt(form: example.form, rhyme: example.rhyme, keywords: Array(words))
            guard
                let constraint = try? MetreConstraint(
                    form: example.form, tones: .loose, book: example.form.defaultBook, rhymeGroup: example.rhyme,
                    vocabulary: writable)
            else { return nil }
            return PoemPlan(prompt: prompt, constraint: constraint, seed: random.next())
        }
    }
}
