/// How different captions are from each other.
public enum CaptionDiversity {
    /// Distinct-n: different runs of `order` tokens over all of them, 0...1; nil where no caption is that long.
    ///
    /// Source: Li et al. 2016, with runs instead of tokens in the denominator, as later work has it.
    ///
    /// - Parameter order: 1...4
    public static func distinct<Token: Hashable & Sendable>(_ order: Int, of captions: [[Token]]) -> Double? {
        precondition((1...4).contains(order), "distinct-\(order); give 1 to 4")
        var numbers = TokenNumbers<Token>()
        var known: Set<NGram> = []
        var count = 0
        for caption in captions {
            let tokens = numbers.add(caption)
            for start in tokens.indices.dropLast(order - 1) {
                var gram = NGram(repeating: -1)
                for place in 0..<order { gram[place] = tokens[start + place] }
                known.insert(gram)
                count += 1
            }
        }
        return count > 0 ? Double(known.count) / Double(count) : nil
    }

    /// Self-BLEU: the mean BLEU-4 of each caption against the others of its picture; near 1 where all are alike.
    ///
    /// Source: Zhu et al. 2018 (Texygen), over the captions of one picture at a time.
    ///
    /// - Parameter groups: the captions of each picture; those with one caption do not count
    /// - Returns: 0...1; nil where no picture has two captions
    public static func selfBleu<Token: Hashable & Sendable>(_ groups: [[[Token]]]) -> Double? {
        var candidates: [[Token]] = []
        var references: [[[Token]]] = []
        for group in groups where group.count > 1 {
            for (index, caption) in group.enumerated() {
                candidates.append(caption)
                references.append(Array(group[..<index] + group[(index + 1)...]))
            }
        }
        guard let scores = try? CaptionMetrics.bleu(candidates: candidates, references: references).each else {
            return nil
        }
        return scores.map { $0[3] }.reduce(0, +) / Double(scores.count)
    }
}
