import Foundation
import TihuaEncoders
import TihuaProsody
import TihuaVerse

/// Why a poem stands where it does. All but `total` are of the poem alone and compare across pictures.
public struct PoemScores: Sendable, Equatable, Codable {
    /// The cosine of picture and poem in the space of the CLIP model, less what all pictures have; 0 without a picture.
    public var picture: Double
    /// What the picture says of the poem's characters that stand in words of the bank, on average, in deviations of the
    /// bank; below 0 where the poem speaks of what is not to be seen.
    public var imagery: Double
    /// The model's mean log-probability of a token, in nats, less what it overdoes (see `OverusedPairs`).
    public var fluency: Double
    /// The share of characters that suit the strict tone pattern, 0...1; 1 where the form has none.
    public var tone: Double
    /// The share of the plan's keywords that stand in the poem, 0...1; one whose characters stand apart counts half.
    public var coverage: Double
    /// The share of characters that stood before, 叠字 not counted, 0...1.
    public var repetition: Double
    /// The share of lines that no training poem has, 0...1.
    public var novelty: Double
    /// The weighted sum of the others, each less its mean and over its deviation among the candidates.
    public var total: Double = 0
}

/// Chooses among candidates.
public enum PoemRanking {
    /// What speaks for or against a candidate.
    public enum Term: String, Sendable, CaseIterable, Codable {
        case picture, imagery, fluency, coverage, repetition, tone, novelty

        func value(_ scores: PoemScores) -> Double {
            switch self {
            case .picture: scores.picture
            case .imagery: scores.imagery
            case .fluency: scores.fluency
            case .coverage: scores.coverage
            case .repetition: scores.repetition
            case .tone: scores.tone
            case .novelty: scores.novelty
            }
        }
    }

    /// How much a deviation of each term counts; the others are told, not weighed. From 120 blind choices between two
    /// poems for one picture (`Recipes/eval/choices.jsonl`, `tihua eval ranking`).
    public static let weights: [Term: Double] = [.picture: 0.45, .fluency: 0.95, .repetition: -0.3]
    /// How much being unlike the poems before counts against the total.
    private static let diversity = 0.3

    /// Each candidate's terms, in the order of `Term.allCases`, less their mean and over their deviation among the
    /// candidates; 0 for a term that is the same for all.
    public static func deviations(_ scores: [PoemScores]) -> [[Double]] {
        var result = scores.map { _ in [Double](repeating: 0, count: Term.allCases.count) }
        for (column, term) in Term.allCases.enumerated() {
            let values = scores.map(term.value)
            let mean = values.reduce(0, +) / Double(max(1, values.count))
            let deviation = (values.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / Double(max(1, values.count)))
                .squareRoot()
            guard deviation > 1e-9 else { continue }
            for index in result.indices { result[index][column] = (values[index] - mean) / deviation }
        }
        return result
    }

    /// Fills in the totals.
    ///
    /// - Parameter named: of each candidate, whether words were asked for. Who is told more finds a verse likelier, so
    ///   the mean fluency of either kind counts as that of all.
    static func total(_ scores: [PoemScores], named: [Bool]) -> [PoemScores] {
        func mean(_ scores: [PoemScores]) -> Double {
            scores.reduce(0) { $0 + $1.fluency } / Double(max(1, scores.count))
        }
        let all = mean(scores)
        let shifts = [true, false].map { way in all - mean(zip(scores, named).filter { $0.1 == way }.map(\.0)) }
        let compared = zip(scores, named).map { score, way in
            var score = score
            score.fluency += shifts[way ? 0 : 1]
            return score
        }
        return zip(scores, deviations(compared)).map { score, deviations in
            var score = score
            score.total = zip(Term.allCases, deviations).reduce(0) { $0 + (weights[$1.0] ?? 0) * $1.1 }
            return score
        }
    }

    /// The `count` best that are unlike each other, by index, best first; the same poem is never given twice.
    static func select(_ poems: [[String]], totals: [Double], count: Int) -> [Int] {
        selectDiverse(poems.map { $0.joined(separator: "\n") }, scores: totals, count: count, diversity: diversity)
    }

    /// The share of `keywords` that stand in the text.
    static func coverage(of keywords: [String], in text: String) -> Double {
        guard !keywords.isEmpty else { return 1 }
        let characters = Set(text)
        let found = keywords.reduce(0.0) { sum, word in
            sum + (text.contains(word) ? 1 : characters.isSuperset(of: word) ? 0.5 : 0)
        }
        return found / Double(keywords.count)
    }

    /// The share of characters that stood before, those right after their equal not counted.
    static func repetition(in lines: [String]) -> Double {
        var seen: Set<Character> = []
        var (repeated, total) = (0, 0)
        for line in lines {
            var before: Character?
            for character in line {
                if !seen.insert(character).inserted, character != before { repeated += 1 }
                total += 1
                before = character
            }
        }
        return Double(repeated) / Double(max(1, total))
    }
}
