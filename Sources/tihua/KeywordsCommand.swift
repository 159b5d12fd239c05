import ArgumentParser
import Foundation
import Pictures
import Pipelines

/// `tihua keywords`: the words that pictures call up.
struct KeywordsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keywords", abstract: "Show the classical words that fit pictures.",
        discussion: """
            EXAMPLES
              tihua keywords photo.jpg
              tihua keywords photo.jpg --n 12 --bank my-words.tsv
              tihua keywords *.jpg --json | jq -r '.keywords[0].word'

            For makers of packs: --write-calibration measures what the given pictures have in common, which is then taken
            off the score of every poem; --write-bank-cache writes the embeddings of the bank, so that a first start computes none.
            """)

    @Argument(help: "Pictures.", completion: .file())
    var pictures: [String]

    @Option(help: "How many words.")
    var n = 8

    @OptionGroup(title: "WEIGHTS") var pack: PackArguments

    @Option(help: "Write the mean embedding of the pictures to this safetensors file.", completion: .file())
    var writeCalibration: String?

    @Option(help: "Write the embeddings of the bank to this safetensors file.", completion: .file())
    var writeBankCache: String?

    @Flag(help: "Print one JSON object a line for each picture.")
    var json = false

    @Flag(help: "Print nothing but words and errors.")
    var quiet = false

    func validate() throws {
        guard (1...100).contains(n) else { throw ValidationError("--n is \(n); give 1 to 100") }
    }

    func run() async throws {
        let poet = try pack.makePoet()
        if let writeBankCache { try await poet.writeBankCache(to: URL(filePath: writeBankCache)) }
        var failed = false
        var embeddings: [[Float]] = []
        for path in pictures {
            do {
                let picture = try Picture(contentsOf: path)
                if writeCalibration != nil {
                    embeddings += try await poet.embeddings(of: [picture])
                    continue
                }
                let keywords = try await poet.keywords(for: [picture], count: n)
                let report = Report(picture: path, keywords: keywords.map(KeywordReport.init))
                try Console.print(json ? try jsonLine(report) : text(path, keywords))
            } catch {
                Tihua.complain("\(error)")
                failed = true
            }
        }
        if let writeCalibration { try await poet.writeCalibration(embeddings, to: URL(filePath: writeCalibration)) }
        if failed { throw ExitCode(1) }
    }

    private struct Report: Encodable {
        let picture: String
        let keywords: [KeywordReport]
    }

    private func text(_ path: String, _ keywords: [Keyword]) -> String {
        let rows = keywords.map { keyword in
            let score = String(format: "%.3f", keyword.score)
            return "  \(score)  \(keyword.word)  \(keyword.category)"
        }
        return ((quiet ? [] : [path]) + rows).joined(separator: "\n")
    }
}
