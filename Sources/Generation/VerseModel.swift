import Models
import Torch

/// A language model as the writer uses it: rows of tokens that grow together.
protocol VerseModel {
    /// The number of scores of each token.
    var scoreCount: Int { get }
    var device: Device { get }
    /// Whether a session serves the whole poem (a decoder) or one line (an encoder-decoder).
    var spansLines: Bool { get }
    /// What stands after a line.
    func boundary(isLast: Bool) -> Int32

    /// Rows that stand before the next line of each draft.
    ///
    /// - Parameter room: tokens that will follow
    func session(for drafts: [Draft], room: Int) throws -> TokenSession
}

/// GPT2, one session a poem: prompt, lines with a boundary between them, end.
struct DecoderVerse: VerseModel {
    let model: GPT2
    let format: PoetFormat
    let device: Device
    /// Off in tests that compare: every step then runs the whole sequence.
    var caching = true

    var scoreCount: Int { model.configuration.vocabularySize }
    var spansLines: Bool { true }

    func boundary(isLast: Bool) -> Int32 { isLast ? format.end : format.lineBoundary }

    func session(for drafts: [Draft], room: Int) throws -> TokenSession {
        let prompts = try drafts.map { try format.prompt($0.plan.prompt) + format.continuation(after: $0.lines) }
        let longest = prompts.map(\.count).max() ?? 0
        guard longest + room <= model.configuration.positionCount else {
            throw GenerationError.tooLong(tokens: longest + room, positions: model.configuration.positionCount)
        }
        // One prompt for all is run once.
        let isShared = prompts.allSatisfy { $0 == prompts.first }
        let session = TokenSession(
            .decoder(model), prompts: isShared ? Array(prompts.prefix(1)) : prompts, room: room, caching: caching,
            device: device)
        if isShared { session.reorder(by: Array(repeating: 0, count: prompts.count)) }
        return session
    }
}
