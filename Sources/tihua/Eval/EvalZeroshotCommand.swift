import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaEvaluation
import TihuaMeasures
import TihuaTraining

/// `tihua eval zeroshot`: labelled pictures classified by what their labels' captions say.
struct EvalZeroshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "zeroshot", abstract: "Measure how well captions of labels classify labelled pictures.",
        discussion: """
            A class is the mean of the embeddings of all captions of its label, at unit length (prompt ensemble, \
            Radford et al. 2021), and a picture gets the class that it is nearest to. The lines of the labels' FILE \
            are FOLDER<TAB>CAPTION. Pictures in folders that it does not name are left out, and the folders are \
            listed.

            All pictures are measured. For a shard that the model was trained on, --held-out 20 measures only the \
            pictures that training left out: one in 20 by a hash of the key, which is what tihua train clip does by \
            default.

              tihua eval zeroshot --shard my-pictures/,labels=labels.tsv
              tihua eval zeroshot --held-out 20 \\
                --shard intel-train.tar,labels=Recipes/labels/intel.tsv
              tihua eval zeroshot --clip runs/clip/best --json \\
                --shard weather-train.tar,labels=Recipes/labels/weather.tsv
            """)

    @Option(help: "SHARD,labels=FILE, as for training; may stand several times.")
    var shard: [String]

    @Option(help: "Measure only the one picture in N that training leaves out; 1 measures all.")
    var heldOut = 1

    @Flag(help: "Print one JSON object.")
    var json = false

    @OptionGroup(title: "WEIGHTS") var towers: TowerArguments

    func validate() throws {
        guard heldOut >= 1 else { throw ValidationError("--held-out is \(heldOut); give at least 1") }
    }

    func run() async throws {
        let shards = try shard.map { try TrainClipCommand.source($0).described() }
        shards.flatMap(\.notes).forEach(Console.note)
        let measures = try TowerMeasures(towers)
        let rows = try shards.map { Row(shard: $0.name, result: try measures.classification($0, heldOut: heldOut)) }
        try Console.print(json ? try jsonLine(Report(heldOut: heldOut, shards: rows)) : Self.table(rows))
    }

    private struct Row: Encodable {
        let shard: String
        let result: Classification
    }

    private struct Report: Encodable {
        let heldOut: Int
        let shards: [Row]
    }

    /// Classes that are printed at most, the worst of them where there are more.
    private static let classLimit = 20

    private static func table(_ rows: [Row]) -> String {
        let width =
            (rows.flatMap { [$0.shard] + $0.result.classes.map { "  \($0.label)" } }.map(\.count).max() ?? 0) + 1
        func line(_ name: String, _ cells: [String]) -> String {
            cell(name, width, isLeading: true) + cells.map { cell($0, 10) }.joined()
        }
        var lines = [line("", ["pictures", "classes", "top 1", "top 5"])]
        for row in rows {
            let result = row.result
            lines.append(
                line(
                    row.shard,
                    [
                        "\(result.pictures)", "\(result.classes.count)", percent(result.accuracy),
                        result.top5.map(percent) ?? "-",
                    ]))
        }
        for row in rows {
            let classes = row.result.classes
            let isLong = classes.count > classLimit
            lines += ["", row.shard + (isLong ? ", the \(classLimit) worst classes" : "")]
            let shown = isLong ? Array(classes.sorted { $0.accuracy < $1.accuracy }.prefix(classLimit)) : classes
            lines += shown.map { line("  \($0.label)", ["\($0.pictures)", "", percent($0.accuracy)]) }
            lines += row.result.confusions.map { "  \($0.pictures) of \($0.label) taken for \($0.takenFor)" }
        }
        return lines.joined(separator: "\n")
    }
}
