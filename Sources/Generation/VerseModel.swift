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
    func session(for drafts: [Draft], room: Int) throws -> any VerseSession
}

/// Rows of tokens under way.
protocol VerseSession: AnyObject {
    /// The scores of the next token of each row. float32 `[B, V]`
    var next: Tensor { get }
    /// The number of positions that every row takes.
    var length: Int { get }

    /// Lengthens every row by as many tokens and moves `next` behind them.
    ///
    /// - Parameter tokens: B rows of T
    /// - Returns: the scores that predict each of these tokens, float32 `[B, T, V]`
    func feed(_ tokens: [[Int32]]) -> Tensor

    /// Takes back what came after `length`; `next` is what it was there.
    func rewind(to length: Int, next: Tensor)
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

    func session(for drafts: [Draft], room: Int) throws -> any VerseSession {
        let prompts = try drafts.map { try format.prompt($0.plan.prompt) + format.continuation(after: $0.lines) }
        let longest = prompts.map(\.count).max() ?? 0
        guard longest + room <= model.configuration.positionCount else {
            throw GenerationError.tooLong(tokens: longest + room, positions: model.configuration.positionCount)
        }
        return DecoderSession(self, prompts, capacity: longest + room)
    }
}

/// Prompts padded on the left and one cache. B rows, T new tokens, S all tokens, V vocabulary.
private final class DecoderSession: VerseSession {
    private let verse: DecoderVerse
    private let cache: KeyValueCache
    /// Padding in front of each row.
    private let padding: [Int]
    private var rows: [[Int32]]
    private(set) var next: Tensor

    init(_ verse: DecoderVerse, _ prompts: [[Int32]], capacity: Int) {
        self.verse = verse
        cache = verse.model.makeCache(capacity: capacity)
        let longest = prompts.map(\.count).max() ?? 0
        padding = prompts.map { longest - $0.count }
        rows = zip(prompts, padding).map { Array(repeating: verse.format.padding, count: $1) + $0 }
        next = Tensor.zeros([0])
        let model = verse.model
        if let first = prompts.first, prompts.allSatisfy({ $0 == first }) {
            // One prompt for all: run once, then repeated.
            let ids = Tensor.ids(first, [1, longest]).to(.int64, verse.device)
            let hidden = model.hidden(ids, cache: cache).narrowed(1, longest - 1..<longest)  // [1, 1, C]
            cache.expand(batch: prompts.count)
            next = model.logits(hidden).selected(1, 0).expanded(prompts.count, -1)  // [B, V]
        } else {
            next = run(rows, after: 0).selected(1, longest - 1)
        }
    }

    var length: Int { rows.first?.count ?? 0 }

    func feed(_ tokens: [[Int32]]) -> Tensor {
        let before = length
        for index in rows.indices { rows[index] += tokens[index] }
        let scores: Tensor  // [B, T, V]
        if verse.caching {
            scores = run(tokens, after: before)
        } else {
            cache.truncate(0)
            scores = run(rows, after: 0).narrowed(1, before..<length)
        }
        let count = length - before
        let predicting = Tensor.concatenated([next.unsqueezed(1), scores], 1).narrowed(1, 0..<count)
        next = scores.selected(1, count - 1)
        return predicting
    }

    func rewind(to length: Int, next: Tensor) {
        cache.truncate(length)
        for index in rows.indices { rows[index].removeSubrange(length...) }
        self.next = next
    }

    /// The scores after each of `tokens`, which follow `before` others. `[B, T, V]`
    private func run(_ tokens: [[Int32]], after before: Int) -> Tensor {
        let (batch, count) = (tokens.count, tokens.first?.count ?? 0)
        let device = verse.device
        let ids = Tensor.ids(tokens.flatMap { $0 }, [batch, count]).to(.int64, device)
        guard padding.contains(where: { $0 > 0 }) else {
            return verse.model.logits(verse.model.hidden(ids, cache: cache))
        }
        let total = before + count
        let present = Tensor(padding.flatMap { pad in (0..<total).map { $0 >= pad } }, [batch, total]).to(.bool, device)
        let positions = Tensor(
            padding.flatMap { pad in (before..<total).map { Int64(max(0, $0 - pad)) } }, [batch, count]
        ).to(.int64, device)
        let hidden = verse.model.hidden(
            ids, positions: positions, mask: causalMask(present: present, last: count), cache: cache)
        return verse.model.logits(hidden)
    }
}
