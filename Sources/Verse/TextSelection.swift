/// The best of several texts that are unlike each other, by maximal marginal relevance over shared pairs of characters
/// (Carbonell, Goldstein 1998). Equal texts count once; pairs with white space count not at all.
///
/// - Parameters:
///   - texts: candidates
///   - scores: of the candidates, greater is better; only their order and spacing count
///   - count: the most that are chosen
///   - diversity: 0 goes by the scores alone, 1 by unlikeness alone
/// - Returns: indices of `texts`, best first
/// - Precondition: there are as many scores as texts.
public func selectDiverse(_ texts: [String], scores: [Double], count: Int, diversity: Double = 0.3) -> [Int] {
    precondition(texts.count == scores.count, "\(texts.count) texts, but \(scores.count) scores")
    let pairs = texts.map { text in
        Set(zip(text, text.dropFirst()).compactMap { $0.isWhitespace || $1.isWhitespace ? nil : "\($0)\($1)" })
    }
    let (low, high) = (scores.min() ?? 0, scores.max() ?? 0)
    let range = max(high - low, 1e-9)
    var left = Array(texts.indices)
    /// The greatest share of pairs in common with a text that is chosen.
    var likeness = [Double](repeating: 0, count: texts.count)
    var chosen: [Int] = []
    func merit(_ index: Int) -> Double {
        (1 - diversity) * (scores[index] - low) / range - diversity * likeness[index]
    }
    while chosen.count < count, let best = left.max(by: { (merit($0), $1) < (merit($1), $0) }) {
        chosen.append(best)
        left.removeAll { texts[$0] == texts[best] }
        for index in left {
            let shared = pairs[index].intersection(pairs[best]).count
            let all = pairs[index].union(pairs[best]).count
            likeness[index] = max(likeness[index], Double(shared) / Double(max(1, all)))
        }
    }
    return chosen
}
