import TihuaTorch

/// What the tokens of a text obey, whatever the search. Named and defined as in transformers' `generate`.
public struct TokenRules: Sendable, Equatable {
    /// Tokens that end a text; they are not part of it, but of its probability.
    public var stop: [Int32]
    /// Tokens that are never written.
    public var suppressed: [Int32]
    /// New tokens before which no stop token may come, 0 or more.
    public var minimumLength: Int
    /// New tokens after which a text ends, the stop token counted.
    public var maximumLength: Int
    /// Scores of tokens that stand in the prompt or the text are divided by this where positive, multiplied where
    /// negative (Keskar et al. 2019, CTRL). 1 changes nothing.
    public var repetitionPenalty: Double
    /// No sequence of so many tokens comes twice in prompt and text; 0 allows all.
    public var noRepeatNGram: Int

    /// - Precondition: see `validate` for the ranges.
    public init(
        stop: [Int32] = [], suppressed: [Int32] = [], minimumLength: Int = 0, maximumLength: Int = 100,
        repetitionPenalty: Double = 1, noRepeatNGram: Int = 0
    ) {
        self.stop = stop
        self.suppressed = suppressed
        self.minimumLength = minimumLength
        self.maximumLength = maximumLength
        self.repetitionPenalty = repetitionPenalty
        self.noRepeatNGram = noRepeatNGram
    }

    /// - Throws: `GenerationError.sampling` for a value out of range.
    public func validate() throws(GenerationError) {
        try require((1...1_000_000).contains(maximumLength), "the maximum length", maximumLength, "1 to 1000000")
        try require(
            (0...maximumLength).contains(minimumLength), "the minimum length", minimumLength,
            "0 to the maximum, \(maximumLength)")
        try require(
            repetitionPenalty > 0 && repetitionPenalty <= 100, "the repetition penalty", repetitionPenalty,
            "more than 0, at most 100")
        try require(noRepeatNGram >= 0, "the n-gram size", noRepeatNGram, "0 (off) or more")
    }

    /// What is added to the scores of every row, nil where nothing is. float32 `[V]`
    func suppression(vocabularySize: Int, device: Device) -> Tensor? {
        let ids = Set(suppressed).filter { (0..<vocabularySize).contains(Int($0)) }
        guard !ids.isEmpty else { return nil }
        var mask = [Float](repeating: 0, count: vocabularySize)
        for id in ids { mask[Int(id)] = -.infinity }
        return Tensor(mask).to(nil, device)
    }

    /// The scores under the rules.
    ///
    /// - Parameters:
    ///   - scores: `[B, V]`
    ///   - suppression: of `suppression`
    ///   - texts: the tokens of each row, its prompt first
    ///   - length: new tokens so far
    func applied(to scores: Tensor, suppression: Tensor?, texts: [ArraySlice<Int32>], length: Int) -> Tensor {
        let scores = suppression.map { scores + $0 } ?? scores
        let forbidsStop = length < minimumLength && !stop.isEmpty
        guard forbidsStop || repetitionPenalty != 1 || noRepeatNGram > 0 else { return scores }

        // Only the scores of a few tokens change: they are fetched, changed here, and put back.
        let penalized = texts.map { repetitionPenalty == 1 ? [] : Set($0) }
        let banned = texts.map { text in
            var ids = followers(in: text)
            if forbidsStop { ids.formUnion(stop) }
            return ids
        }
        let touched = zip(penalized, banned).map { $0.union($1).sorted() }
        let longest = touched.map(\.count).max() ?? 0
        guard longest > 0 else { return scores }
        // Short rows repeat a token of theirs; a row without any writes back what token 0 had.
        let ids = touched.flatMap { $0 + Array(repeating: $0.first ?? 0, count: longest - $0.count) }
        let places = Tensor.ids(ids, [texts.count, longest]).to(.int64, scores.device)
        var values = scores.gathered(1, places).floats
        for (index, id) in ids.enumerated() {
            let row = index / longest
            if penalized[row].contains(id) {
                values[index] *= Float(values[index] < 0 ? repetitionPenalty : 1 / repetitionPenalty)
            }
            if banned[row].contains(id) { values[index] = -.infinity }
        }
        return scores.scattered(1, places, Tensor(values, [texts.count, longest]).to(nil, scores.device))
    }

    /// The tokens that would complete a sequence of `noRepeatNGram` which stands in the text already.
    private func followers(in text: ArraySlice<Int32>) -> Set<Int32> {
        let size = noRepeatNGram
        guard size > 0, text.count >= size else { return [] }
        let last = text.suffix(size - 1)
        var found: Set<Int32> = []
        for start in text.startIndex...text.endIndex - size
        where text[start..<start + size - 1].elementsEqual(last) {
            found.insert(text[start + size - 1])
        }
        return found
    }
}
