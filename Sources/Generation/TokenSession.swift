public import TihuaModels
public import TihuaTorch

/// A language model and what it is given beside tokens. P prompts, C the model's width.
public struct TextSource {
    /// What writes.
    public let model: any TokenDecoder
    /// What it is given beside the tokens of each prompt, P rows: a picture's embeddings, what an encoder has read, or
    /// nothing.
    public let context: DecodingContext

    /// A model with what it is given.
    public init(_ model: any TokenDecoder, _ context: DecodingContext = DecodingContext()) {
        self.model = model
        self.context = context
    }

    /// The longest sequence, prefix included. Relative positions have no end; a limit keeps their table of distances
    /// small.
    public var positionCount: Int { model.positionLimit ?? 4096 }

    /// The scores of the token after each of `ids`, which stand behind the prefix or behind the encoder's memory of
    /// batch 1.
    ///
    /// - Returns: float32 `[ids, V]`
    /// - Precondition: 1 up to `positionCount` ids, less the prefix, all in the vocabulary.
    public func scores(of ids: [Int32], device: Device = .cpu) -> Tensor {
        let session = TokenSession(self, prompts: [ids], room: 0, caching: false, device: device)
        let hidden = session.hidden  // [1, prefix + T, C]
        return session.logits(hidden.narrowed(1, hidden.size(1) - ids.count..<hidden.size(1))).squeezed(0)
    }

    /// Some of the prompts.
    func prompts(_ range: Range<Int>) -> TextSource { TextSource(model, context.rows(range)) }
}

/// Rows of tokens under way: prompts of any length, then as many new tokens in each row. B rows, T new tokens, S
/// positions.
///
/// Prompts are padded: a decoder's between prefix and tokens, so that the prefix stands once; positions and masks skip
/// the padding, and a row's scores are what they are alone.
final class TokenSession {
    private let device: Device
    private let model: any TokenDecoder
    /// What stands beside the tokens of each row.
    private var context: DecodingContext
    /// nil where every step computes the whole sequence anew.
    private let cache: KeyValueCache?
    /// The tokens of each row, its padding in front, without the prefix.
    private(set) var rows: [[Int32]]
    /// Padding in front of each row.
    private var padding: [Int]
    /// The prompt that each row came from.
    private var origins: [Int]
    /// False where there is padding: bool `[B, S]`; nil where there is none.
    private(set) var present: Tensor?
    /// The hidden states of the tokens that came last: at first `[B, S, C]`, prefix included, then `[B, T, C]`, in the
    /// order that the rows had then: `reorder` leaves them.
    private(set) var hidden = Tensor.zeros([0])
    /// The scores of the next token of each row. float32 `[B, V]`
    private(set) var next = Tensor.zeros([0])
    /// The number of positions that every row takes, prefix and padding included.
    private(set) var length = 0

    /// Reads the prompts.
    ///
    /// - Parameters:
    ///   - source: of as many prompts
    ///   - prompts: token ids; none may be empty unless there is a prefix
    ///   - room: the most tokens that will follow
    ///   - caching: off, every step computes the whole sequence anew
    init(_ source: TextSource, prompts: [[Int32]], room: Int, caching: Bool = true, device: Device) {
        let longest = prompts.map(\.count).max() ?? 0
        model = source.model
        context = source.context
        let prefixLength = context.prefixLength
        self.device = device
        padding = prompts.map { longest - $0.count }
        origins = Array(prompts.indices)
        rows = zip(prompts, padding).map { Array(repeating: 0, count: $1) + $0 }
        if padding.contains(where: { $0 > 0 }) {
            let known = padding.flatMap { pad in
                (0..<prefixLength + longest).map { $0 < prefixLength || $0 >= prefixLength + pad }
            }
            present = Tensor(known, [prompts.count, prefixLength + longest]).to(.bool, device)
        }
        cache = caching ? model.makeCache(capacity: prefixLength + longest + room) : nil
        length = prefixLength + longest
        hidden = run(rows, after: 0)
        next = logits(hidden.narrowed(1, length - 1..<length)).selected(1, 0)
    }

    /// The tokens of a row, without padding and prefix.
    func tokens(_ row: Int) -> ArraySlice<Int32> { rows[row].dropFirst(padding[row]) }

    /// Lengthens every row by as many tokens and moves `next` behind them.
    ///
    /// - Parameter tokens: B rows of T
    func append(_ tokens: [[Int32]]) {
        advance(tokens)
        let count = hidden.size(1)
        next = logits(hidden.narrowed(1, count - 1..<count)).selected(1, 0)
    }

    /// As `append`.
    ///
    /// - Returns: the scores that predict each of these tokens, float32 `[B, T, V]`
    func feed(_ tokens: [[Int32]]) -> Tensor {
        let before = next
        advance(tokens)
        let count = hidden.size(1)
        let scores = logits(hidden)  // [B, T, V]
        next = scores.selected(1, count - 1)
        return Tensor.concatenated([before.unsqueezed(1), scores], 1).narrowed(1, 0..<count)
    }

    /// Takes back what came after `length`; `next` is what it was there.
    func rewind(to length: Int, next: Tensor) {
        for index in rows.indices { rows[index].removeLast(self.length - length) }
        present = present?.narrowed(1, 0..<length)
        cache?.truncate(length)
        self.length = length
        self.next = next
    }

    /// Puts at each place of the batch the row that `order` names, which may be left out or repeated.
    ///
    /// - Parameter start: rows are equal up to this position, so that only what comes after moves; needs as many rows
    ///   as before
    func reorder(by order: [Int], from start: Int = 0) {
        guard order != Array(rows.indices) else { return }
        let indices = Tensor(order.map(Int64.init)).to(.int64, device)
        let prompts = order.map { origins[$0] }
        let isSamePrompts = prompts == origins
        if !isSamePrompts { context = context.rows(indices) }
        cache?.reorder(by: indices, from: start, keepingMemory: isSamePrompts)
        origins = prompts
        rows = order.map { rows[$0] }
        padding = order.map { padding[$0] }
        present = present?.gatheringSlices(0, at: indices)
        next = next.gatheringSlices(0, at: indices)
    }

    /// hidden `[B, T, C]` -> float32 `[B, T, V]`
    func logits(_ hidden: Tensor) -> Tensor { model.logits(hidden) }

    private func advance(_ tokens: [[Int32]]) {
        let count = tokens.first?.count ?? 0
        for index in rows.indices { rows[index] += tokens[index] }
        if let present {
            self.present = .concatenated([present, .ones([rows.count, count], dtype: .bool, device: device)], 1)
        }
        hidden = cache == nil ? run(rows, after: 0).narrowed(1, length..<length + count) : run(tokens, after: length)
        length += count
    }

    /// The hidden states of `tokens`, which follow `start` positions; at the start, those of the prefix in front.
    private func run(_ tokens: [[Int32]], after start: Int) -> Tensor {
        let (batch, count) = (tokens.count, tokens.first?.count ?? 0)
        let ids = Tensor.ids(tokens.flatMap { $0 }, [batch, count]).to(.int64, device)
        var context = context
        if start > 0 { context.prefix = nil }
        let total = context.prefixLength + count
        return model.hidden(
            ids, context: context,
            positions: present.map { positionIDs(present: $0).narrowed(1, start..<start + total) },
            mask: present.map { causalMask(present: $0, last: total) }, cache: cache, dropout: nil)
    }
}
