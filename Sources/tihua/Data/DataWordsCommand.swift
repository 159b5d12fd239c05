import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaFiles
import TihuaProsody
import TihuaVerse

extension DataCommand {
    /// `tihua data words`: how often a corpus has the words of a bank.
    struct Words: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "words", abstract: "Count the poems that have each word of a bank, and the rhymes.",
            discussion: """
                Counts in how many poems each word stands, and how many poems rhyme in each group. With these counts a \
                poet is asked more often for words that it knows, and for rhymes as often as people use them. Writes \
                WORD<TAB>POEMS and [韵:GROUP]<TAB>POEMS; only poems of forms that a poet is trained on are counted.

                  tihua data words corpus.jsonl --words Weights/mini/imagery.tsv \\
                    --out Weights/mini/poet/words.tsv
                """)

        @Argument(help: "Corpora, as tihua train poet reads them.", completion: .file())
        var corpus: [String]

        @Option(name: .long, help: "The bank, or any file with words in its first column.", completion: .file())
        var words: String

        @Option(name: .long, help: "The file to write.", completion: .file(extensions: ["tsv"]))
        var out: String

        func run() async throws {
            try protect(corpus + [words], from: out, "--out")
            let words = try PoemSources.rows(of: URL(filePath: words)).map { $0[0] }.filter { $0.allSatisfy(\.isHan) }
            guard !words.isEmpty else { throw ValidationError("\(self.words) has no word in its first column") }
            let counts = try WordFrequencies(of: words, in: corpus.map { URL(filePath: $0) })
            try AtomicFile.write(counts.text(beginningWith: words).utf8, to: URL(filePath: out))
        }
    }
}
