public import TihuaModels
import TihuaProsody
public import TihuaTorch
public import TihuaVerse

/// Writes without any constraint: what a poet does when only its own scores decide, ends of lines and of poems among
/// them.
///
/// For measuring what the constraint of `PoemWriter` gives; repetition is not discouraged either. Not `Sendable`.
public struct FreeWriter {
    private let verse: DecoderVerse
    private let positionCount: Int

    /// The most poems in one batch, as in `PoemWriter`.
    private static let batch = 128
    /// Tokens beyond those of the form after which a poem is broken off.
    private static let slack = 16
    /// What is written for a token that is no character.
    private static let foreign: Character = "□"

    /// A decoder in Tihua's format.
    public init(_ model: GPT2, format: PoetFormat, device: Device = .cpu) {
        positionCount = model.configuration.positionCount
        verse = DecoderVerse(model: model, format: format, device: device)
    }

    /// The lines of a poem for each plan, in the plans' order; of a plan's constraint only the form counts, for how
    /// long a poem may become. A token that is no character becomes □.
    ///
    /// - Throws: `GenerationError`, `VerseError.unknownForm`, `CancellationError`.
    public func write(_ plans: [PoemPlan], sampling: Sampling = Sampling()) throws -> [[String]] {
        try sampling.validate()
        var poems = [[String]](repeating: [], count: plans.count)
        let order = plans.indices.sorted { (size(plans[$0]), $0) < (size(plans[$1]), $1) }
        let prompts = try plans.map { try verse.format.prompt($0.prompt).count }
        var rows: [Int] = []
        func finish() throws {
            let written = try withoutGradients { try write(together: rows.map { plans[$0] }, sampling) }
            for (row, lines) in zip(rows, written) { poems[row] = lines }
            rows = []
        }
        for row in order {
            // A long prompt beside a long poem would need more room than either has of its own.
            let longest = (rows + [row]).map { prompts[$0] }.max() ?? 0
            if !rows.isEmpty, rows.count == Self.batch || longest + size(plans[row]) + Self.slack > positionCount {
                try finish()
            }
            rows.append(row)
        }
        if !rows.isEmpty { try finish() }
        return poems
    }

    private func size(_ plan: PoemPlan) -> Int { plan.constraint.form.characterCount + plan.constraint.form.lineCount }

    private func write(together plans: [PoemPlan], _ sampling: Sampling) throws -> [[String]] {
        let format = verse.format
        let room = (plans.map(size).max() ?? 0) + Self.slack
        let session = try verse.session(for: plans.map(Draft.init), room: room)
        var randoms = plans.map { SplitMix64(seed: $0.seed) }
        var lines = plans.map { _ in [""] }
        var isDone = plans.map { _ in false }
        let width = sampling.width(of: verse.scoreCount)
        for step in 0..<room {
            try Task.checkCancellation()
            try Runtime.checkMemory()
            let best = session.next.topK(width, 1)  // [B, K]
            let (tokens, values) = (best.indices.array(of: Int64.self), best.values.floats)
            var next = [Int32](repeating: format.padding, count: plans.count)
            for row in plans.indices where !isDone[row] {
                let scores = values[row * width..<(row + 1) * width]
                guard scores.first?.isFinite == true, let index = sampling.draw(from: scores, &randoms[row]) else {
                    throw GenerationError.brokenModel
                }
                let token = Int(tokens[row * width + index])
                next[row] = Int32(token)
                if next[row] == format.end {
                    isDone[row] = true
                } else if next[row] == format.lineBoundary {
                    lines[row].append("")
                } else {
                    let character = format.characters.indices.contains(token) ? format.characters[token] : nil
                    lines[row][lines[row].count - 1].append(character ?? Self.foreign)
                }
                if step + 1 >= size(plans[row]) + Self.slack { isDone[row] = true }
            }
            if isDone.allSatisfy({ $0 }) { break }
            if step + 1 < room { _ = session.feed(next.map { [$0] }) }
        }
        return lines
    }
}
