import Models
import Torch

/// T5, one session a line, as Image2Poem writes: the encoder reads the prompt and the lines before, the decoder writes the
/// next one.
struct EncoderDecoderVerse: VerseModel {
    let model: T5
    let format: PoetFormat
    let device: Device
    /// Off in tests that compare: every step then runs the whole line.
    var caching = true

    var scoreCount: Int { model.configuration.vocabularySize }
    var spansLines: Bool { false }

    func boundary(isLast: Bool) -> Int32 { format.lineEnd }

    func session(for drafts: [Draft], room: Int) throws -> any VerseSession {
        let inputs = try drafts.map { try format.encoderInput($0.plan.prompt, lines: $0.lines) }
        return EncoderDecoderSession(self, inputs, capacity: room + 2)
    }
}

/// Inputs padded on the right, read once; the decoder's rows are of one length. B rows, T new tokens, S input tokens.
private final class EncoderDecoderSession: VerseSession {
    private let verse: EncoderDecoderVerse
    private let cache: T5Cache?
    private let memory: Tensor  // [B, S, C]
    private let memoryMask: Tensor?  // [B, S]
    private var rows: [[Int32]]
    private(set) var next: Tensor

    init(_ verse: EncoderDecoderVerse, _ inputs: [[Int32]], capacity: Int) {
        let (model, device) = (verse.model, verse.device)
        let start = verse.format.decoderStart(Int32(model.configuration.startTokenID))
        let longest = inputs.map(\.count).max() ?? 0
        let isShared = inputs.allSatisfy { $0 == inputs.first }
        let read = isShared ? Array(inputs.prefix(1)) : inputs
        let padded = read.flatMap { $0 + Array(repeating: verse.format.padding, count: longest - $0.count) }
        memoryMask =
            isShared
            ? nil
            : Tensor(read.flatMap { row in (0..<longest).map { $0 < row.count } }, [read.count, longest]).to(
                .bool, device)
        let encoded = model.encode(Tensor.ids(padded, [read.count, longest]).to(.int64, device), mask: memoryMask)
        memory = isShared ? encoded.expanded(inputs.count, -1, -1) : encoded
        self.verse = verse
        cache = verse.caching ? model.makeCache(capacity: capacity) : nil
        rows = Array(repeating: start, count: inputs.count)
        next = Tensor.zeros([0])
        next = run(rows).selected(1, start.count - 1)
    }

    var length: Int { rows.first?.count ?? 0 }

    func feed(_ tokens: [[Int32]]) -> Tensor {
        let before = length
        for index in rows.indices { rows[index] += tokens[index] }
        let count = length - before
        let scores = cache == nil ? run(rows).narrowed(1, before..<length) : run(tokens)  // [B, T, V]
        let predicting = Tensor.concatenated([next.unsqueezed(1), scores], 1).narrowed(1, 0..<count)
        next = scores.selected(1, count - 1)
        return predicting
    }

    func rewind(to length: Int, next: Tensor) {
        cache?.truncate(length)
        for index in rows.indices { rows[index].removeSubrange(length...) }
        self.next = next
    }

    /// The scores after each of these decoder tokens. `[B, T, V]`
    private func run(_ tokens: [[Int32]]) -> Tensor {
        let shape = [tokens.count, tokens.first?.count ?? 0]
        let ids = Tensor.ids(tokens.flatMap { $0 }, shape).to(.int64, verse.device)
        return verse.model.logits(verse.model.decode(ids, memory: memory, memoryMask: memoryMask, cache: cache))
    }
}
