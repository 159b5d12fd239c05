import ArgumentParser
import Foundation
import Tihua
import TihuaDataFiles
import TihuaEvaluation
import TihuaFiles
import TihuaGeneration
import TihuaMeasures
import TihuaPictures
import TihuaVerse

/// `tihua eval through`: the ways from a picture to a poem, side by side.
struct EvalThroughCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "through", abstract: "Compare the ways from pictures to poems: keywords, prefix, both.",
        discussion: """
            Writes poems by each way and measures the best poem of each: its likeness to the picture (the cosine minus \
            its mean over pictures), its imagery (what the picture says of the poem's characters, in standard \
            deviations), the share of poems with one of the picture's first five words, the share with a character of \
            them, the mean log-probability of a token for the poet that is told only the form, and the share of \
            distinct pairs of characters.

              tihua eval through flickr8k-val.tar --limit 40 --blind blind.txt

            --blind FILE writes the poems of each picture in random order into FILE, and which is which into FILE.key. \
            Pictures are files, folders and tar shards.
            """)

    @Argument(help: "Pictures: files, folders and tar shards.", completion: .file())
    var pictures: [String]

    @Option(help: "Only the pictures with these keys, separated by commas.")
    var keys: String?

    @Option(help: "Only the first N pictures.")
    var limit: Int?

    @Option(help: "Write the poems for a blind reading.", completion: .file())
    var blind: String?

    @Option(help: "How many poems to write in each way; the best of them is measured.")
    var candidates = PoemRequest().candidates

    @Option(help: "Equal seeds give equal poems.")
    var seed: UInt64 = 0

    @Flag(help: "Print one JSON object.")
    var json = false

    @OptionGroup(title: "WEIGHTS") var weights: PoetArguments

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit is \(limit); give at least 1") }
    }

    private typealias Way = PoemRequest.Through

    /// A picture, its words, and the poem of each way, in the order of `Way.allCases`.
    private struct Row {
        let picture: String
        let words: [String]
        let poems: [RankedPoem]
    }

    func run() async throws {
        let (pack, device) = (try weights.pack(), try weights.place.prepare())
        let judge = try FluencyJudge(poet: pack.requiredPoet(), device: device)
        let engine = try Engine(pack: pack, device: device, threads: weights.place.threads)
        var request = PoemRequest()
        (request.count, request.candidates, request.seed, request.through) = (1, candidates, seed, .both)
        try await engine.check(request)
        let list = try pictureList()
        try protect(list.entries.map { ($0.path, $0.identity) }, from: blind, "--blind")
        var rows: [Row] = []
        var unread: [String] = []
        defer { Console.progress(nil) }
        for entry in list.entries.prefix(limit ?? list.entries.count) {
            Console.progress("\(entry.key)  \(rows.count + 1)/\(min(limit ?? .max, list.entries.count)) …")
            guard let picture = try? Picture(encoded: Array(list.bytes(of: entry)), name: entry.key) else {
                unread.append(entry.key)
                continue
            }
            var poems: [RankedPoem] = []
            for way in Way.allCases {
                request.through = way
                poems += try await engine.poems(for: [picture], request: request).poems.prefix(1)
            }
            let words = try await engine.keywords(for: [picture], count: 5).map(\.word)
            rows.append(Row(picture: entry.key, words: words, poems: poems))
        }
        Console.progress(nil)
        if !unread.isEmpty {
            Console.note("\(unread.count) pictures cannot be read: \(unread.prefix(5).joined(separator: ", "))")
        }
        guard !rows.isEmpty else {
            throw EvaluationError.unmeasurable(name: "the pictures", reason: "none can be read")
        }
        let measures = try Way.allCases.enumerated().map { index, way in
            let poems = rows.map { $0.poems[index] }
            return RouteMeasures(way, words: rows.map(\.words), poems: poems, fluency: try judge.fluency(of: poems))
        }
        if let blind { try write(rows, to: URL(filePath: blind)) }
        try Console.print(
            json
                ? try jsonLine(Report(pictures: rows.count, candidates: candidates, seed: seed, ways: measures))
                : Self.table(rows.count, measures))
    }

    private func pictureList() throws -> PictureList {
        let list = try PictureList(pictures.map { URL(filePath: $0) })
        list.notes.forEach(Console.note)
        guard let keys else { return list }
        let wanted = keys.split(separator: ",").map(String.init)
        let known = Set(list.entries.map(\.key))
        if let missing = wanted.first(where: { !known.contains($0) }) {
            throw ValidationError("--keys names \(missing), which is no key of the pictures")
        }
        return list.restricted(to: Set(wanted))
    }

    /// The poems of each picture under A, B, C in random order; which is which goes into a second file.
    private func write(_ rows: [Row], to file: URL) throws {
        let letters = ["A", "B", "C"]
        var (text, key) = ("", "picture\t" + letters.joined(separator: "\t") + "\n")
        for (number, row) in rows.enumerated() {
            var random = SplitMix64(seed, UInt64(number))
            let order = Way.allCases.indices.shuffled(using: &random)
            text += "\(number + 1)  \(row.picture)\n"
            for (letter, index) in zip(letters, order) {
                let lines = row.poems[index].punctuatedLines
                text += "  \(letter)  " + lines.joined(separator: "\n     ") + "\n"
            }
            text += "\n"
            key += ([row.picture] + order.map { Way.allCases[$0].rawValue }).joined(separator: "\t") + "\n"
        }
        for (url, content) in [(file, text), (file.appendingPathExtension("key"), key)] {
            try AtomicFile.write(content.utf8, to: url)
        }
    }

    private struct Report: Encodable {
        let pictures: Int
        let candidates: Int
        let seed: UInt64
        let ways: [RouteMeasures]
    }

    private static func table(_ count: Int, _ ways: [RouteMeasures]) -> String {
        func line(_ name: String, _ cells: [String]) -> String {
            cell(name, 10, isLeading: true) + cells.map { cell($0, 12) }.joined()
        }
        let head = ["similarity", "imagery", "words", "characters", "fluency", "distinct-2"]
        let rows = ways.map { way in
            line(
                way.through,
                [
                    String(format: "%.4f", way.similarity), String(format: "%.3f", way.imagery), percent(way.words),
                    percent(way.characters), String(format: "%.3f", way.fluency),
                    way.distinct2.map { String(format: "%.3f", $0) } ?? "-",
                ])
        }
        return (["\(count) pictures", line("", head)] + rows).joined(separator: "\n")
    }
}
