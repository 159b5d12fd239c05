extension CaptionMetrics {
    /// ROUGE-L: the F measure, with recall counting 1.2 squared times, of the longest common subsequence; the best
    /// precision and the best recall may come from different references.
    ///
    /// Source: Lin 2004; `pycocoevalcap/rouge/rouge.py` 1.2.
    ///
    /// - Throws: `EvaluationError` for nothing, lists of different lengths, or a candidate without references.
    public static func rougeL<Token: Hashable & Sendable>(
        candidates: [[Token]], references: [[[Token]]]
    ) throws(EvaluationError) -> Scores {
        Scores(
            each: try number(candidates, references).map { candidate, references in
                // The reference implementation takes an empty caption for one empty word.
                let candidate = candidate.isEmpty ? [-1] : candidate
                var (precision, recall) = (0.0, 0.0)
                for reference in references {
                    let reference = reference.isEmpty ? [-1] : reference
                    let common = Double(longestCommonSubsequence(candidate, reference))
                    precision = max(precision, common / Double(candidate.count))
                    recall = max(recall, common / Double(reference.count))
                }
                guard precision > 0, recall > 0 else { return 0 }
                let beta = 1.2 * 1.2
                return (1 + beta) * precision * recall / (recall + beta * precision)
            })
    }

    private static func longestCommonSubsequence(_ first: [Int32], _ second: [Int32]) -> Int {
        var lengths = [Int](repeating: 0, count: second.count + 1)
        for token in first {
            var diagonal = 0
            for (place, other) in second.enumerated() {
                let above = lengths[place + 1]
                lengths[place + 1] = token == other ? diagonal + 1 : max(above, lengths[place])
                diagonal = above
            }
        }
        return lengths[second.count]
    }
}
