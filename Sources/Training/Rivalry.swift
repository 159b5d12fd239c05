/// A poem that a person wrote and one that a poet wrote to the same prompt, as `tihua data rivals` writes them.
public struct Rivalry: Codable, Sendable, Equatable {
    /// The name of the form.
    public let form: String
    /// The words that the poet was asked for.
    public let words: [String]
    /// The lines of the person's poem, without punctuation.
    public let human: [String]
    /// The lines of the poet's.
    public let rival: [String]

    /// A pair of these parts.
    public init(form: String, words: [String], human: [String], rival: [String]) {
        self.form = form
        self.words = words
        self.human = human
        self.rival = rival
    }
}
