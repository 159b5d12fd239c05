import TihuaModels
import TihuaTorch
import TihuaVerse

/// An encoder-decoder, one session a line, as Image2Poem writes: the encoder reads the prompt and the lines before, the
/// decoder writes the next one.
struct EncoderDecoderVerse: VerseModel {
    let model: any TokenDecoder
    let format: PoetFormat
    let device: Device
    /// False in tests that compare: every step then runs the whole line.
    var caching = true

    var scoreCount: Int { model.vocabularySize }
    var spansLines: Bool { false }

    func boundary(isLast: Bool) -> Int32 { format.lineEnd }

    func session(for drafts: [Draft], room: Int) throws -> TokenSession {
        guard drafts.allSatisfy(\.plan.prefix.isEmpty) else { throw GenerationError.noPrefix }
        let inputs = try drafts.map { try format.encoderInput($0.plan.prompt, lines: $0.lines) }
        // One input for all is read once; inputs of different lengths are padded on the right.
        let isShared = inputs.allSatisfy { $0 == inputs.first }
        let read = isShared ? Array(inputs.prefix(1)) : inputs
        let longest = inputs.map(\.count).max() ?? 0
        let padded = read.flatMap { $0 + Array(repeating: format.padding, count: longest - $0.count) }
        let mask =
            isShared
            ? nil
            : Tensor(read.flatMap { row in (0..<longest).map { $0 < row.count } }, [read.count, longest]).to(
                .bool, device)
        let ids = Tensor.ids(padded, [read.count, longest]).to(.int64, device)
        let start = format.decoderStart(model.startTokenID ?? format.start)
        let session = TokenSession(
            TextSource(model, model.context(model.embed(ids), mask: mask)),
            prompts: Array(repeating: start, count: read.count), room: room, caching: caching, device: device)
        if isShared { session.reorder(by: Array(repeating: 0, count: inputs.count)) }
        return session
    }
}
