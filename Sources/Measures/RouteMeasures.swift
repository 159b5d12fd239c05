public import Foundation
public import Tihua
import TihuaEvaluation
import TihuaGeneration
import TihuaModels
import TihuaProsody
public import TihuaTorch
import TihuaVerse

/// How likely a poet finds poems when it is told their form and nothing else, so that no way to them is favoured.
///
/// Not `Sendable`: it lives on the thread that made it.
public struct FluencyJudge {
    private let scorer: PoemScorer

    /// Loads a GPT2 poet.
    ///
    /// - Throws: `PipelineError.wrongModel` for another model, `ModelError`, `WeightFileError`, `VerseError`.
    public init(poet: URL, device: Device) throws {
        let folder = try ModelFolder(at: poet)
        guard folder.architecture == GPT2.architecture else {
            throw PipelineError.wrongModel(
                path: poet.path, found: folder.architecture.rawValue, needed: "gpt2, for a prefix,")
        }
        let vocabulary = try PoetVocabulary(contentsOf: poet.appending(path: "vocab.txt"))
        scorer = try PoemScorer(GPT2.open(folder, device: device).model, vocabulary: vocabulary, device: device)
    }

    /// The mean log-probability of a token, in nats.
    ///
    /// - Throws: `ProsodyError` for a form that does not exist, `VerseError`, `GenerationError`.
    public func fluency(of poems: [RankedPoem]) throws -> Double {
        let texts = try poems.map { poem in
            PoemScorer.Text(prompt: PoemPrompt(form: try Form(named: poem.form)), lines: poem.lines)
        }
        let values = try scorer.logProbabilities(of: texts).flatMap { $0 }
        return values.reduce(0, +) / Double(max(1, values.count))
    }
}

/// The measures of one way from pictures to poems; means over the pictures.
public struct RouteMeasures: Encodable {
    /// The way.
    public let through: String
    /// The likeness of poem and picture: the cosine minus its mean over pictures.
    public let similarity: Double
    /// What the picture says of the poem's characters, in standard deviations.
    public let imagery: Double
    /// The share of poems that hold one of their picture's words.
    public let words: Double
    /// The share of poems that hold a character of their picture's words.
    public let characters: Double
    /// See `FluencyJudge.fluency`.
    public let fluency: Double
    /// The share of distinct pairs of characters.
    public let distinct2: Double?

    /// Measures the best poem of each picture.
    ///
    /// - Parameters:
    ///   - words: the words of each picture
    ///   - poems: its best poem; as many as pictures, at least one
    ///   - fluency: of all the poems
    public init(_ way: PoemRequest.Through, words: [[String]], poems: [RankedPoem], fluency: Double) {
        precondition(words.count == poems.count && !poems.isEmpty, "\(poems.count) poems of \(words.count) pictures")
        func mean(_ value: ([String], RankedPoem) -> Double) -> Double {
            zip(words, poems).reduce(0) { $0 + value($1.0, $1.1) } / Double(poems.count)
        }
        through = way.rawValue
        similarity = mean { $1.scores.picture }
        imagery = mean { $1.scores.imagery }
        self.words = mean { words, poem in
            words.contains { word in poem.lines.contains { $0.contains(word) } } ? 1 : 0
        }
        characters = mean { words, poem in
            poem.lines.contains { !Set($0).isDisjoint(with: words.joined()) } ? 1 : 0
        }
        self.fluency = fluency
        distinct2 = VerseMeasures.distinct(2, in: poems.map(\.lines))
    }
}
