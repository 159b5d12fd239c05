import Foundation
import Testing
import TihuaTestSupport
import TihuaVerse

@Suite struct NGramModelTests {
    private struct Golden: Decodable {
        let start: UInt16
        let tokenCount: Int
        let order: Int
        let texts: [[UInt16]]
        let queries: [[UInt16]]
        let logprobs: [[Double]]
    }

    @Test("equals the brute-force reference", arguments: [1, 2, 3, 5])
    func golden(order: Int) throws {
        let data = try Data(contentsOf: fixture("Evaluation/ngram-\(order).json"))
        let golden = try JSONDecoder().decode(Golden.self, from: data)
        let model = NGramModel(
            texts: golden.texts, start: golden.start, tokenCount: golden.tokenCount, order: golden.order)
        #expect(!golden.queries.isEmpty)
        for (query, expected) in zip(golden.queries, golden.logprobs) {
            let found = model.logProbabilities(of: query)
            #expect(found.count == expected.count)
            #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-10 })
        }
    }

    /// Texts "1 2 9" and "1 3 9", start 0, four tokens. Too few counts for estimates: discounts 0.5, 1, 1.5.
    ///
    /// Unigrams by the tokens before them: 1 after 0; 2 and 3 after 1; 9 after 2 and 3: counts 1 1 1 2, of 5 in all, of
    /// which 0.5 + 0.5 + 0.5 + 1 = 2.5 are shared out evenly: p(2) = (0.5 + 2.5 / 4) / 5 = 0.225. Bigrams: 2 and 3
    /// follow 1 once each, 1 of 2 shared out: p(2 | 1) = (0.5 + 1 * 0.225) / 2 = 0.3625. 0 1 begins both texts: p(1 |
    /// 0) = (2 - 1 + 1 * 0.225) / 2.
    @Test func equalsCalculationByHand() {
        let model = NGramModel(texts: [[1, 2, 9], [1, 3, 9]], start: 0, tokenCount: 4, order: 2)
        #expect(abs(exp(model.logProbability(of: 2, after: [])) - 0.225) < 1e-12)
        #expect(abs(exp(model.logProbability(of: 2, after: [1])) - 0.3625) < 1e-12)
        #expect(abs(exp(model.logProbability(of: 1, after: [0])) - 0.6125) < 1e-12)
    }

    @Test("probabilities sum to one after every history, known or not", arguments: 1...6)
    func sumsToOne(order: Int) {
        let tokens: [UInt16] = Array(1...12)
        var random = Numbers(state: UInt64(order))
        let texts = (0..<40).map { _ in
            (0..<Int(random.next() % 9 + 1)).map { _ in tokens[Int(random.next() % 11)] } + [12]
        }
        let model = NGramModel(texts: texts, start: 0, tokenCount: tokens.count, order: order)
        var histories = texts.prefix(12).flatMap { text in text.indices.map { [0] + text[..<$0] } }
        histories += [[], [11, 11, 11, 11, 11], [7, 0]]
        for history in histories {
            let total = tokens.reduce(0.0) { $0 + exp(model.logProbability(of: $1, after: history)) }
            #expect(abs(total - 1) < 1e-12, "\(history)")
        }
    }

    @Test("continuations and single tokens together are the whole model", arguments: 1...5)
    func continuations(order: Int) {
        var random = Numbers(state: UInt64(order) + 9)
        let texts = (0..<30).map { _ in (0..<6).map { _ in UInt16(random.next() % 9 + 1) } + [12] }
        let model = NGramModel(texts: texts, start: 0, tokenCount: 20, order: order)
        for history: [UInt16] in [[0], [], [7, 0], [15, 15]] + texts.prefix(9).map({ [0] + $0.dropLast(3) }) {
            let (known, rest) = model.continuations(after: history)
            #expect(known.map(\.token) == known.map(\.token).sorted())
            #expect(known.isEmpty == (order == 1 || history.isEmpty || history.last == 15))
            #expect(abs(known.reduce(rest) { $0 + $1.probability } - 1) < 1e-12)
            for token: UInt16 in [1, 5, 9, 12, 15] {
                let share = known.first { $0.token == token }?.probability ?? 0
                let whole = share + rest * exp(model.logProbability(of: token, after: []))
                #expect(abs(log(whole) - model.logProbability(of: token, after: history)) < 1e-9)
            }
        }
    }

    @Test func knownTextIsLikelierAndNothingTrainsToUniform() {
        let model = NGramModel(texts: Array(repeating: [1, 2, 3, 4, 9], count: 20), start: 0, tokenCount: 9)
        #expect(
            model.logProbabilities(of: [1, 2, 3, 4, 9]).reduce(0, +)
                > model.logProbabilities(of: [4, 3, 2, 1, 9]).reduce(0, +))
        let empty = NGramModel(texts: [], start: 0, tokenCount: 8)
        #expect(abs(empty.logProbability(of: 3, after: [0, 1]) + log(8)) < 1e-12)
    }
}

/// The same numbers every time.
private struct Numbers {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33
    }
}
