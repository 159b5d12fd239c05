import Evaluation
import Foundation
import Torch

/// The manner of some sentences, to which a language model leans while it writes: to the score of each token comes
/// `weight` times the logarithm of its probability in an n-gram model of the sentences (shallow fusion: Gulcehre et al.
/// 2015, On Using Monolingual Corpora in Neural Machine Translation). Nothing is trained; the model still decides what is
/// said, the sentences how.
public struct TextStyle: Sendable {
    /// 0 changes nothing; at 1 the sentences count as much as the model.
    public let weight: Double

    private let model: NGramModel
    /// The model's number of each token that the sentences hold.
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
    ///   - weight: 0 to 10
    ///   - order: 1 to 8: how many tokens make up the longest n-gram; a long one recites sentences
    /// - Throws: `GenerationError.sampling` for a value out of range.
    public init(
        sentences: [[Int32]], end: Int32, vocabularySize: Int, weight: Double = 0.5, order: Int = 3
    ) throws(GenerationError) {
        guard weight >= 0, weight <= 10 else {
            throw .sampling(setting: "the weight of the style", value: "\(weight)", range: "0 to 10")
        }
        guard (1...8).contains(order) else {
            throw .sampling(setting: "the order of the style", value: "\(order)", range: "1 to 8")
        }
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

    /// The scores with the style. `[B, V]`
    ///
    /// - Parameters:
    ///   - scores: `[B, V]`
    ///   - texts: of each row, from the first token of its sentence
    func leaned(_ scores: Tensor, texts: [ArraySlice<Int32>]) -> Tensor {
        guard weight > 0 else { return scores }
        let width = scores.size(1)
        var values: [Float] = []
        values.reserveCapacity(texts.count * width)
        for text in texts {
            let row = values.count
            let (known, other) = model.distribution(after: history(text.suffix(model.order)))
            values.append(contentsOf: repeatElement(Float(weight * log(other)), count: width))
            for (number, probability) in known where number > Self.other {
                values[row + Int(tokens[Int(number) - 2])] = Float(weight * log(probability))
            }
        }
        return scores + Tensor(values, [texts.count, width]).to(nil, scores.device)
    }

    /// The mean of the natural logarithms of the probabilities that the sentences give to a text's new tokens; 0 where there
    /// is none.
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
