import ArgumentParser
import Foundation
import TihuaFiles
import TihuaProsody
import TihuaTokenizers

/// `tihua check`: holds a poem against its form.
///
/// Exit status: 0 the poem is regular; 1 it has faults, or the text cannot be judged; 2 a flag is wrong.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check the metre and rhyme of a poem.",
        discussion: """
            Lines are split at punctuation and line ends. A title and an author may stand above the poem, and □ for a \
            lost character. Without --form the form is guessed.

              tihua check 白日依山尽，黄河入海流。欲穷千里目，更上一层楼。
              tihua check --form 七律 --tones strict --file poem.txt
              tihua check --form dielianhua --json < ci.txt

            --tones loose accepts what handbooks allow (拗救, 三仄尾) with a remark, strict keeps to the textbook, and \
            off judges only lengths and rhyme.

            The exit status is 0 for a regular poem, 1 for faults or a text that cannot be read, and 2 for wrong flags.
            """)

    @Argument(help: "The poem; without it and without --file, standard input is read.")
    var poem: String?

    @Option(name: .shortAndLong, help: "Read the poem from a file (UTF-8).")
    var file: String?

    @Option(help: "The form by Chinese or pinyin name: 七绝, qijue, 五言古绝, 蝶恋花 ...")
    var form: String?

    @Option(help: "How strictly tones are judged: \(TonePolicy.allCases.map(\.rawValue).joined(separator: ", ")).")
    var tones: TonePolicy = .loose

    @Option(help: "The rhyme book: 平水韵 (pingshui), 词林正韵 (cilin) or 中华新韵 (xinyun); each form has its own.")
    var book: RhymeBook?

    @Flag(help: "Print one JSON object.")
    var json = false

    @Flag(help: "Print the findings in English.")
    var english = false

    func validate() throws {
        if poem != nil, file != nil { throw ValidationError("give the poem or --file, not both") }
    }

    func run() throws {
        let named = try form.map(Form.init(named:))
        // The tables know simplified characters only.
        let (text, report) = try judged(named)
        try Console.print(
            json ? try jsonLine(CheckOutput(text.heading, report, language)) : summary(text.heading, report))
        if !report.isRegular { throw ExitCode(1) }
    }

    /// - Throws: `CheckFailure.text` for a text that cannot be judged: it is the data, not the command, that is wrong.
    private func judged(_ form: Form?) throws -> (PoemText, ProsodyReport) {
        let written = try text()
        do {
            let text = try PoemText(written, as: form) { try ChineseConverter().simplified($0) }
            return (text, try ProsodyChecker(tones: tones, book: book).check(text.lines, as: form))
        } catch let error as ProsodyError {
            throw CheckFailure.text(error)
        }
    }

    private var language: MessageLanguage { english ? .english : .chinese }

    /// The poem from the argument, the file or standard input, at most 1 MiB of UTF-8.
    private func text() throws -> String {
        if let poem { return poem }
        let limit = 1 << 20
        if let file { return try UserFile.text(of: URL(filePath: file), limit: limit) }
        guard isatty(STDIN_FILENO) == 0 else { throw CheckFailure.nothingGiven }
        let data = try FileHandle.standardInput.read(upToCount: limit + 1) ?? Data()
        guard data.count <= limit else { throw CheckFailure.tooLong }
        guard let text = String(data: data, encoding: .utf8) else { throw CheckFailure.notText }
        return text
    }

    private func summary(_ heading: [String], _ report: ProsodyReport) -> String {
        let rhymes = report.rhymeGroups.joined(separator: "、")
        let opening = report.opening.map { "（\($0)）" } ?? ""
        var rows = heading.isEmpty ? [] : [heading.joined(separator: "　")]
        rows.append("\(report.form)\(opening)  \(report.book.rawValue)\(rhymes.isEmpty ? "" : "：\(rhymes)")")
        let width = report.lines.map(\.text.count).max() ?? 0
        let form = try? Form(named: report.form)
        let breaks = form?.lineCount == report.lines.count ? form?.breaks ?? [] : []
        rows += report.lines.enumerated().map { index, line in
            let gap = String(repeating: "　", count: width - line.text.count)
            let pattern = line.pattern.isEmpty ? "" : "  \(line.pattern)\(gap)"
            return (breaks.contains(index) ? "\n" : "")
                + "  \(line.text)\(gap)  \(line.tones)\(gap)\(pattern)\(line.rhymes ? "  韵" : "")"
        }
        rows += report.faults.map { $0.message(in: language) }
        rows += report.remarks.map { (english ? "note: " : "按：") + $0.message(in: language) }
        let count = report.faults.count
        let verdict = english ? (count == 0 ? "regular" : "\(count) faults") : (count == 0 ? "合律" : "不合律：\(count)处")
        let tone = report.toneAccuracy.map { String(format: english ? ", tones %.1f%%" : "，平仄%.1f%%", 100 * $0) } ?? ""
        return (rows + [verdict + tone]).joined(separator: "\n")
    }
}

/// What the command itself can find wrong.
private enum CheckFailure: Error, CustomStringConvertible {
    case nothingGiven
    case tooLong
    case notText
    case text(ProsodyError)

    var description: String {
        switch self {
        case .nothingGiven: "no poem; give it as an argument, with --file, or on standard input"
        case .tooLong: "standard input: longer than 1 MiB, which is no poem; give one poem"
        case .notText: "standard input: not UTF-8 text; convert it first"
        case .text(let error): "\(error)"
        }
    }
}

/// The JSON of a report: the report's own fields, `regular`, the heading, and a message with each fault and remark.
private struct CheckOutput: Encodable {
    struct Fault: Encodable {
        let kind: String
        let line: Int?
        let position: Int?
        let character: String?
        let message: String
    }

    let heading: [String]
    let regular: Bool
    let form: String
    let guessed: Bool
    let opening: String?
    let tones: TonePolicy
    let rhymeBook: RhymeBook
    let rhymeGroups: [String]
    let toneAccuracy: Double?
    let rhymeAccuracy: Double?
    let lines: [ProsodyReport.Line]
    let faults: [Fault]
    let remarks: [Fault]

    init(_ heading: [String], _ report: ProsodyReport, _ language: MessageLanguage) {
        self.heading = heading
        regular = report.isRegular
        form = report.form
        guessed = report.isGuessed
        opening = report.opening
        tones = report.tones
        rhymeBook = report.book
        rhymeGroups = report.rhymeGroups
        toneAccuracy = report.toneAccuracy
        rhymeAccuracy = report.rhymeAccuracy
        lines = report.lines
        func described(_ departures: [ProsodyFault]) -> [Fault] {
            departures.map {
                Fault(
                    kind: $0.kind.rawValue, line: $0.line, position: $0.position, character: $0.character,
                    message: $0.message(in: language))
            }
        }
        (faults, remarks) = (described(report.faults), described(report.remarks))
    }
}
