public import TihuaModels
public import TihuaProsody
public import TihuaTorch
public import TihuaVerse

/// One poem that is to be written.
public struct PoemPlan: Sendable {
    /// What the model is told.
    public var prompt: PoemPrompt
    /// The metre that the poem obeys; its form is the prompt's.
    public var constraint: MetreConstraint
    /// Embeddings that stand where keywords would, one after the other, each of the poet's width: what `PrefixMapper`
    /// makes of a picture. Empty for none.
    public var prefix: [Float]
    /// Equal plans with equal seeds become equal poems, whatever they are written together with.
    public var seed: UInt64

    /// A plan of these parts.
    public init(prompt: PoemPrompt, constraint: MetreConstraint, prefix: [Float] = [], seed: UInt64) {
        self.prompt = prompt
        self.constraint = constraint
        self.prefix = prefix
        self.seed = seed
    }
}

/// A poem as the model wrote it.
public struct WrittenPoem: Sendable, Equatable {
    /// The index of its plan.
    public let plan: Int
    /// The lines, without punctuation.
    public let lines: [String]
    /// The natural logarithm of the model's own probability (no mask, temperature 1) of all tokens after the prompt,
    /// including the boundaries of lines, but not the characters that the tune repeats.
    public let logProbability: Double
    /// The number of these tokens.
    public let tokenCount: Int
    /// For each rhyme of the form the groups that its characters have in common, by id in the constraint's book.
    public let rhymeGroups: [RhymeGroupSet]
}

/// Writes poems under a metre, all candidates in one batch.
///
/// Length, tone and rhyme are right by construction: each slot's rule masks the scores, and the ends of lines are set,
/// not drawn, as are characters that the tune repeats. `[UNK]` and special tokens are never written. A line of four or
/// more characters comes twice only where the tune repeats it, and never where `isKnown` is true of it; a character
/// comes more than twice only where no other is possible. Not `Sendable`: it lives on its model's thread.
public final class PoemWriter {
    /// How the model is asked.
    public let format: PoetFormat
    private let model: any VerseModel
    /// Whether a line is one of the training poems; no poem gets such a line.
    public let isKnown: (String) -> Bool
    /// Whether poets end lines in these two characters; other endings are drawn only where little else can stand.
    /// Without it a small model ends lines in what is no word, since rhyme and tone leave it few characters there.
    public var isEnding: (String) -> Bool = { _ in true }
    /// The pairs of characters that the model writes too often, whose scores are lowered unless the prompt asks for
    /// them; nil lowers none.
    public var stock: OverusedPairs?
    /// What is added to the scores of the poems under way, `[V]`.
    private var leaning: Tensor?
    private let tables: CharacterTables

    /// How many times a line that repeats or is known is written before its poem is given up.
    private static let attempts = 4
    /// The length in characters from which on a line must be new.
    private static let shortestOwnLine = 4
    /// What is taken from the score of a line's last character where no poet ends a line like that.
    private static let strangeEnding: Float = 4
    /// The most poems in one batch.
    private static let batch = 128

    /// A poet in Tihua's or in Image2Poem's format. A model with an encoder writes line by line.
    ///
    /// - Parameter isKnown: whether a line is one of the training poems
    /// - Throws: `ModelError.vocabulary` if the format has more tokens than the model has rows.
    public convenience init(
        _ model: any TokenDecoder, format: PoetFormat, device: Device = .cpu,
        isKnown: @escaping (String) -> Bool = { _ in false }
    ) throws {
        guard format.tokenCount <= model.vocabularySize else {
            throw ModelError.vocabulary(folder: "poet", tokens: format.tokenCount, rows: model.vocabularySize)
        }
        let verse: any VerseModel =
            model.hasEncoder
            ? EncoderDecoderVerse(model: model, format: format, device: device)
            : DecoderVerse(model: model, format: format, device: device)
        self.init(verse, format: format, isKnown: isKnown)
    }

    init(_ model: any VerseModel, format: PoetFormat, isKnown: @escaping (String) -> Bool) {
        self.model = model
        self.format = format
        self.isKnown = isKnown
        tables = CharacterTables(format, size: model.scoreCount, device: model.device)
    }

    /// Writes a poem for each plan; those that come to a dead end are missing from the result, which is in the plans'
    /// order.
    ///
    /// Plans of one form go through the model together, those with a prefix by themselves. Cancelling the task ends the
    /// work at the next line.
    ///
    /// - Parameters:
    ///   - leaning: what is added to the scores (log-probabilities before temperature) of characters
    ///   - progress: told after each line how many plans that makes; those of a batch advance together, line by line
    /// - Throws: `GenerationError`, `VerseError.unknownForm`, `CancellationError`.
    public func write(
        _ plans: [PoemPlan], sampling: Sampling = Sampling(), leaning: [Character: Float] = [:],
        progress: (Int) -> Void = { _ in }
    ) throws -> [WrittenPoem] {
        try sampling.validate()
        var values = [Float](repeating: 0, count: model.scoreCount)
        for (character, value) in leaning {
            if let token = format.id(of: character) { values[Int(token)] = value }
        }
        self.leaning = leaning.isEmpty ? nil : Tensor(values).to(.float32, model.device)
        defer { self.leaning = nil }
        var kinds: [Kind: [Int]] = [:]
        for (index, plan) in plans.enumerated() { kinds[try kind(of: plan), default: []].append(index) }
        var poems: [WrittenPoem] = []
        var done = 0
        for indices in kinds.sorted(by: { $0.value[0] < $1.value[0] }).map(\.value) {
            for start in stride(from: 0, to: indices.count, by: Self.batch) {
                let part = indices[start..<min(start + Self.batch, indices.count)]
                poems += try withoutGradients {
                    try write(together: part.map { ($0, plans[$0]) }, sampling) { share in
                        progress(done + Int(share * Double(part.count)))
                    }
                }
                done += part.count
            }
        }
        return poems.sorted { $0.plan < $1.plan }
    }

    /// What plans that go through the model together have in common. Prefixes and what stands before them must be of
    /// one length, since padding comes behind them.
    private struct Kind: Hashable {
        let lineLengths: [Int]
        let prefix: Int
        let head: Int
    }

    private func kind(of plan: PoemPlan) throws -> Kind {
        let head = plan.prefix.isEmpty ? 0 : try format.parts(of: plan.prompt).head.count
        return Kind(lineLengths: plan.constraint.form.lineLengths, prefix: plan.prefix.count, head: head)
    }

    private func write(
        together plans: [(index: Int, plan: PoemPlan)], _ sampling: Sampling, progress: (_ share: Double) -> Void
    ) throws -> [WrittenPoem] {
        guard let form = plans.first?.plan.constraint.form else { return [] }
        var drafts = plans.map { Draft($0.plan) }
        // The poem's characters, a boundary after each line, and the start tokens of a decoder.
        let room = form.characterCount + form.lineCount + 2
        var pass = Pass(try model.session(for: drafts, room: room))
        for line in 0..<form.lineCount {
            try Task.checkCancellation()
            try Runtime.checkMemory()
            if line > 0, !model.spansLines { pass = Pass(try model.session(for: drafts, room: room)) }
            let start = pass.mark
            let before = drafts
            try writeLine(&drafts, &pass, sampling)
            if try rewrite(&drafts, from: before, sampling) {
                pass.rewind(to: start)
                for (row, draft) in drafts.enumerated() {
                    drafts[row].logProbability = before[row].logProbability
                    drafts[row].tokenCount = before[row].tokenCount
                    pass.pending[row] += zip(draft.tokens, draft.repeats).map { Pass.Token(id: $0, isRepeat: $1) }
                }
            }
            let isLast = line + 1 == form.lineCount
            for row in drafts.indices {
                drafts[row].finishLine()
                pass.pending[row].append(Pass.Token(id: model.boundary(isLast: isLast)))
            }
            if isLast || !model.spansLines { try pass.settle(&drafts, scoringLast: true) }
            progress(Double(line + 1) / Double(form.lineCount))
        }
        return zip(plans, drafts).compactMap { plan, draft in
            guard draft.isAlive, draft.metre.isComplete else { return nil }
            return WrittenPoem(
                plan: plan.index, lines: draft.lines, logProbability: draft.logProbability,
                tokenCount: draft.tokenCount, rhymeGroups: draft.metre.rhymeGroups)
        }
    }

    /// Writes new lines for those that the poem or the training poems already have; gives up poems where that fails.
    ///
    /// - Returns: whether a line has changed
    private func rewrite(_ drafts: inout [Draft], from before: [Draft], _ sampling: Sampling) throws -> Bool {
        var changed = false
        for attempt in 0...Self.attempts {
            let rows = drafts.indices.filter { drafts[$0].isAlive && isRefused(drafts[$0]) }
            guard !rows.isEmpty else { break }
            // At temperature 0 the same line would come again.
            guard attempt < Self.attempts, sampling.temperature > 0 else {
                for row in rows { drafts[row].isAlive = false }
                break
            }
            changed = true
            var redone = rows.map { row in
                var draft = before[row]
                draft.random = drafts[row].random
                return draft
            }
            // The lines before are part of the prompt now, so only this line needs room.
            let line = redone[0].lines.count
            let form = redone[0].plan.constraint.form
            var pass = Pass(try model.session(for: redone, room: form.lineLengths[line] + 2))
            try writeLine(&redone, &pass, sampling)
            for (row, draft) in zip(rows, redone) { drafts[row] = draft }
        }
        return changed
    }

    private func isRefused(_ draft: Draft) -> Bool {
        let line = String(draft.characters)
        // A line that the request gave is never refused. Lines of two or three characters are common phrases, which
        // some tunes repeat (如梦令).
        guard draft.drawnCount > 0, line.count >= Self.shortestOwnLine else { return false }
        return draft.lines.contains(line) || isKnown(line)
    }

    /// Writes one line of every draft; its last character is left pending.
    private func writeLine(_ drafts: inout [Draft], _ pass: inout Pass, _ sampling: Sampling) throws {
        guard let length = drafts.first?.plan.constraint.form.lineLengths[drafts[0].lines.count] else { return }
        for _ in 0..<length {
            let rules = drafts.map(\.metre.rule)
            let isForced = zip(rules, drafts).allSatisfy { $0.fixed != nil || !$1.isAlive }
            if !isForced { try pass.settle(&drafts, scoringLast: false) }
            let choices = isForced ? nil : choose(pass.session.next, rules, drafts, sampling)
            for row in drafts.indices {
                let token = choose(&drafts[row], rules[row], choices?[row], sampling)
                if token == nil { drafts[row].isAlive = false }
                pass.pending[row].append(Pass.Token(id: token ?? format.padding, isRepeat: rules[row].isRepeat))
                if token == nil {
                    drafts[row].tokens.append(format.padding)
                    drafts[row].repeats.append(false)
                }
            }
        }
    }

    /// The best tokens of a row and their scores under the mask, descending.
    private typealias Choices = (tokens: ArraySlice<Int64>, scores: ArraySlice<Float>)

    /// The tokens that each row may take.
    private func choose(_ scores: Tensor, _ rules: [SlotRule], _ drafts: [Draft], _ sampling: Sampling) -> [Choices] {
        var distinct: [Tensor] = []
        // Forms of equal lines may rhyme by different books, in which one rule means other characters.
        var places: [RhymeBook: [SlotRule: Int]] = [:]
        let rows = zip(rules, drafts).map { rule, draft in
            let (book, key) = (draft.plan.constraint.book, rule.common)
            if let place = places[book]?[key] { return Int64(place) }
            distinct.append(tables[book].mask(key))
            places[book, default: [:]][key] = distinct.count - 1
            return Int64(distinct.count - 1)
        }
        var masked = Tensor.stacked(distinct, 0)  // [R, V]
        if distinct.count > 1 { masked = masked.gatheringSlices(0, at: Tensor(rows).to(.int64, model.device)) }
        masked = scores + masked  // [B, V]
        if let leaning { masked = masked + leaning }
        if let penalties = penalties(rules, drafts) { masked = masked + penalties }
        let width = sampling.width(of: model.scoreCount)
        let best = masked.topK(width, 1)  // [B, K]
        let (tokens, values) = (best.indices.array(of: Int64.self), best.values.floats)
        return drafts.indices.map { row in
            (tokens[row * width..<(row + 1) * width], values[row * width..<(row + 1) * width])
        }
    }

    /// What repetition takes from the scores, nil where nothing repeats. float32 `[B, V]`
    private func penalties(_ rules: [SlotRule], _ drafts: [Draft]) -> Tensor? {
        let lists = zip(rules, drafts).map { rule, draft in
            draft.penalties(format, excluded: rule.excluded).sorted { $0.key < $1.key }
        }
        let longest = lists.map(\.count).max() ?? 0
        guard longest > 0 else { return nil }
        // Short lists are padded with the index behind the last score, which is cut off again.
        let count = model.scoreCount
        let places = lists.flatMap { list in
            list.map { Int64($0.key) } + Array(repeating: Int64(count), count: longest - list.count)
        }
        let values = lists.flatMap { list in
            list.map(\.value) + Array(repeating: 0, count: longest - list.count)
        }
        let shape = [lists.count, longest]
        return Tensor.zeros([lists.count, count + 1], device: model.device)
            .scattered(
                1, Tensor(places, shape).to(.int64, model.device), Tensor(values, shape).to(.float32, model.device)
            )
            .narrowed(1, 0..<count)
    }

    /// Writes the next character of a draft: the one that the rule demands, or one that is drawn.
    ///
    /// - Returns: its token, nil where nothing can stand
    private func choose(_ draft: inout Draft, _ rule: SlotRule, _ choices: Choices?, _ sampling: Sampling) -> Int32? {
        guard draft.isAlive else { return nil }
        if let fixed = rule.fixed {
            let token = format.id(of: fixed) ?? format.unknown
            return draft.append(fixed, token: token, isRepeat: rule.isRepeat) ? token : nil
        }
        guard let choices else { return nil }
        var tokens = Array(choices.tokens)
        var scores = Array(choices.scores)
        if rule.endsLine || stock != nil, let before = draft.characters.last {
            for (index, token) in tokens.enumerated() {
                guard let character = format.characters[Int(token)] else { continue }
                let pair = String([before, character])
                if rule.endsLine, !isEnding(pair) { scores[index] -= Self.strangeEnding }
                if let excess = stock?.excess[pair], !draft.isAsked(pair) { scores[index] -= Float(excess) }
            }
            let order = scores.indices.sorted { (scores[$0], $1) > (scores[$1], $0) }
            (tokens, scores) = (order.map { tokens[$0] }, order.map { scores[$0] })
        }
        while let index = sampling.draw(from: scores, &draft.random) {
            let token = Int(tokens[index])
            if let character = format.characters[token], draft.append(character, token: Int32(token)) {
                draft.drawnCount += 1
                return Int32(token)
            }
            // The rule is the union of all patterns that are still open, so a character may pass it and fit none of
            // them.
            tokens.remove(at: index)
            scores.remove(at: index)
        }
        return nil
    }
}

/// A session with the tokens that are chosen and not yet fed; they are fed together with those that must follow them.
private struct Pass {
    struct Token {
        var id: Int32
        /// Whether the tune repeats it, so that it does not count in the poem's probability.
        var isRepeat = false
    }

    let session: TokenSession
    var pending: [[Token]]

    struct Mark {
        let length: Int
        let next: Tensor
        let pending: [[Token]]
    }

    init(_ session: TokenSession) {
        self.session = session
        pending = Array(repeating: [], count: session.next.size(0))
    }

    var mark: Mark { Mark(length: session.length, next: session.next, pending: pending) }

    mutating func rewind(to mark: Mark) {
        session.rewind(to: mark.length, next: mark.next)
        pending = mark.pending
    }

    /// Feeds what is pending and adds its probability to the drafts.
    ///
    /// - Parameter scoringLast: the last pending token ends the row: it is scored, not fed.
    mutating func settle(_ drafts: inout [Draft], scoringLast: Bool) throws {
        let count = pending.first?.count ?? 0
        guard count > 0 else { return }
        let fed = scoringLast ? count - 1 : count
        var scores: [Tensor] = []
        if fed > 0 { scores.append(session.feed(pending.map { $0.prefix(fed).map(\.id) })) }
        if scoringLast { scores.append(session.next.unsqueezed(1)) }
        let all = Tensor.concatenated(scores, 1)  // [B, T, V]
        let ids = Tensor.ids(pending.flatMap { $0.map(\.id) }, [pending.count, count, 1]).to(.int64, all.device)
        var perToken = all.gathered(2, ids).squeezed(2) - all.logSumExp(2)  // [B, T]
        if pending.contains(where: { $0.contains(where: \.isRepeat) }) {
            let weights = pending.flatMap { $0.map { Float($0.isRepeat ? 0 : 1) } }
            perToken = perToken * Tensor(weights, [pending.count, count]).to(perToken.dtype, all.device)
        }
        let logProbabilities = perToken.sum(1).array(of: Double.self)
        for row in drafts.indices {
            guard logProbabilities[row].isFinite else { throw GenerationError.brokenModel }
            drafts[row].logProbability += logProbabilities[row]
            drafts[row].tokenCount += pending[row].count { !$0.isRepeat }
            pending[row] = []
        }
    }
}
