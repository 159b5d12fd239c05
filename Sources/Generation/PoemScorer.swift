public import TihuaModels
public import TihuaProsody
public import TihuaTorch
public import TihuaVerse

/// How likely a poet finds poems that are there already, and what a metre takes from its choices.
///
/// For GPT2 in Tihua's format. Texts of about equal length go through the model together. Not `Sendable`: it lives on
/// its model's thread.
public final class PoemScorer {
    /// A poem, or part of one, and what the poet is told before it.
    public struct Text: Sendable {
        /// What the poet is told.
        public var prompt: PoemPrompt
        /// False leaves the form's token out of the prompt.
        public var namesForm: Bool
        /// The lines, without punctuation; characters that the poet does not know are read as `[UNK]`.
        public var lines: [String]

        /// A text of these parts.
        public init(prompt: PoemPrompt, namesForm: Bool = true, lines: [String]) {
            self.prompt = prompt
            self.namesForm = namesForm
            self.lines = lines
        }
    }

    /// What a metre takes from the poet's choices at one slot.
    public struct Slot: Sendable, Equatable {
        /// What the metre asks for there.
        public enum Kind: String, Sendable, CaseIterable {
            /// A rhyme.
            case rhyme
            /// A tone without a rhyme; also the end of a first line that may rhyme or not.
            case tone
            /// Any character.
            case free
        }

        /// What the metre asks for.
        public let kind: Kind
        /// The probability that the poet gave to what may not stand there, characters or not; 0 to 1.
        public let removed: Double
    }

    private let model: GPT2
    private let vocabulary: PoetVocabulary
    private let format: PoetFormat
    private let device: Device
    private let tables: CharacterTables

    /// Padded tokens of one batch; the scores of a vocabulary of 6,000 then take 100 MB.
    private static let batchTokens = 4096

    /// - Throws: `ModelError.vocabulary` if there are more tokens than the model has rows.
    public init(_ model: GPT2, vocabulary: PoetVocabulary, device: Device = .cpu) throws {
        let rows = model.configuration.vocabularySize
        guard vocabulary.count <= rows else {
            throw ModelError.vocabulary(folder: "poet", tokens: vocabulary.count, rows: rows)
        }
        self.model = model
        self.vocabulary = vocabulary
        self.device = device
        format = try PoetFormat(tokens: vocabulary.tokens)
        tables = CharacterTables(format, size: rows, device: device)
    }

    /// The natural logarithms of the probabilities of each text's tokens after its prompt: the characters of every
    /// line, a boundary between two lines, the end behind the last.
    ///
    /// - Parameter progress: called with the number of texts that are done
    /// - Throws: `GenerationError.tooLong`, `.brokenModel`, `VerseError.unknownForm`, `CancellationError`.
    public func logProbabilities(
        of texts: [Text], progress: (Int) -> Void = { _ in }
    ) throws -> [[Double]] {
        var result = [[Double]](repeating: [], count: texts.count)
        var done = 0
        try forEachBatch(texts) { rows, scores, targets in
            let wanted = Tensor.ids(targets, [targets.count, 1]).to(.int64, device)
            let values = (scores.gathered(1, wanted).squeezed(1) - scores.logSumExp(1)).array(of: Double.self)  // [N]
            guard values.allSatisfy(\.isFinite) else { throw GenerationError.brokenModel }
            var start = 0
            for row in rows {
                let count = texts[row].lines.joined().count + texts[row].lines.count
                result[row] = Array(values[start..<start + count])
                start += count
            }
            done += rows.count
            progress(done)
        }
        return result
    }

    /// What the metre removes at each slot of poems that keep to it, given the poem up to there: one less the
    /// probability of all that the slot's rule admits. Where several patterns are open, the rule is the union of theirs
    /// (see `SlotRule`).
    ///
    /// - Returns: for each poem its slots, nil where the poem does not keep to the metre
    /// - Throws: as `logProbabilities`.
    public func removedMass(of poems: [(text: Text, constraint: MetreConstraint)]) throws -> [[Slot]?] {
        let walks = poems.map { rules(of: $0.text.lines, $0.constraint) }
        let kept = poems.indices.filter { walks[$0] != nil }
        var result = [[Slot]?](repeating: nil, count: poems.count)
        try forEachBatch(kept.map { poems[$0].text }) { rows, scores, _ in
            let probabilities = scores.softmax(1)  // [N, V]
            var (places, masks, excluded): ([Int32], [Tensor], [[Int32]]) = ([], [], [])
            var maskPlaces: [RhymeBook: [SlotRule: Int64]] = [:]
            var maskRows: [Int64] = []
            var start = 0
            for poem in rows.map({ kept[$0] }) {
                let book = poems[poem].constraint.book
                var slot = 0
                for line in poems[poem].text.lines {
                    for _ in line {
                        guard var rule = walks[poem]?[slot].rule else { continue }
                        excluded.append(rule.excluded.compactMap(format.id(of:)))
                        rule = rule.common
                        if maskPlaces[book]?[rule] == nil {
                            maskPlaces[book, default: [:]][rule] = Int64(masks.count)
                            masks.append(tables[book].mask(rule).exp())
                        }
                        maskRows.append(maskPlaces[book]?[rule] ?? 0)
                        places.append(Int32(start))
                        start += 1
                        slot += 1
                    }
                    start += 1  // the boundary, which is not chosen
                }
            }
            let count = places.count
            let allowed = Tensor.stacked(masks, 0)  // [R, V], 1 or 0
                .gatheringSlices(0, at: Tensor(maskRows).to(.int64, device))
            let admitted =
                probabilities.gatheringSlices(0, at: Tensor.ids(places, [count]).to(nil, device)) * allowed  // [N, V]
            // The lists of excluded characters are padded with the padding token, which is never admitted.
            let width = max(1, excluded.map(\.count).max() ?? 1)
            let padded = excluded.flatMap { $0 + Array(repeating: format.padding, count: width - $0.count) }
            let lost = admitted.gathered(1, Tensor.ids(padded, [count, width]).to(.int64, device)).sum(1)  // [N]
            let values = (admitted.sum(1) - lost).array(of: Double.self)
            guard values.allSatisfy(\.isFinite) else { throw GenerationError.brokenModel }
            var next = 0
            for poem in rows.map({ kept[$0] }) {
                let kinds = walks[poem]?.map(\.kind) ?? []
                result[poem] = kinds.enumerated().map {
                    Slot(kind: $0.element, removed: min(1, max(0, 1 - values[next + $0.offset])))
                }
                next += kinds.count
            }
        }
        return result
    }

    /// The rule of every slot along the lines; nil where they do not keep to the metre.
    private func rules(of lines: [String], _ constraint: MetreConstraint) -> [(rule: SlotRule, kind: Slot.Kind)]? {
        guard lines.map(\.count) == constraint.form.lineLengths else { return nil }
        var state = MetreState(constraint)
        let rhyming = Set(constraint.form.rhymingLines)
        var result: [(SlotRule, Slot.Kind)] = []
        for (index, line) in lines.enumerated() {
            for character in line {
                let rule = state.rule
                guard state.append(character) else { return nil }
                let kind: Slot.Kind =
                    rule.endsLine && rhyming.contains(index)
                    ? .rhyme : rule.rhymeGroups != nil || rule.tones != .either ? .tone : .free
                result.append((rule, kind))
            }
        }
        return result
    }

    /// Runs the texts, longest first, and hands over the scores where something is predicted.
    ///
    /// - Parameter body: the indices of the texts of a batch, the scores before each of their tokens `[N, V]`, and
    ///   these tokens, N
    private func forEachBatch(_ texts: [Text], _ body: ([Int], Tensor, [Int32]) throws -> Void) throws {
        let encoded = try texts.map { text in
            var prompt = try vocabulary.encode(text.prompt)
            if !text.namesForm, let form = vocabulary.id(of: PoetVocabulary.token(of: text.prompt.form)) {
                prompt.removeAll { $0 == form }
            }
            return (ids: prompt + vocabulary.encode(lines: text.lines), promptCount: prompt.count)
        }
        let order = encoded.indices.sorted { (encoded[$1].ids.count, $0) < (encoded[$0].ids.count, $1) }
        if let longest = order.first, encoded[longest].ids.count - 1 > model.configuration.positionCount {
            throw GenerationError.tooLong(
                tokens: encoded[longest].ids.count - 1, positions: model.configuration.positionCount)
        }
        var start = 0
        while start < order.count {
            try Task.checkCancellation()
            try Runtime.checkMemory()
            let width = encoded[order[start]].ids.count - 1
            let rows = Array(order[start..<min(order.count, start + max(1, Self.batchTokens / width))])
            start += rows.count
            var inputs = [Int32](repeating: vocabulary.padding, count: rows.count * width)
            var (places, targets): ([Int32], [Int32]) = ([], [])
            for (row, index) in rows.enumerated() {
                let text = encoded[index]
                for column in 0..<text.ids.count - 1 {
                    inputs[row * width + column] = text.ids[column]
                    guard column + 1 >= text.promptCount else { continue }
                    places.append(Int32(row * width + column))
                    targets.append(text.ids[column + 1])
                }
            }
            try withoutGradients {
                // Padding stands at the end, where causal attention does not see it.
                let hidden = model.hidden(Tensor.ids(inputs, [rows.count, width]).to(nil, device))  // [B, T, C]
                let learned = hidden.reshaped(rows.count * width, -1)
                    .gatheringSlices(0, at: Tensor.ids(places, [places.count]).to(nil, device))  // [N, C]
                try body(rows, model.logits(learned), targets)
            }
        }
    }
}
