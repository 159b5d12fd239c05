import ArgumentParser
import Foundation
import Tihua
import TihuaEvaluation
import TihuaFiles
import TihuaPictures
import TihuaTraining
import TihuaVerse
import TihuaWeightFiles

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

        @OptionGroup(title: "WEIGHTS") var pack: PackArguments

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
            var failed = false
            let inputs = try PictureInput.all(at: write, quiet: false) { error in
                TihuaTool.complain("\(error)")
                failed = true
            }
            // All or none: the reading takes longest.
            if failed { throw ExitCode(1) }
            try PictureInput.protect(inputs, from: file, "the file of pairs")
            let engine = try pack.makeEngine()
            var request = PoemRequest()
            request.candidates = candidates
            request.count = candidates
            request.seed = seed
            var lines: [String] = []
            for (number, input) in inputs.enumerated() {
                let result = try await engine.poems(for: [try input.load()], request: request)
                let deviations = PoemRanking.deviations(result.poems.map(\.scores))
                var random = SplitMix64(seed, UInt64(number))
                for _ in 0..<perPicture where result.poems.count > 1 {
                    let pair = result.poems.indices.shuffled(using: &random).prefix(2)
                    let poems = pair.map { result.poems[$0].lines.joined(separator: "，") }
                    lines.append(
                        try jsonLine(
                            Pair(picture: input.name, poems: poems, choice: nil, terms: pair.map { deviations[$0] })))
                }
                Console.note("\(number + 1)/\(inputs.count) \(input.name)")
            }
            let text = lines.joined(separator: "\n") + "\n"
            try AtomicFile.write(to: URL(filePath: file)) { try $0.write(Array(text.utf8)) }
        }

        private func measure() throws {
            var choices: [Preference.Choice] = []
            var undecided = 0
            let terms = PoemRanking.Term.allCases
            for (number, line) in try readText(URL(filePath: file)).split(whereSeparator: \.isNewline).enumerated() {
                guard let pair = try? JSONDecoder().decode(Pair.self, from: Data(line.utf8)), pair.terms.count == 2,
                    pair.terms.allSatisfy({ $0.count == terms.count })
                else { throw ValidationError("\(file):\(number + 1): not a pair of tihua eval ranking --write") }
                guard let choice = pair.choice, choice != 0 else {
                    undecided += 1
                    continue
                }
                guard choice == 1 || choice == 2 else {
                    throw ValidationError("\(file):\(number + 1): choice is neither 0, 1 nor 2")
                }
                let difference = zip(pair.terms[choice - 1], pair.terms[2 - choice]).map { $0 - $1 }
                choices.append(.init(difference: difference, group: pair.picture))
            }
            guard !choices.isEmpty else { throw ValidationError("\(file): no line has a choice yet; set it to 1 or 2") }
            let present = terms.map { PoemRanking.weights[$0] ?? 0 }
            let report = Report(
                choices: choices.count, undecided: undecided,
                alone: Dictionary(
                    uniqueKeysWithValues: terms.enumerated().map { index, term -> (String, Double) in
                        let sign = (PoemRanking.weights[term] ?? 0) < 0 ? -1.0 : 1
                        let only = terms.indices.map { $0 == index ? sign : 0.0 }
                        return (term.rawValue, Preference.agreement(choices, only))
                    }),
                present: Preference.agreement(choices, present),
                crossValidated: Preference.crossValidatedAgreement(choices, strength: 2),
                weights: Dictionary(
                    uniqueKeysWithValues: zip(terms.map(\.rawValue), Preference.weights(choices, strength: 2))))
            guard !json else { return try Console.print(try jsonLine(report)) }
            try Console.print(
                "\(report.choices) choices, \(report.undecided) undecided; the share that an order agrees with:")
            for term in terms {
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

        /// A line of the file.
        private struct Pair: Codable {
            let picture: String
            let poems: [String]
            let choice: Int?
            /// Of each poem, in the order of `PoemRanking.Term`, in deviations among the picture's candidates.
            let terms: [[Double]]

            private enum CodingKeys: String, CodingKey {
                case picture, poems, choice, terms
            }

            init(picture: String, poems: [String], choice: Int?, terms: [[Double]]) {
                (self.picture, self.poems, self.choice, self.terms) = (picture, poems, choice, terms)
            }

            /// Writes `choice` even where it is still null, so that a reader finds it.
            func encode(to encoder: any Encoder) throws {
                var values = encoder.container(keyedBy: CodingKeys.self)
                try values.encode(picture, forKey: .picture)
                try values.encode(poems, forKey: .poems)
                try values.encode(choice, forKey: .choice)
                try values.encode(terms, forKey: .terms)
            }
        }

        private struct Report: Encodable {
            let choices: Int
            let undecided: Int
            let alone: [String: Double]
            let present: Double
            let crossValidated: Double
            let weights: [String: Double]
        }
    }
}
