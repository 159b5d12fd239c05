import TihuaEvaluation
import TihuaGeneration
import TihuaModels
import TihuaTokenizers
import TihuaTorch

/// Captions held-out pictures and compares the result with their own captions.
final class CaptionJudge {
    private let dataset: CaptionDataset
    private let pictures: [CaptionDataset.HeldOut]
    private let scorer: CiderScorer<String>?
    private let device: Device

    /// - Parameter count: how many pictures are captioned, the same ones in every run
    init(_ dataset: CaptionDataset, count: Int, device: Device) throws {
        self.dataset = dataset
        self.device = device
        pictures = dataset.heldOutSample(count)
        scorer =
            pictures.isEmpty
            ? nil
            : try CiderScorer(
                references: pictures.map { $0.captions.map(CaptionSegmentation.characters.tokens) })
    }

    /// CIDEr-D times 100 of greedy captions, and a few of them; nil where nothing is held out.
    func measure(_ model: ClipCap, maximumLength: Int) throws -> (cider: Double, examples: [String])? {
        guard let scorer else { return nil }
        let decoding = Decoding.greedy(rules: model.rules(dataset.tokenizer, maximumLength: maximumLength))
        var total = 0.0
        var examples: [String] = []
        for range in ranges(of: pictures.count, size: 64) {
            let part = Array(pictures[range])
            let texts = try withoutGradients {
                let source = dataset.source(part.map(\.row), for: model, device: device)
                return try TextGenerator(source, device: device).generate(
                    part.map { _ in TextPrompt() }, decoding)
            }
            for (index, found) in texts.enumerated() {
                let caption = dataset.tokenizer.decode(found.first?.ids ?? [])
                total += scorer.score(CaptionSegmentation.characters.tokens(of: caption), at: range.lowerBound + index)
                if examples.count < 5 { examples.append("  \(part[index].key)  \(caption)") }
            }
        }
        return (100 * total / Double(pictures.count), examples)
    }
}
