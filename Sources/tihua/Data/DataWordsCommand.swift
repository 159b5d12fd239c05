import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaFiles
import TihuaProsody
import TihuaTraining
import TihuaVerse
import TihuaWeightFiles

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
}
