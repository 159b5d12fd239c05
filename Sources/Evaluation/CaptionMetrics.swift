/// Measures of captions against references, over tokens of any kind: characters, words, ids.
///
/// `candidates[i]` is held against all of `references[i]`. BLEU, ROUGE-L and CIDEr-D are those of `pycocoevalcap` 1.2,
/// to rounding, for captions that are split into the same tokens; see `CaptionSegmentation` for how Chinese is split.
///
/// METEOR and SPICE are left out. METEOR needs a stemmer, synonyms and paraphrase tables; Chinese has none of its own
/// in it, so that it would fall back to exact matches with parameters tuned on English. SPICE parses captions to scene
/// graphs with an English parser. A number of that name would not be comparable with any other.
public enum CaptionMetrics {
    /// A measure of a whole set and of each of its members.
    public struct Scores: Sendable, Equatable {
        /// The mean.
        public let mean: Double
        /// In the order of the candidates.
        public let each: [Double]

        init(each: [Double]) {
            self.each = each
            mean = each.reduce(0, +) / Double(each.count)
        }
    }

    /// Numbers for all tokens of candidates and references, after a look at what was given.
    static func number<Token: Hashable & Sendable>(
        _ candidates: [[Token]], _ references: [[[Token]]]
    ) throws(EvaluationError) -> [(candidate: [Int32], references: [[Int32]])] {
        try check(candidates.count, references)
        var numbers = TokenNumbers<Token>()
        return zip(candidates, references).map { candidate, references in
            (numbers.add(candidate), references.map { numbers.add($0) })
        }
    }

    static func check<Token>(_ candidates: Int, _ references: [[[Token]]]) throws(EvaluationError) {
        guard candidates == references.count else {
            throw .counts(candidates: candidates, references: references.count)
        }
        guard candidates > 0 else { throw .nothing }
        if let index = references.firstIndex(where: \.isEmpty) { throw .noReference(index: index) }
    }
}
