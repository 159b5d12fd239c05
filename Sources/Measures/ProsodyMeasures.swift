public import Foundation
import TihuaCorpora
public import TihuaEvaluation
import TihuaProsody

extension ProsodySurvey {
    /// Surveys the poems of a corpus.
    ///
    /// - Parameters:
    ///   - authors: only poems of these; empty takes all
    ///   - sample: at most so many poems of each form by each author, spread over all of them; 0 takes all
    /// - Throws: `DataFileError`, `EvaluationError.nothingFound` if no poem is left.
    public init(corpus: URL, authors: Set<String> = [], sample: Int = 0) throws {
        var groups: [String: [[String]]] = [:]
        try PoemFile.forEach(in: corpus) { poem, _ in
            guard authors.isEmpty || authors.contains(poem.author) else { return }
            groups["\(poem.author) \(poem.lines.count) \(poem.lines[0].count)", default: []].append(poem.lines)
        }
        guard !groups.isEmpty else {
            throw EvaluationError.nothingFound(
                file: corpus.relativePath,
                expected: authors.isEmpty ? "poems" : "poems by \(authors.sorted().joined(separator: ", "))")
        }
        self.init()
        for (_, poems) in groups.sorted(by: { $0.key < $1.key }) {
            let count = sample == 0 ? poems.count : min(sample, poems.count)
            for index in 0..<count { add(poems[index * poems.count / count]) }
        }
    }
}

/// The figures of a survey.
public struct ProsodySurveyReport: Encodable {
    /// How often something was found.
    public struct Count: Encodable {
        /// A character.
        public let character: String
        /// How often it stands in the poems.
        public let count: Int
    }

    /// By form.
    public let forms: [String: ProsodySurvey.Count]
    /// All forms together.
    public let total: ProsodySurvey.Count
    /// Poems with each kind of fault.
    public let faults: [String: Int]
    /// Regular poems with each kind of licence.
    public let remarks: [String: Int]
    /// Characters of all poems.
    public let characters: Int
    /// The most frequent characters that 平水韵 does not have.
    public let unknown: [Count]

    /// - Parameter most: the most unknown characters that are listed
    public init(_ survey: ProsodySurvey, most: Int) {
        func named(_ counts: [ProsodyFault.Kind: Int]) -> [String: Int] {
            Dictionary(uniqueKeysWithValues: counts.map { ($0.key.rawValue, $0.value) })
        }
        (forms, total, characters) = (survey.forms, survey.total, survey.characterCount)
        (faults, remarks) = (named(survey.faults), named(survey.remarks))
        unknown = survey.unknown.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(most)
            .map { Count(character: String($0.key), count: $0.value) }
    }
}
