import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaEvaluation
import TihuaMeasures
import TihuaTraining

/// `tihua eval retrieval`: pictures and captions that look for each other.
struct EvalRetrievalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retrieval", abstract: "Measure how well pictures and captions find each other.",
        discussion: """
            Each picture searches all captions, and any caption of its own is right; each caption searches all \
            pictures. Recall at K is the share of searches that find a right answer among the first K. SHARD is a tar \
            archive or a folder of pictures. Captions belong to a picture by its path in SHARD, or by its name alone \
            where only one picture has that name.

              tihua eval retrieval --shard album/,captions=captions.tsv
              tihua eval retrieval \\
                --shard flickr8k-val.tar,captions=flickr8kzhc.caption.txt \\
                --clip runs/clip/best --json
            """)

    @Option(help: "SHARD,captions=FILE[,captions=FILE]..., as for training.")
    var shard: String

    @Option(help: "Only the first N pictures.")
    var limit: Int?

    @Option(
        help: """
            Only half of the pictures ask, by a hash of their keys, and all answer: chosen (the half that tihua train \
            clip chooses by) or reported (the other).
            """)
    private var half: Half?

    @Flag(help: "Print one JSON object.")
    var json = false

    @OptionGroup(title: "WEIGHTS") var towers: TowerArguments

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit is \(limit); give at least 1") }
    }

    func run() async throws {
        let source = try TrainClipCommand.source(shard)
        guard !source.captions.isEmpty else {
            throw ValidationError("--shard \(shard) names no captions; add captions=FILE")
        }
        let shard = try source.described()
        shard.notes.forEach(Console.note)
        let found = try TowerMeasures(towers).retrieval(
            shard, limit: limit, half: half.flatMap { RetrievalHalf(rawValue: $0.rawValue) })
        try Console.print(json ? try jsonLine(found) : Self.table(found))
    }

    private static func table(_ found: Retrieval) -> String {
        func row(_ name: String, _ direction: Retrieval.Direction) -> String {
            let shares = [direction.recallAt1, direction.recallAt5, direction.recallAt10].map { cell(percent($0), 10) }
            return cell(name, 20, isLeading: true) + shares.joined()
                + cell(String(format: "%.1f", direction.medianRank), 14)
        }
        let head = ["recall at 1", "5", "10"].map { cell($0, 10) }.joined()
        return """
            \(found.pictures) pictures, \(found.captions) captions
            \(cell("", 19))\(head)\(cell("median rank", 14))
            \(row("picture to caption", found.pictureToCaption))
            \(row("caption to picture", found.captionToPicture))
            """
    }
}

/// The choices of `RetrievalHalf`.
private enum Half: String, ExpressibleByArgument, CaseIterable {
    case chosen, reported
}
