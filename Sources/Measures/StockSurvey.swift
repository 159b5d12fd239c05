import TihuaCorpora
public import TihuaGeneration
import TihuaProsody
public import TihuaVerse

/// Poems of a corpus whose prompts a poet answers, to find what it writes too often.
public struct StockSurvey: Sendable {
    /// The poems that were drawn.
    public let poems: [PoemExample]
    private let seed: UInt64

    /// Draws poems; nil where none is short enough.
    ///
    /// - Parameters:
    ///   - examples: the poems that the poet was trained on
    ///   - longest: the most characters of a poem
    ///   - seed: equal seeds draw equal poems and plan equal prompts
    public init?(_ examples: [PoemExample], count: Int, longest: Int, seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let short = examples.filter { $0.form.characterCount <= longest }
        guard !short.isEmpty else { return nil }
        poems = Array(short.shuffled(using: &random).prefix(count))
        self.seed = seed
    }

    /// What the poet is asked for: a poem of the same form and rhyme, with up to three of the poem's words. Poems whose
    /// rhyme cannot be kept in the characters that the poet writes are left out.
    func plans(writable: Set<Character>) -> [(poem: PoemExample, plan: PoemPlan)] {
        poems.enumerated().compactMap { number, poem in
            var random = SplitMix64(seed, UInt64(number))
            let words = poem.keywords.shuffled(using: &random).prefix(Int.random(in: 0...3, using: &random))
            let constraint = try? MetreConstraint(
                form: poem.form, tones: .loose, book: poem.form.defaultBook, rhymeGroup: poem.rhyme,
                vocabulary: writable)
            return constraint.map {
                let prompt = PoemPrompt(form: poem.form, rhyme: poem.rhyme, keywords: Array(words))
                return (poem, PoemPlan(prompt: prompt, constraint: $0, seed: random.next()))
            }
        }
    }

    /// Lets a poet write, and compares how often pairs of characters stand in its lines and in the poems'.
    ///
    /// - Parameter progress: is told how many of all poems are written
    /// - Returns: the pairs that the poet overdoes, and how many poems were planned
    /// - Throws: `GenerationError`, `VerseError`.
    public func pairs(
        of writer: PoemWriter, progress: (_ done: Int, _ all: Int) -> Void = { _, _ in }
    ) throws -> (pairs: OverusedPairs, planned: Int) {
        let plans = plans(writable: writer.format.writable)
        var (written, read): ([String], [String]) = ([], [])
        // In parts, so that `progress` hears of it.
        for start in stride(from: 0, to: plans.count, by: 1024) {
            let part = plans[start..<min(start + 1024, plans.count)]
            for poem in try writer.write(part.map(\.plan)) {
                written += poem.lines
                read += part[start + poem.plan].poem.lines
            }
            progress(part.endIndex, plans.count)
        }
        return (OverusedPairs(written: written, read: read), plans.count)
    }
}
