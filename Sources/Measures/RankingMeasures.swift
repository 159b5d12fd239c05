public import Foundation
public import Tihua
import TihuaEvaluation
import TihuaGeneration
import TihuaTraining
import TihuaVerse

/// Two candidates for one picture, between which a reader chooses; a line of a file.
public struct CandidatePair: Codable, Sendable, Equatable {
    /// The picture's name.
    public let picture: String
    /// The two poems, each on one line.
    public let poems: [String]
    /// 1 or 2 for the better poem, 0 for neither; nil as long as nobody has read them.
    public var choice: Int?
    /// The terms of each poem in the order of `PoemRanking.Term`, in deviations among the picture's candidates.
    public let terms: [[Double]]

    /// Draws pairs from the candidates of a picture; none where there is only one.
    ///
    /// - Parameters:
    ///   - number: the place of the picture among those read; each draws its own pairs
    ///   - seed: equal seeds draw equal pairs
    public static func drawn(
        _ count: Int, from poems: [RankedPoem], of picture: String, number: Int, seed: UInt64
    ) -> [CandidatePair] {
        guard poems.count > 1 else { return [] }
        let deviations = PoemRanking.deviations(poems.map(\.scores))
        var random = SplitMix64(seed, UInt64(number))
        return (0..<count).map { _ in
            let pair = poems.indices.shuffled(using: &random).prefix(2)
            return CandidatePair(
                picture: picture, poems: pair.map { poems[$0].lines.joined(separator: "，") }, choice: nil,
                terms: pair.map { deviations[$0] })
        }
    }

    /// Reads a file of pairs.
    ///
    /// - Throws: `EvaluationError.badLine` for a line that is no pair, or a choice other than 0, 1, 2; `FileError`.
    public static func read(_ url: URL) throws -> [CandidatePair] {
        let terms = PoemRanking.Term.allCases.count
        let lines = try readText(url).split(whereSeparator: \.isNewline)
        return try lines.enumerated().map { index, line in
            func wrong(_ reason: String) -> EvaluationError {
                .badLine(file: url.relativePath, line: index + 1, reason: reason)
            }
            guard let pair = try? JSONDecoder().decode(CandidatePair.self, from: Data(line.utf8)),
                pair.terms.map(\.count) == [terms, terms]
            else { throw wrong("not a pair of tihua eval ranking") }
            guard (0...2).contains(pair.choice ?? 0) else { throw wrong("choice is neither 0, 1 nor 2") }
            return pair
        }
    }

    private enum CodingKeys: String, CodingKey {
        case picture, poems, choice, terms
    }

    /// Writes `choice` even where it is still null, so that a reader finds it.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(picture, forKey: .picture)
        try values.encode(poems, forKey: .poems)
        try values.encode(choice, forKey: .choice)
        try values.encode(terms, forKey: .terms)
    }
}

/// How well the order of candidates agrees with a reader's choices; shares of the choices, 0...1.
public struct RankingMeasures: Encodable, Sendable {
    /// Pairs of which one poem was chosen.
    public let choices: Int
    /// The others.
    public let undecided: Int
    /// The agreement of each term alone, with the sign of its present weight.
    public let alone: [String: Double]
    /// The agreement of the present weights.
    public let present: Double
    /// The agreement of weights that are learned from the choices; for each picture, from those of the others.
    public let crossValidated: Double
    /// Weights that are learned from all choices.
    public let weights: [String: Double]

    /// Measures pairs that a reader has read; nil where no pair has a choice.
    public init?(_ pairs: [CandidatePair]) {
        let chosen = pairs.compactMap { pair -> Preference.Choice? in
            guard let choice = pair.choice, choice != 0 else { return nil }
            let difference = zip(pair.terms[choice - 1], pair.terms[2 - choice]).map { $0 - $1 }
            return Preference.Choice(difference: difference, group: pair.picture)
        }
        guard !chosen.isEmpty else { return nil }
        (choices, undecided) = (chosen.count, pairs.count - chosen.count)
        let terms = PoemRanking.Term.allCases
        let names = terms.map(\.rawValue)
        let now = terms.map { PoemRanking.weights[$0] ?? 0 }
        let alone = terms.indices.map { index in
            Preference.agreement(chosen, terms.indices.map { $0 == index ? (now[$0] < 0 ? -1 : 1) : 0 })
        }
        self.alone = Dictionary(uniqueKeysWithValues: zip(names, alone))
        present = Preference.agreement(chosen, now)
        crossValidated = Preference.crossValidatedAgreement(chosen, strength: 2)
        weights = Dictionary(uniqueKeysWithValues: zip(names, Preference.weights(chosen, strength: 2)))
    }
}
