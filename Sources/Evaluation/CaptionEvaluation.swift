/// All measures of a set of captions that need no model.
///
/// Each caption of a picture is a candidate of its own against all references of that picture; document frequencies of
/// CIDEr-D count each picture once. With one caption for each picture these are `pycocoevalcap`'s numbers.
public struct CaptionEvaluation: Sendable, Codable, Equatable {
    /// Pictures measured.
    public let pictures: Int
    /// Their captions.
    public let captions: Int
    /// Their references.
    public let references: Int
    /// BLEU-1 to BLEU-4 of the whole set, 0...1.
    public let bleu: [Double]
    /// ROUGE-L, 0...1.
    public let rougeL: Double
    /// CIDEr-D, 0...10. What papers print as 100 is 1 here.
    public let cider: Double
    /// Distinct-1 and distinct-2 over all captions, 0...1; 0 where no caption has two tokens.
    public let distinct: [Double]
    /// Self-BLEU, 0...1; nil where every picture has one caption.
    public let selfBleu: Double?
    /// The share of captions whose first token begins with 一, 0...1.
    public let shareOpeningWithOne: Double
    /// Tokens of a caption.
    public let meanLength: Double

    /// Measures captions.
    ///
    /// - Parameters:
    ///   - captions: of each picture, one or more; all of them count
    ///   - references: of each picture, one or more, in the order of `captions`
    /// - Throws: `EvaluationError` for nothing, lists of different lengths, or a picture without references.
    public init(
        captions: [[String]], references: [[String]], segmentation: CaptionSegmentation = .characters
    ) throws(EvaluationError) {
        let split = captions.map { $0.map(segmentation.tokens) }
        let truth = references.map { $0.map(segmentation.tokens) }
        try CaptionMetrics.check(captions.count, truth)
        let candidates = split.flatMap { $0 }
        guard !candidates.isEmpty else { throw .nothing }
        let held = zip(split, truth).flatMap { captions, references in captions.map { _ in references } }
        let scorer = try CiderScorer(references: truth)
        let ciders = split.enumerated().flatMap { index, captions in captions.map { scorer.score($0, at: index) } }
        pictures = captions.count
        self.captions = candidates.count
        self.references = truth.reduce(0) { $0 + $1.count }
        bleu = try CaptionMetrics.bleu(candidates: candidates, references: held).corpus
        rougeL = try CaptionMetrics.rougeL(candidates: candidates, references: held).mean
        cider = ciders.reduce(0, +) / Double(ciders.count)
        distinct = [1, 2].map { CaptionDiversity.distinct($0, of: candidates) ?? 0 }
        selfBleu = CaptionDiversity.selfBleu(split)
        let one = candidates.count { $0.first?.hasPrefix("一") ?? false }
        shareOpeningWithOne = Double(one) / Double(candidates.count)
        meanLength = Double(candidates.reduce(0) { $0 + $1.count }) / Double(candidates.count)
    }
}
