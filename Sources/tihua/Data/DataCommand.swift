import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaDataFiles
import TihuaFiles
import TihuaTraining

/// `tihua data`: turns public data sets into what the recipes read.
struct DataCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data", abstract: "Prepare data sets for training.",
        discussion: """
              tihua data poems chinese-poetry.tar.xz --out corpus.jsonl
              tihua data lines corpus.jsonl --out Weights/mini/poet/lines.filter
              tihua data captions flickr8kzhc.caption.txt --out captions.tsv
              tihua data statistics captions.tsv
              tihua data embed photos/ --out embeddings.safetensors
            """,
        subcommands: [
            Poems.self, Lines.self, Words.self, Stock.self, Captions.self, Titles.self, Labels.self, Statistics.self,
            Embed.self,
        ])

    /// `tihua data poems`: the upstream chinese-poetry files to one clean corpus.
    struct Poems: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "poems", abstract: "Make a corpus of poems from the files of chinese-poetry.",
            discussion: """
                INPUT is a checkout of github.com/chinese-poetry/chinese-poetry, one of its folders, or a .tar or \
                .tar.xz of it. The corpus has one JSON object a line, with the form of the poem, in simplified \
                characters, without notes and without copies.

                  tihua data poems chinese-poetry --out corpus.jsonl
                  tihua data poems chinese-poetry.tar.xz --out corpus.jsonl --report dropped.txt
                """)

        @Argument(help: "The folder or the archive.", completion: .file())
        var input: String

        @Option(name: .long, help: "Where the corpus goes.", completion: .file())
        var out: String

        @Option(name: .long, help: "Where the report goes: what was dropped and why.", completion: .file())
        var report: String?

        @Flag(name: .long, help: "Print the counts as one JSON object.")
        var json = false

        @Flag(name: .long, help: "Say nothing but errors.")
        var quiet = false

        func run() async throws {
            for (file, option) in [(out, "--out"), (report, "--report")] { try protect([input], from: file, option) }
            let start = ContinuousClock.now
            let progress = ProgressLine(isQuiet: quiet)
            let result = try PoemImporter().run(from: URL(filePath: input), to: URL(filePath: out)) { count in
                progress("\(count) poems")
            }
            progress(nil)
            if let report { try AtomicFile.write(result.description.utf8, to: URL(filePath: report)) }
            if json { try Console.print(try jsonLine(Counts(result))) }
            guard !quiet, !json else { return }
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            let rate = Int(Double(result.read) / max(seconds, 0.001))
            if report == nil { Console.note(result.description) }
            let time = String(format: "%.1f", seconds)
            Console.note("\(result.written) of \(result.read) poems in \(out), \(time) s (\(rate) poems/s)")
        }

        /// What `--json` prints.
        private struct Counts: Encodable {
            let read: Int
            let written: Int
            let lines: Int
            let forms: [String: Int]
            let dropped: [String: Int]

            init(_ report: PoemImporter.Report) {
                (read, written, lines, forms) = (report.read, report.written, report.lines, report.forms)
                dropped = Dictionary(uniqueKeysWithValues: report.dropped.map { ($0.key.rawValue, $0.value) })
            }
        }
    }

    /// `tihua data lines`: the filter by which a poet does not repeat lines that it was trained on.
    struct Lines: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "lines", abstract: "Make the filter of training lines that a poet's folder holds.",
            discussion: """
                  tihua data lines corpus.jsonl --out Weights/mini/poet/lines.filter
                  tihua data lines corpus.jsonl --endings \\
                    --out Weights/mini/poet/endings.filter
                """)

        @Argument(help: "Corpora, as tihua train poet reads them.", completion: .file())
        var corpus: [String]

        @Option(name: .long, help: "Where the filter goes.", completion: .file())
        var out: String

        @Flag(
            name: .long,
            help: "Store the ends of lines instead: their last two characters, where at least three lines end so.")
        var endings = false

        @Option(name: .long, help: "The share of new lines that the filter may mistake for known ones.")
        var rate = 0.005

        func run() async throws {
            guard (0.0001...0.1).contains(rate) else { throw ValidationError("--rate is between 0.0001 and 0.1") }
            try protect(corpus, from: out, "--out")
            // A poet is trained on forms with a metre only.
            let lines = try corpus.flatMap { try PoemFile.read(URL(filePath: $0)) }
                .filter { PoemDataset.form(of: $0) != nil }.flatMap(\.lines)
            let filter =
                endings
                ? LineFilter(endingsOf: lines, falsePositiveRate: rate)
                : LineFilter(lines: lines, falsePositiveRate: rate)
            try filter.write(to: URL(filePath: out))
            Console.note("\(filter.count) \(endings ? "endings" : "lines") in \(filter.byteCount) bytes, \(out)")
        }
    }
}
