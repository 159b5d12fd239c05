import ArgumentParser
import Foundation
import Tihua
import TihuaCorpora
import TihuaEvaluation
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

    @OptionGroup(title: "WEIGHTS") var pack: PackArguments

    func validate() throws {
        guard (1...100).contains(top) else { throw ValidationError("--top is \(top); give 1 to 100") }
    }

    func run() async throws {
        let check = try ImageryCheck(readText(URL(filePath: file)), file: file)
        let members = try find(check.rows)
        let engine = try pack.makeEngine()
        let bank = Set(try await engine.bank().entries.map(\.word))
        for row in check.rows {
            if let word = (row.expected + row.forbidden).first(where: { !bank.contains($0) }) {
                throw EvaluationError.badLine(file: file, line: row.line, reason: "\(word) is not in the bank")
            }
        }
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
        let report = Report(check.rows, said, top: top)
        try Console.print(json ? try jsonLine(report) : report.table)
    }

    private static let batch = 32

    /// The picture of each row.
    ///
    /// - Throws: `EvaluationError.badLine` for a shard or a picture that is not there, `CorporaError`.
    private func find(_ rows: [ImageryCheck.Row]) throws -> [(TarShard, TarShard.Entry)] {
        var opened: [String: (shard: TarShard, entries: [String: TarShard.Entry])] = [:]
        return try rows.map { row in
            func wrong(_ reason: String) -> EvaluationError { .badLine(file: file, line: row.line, reason: reason) }
            if opened[row.shard] == nil {
                let url = URL(filePath: shards).appending(path: "\(row.shard).tar")
                guard !row.shard.contains("/"), FileManager.default.fileExists(atPath: url.path) else {
                    throw wrong("\(shards) holds no \(row.shard).tar")
                }
                let shard = try TarShard(contentsOf: url)
                opened[row.shard] = (shard, Dictionary(shard.entries.map { ($0.key, $0) }) { first, _ in first })
            }
            guard let (shard, entries) = opened[row.shard], let entry = entries[row.key] else {
                throw wrong("\(row.shard).tar holds no picture \(row.key)")
            }
            return (shard, entry)
        }
    }

    private struct Report: Encodable {
        /// The words of one picture.
        struct Picture: Encodable {
            let shard: String
            let key: String
            let words: [String]
            let expected: [String]
        }

        let top: Int
        let score: ImageryScore
        let pictures: [Picture]

        init(_ rows: [ImageryCheck.Row], _ said: [[String]], top: Int) {
            self.top = top
            score = ImageryScore(rows, said: said)
            pictures = zip(rows, said).map { row, words in
                Picture(shard: row.shard, key: row.key, words: words, expected: words.filter(row.expected.contains))
            }
        }

        var table: String {
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
}
