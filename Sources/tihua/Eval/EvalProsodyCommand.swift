import ArgumentParser
import Foundation
import TihuaEvaluation
import TihuaMeasures
import TihuaProsody

/// `tihua eval prosody`: whether the checker agrees with the poets.
struct EvalProsodyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prosody", abstract: "Measure how many poems of a corpus the checker finds regular.",
        discussion: """
            CORPUS is what tihua data poems writes. Counted are quatrains and octaves of five or seven characters that
            rhyme in a level tone and alternate at their even places. Their other places are judged by the textbook
            (strict), and with what handbooks allow (loose). What is wrong under loose is listed by kind, and so are
            the characters that 平水韵 does not have.

              tihua eval prosody corpus.jsonl --author 杜甫,王维,李商隐,陆游 --sample 50
            """)

    @Argument(help: "The corpus.", completion: .file())
    var corpus: String

    @Option(help: "Poems of these authors only, in simplified characters, with commas.")
    var author: String?

    @Option(help: "At most so many poems of each form by each author, spread over all of them; 0 takes all.")
    var sample = 0

    @Option(help: "How many unknown characters are listed, the most frequent ones.")
    var unknown = 40

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard sample >= 0 else { throw ValidationError("--sample is \(sample); give a number of poems, or 0 for all") }
        guard unknown >= 0 else { throw ValidationError("--unknown is \(unknown); give 0 or more") }
    }

    func run() throws {
        let authors = Set((author ?? "").split { ",，、 ".contains($0) }.map(String.init))
        let survey = try ProsodySurvey(corpus: URL(filePath: corpus), authors: authors, sample: sample)
        let report = ProsodySurveyReport(survey, most: unknown)
        try Console.print(json ? try jsonLine(report) : Self.text(survey, report))
    }

    private static let order = ["五绝", "七绝", "五律", "七律"]

    private static func text(_ survey: ProsodySurvey, _ report: ProsodySurveyReport) -> String {
        func row(_ name: String, _ count: ProsodySurvey.Count) -> String {
            func share(_ part: Int) -> String {
                count.regulated == 0 ? "-" : String(format: "%.1f%%", 100 * Double(part) / Double(count.regulated))
            }
            return "\(name)\t\(count.shaped)\t\(count.regulated)\t\(count.strict) (\(share(count.strict)))"
                + "\t\(count.loose) (\(share(count.loose)))"
        }
        var rows = ["form\tof its shape\tregulated\tstrict\tloose"]
        rows += order.compactMap { name in survey.forms[name].map { row(name, $0) } }
        rows.append(row("all", survey.total))
        rows += ["", "poems with each fault, under loose:"]
        for (kind, count) in sorted(report.faults) {
            rows.append("\(kind)\t\(count)")
            rows += (survey.examples[ProsodyFault.Kind(rawValue: kind) ?? .tone] ?? []).map { "\t\($0)" }
        }
        rows += ["", "regular poems with each licence:"] + sorted(report.remarks).map { "\($0.0)\t\($0.1)" }
        let missing = survey.unknown.values.reduce(0, +)
        rows += [
            "", "unknown to 平水韵: \(survey.unknown.count) characters, \(missing) of \(survey.characterCount) places",
            report.unknown.map { "\($0.character)\($0.count)" }.joined(separator: " "),
        ]
        return rows.joined(separator: "\n")
    }

    private static func sorted(_ counts: [String: Int]) -> [(key: String, value: Int)] {
        counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
    }
}
