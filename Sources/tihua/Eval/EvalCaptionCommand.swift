import ArgumentParser
import Foundation
import TihuaDataFiles
import TihuaEvaluation
import TihuaMeasures

/// `tihua eval caption`: captions against references, and against their pictures.
struct EvalCaptionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caption", abstract: "Measure captions against references and pictures.",
        discussion: """
            Measures BLEU-1 to 4, ROUGE-L and CIDEr-D as pycocoevalcap defines them, distinct-1 and 2, self-BLEU, and \
            with --pictures the CLIP score, 2.5 max(cos, 0), and its reference form. Files are what tihua data \
            captions reads, lines ID<TAB>TEXT<TAB>TEXT…, or the JSON lines of tihua caption.

              tihua eval caption --references flickr8kzhc.caption.txt \\
                --captions captions.tsv
              tihua eval caption --references val.tsv --captions captions.jsonl --first \\
                --pictures flickr8k-val.tar
              tihua eval caption --references val.tsv --captions captions.tsv \\
                --words words.txt --json

            Captions are split into characters, without punctuation; --words LIST and --spaces split them into words \
            instead. The numbers differ much between the three, so state which one you used. Every caption of a \
            picture counts; with --first only the first one does, and self-BLEU alone uses the others.
            """)

    @Option(help: "Captions written by people; may stand several times.", completion: .file())
    var references: [String]

    @Option(help: "The captions to measure.", completion: .file())
    var captions: String

    @Flag(help: "Measure the first caption of each picture only.")
    var first = false

    @OptionGroup var texts: TextArguments

    @OptionGroup(title: "TOKENS") var segmentation: SegmentationArguments

    @Option(
        help: "A shard or a folder with the pictures, for the CLIP score; may stand several times.",
        completion: .file())
    var pictures: [String] = []

    @OptionGroup(title: "WEIGHTS OF THE CLIP SCORE") var towers: TowerArguments

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        if references.isEmpty { throw ValidationError("nothing to measure against; give --references FILE") }
    }

    func run() async throws {
        let segmentation = try segmentation.value()
        var truth: [String: [String]] = [:]
        for path in references {
            truth.merge(try CaptionFile(contentsOf: URL(filePath: path), encoding: texts.encoding).textsByImage) {
                $0 + $1
            }
        }
        let file = try CaptionFile(contentsOf: URL(filePath: captions), encoding: texts.encoding)
        let pairs = try CaptionPairs(
            file.captions, references: truth, names: (captions, references.joined(separator: ", ")))
        if !pairs.withoutReference.isEmpty {
            let names = pairs.withoutReference.prefix(10).joined(separator: ", ")
            Console.note("left out: \(pairs.withoutReference.count) pictures without a reference: \(names)")
        }
        if pairs.withoutCaption > 0 {
            Console.note("\(pairs.withoutCaption) pictures of the references have no caption")
        }
        var result = try CaptionMeasures(
            pairs, segmentation: segmentation, tokens: self.segmentation.unit, firstOnly: first)
        if !pictures.isEmpty {
            let list = try PictureList(pictures.map { URL(filePath: $0) }).restricted(to: Set(pairs.pictures))
            list.notes.forEach(Console.note)
            defer { Console.progress(nil) }
            (result.clipScore, result.refClipScore) = try await (first ? pairs.firstOnly : pairs)
                .clipScores(by: towers.makeEngine(), of: list) {
                    Console.progress("\($0)/\(list.entries.count) pictures")
                }
        }
        try Console.print(json ? try jsonLine(result) : result.text)
    }
}

extension CaptionMeasures {
    /// The measures for people.
    fileprivate var text: String {
        let found = evaluation
        var rows = [("", "\(found.captions) captions, \(found.pictures) pictures, \(found.references) references")]
        rows += found.bleu.enumerated().map { ("BLEU-\($0 + 1) x 100", decimal(100 * $1, 2)) }
        rows += [
            ("ROUGE-L x 100", decimal(100 * found.rougeL, 2)), ("CIDEr-D x 100", decimal(100 * found.cider, 2)),
        ]
        if let clipScore { rows.append(("CLIP score", decimal(clipScore, 4))) }
        if let refClipScore { rows.append(("RefCLIPScore", decimal(refClipScore, 4))) }
        rows += [
            ("distinct-1", decimal(found.distinct[0], 4)), ("distinct-2", decimal(found.distinct[1], 4)),
        ]
        if let selfBleu { rows.append(("self-BLEU", decimal(selfBleu, 4))) }
        rows += [
            ("opening with 一", share(found.shareOpeningWithOne)),
            ("mean length", "\(decimal(found.meanLength, 2)) \(tokens)"),
        ]
        return table(rows)
    }
}
