import ArgumentParser
import Foundation
import Tihua
import TihuaFiles
import TihuaMeasures

extension EvalCommand {
    /// `tihua eval ranking`: how well the order of the candidates agrees with a reader's choices.
    struct Ranking: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "ranking", abstract: "Compare the order of candidates with a reader's choices.",
            discussion: """
                First write pairs of candidates, which come in random order and without their scores beside the poems. \
                Then read them, looking at each picture, and set "choice" in each line to 1, 2, or 0 for neither. Then \
                measure.

                  tihua eval ranking pairs.jsonl --write photo1.jpg photo2.jpg --per-picture 3
                  tihua eval ranking pairs.jsonl

                The table shows how often the choices agree with each term alone, with the present weights, and with \
                weights learned from the choices; for each picture, those are learned from the other pictures.
                """)

        @Argument(help: "The file of pairs, JSON lines.", completion: .file())
        var file: String

        @Option(parsing: .upToNextOption, help: "Write pairs of candidates for these pictures.", completion: .file())
        var write: [String] = []

        @Option(help: "How many pairs to write for each picture.")
        var perPicture = 3

        @Option(help: "How many candidates to write for each picture; the pairs are drawn from them.")
        var candidates = 50

        @Option(help: "Equal seeds draw equal pairs.")
        var seed: UInt64 = 0

        @OptionGroup(title: "WEIGHTS") var weights: PoetArguments

        @Flag(help: "Print one JSON object.")
        var json = false

        func validate() throws {
            guard (1...100).contains(perPicture) else {
                throw ValidationError("--per-picture is \(perPicture); give 1 to 100")
            }
            guard (2...PoemRequest.mostCandidates).contains(candidates) else {
                throw ValidationError("--candidates is \(candidates); give 2 to \(PoemRequest.mostCandidates)")
            }
        }

        func run() async throws {
            if write.isEmpty { try measure() } else { try await writePairs() }
        }

        private func writePairs() async throws {
            let failures = Failures()
            let inputs = try PictureInput.all(at: write, quiet: false, failed: failures.report)
            // Pairs are written for all pictures or for none, since a person will read them.
            try failures.end()
            try PictureInput.protect(inputs, from: file, "the file of pairs")
            let engine = try weights.makeEngine()
            var request = PoemRequest()
            request.candidates = candidates
            request.count = candidates
            request.seed = seed
            var lines: [String] = []
            for (number, input) in inputs.enumerated() {
                let poems = try await engine.poems(for: [try input.load()], request: request).poems
                lines += try CandidatePair.drawn(perPicture, from: poems, of: input.name, number: number, seed: seed)
                    .map(jsonLine)
                Console.note("\(number + 1)/\(inputs.count) \(input.name)")
            }
            try AtomicFile.write((lines.joined(separator: "\n") + "\n").utf8, to: URL(filePath: file))
        }

        private func measure() throws {
            guard let report = RankingMeasures(try CandidatePair.read(URL(filePath: file))) else {
                throw ValidationError("\(file): no line has a choice yet; set it to 1 or 2")
            }
            guard !json else { return try Console.print(try jsonLine(report)) }
            try Console.print(
                "\(report.choices) choices, \(report.undecided) undecided; the share that an order agrees with:")
            for term in PoemRanking.Term.allCases {
                let alone = report.alone[term.rawValue] ?? 0
                let weight = report.weights[term.rawValue] ?? 0
                try Console.print(
                    "  \(term.rawValue)".padding(toLength: 14, withPad: " ", startingAt: 0)
                        + String(
                            format: "%5.1f %%   weight %+.2f now, %+.2f by the choices", 100 * alone,
                            PoemRanking.weights[term] ?? 0, weight))
            }
            try Console.print(String(format: "  weights now   %5.1f %%", 100 * report.present))
            try Console.print(
                String(format: "  by the choices%5.1f %%, each picture by the others'", 100 * report.crossValidated))
        }
    }
}
