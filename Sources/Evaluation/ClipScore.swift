/// How well a caption fits its picture, by embeddings of one CLIP model; they need not be of unit length.
///
/// Source: Hessel et al. 2021 (CLIPScore). Captions are embedded as they are: the paper's "A photo depicts" has no
/// counterpart that the Chinese towers were trained with. Scores of different CLIP models cannot be compared.
public enum ClipScore {
    /// 2.5 max(cos, 0), 0...2.5.
    public static func score(picture: [Float], caption: [Float]) -> Double { 2.5 * max(cosine(picture, caption), 0) }

    /// RefCLIPScore: the harmonic mean of the score and of the largest cosine, at least 0, with a reference caption.
    public static func score(picture: [Float], caption: [Float], references: [[Float]]) -> Double {
        let own = score(picture: picture, caption: caption)
        let best = references.map { max(cosine(caption, $0), 0) }.max() ?? 0
        return own + best > 0 ? 2 * own * best / (own + best) : 0
    }

    /// 0 for a vector without length.
    ///
    /// Vectors of different lengths are a mistake of the caller.
    static func cosine(_ first: [Float], _ second: [Float]) -> Double {
        precondition(first.count == second.count, "vectors of \(first.count) and \(second.count) numbers")
        var (product, lengths) = (0.0, (0.0, 0.0))
        for (a, b) in zip(first, second) {
            product += Double(a) * Double(b)
            lengths.0 += Double(a) * Double(a)
            lengths.1 += Double(b) * Double(b)
        }
        let scale = (lengths.0 * lengths.1).squareRoot()
        return scale > 0 ? product / scale : 0
    }
}
