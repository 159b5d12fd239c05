public import TihuaProsody

/// One poem of the training set: its lines as ids, and what its prompt may say.
public struct PoemExample: Sendable {
    /// The form of the poem, one with a metre in `Prosody`.
    public let form: Form
    /// The lines, without punctuation.
    public let lines: [String]
    /// The group of the rhymes, nil where they share none (or the form has none).
    public let rhyme: RhymeGroup?
    /// Words of the poem, best first.
    public let keywords: [String]
    /// A sentence that says in modern Chinese what a line of the poem says; nil where none is known.
    public let theme: String?
    /// What a picture of one of the keywords shows, in modern Chinese; a theme where no better one is known.
    public let descriptions: [String]

    package init(
        form: Form, lines: [String], rhyme: RhymeGroup?, keywords: [String], theme: String?, descriptions: [String]
    ) {
        (self.form, self.lines, self.rhyme) = (form, lines, rhyme)
        (self.keywords, self.theme, self.descriptions) = (keywords, theme, descriptions)
    }
}

/// The chance of each condition to stand in a prompt, 0 to 1.
package struct PromptChances {
    package var keyword: Double
    package var rhyme: Double
    package var theme: Double

    package static let all = PromptChances(keyword: 1, rhyme: 1, theme: 0)
    package static let none = PromptChances(keyword: 0, rhyme: 0, theme: 0)

    package init(keyword: Double, rhyme: Double, theme: Double) {
        (self.keyword, self.rhyme, self.theme) = (keyword, rhyme, theme)
    }

    /// What is asked for, to get this poem as the answer.
    package func prompt(for example: PoemExample, using random: inout SplitMix64) -> PoemPrompt {
        var prompt = PoemPrompt(form: example.form)
        if Double.random(in: 0..<1, using: &random) < rhyme { prompt.rhyme = example.rhyme }
        if Double.random(in: 0..<1, using: &random) < keyword, !example.keywords.isEmpty {
            // One to four of the best, in any order: a picture's words come in no order either.
            let count = Int.random(in: 1...min(4, example.keywords.count), using: &random)
            prompt.keywords = Array(example.keywords.shuffled(using: &random).prefix(count))
        }
        if Double.random(in: 0..<1, using: &random) < theme {
            // One or two descriptions, as a caption of a picture speaks of one thing or of two.
            let count = Int.random(in: 1...2, using: &random)
            let described = example.descriptions.shuffled(using: &random).prefix(count).joined(separator: "，")
            prompt.theme = example.theme ?? (described.isEmpty ? nil : described)
        }
        return prompt
    }
}
