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
            """)

    @Argument(help: "The pictures with their expected and forbidden words.", completion: .file())
    var file: String

    @Option(help: "The folder of the shards.", completion: .directory)
    var shards: String

    @Option(help: "How many words each picture gets.")
    var top = 5

    @Flag(help: "Print one JSON object.")
    var json = false

    @OptionGroup(title: "WEIGHTS") var weights: PoetArguments

    func validate() throws {
        guard (1...100).contains(top) else { throw ValidationError("--top is \(top); give 1 to 100") }
    }

    func run() async throws {
        let check = try ImageryCheck(readText(URL(filePath: file)), file: file)
        let members = try check.pictures(in: URL(filePath: shards), file: file)
        let engine = try weights.makeEngine()
        try check.check(against: Set(await engine.bank().entries.map(\.word)), file: file)
        var said: [[String]] = []
        defer { Console.progress(nil) }
        for start in stride(from: 0, to: members.count, by: Self.batch) {
            Console.progress("\(start)/\(members.count) …")
            let pictures = try members[start..<min(start + Self.batch, members.count)].map { shard, entry in
                try Picture(encoded: Array(shard.bytes(of: entry)), name: entry.key)
            }
            said += try await engine.keywords(forEach: pictures, count: top).map { $0.map(\.word) }
        }
        Console.progress(nil)
        let report = ImageryReport(check, said: said, top: top)
        try Console.print(json ? try jsonLine(report) : report.table)
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
