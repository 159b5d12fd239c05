import ArgumentParser
import Foundation
import Tihua
import TihuaPictures

/// `tihua keywords`: the words that pictures call up.
struct KeywordsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keywords", abstract: "Show the classical words that fit pictures.",
        discussion: """
            EXAMPLES
              tihua keywords photo.jpg
              tihua keywords photo.jpg --n 12 --bank my-words.tsv
              tihua keywords album/ --json | jq -r '.keywords[0].word'

            \(PictureInput.discussion)

            For makers of packs: --write-calibration writes what the given pictures have in common, which is then \
            subtracted from the score of every poem. --write-bank-cache writes the embeddings of the bank, so that the \
            first start need not compute them.
            """)

    @Argument(help: PictureInput.help, completion: .file())
    var pictures: [String]

    @Option(help: "How many words.")
    var n = 8

    @OptionGroup(title: "WEIGHTS") var weights: PoetArguments

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

    /// Pictures that are embedded together.
    private static let batchSize = 32

    func run() async throws {
        let failures = Failures()
        let inputs = try PictureInput.all(at: pictures, quiet: quiet, failed: failures.report)
        try PictureInput.protect(inputs, from: writeCalibration, "--write-calibration")
        try PictureInput.protect(inputs, from: writeBankCache, "--write-bank-cache")
        let engine = try weights.makeEngine()
        if let writeBankCache { try await engine.writeBankCache(to: URL(filePath: writeBankCache)) }
        var embeddings: [[Float]] = []
        try await PictureInput.forEachBatch(of: inputs, size: Self.batchSize, progress, failures) { loaded in
            guard writeCalibration == nil else {
                embeddings += try await engine.embeddings(of: loaded.map(\.picture))
                return
            }
            let found = try await engine.keywords(forEach: loaded.map(\.picture), count: n)
            progress(nil)
            for (item, keywords) in zip(loaded, found) {
                let name = inputs[item.place].name
                let result = Named(KeywordResult(keywords: keywords), pictures: [name])
                try Console.print(json ? jsonLine(result) : text(name, keywords))
            }
        }
        if let writeCalibration, !embeddings.isEmpty {
            try await engine.writeCalibration(embeddings, to: URL(filePath: writeCalibration))
        }
        try failures.end()
    }

    private var progress: ProgressLine { ProgressLine(isQuiet: quiet) }

    private func text(_ path: String, _ keywords: [Keyword]) -> String {
        let rows = keywords.map { keyword in
            let score = String(format: "%.3f", keyword.score)
            return "  \(score)  \(keyword.word)  \(keyword.category)"
        }
        return ((quiet ? [] : [path]) + rows).joined(separator: "\n")
    }
}
