import Foundation

/// An n-gram language model with interpolated modified Kneser-Ney smoothing: the baseline that a neural model has to
/// beat.
///
/// Chen and Goodman (1999), section 3; adjusted counts as KenLM's lmplz takes them (Heafield et al. 2013): an n-gram
/// shorter than the order counts once for each different token before it, unless it begins with the start of the text,
/// before which nothing stands. Nothing is pruned, and the last step back is the uniform distribution.
///
/// Kept as a trie of sorted levels, ten bytes an n-gram; ten million tokens with order 5 take about a quarter of a
/// gigabyte, and three times that while the model is made.
public struct NGramModel: Sendable {
    /// The length of the longest n-gram, 1 to 8.
    public let order: Int
    /// The number of tokens that can follow a history.
    public let tokenCount: Int
    /// Stands in front of every text and is never predicted.
    public let start: UInt16

    /// The n-grams of one length, sorted by their tokens.
    private struct Level {
        /// The last token of each.
        var tokens: [UInt16] = []
        var counts: [UInt32] = []
        /// Where the n-grams that go on from each begin in the next level, and one past the last; empty in the longest.
        var children: [UInt32] = []
        /// What is taken from a count of one, of two, of three and more.
        var discounts: (Double, Double, Double) = (0.5, 1, 1.5)

        func discount(_ count: UInt32) -> Double {
            switch count {
            case 0: 0
            case 1: discounts.0
            case 2: discounts.1
            default: discounts.2
            }
        }
    }

    private let levels: [Level]

    /// Counts the n-grams of some texts.
    ///
    /// - Parameters:
    ///   - texts: each with its end, without its start; `start` is not among their tokens
    ///   - tokenCount: how many different tokens a text may hold; at least those that the texts do hold
    ///   - order: 1 to 8; other values are taken as the nearest
    public init(texts: some Sequence<[UInt16]>, start: UInt16, tokenCount: Int, order: Int = 5) {
        let order = min(max(order, 1), 8)
        self.order = order
        self.tokenCount = max(1, tokenCount)
        self.start = start

        // Tokens are packed 16 bits each, the first highest, so that keys sort as their tokens do.
        var longest: [UInt128] = []
        // N-grams that begin a text and are shorter than the order, by their length less one.
        var openings: [[UInt128]] = Array(repeating: [], count: order)
        for text in texts {
            var key = UInt128(start)
            for (index, token) in text.enumerated() {
                key = key << 16 | UInt128(token)
                let length = index + 2
                if length < order { openings[length - 1].append(key) }
                if length >= order { longest.append(key & Self.mask(order)) }
            }
        }
        // A start alone has no probability, only what follows it.
        if order > 1 { openings[0] = [UInt128(start)] }

        var levels = Array(repeating: Level(), count: order)
        var keys = longest
        longest = []
        var above: [UInt128] = []
        for length in stride(from: order, through: 1, by: -1) {
            // Those that begin a text are in `openings`, the others in `keys`, once for each token before them.
            keys += openings[length - 1]
            keys.sort()
            var unique: [UInt128] = []
            for key in keys {
                if key == unique.last {
                    levels[length - 1].counts[unique.count - 1] += 1
                } else {
                    unique.append(key)
                    levels[length - 1].counts.append(1)
                }
            }
            if length == 1, order > 1, !unique.isEmpty, let place = unique.firstIndex(of: UInt128(start)) {
                levels[0].counts[place] = 0
            }
            levels[length - 1].tokens = unique.map { UInt16(truncatingIfNeeded: $0) }
            levels[length - 1].discounts = Self.discounts(levels[length - 1].counts)
            if length < order { levels[length - 1].children = Self.children(of: unique, in: above) }
            // One length down: each n-gram without its first token.
            if length > 1 { keys = unique.map { $0 & Self.mask(length - 1) } }
            above = unique
        }
        self.levels = levels
    }

    /// The low bits that hold so many tokens.
    private static func mask(_ length: Int) -> UInt128 { length >= 8 ? .max : (1 << UInt128(16 * length)) - 1 }

    /// Where the n-grams that go on from each of `keys` begin in `longer`; both sorted.
    private static func children(of keys: [UInt128], in longer: [UInt128]) -> [UInt32] {
        var result: [UInt32] = []
        result.reserveCapacity(keys.count + 1)
        var place = 0
        for key in keys {
            result.append(UInt32(place))
            while place < longer.count, longer[place] >> 16 == key { place += 1 }
        }
        result.append(UInt32(place))
        return result
    }

    /// Chen and Goodman's estimates, equation 17; where the counts are too few for one, the fall-back of KenLM.
    private static func discounts(_ counts: [UInt32]) -> (Double, Double, Double) {
        var found = [0.0, 0, 0, 0, 0]
        for count in counts where (1...4).contains(count) { found[Int(count)] += 1 }
        let share = found[1] / (found[1] + 2 * found[2])
        func estimate(_ count: Int) -> Double? {
            let value = Double(count) - Double(count + 1) * share * found[count + 1] / found[count]
            return value.isFinite && value >= 0 && value <= Double(count) ? value : nil
        }
        guard let one = estimate(1), let two = estimate(2), let more = estimate(3) else { return (0.5, 1, 1.5) }
        return (one, two, more)
    }

    // MARK: - Probabilities

    /// The natural logarithm of the probability of a token.
    ///
    /// - Parameter history: the tokens before it, `start` in front of them; only the last `order` - 1 count
    public func logProbability(of token: UInt16, after history: some BidirectionalCollection<UInt16>) -> Double {
        var probability = 1 / Double(tokenCount)
        let context = Array(history.suffix(order - 1))
        for length in 0...context.count {
            guard let range = followers(of: context[(context.count - length)...]), !range.isEmpty else { break }
            let level = levels[length]
            var (total, taken, discounted) = (0.0, 0.0, 0.0)
            for index in range {
                let count = level.counts[index]
                total += Double(count)
                taken += level.discount(count)
            }
            guard total > 0 else { break }
            if let index = find(token, in: range, of: level) {
                let count = level.counts[index]
                discounted = Double(count) - level.discount(count)
            }
            probability = (discounted + taken * probability) / total
        }
        return log(probability)
    }

    /// What the n-grams of two tokens and more say of the token that follows a history; the last step back is left
    /// open, so that another model than single tokens can take it: p(token) = `known`(token) + `rest` * that model's
    /// p(token).
    ///
    /// - Parameter history: as for `logProbability`
    /// - Returns: `known`, ascending by token, and `rest` are 1 together; nothing is known after a history without
    ///   n-grams
    public func continuations(
        after history: some BidirectionalCollection<UInt16>
    ) -> (known: [(token: UInt16, probability: Double)], rest: Double) {
        var (known, rest): ([UInt16: Double], Double) = ([:], 1)
        let context = Array(history.suffix(order - 1))
        for length in 1..<max(1, context.count + 1) {
            guard let range = followers(of: context[(context.count - length)...]), !range.isEmpty else { break }
            let level = levels[length]
            let counts = level.counts[range]
            let total = counts.reduce(0) { $0 + Double($1) }
            let taken = counts.reduce(0) { $0 + level.discount($1) } / total
            known = known.mapValues { $0 * taken }
            rest *= taken
            for index in range {
                let count = level.counts[index]
                known[level.tokens[index], default: 0] += (Double(count) - level.discount(count)) / total
            }
        }
        return (known.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, rest)
    }

    /// The natural logarithms of the probabilities of a text's tokens, its end among them.
    public func logProbabilities(of text: [UInt16]) -> [Double] {
        let whole = [start] + text
        return text.indices.map { logProbability(of: text[$0], after: whole[...$0]) }
    }

    /// The places, in the level above, of the n-grams that go on from a context; nil where the context is unknown.
    private func followers(of context: ArraySlice<UInt16>) -> Range<Int>? {
        var range = 0..<levels[0].tokens.count
        for (depth, token) in context.enumerated() {
            guard let index = find(token, in: range, of: levels[depth]) else { return nil }
            range = Int(levels[depth].children[index])..<Int(levels[depth].children[index + 1])
        }
        return range
    }

    private func find(_ token: UInt16, in range: Range<Int>, of level: Level) -> Int? {
        var (low, high) = (range.lowerBound, range.upperBound)
        while low < high {
            let middle = (low + high) / 2
            if level.tokens[middle] < token { low = middle + 1 } else { high = middle }
        }
        return low < range.upperBound && level.tokens[low] == token ? low : nil
    }
}
