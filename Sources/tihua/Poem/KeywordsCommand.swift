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
        var failed = false
        func complain(_ error: any Error) {
            progress(nil)
            Console.complain(error)
            failed = true
        }
        let inputs = try PictureInput.all(at: pictures, quiet: quiet, failed: complain)
        try PictureInput.protect(inputs, from: writeCalibration, "--write-calibration")
        try PictureInput.protect(inputs, from: writeBankCache, "--write-bank-cache")
        let engine = try weights.makeEngine()
        if let writeBankCache { try await engine.writeBankCache(to: URL(filePath: writeBankCache)) }
        var embeddings: [[Float]] = []
        defer { progress(nil) }
        for start in stride(from: 0, to: inputs.count, by: Self.batchSize) {
            progress("\(start)/\(inputs.count) …")
            let batch = inputs[start..<min(start + Self.batchSize, inputs.count)]
            var loaded: [(name: String, picture: Picture)] = []
            for (input, result) in zip(batch, await PictureInput.load(batch)) {
                do { loaded.append((input.name, try result.get())) } catch { complain(error) }
            }
            if writeCalibration != nil {
                embeddings += try await engine.embeddings(of: loaded.map(\.picture))
                continue
            }
            let found = try await engine.keywords(forEach: loaded.map(\.picture), count: n)
            progress(nil)
            for (item, keywords) in zip(loaded, found) {
                let result = Named(KeywordResult(keywords: keywords), pictures: [item.name])
                try Console.print(json ? jsonLine(result) : text(item.name, keywords))
            }
        }
        if let writeCalibration, !embeddings.isEmpty {
            try await engine.writeCalibration(embeddings, to: URL(filePath: writeCalibration))
        }
        if failed { throw ExitCode(1) }
    }

    /// A line on the terminal that goes away again; nothing in a pipe.
    private func progress(_ text: String?) {
        if !quiet { Console.progress(text) }
    }

    private func text(_ path: String, _ keywords: [Keyword]) -> String {
        let rows = keywords.map { keyword in
            let score = String(format: "%.3f", keyword.score)
            return "  \(score)  \(keyword.word)  \(keyword.category)"
        }
        return ((quiet ? [] : [path]) + rows).joined(separator: "\n")
    }
}
