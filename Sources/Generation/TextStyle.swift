import Foundation
import TihuaTorch
import TihuaVerse

/// A style that a language model is drawn to while it writes, given by example sentences. Nothing is trained.
///
/// The sentences are counted into an n-gram model whose last step back is the language model itself: where they know
/// how a text like this one goes on, it has their continuations, elsewhere it is the language model. The score of each
/// token is the logarithm of p(token)^(1 - w) s(token)^w, p the language model, s the n-grams, w the weight, normalised
/// (shallow fusion, Gulcehre et al. 2015, On Using Monolingual Corpora in Neural Machine Translation, with this step
/// back). So the sentences cannot say what the model finds impossible, nor shorten texts that they do not know.
public struct TextStyle: Sendable {
    /// w: 0 leaves the language model as it is, 1 has only the n-grams.
    public let weight: Double

    private let model: NGramModel
    /// What the n-gram model calls each token of the sentences.
    private let numbers: [Int32: UInt16]
    /// The tokens by number, without 0 and 1.
    private let tokens: [Int32]

    /// Stands in front of every sentence.
    private static let start: UInt16 = 0
    /// Stands for all tokens that the sentences do not hold.
    private static let other: UInt16 = 1

    /// - Parameters:
    ///   - sentences: token ids, without the end
    ///   - end: the token that ends a text
    ///   - vocabularySize: V, of the language model
    ///   - weight: 0 to 1
    ///   - order: 1 to 8: how many tokens make up the longest n-gram; a long one recites sentences
    /// - Throws: `GenerationError.sampling` for a value out of range.
    public init(
        sentences: [[Int32]], end: Int32, vocabularySize: Int, weight: Double = 0.7, order: Int = 3
    ) throws(GenerationError) {
        try require(weight >= 0 && weight <= 1, "the weight of the style", weight, "0 to 1")
        try require((1...8).contains(order), "the order of the style", order, "1 to 8")
        var numbers: [Int32: UInt16] = [:]
        var tokens: [Int32] = []
        func number(_ token: Int32) -> UInt16 {
            if let known = numbers[token] { return known }
            guard (0..<vocabularySize).contains(Int(token)), tokens.count + 2 <= Int(UInt16.max) else {
                return Self.other
            }
            tokens.append(token)
            numbers[token] = UInt16(tokens.count + 1)
            return UInt16(tokens.count + 1)
        }
        let texts = sentences.map { ($0 + [end]).map(number) }
        model = NGramModel(texts: texts, start: Self.start, tokenCount: vocabularySize, order: order)
        self.weight = weight
        self.numbers = numbers
        self.tokens = tokens
    }

    private func history(_ text: some Sequence<Int32>) -> [UInt16] {
        [Self.start] + text.map { numbers[$0] ?? Self.other }
    }

    /// What the style adds to the scores of the next token, so that their sum over the vocabulary stays what it is.
    /// float32 `[B, V]`, nil where nothing is added
    ///
    /// - Parameters:
    ///   - scores: of the language model, `[B, V]`
    ///   - texts: of each row, from the first token of its sentence
    func lean(_ scores: Tensor, texts: [ArraySlice<Int32>]) -> Tensor? {
        guard weight > 0 else { return nil }
        let rows = texts.map { text in
            let (known, rest) = model.continuations(after: history(text.suffix(model.order)))
            // The language model keeps at least a thousandth, so that no text comes to a dead end.
            return (known: known.filter { $0.token > Self.other }, rest: max(rest, 1e-3))
        }
        let longest = rows.map(\.known.count).max() ?? 0
        guard longest > 0 else { return nil }
        // The sentences know only a few tokens of a row. Short rows repeat one of theirs; a row without any has token 0
        // with a share of 0.
        var (ids, shares): ([Int32], [Double]) = ([], [])
        for (known, _) in rows {
            let first = known.first.map { (tokens[Int($0.token) - 2], $0.probability) } ?? (0, 0)
            for index in 0..<longest {
                let (id, share) =
                    known.indices.contains(index)
                    ? (tokens[Int(known[index].token) - 2], known[index].probability) : first
                ids.append(id)
                shares.append(share)
            }
        }
        let places = Tensor.ids(ids, [rows.count, longest]).to(.int64, scores.device)
        let own = scores.logSoftmax(1)
        let values = zip(own.gathered(1, places).floats, shares).enumerated().map { index, pair in
            // log(share + rest * p) - log p, finite where p is next to nothing.
            Float(weight * log(pair.1 * exp(-max(Double(pair.0), -80)) + rows[index / longest].rest))
        }
        let rests = rows.map { Float(weight * log($0.rest)) }
        let others = Tensor(rests, [rows.count, 1]).to(nil, scores.device).expanded(-1, scores.size(1))
        let lean = others.scattered(1, places, Tensor(values, [rows.count, longest]).to(nil, scores.device))
        return lean - (own + lean).logSumExp(1, keep: true)
    }

    /// The mean of the natural logarithms of the probabilities that the sentences give to a text's new tokens; 0 where
    /// there is none.
    ///
    /// - Parameters:
    ///   - tokens: new ones, the end among them where it was written
    ///   - prompt: tokens of the sentence that stand before
    public func meanLogProbability(of tokens: [Int32], after prompt: [Int32] = []) -> Double {
        guard !tokens.isEmpty else { return 0 }
        let whole = history(prompt + tokens)
        let sum = tokens.indices.reduce(0.0) { sum, index in
            let place = prompt.count + 1 + index
            return sum + model.logProbability(of: whole[place], after: whole[..<place])
        }
        return sum / Double(tokens.count)
    }
}
