import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaMeasures

/// `tihua eval matching`: classical lines that say what a modern sentence says, by likeness.
struct EvalMatchingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "matching", abstract: "Measure how well sentences find the classical line that says the same.",
        discussion: """
            FILE holds CCPM's JSON lines: a modern sentence and four classical lines, of which one says the same. The \
            answer is the line whose embedding is the nearest to the sentence's; guessing is right in 25 %.

              tihua eval matching ccpm/valid.jsonl
              tihua eval matching ccpm/train.jsonl --limit 1000 --clip runs/clip/best --json
            """)

    @Argument(help: "CCPM JSON lines.", completion: .file())
    var file: String

    @Option(help: "Only the first N sentences.")
    var limit: Int?

    @Flag(help: "Print one JSON object.")
    var json = false

    @OptionGroup(title: "WEIGHTS") var towers: TowerArguments

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit is \(limit); give at least 1") }
    }

    func run() async throws {
        let items = try MatchingItem.read(URL(filePath: file))
        let found = try TowerMeasures(towers).matching(Array(items.prefix(limit ?? items.count)), of: file)
        try Console.print(
            json ? try jsonLine(found) : "\(found.items) sentences, right line \(percent(found.accuracy))")
    }
}
