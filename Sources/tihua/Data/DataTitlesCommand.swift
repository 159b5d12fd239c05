import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaDataFiles
import TihuaFiles
import TihuaTokenizers

extension DataCommand {
    /// `tihua data titles`: captions of paintings from the titles of a catalogue.
    struct Titles: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "titles", abstract: "Make captions of Chinese paintings from the titles of a catalogue.",
            discussion: """
                Reads KEY<TAB>TITLE or KEY<TAB>TITLE<TAB>PAINTER; further columns and a first row that starts with \
                key are left out. Painter, dynasty, year, size, material, owner and the words for mounting and series \
                go, characters become simplified. Writes KEY<TAB>TEXT, such as 画着秋林平远的国画; pictures whose title \
                does not say what is painted get no caption.

                  tihua data titles paintings.tsv --out paintings.captions.tsv
                  tihua train clip --shard paintings.tar,captions=paintings.captions.tsv …
                """)

        @Argument(help: "The file of titles.", completion: .file(extensions: ["tsv"]))
        var input: String

        @Option(help: "The file to write.", completion: .file(extensions: ["tsv"]))
        var out: String

        @Flag(help: "Say nothing but errors.")
        var quiet = false

        func run() async throws {
            try protect([input], from: out, "--out")
            let converter = try ChineseConverter()
            var (lines, untold) = ([String](), 0)
            for (index, line) in try TextFile.lines(of: URL(filePath: input), encoding: nil).enumerated() {
                let columns = line.split(separator: "\t", omittingEmptySubsequences: false)
                if line.isEmpty || index == 0 && columns[0] == "key" { continue }
                guard columns.count > 1, !columns[0].isEmpty else {
                    throw ValidationError("\(input), line \(index + 1): give a key, a tab and a title")
                }
                let painter = columns.count > 2 ? try converter.simplified(String(columns[2])) : ""
                let subject = PaintingTitle.subject(
                    try converter.simplified(String(columns[1])), painter: painter.trimmingCharacters(in: .whitespaces))
                if let subject {
                    lines.append("\(columns[0])\t\(PaintingTitle.caption(subject))\n")
                } else {
                    untold += 1
                }
            }
            try AtomicFile.write(lines.joined().utf8, to: URL(filePath: out))
            guard !quiet else { return }
            Console.note("\(lines.count) captions in \(out); \(untold) titles do not say what is painted")
        }
    }
}
