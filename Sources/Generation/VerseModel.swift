import TihuaModels
import TihuaTorch
import TihuaVerse

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

/// A model without an encoder, one session a poem: prompt, lines with a boundary between them, end.
struct DecoderVerse: VerseModel {
    let model: any TokenDecoder
    let format: PoetFormat
    let device: Device
    /// False in tests that compare: every step then runs the whole sequence.
    var caching = true

    var scoreCount: Int { model.vocabularySize }
    var spansLines: Bool { true }

    func boundary(isLast: Bool) -> Int32 { isLast ? format.end : format.lineBoundary }

    func session(for drafts: [Draft], room: Int) throws -> TokenSession {
        let starts = try drafts.map { try format.parts(of: $0.plan.prompt) }
        let prefix = try prefix(of: drafts.map(\.plan.prefix), behind: starts.map(\.head))
        let prompts = zip(starts, drafts).map { start, draft in
            (prefix == nil ? start.head : []) + start.tail + format.continuation(after: draft.lines)
        }
        let longest = (prefix?.size(1) ?? 0) + (prompts.map(\.count).max() ?? 0)
        if let positions = model.positionLimit, longest + room > positions {
            throw GenerationError.tooLong(tokens: longest + room, positions: positions)
        }
        // One prompt for all is run once.
        let isShared =
            prompts.allSatisfy { $0 == prompts.first }
            && (prefix == nil
                || zip(starts, drafts).allSatisfy {
                    $0.head == starts[0].head && $1.plan.prefix == drafts[0].plan.prefix
                })
        let source = TextSource(model, DecodingContext(prefix: prefix))
        let session = TokenSession(
            isShared ? source.prompts(0..<1) : source, prompts: isShared ? Array(prompts.prefix(1)) : prompts,
            room: room, caching: caching, device: device)
        if isShared { session.reorder(by: Array(repeating: 0, count: prompts.count)) }
        return session
    }

    /// The embeddings of what stands before the keywords, with each plan's prefix behind them; nil where no plan has
    /// one. B plans, whose heads are of one length, as are their prefixes.
    ///
    /// - Returns: `[B, head + K, C]`
    /// - Throws: `GenerationError.prefixWidth`.
    private func prefix(of values: [[Float]], behind heads: [[Int32]]) throws(GenerationError) -> Tensor? {
        guard let count = values.first?.count, count > 0 else { return nil }
        let width = model.hiddenSize
        guard count % width == 0 else { throw .prefixWidth(numbers: count, width: width) }
        let head = model.embed(Tensor.ids(heads.flatMap { $0 }, [heads.count, heads[0].count]).to(.int64, device))
        let mapped = Tensor(values.flatMap { $0 }, [values.count, count / width, width]).to(nil, device)
        return .concatenated([head, mapped.to(head.dtype)], 1)
    }
}
