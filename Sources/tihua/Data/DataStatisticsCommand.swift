import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaDataFiles
import TihuaEvaluation
import TihuaPictures

extension DataCommand {
    /// `tihua data statistics`: what a set of captions is like.
    struct Statistics: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "statistics", abstract: "Show what a set of captions is like.",
            discussion: """
                Shows lengths, vocabulary, how captions begin, which are repeated, and which should be looked at: very \
                short or long captions, Latin letters, no Chinese character, repeated words. Lengths are in tokens; \
                see tihua eval caption.

                  tihua data statistics captions.tsv
                  tihua data statistics flickr8kzhc.caption.txt --plot lengths.png
                  tihua data statistics captions.tsv --json | jq .lengths.mean
                """)

        @Argument(help: "Files that tihua data captions reads or has written.", completion: .file())
        var captions: [String]

        @OptionGroup var texts: TextArguments

        @OptionGroup(title: "TOKENS") var segmentation: SegmentationArguments

        @Option(help: "Draw the lengths: a .png, .jpg or .webp file.", completion: .file())
        var plot: String?

        @Flag(help: "Print one JSON object.")
        var json = false

        func run() async throws {
            _ = try plot.map { try PictureFormat(outputPath: $0) }
            try protect(captions, from: plot, "--plot")
            let segmentation = try segmentation.value()
            let all = try captions.flatMap {
                try CaptionFile(contentsOf: URL(filePath: $0), encoding: texts.encoding).captions
            }
            let statistics = CaptionStatistics(all) { segmentation.tokens(of: $0) }
            if let plot {
                let histogram = Histogram(
                    title: "\(statistics.captions) captions, mean \(decimal(statistics.lengths.mean, 1))",
                    axis: "length in \(self.segmentation.unit)", counts: statistics.lengths.histogram)
                try histogram.picture().write(to: plot)
            }
            try Console.print(json ? try jsonLine(statistics) : text(statistics))
        }

        private func text(_ found: CaptionStatistics) -> String {
            let (lengths, unit) = (found.lengths, segmentation.unit)
            func list(_ counts: [CaptionStatistics.Count]) -> String {
                counts.map { "\($0.text) \(share($0.count, found.captions))" }.joined(separator: "  ")
            }
            var rows = [
                (
                    "captions",
                    "\(found.captions) of \(found.pictures) pictures, "
                        + "\(found.captionsPerPicture.map(String.init).joined(separator: " to ")) each"
                ),
                (
                    "length",
                    "\(lengths.minimum) to \(lengths.maximum) \(unit), mean \(decimal(lengths.mean, 2)), "
                        + "median \(lengths.median), 95 % at most \(lengths.percentile95)"
                ),
                ("vocabulary", "\(found.vocabulary) \(unit), \(found.singletons) of them once"),
                ("opening with 一", share(found.shareOpeningWithOne)), ("first", list(found.openings)),
                ("first two", list(found.pairOpenings)),
                ("standing twice", "\(found.duplicates) captions (\(share(found.duplicates, found.captions)))"),
            ]
            rows += found.mostRepeated.prefix(3).map { ("", "\($0.count)x \($0.text)") }
            for reason in CaptionStatistics.Suspicion.allCases {
                let suspects = found.suspicious[reason]
                rows.append((Self.names[reason] ?? "", "\(suspects?.count ?? 0)"))
                rows += suspects?.examples.map { ("", $0.replacing("\t", with: "  ")) } ?? []
            }
            return table(rows)
        }

        private static let names: [CaptionStatistics.Suspicion: String] = [
            .short: "shorter than 4", .long: "longer than 40", .latin: "Latin letters", .noHan: "not Chinese",
            .repeated: "repeating itself",
        ]
    }
}

/// How captions are split into tokens.
struct SegmentationArguments: ParsableArguments {
    @Option(
        help: "Split into the words of this list by maximum matching, forwards and backwards: one word a line.",
        completion: .file())
    var words: String?

    @Flag(help: "The captions are segmented: split at spaces.")
    var spaces = false

    func validate() throws {
        if words != nil, spaces { throw ValidationError("give --words or --spaces, not both") }
    }

    /// What a token is called.
    var unit: String { words == nil && !spaces ? "characters" : "words" }

    func value() throws -> CaptionSegmentation {
        if spaces { return .spaces }
        return try words.map { .words(try WordList(contentsOf: URL(filePath: $0))) } ?? .characters
    }
}

/// Two columns, the first as wide as its widest.
func table(_ rows: [(String, String)]) -> String {
    func width(_ text: String) -> Int { text.unicodeScalars.reduce(0) { $0 + ($1.properties.isIdeographic ? 2 : 1) } }
    let widest = rows.map { width($0.0) }.max() ?? 0
    return rows.map { "\(cell($0.0, widest, isLeading: true))  \($0.1)" }.joined(separator: "\n")
}

/// A number as people read it.
func decimal(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

/// As per cent.
func share(_ value: Double) -> String { decimal(100 * value, 1) + " %" }

func share(_ count: Int, _ total: Int) -> String { share(total > 0 ? Double(count) / Double(total) : 0) }
