import ArgumentParser
import Foundation
import Tihua
import TihuaCorpora
import TihuaDataFiles
import TihuaEvaluation
import TihuaMeasures
import TihuaPictures
import TihuaTraining

/// `tihua eval imagery`: whether the words that pictures call up are right.
struct EvalImageryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "imagery", abstract: "Measure whether pictures call up the right words.",
        discussion: """
            FILE has a line for each picture: SHARD<TAB>KEY<TAB>EXPECTED WORDS<TAB>FORBIDDEN WORDS, with spaces \
            between words. A shard is the name of a file in the folder of --shards, without its .tar. The words \
            measured are those of tihua keywords.

              tihua eval imagery Recipes/eval/imagery.tsv --shards images

            For makers of packs: --fit CALIBRATION learns from one half of the pictures how sure a word is by its \
            cosine, adds that to a file that tihua keywords --write-calibration has written, and measures the words \
            that are then sure on the other half. --half measures on one half alone.

              tihua eval imagery Recipes/eval/imagery.tsv --shards images \\
                --fit calibration.safetensors
            """)

    @Argument(help: "The pictures with their expected and forbidden words.", completion: .file())
    var file: String

    @Option(help: "The folder of the shards.", completion: .directory)
    var shards: String

    @Option(help: "How many words each picture gets.")
    var top = 5

    @Option(
        help: "Fit to one half, add it to this file of calibration, measure on the other half.", completion: .file())
    var fit: String?

    @Option(help: "Measure on one half of the pictures: fitted, or other.")
    var half: Half?

    @Flag(help: "Print one JSON object.")
    var json = false

    @OptionGroup(title: "WEIGHTS") var weights: PoetArguments

    func validate() throws {
        guard (1...100).contains(top) else { throw ValidationError("--top is \(top); give 1 to 100") }
        if fit != nil, half == .fitted { throw ValidationError("--fit measures on the other half") }
    }

    /// A half of the pictures.
    enum Half: String, ExpressibleByArgument, CaseIterable {
        case fitted
        case other
    }

    func run() async throws {
        let all = try ImageryCheck(readText(URL(filePath: file)), file: file)
        func part(isFirst: Bool) throws -> ImageryCheck {
            guard let part = all.half(isFirst: isFirst) else {
                throw EvaluationError.nothingFound(file: file, expected: "pictures in both halves")
            }
            return part
        }
        let fitted = try fit == nil ? nil : part(isFirst: true)
        let check = try fit == nil && half == nil ? all : part(isFirst: half == .fitted)
        let engine = try weights.makeEngine()
        try all.check(against: Set(await engine.bank().entries.map(\.word)), file: file)
        if let fit, let fitted {
            try await engine.writeSureness(
                embeddings(of: fitted, by: engine), right: fitted.rows.map { Set($0.expected) },
                to: URL(filePath: fit))
        }
        let said = try await engine.keywords(forEmbeddings: embeddings(of: check, by: engine), count: top)
            .map { $0.map(\.word) }
        let report = ImageryReport(check, said: said, top: top)
        try Console.print(json ? try jsonLine(report) : report.table)
    }

    private func embeddings(of check: ImageryCheck, by engine: Engine) async throws -> [[Float]] {
        let members = try check.pictures(in: URL(filePath: shards), file: file)
        var embeddings: [[Float]] = []
        defer { Console.progress(nil) }
        for start in stride(from: 0, to: members.count, by: Self.batch) {
            Console.progress("\(start)/\(members.count) …")
            let pictures = try members[start..<min(start + Self.batch, members.count)].map { shard, entry in
                try Picture(encoded: Array(shard.bytes(of: entry)), name: entry.key)
            }
            embeddings += try await engine.embeddings(of: pictures)
        }
        return embeddings
    }

    private static let batch = 32
}

extension ImageryReport {
    /// The report for people.
    fileprivate var table: String {
        let measures = [
            ("words that are expected", percent(score.expectedShare)),
            ("pictures with an expected word", percent(score.anyExpectedShare)),
            ("forbidden words", "\(score.forbidden.count)"),
        ]
        let lines = measures.map { cell($0.0, 32, isLeading: true) + cell($0.1, 8) }
        let faults = score.forbidden.map { "  \($0.shard)  \($0.key)  \($0.word)" }
        return (["\(score.pictures) pictures, the first \(top) words of each"] + lines + faults)
            .joined(separator: "\n")
    }
}
