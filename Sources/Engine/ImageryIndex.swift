import Foundation
import TihuaEncoders
import TihuaTorch
import TihuaWeightFiles

/// A word that a picture calls up.
public struct Keyword: Sendable, Equatable, Codable {
    /// The classical word.
    public let word: String
    /// Such as 天象 or 山水; empty for a word of a flat list, or one that the user gave.
    public let category: String
    /// The probability that a person who sees the picture accepts the word where the pack is calibrated, else the share
    /// of the bank's probability, 0...1; 1 for a word that the user gave.
    public let score: Double

    private enum CodingKeys: CodingKey { case word, score }

    init(word: String, category: String, score: Double) {
        (self.word, self.category, self.score) = (word, category, score)
    }

    /// Reads what is written; the category is not.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            word: try values.decode(String.self, forKey: .word), category: "",
            score: try values.decode(Double.self, forKey: .score))
    }
}

/// What is known of how pictures in general lie in the space of a CLIP model.
///
/// A poem that lies near all pictures (a hub) is near to this one by no merit: its mean cosine over many pictures,
/// which is its cosine with their mean, is taken off. Words of the bank keep theirs: `tihua eval imagery` finds fewer
/// right ones without it, since what most pictures show is also what this one is most likely to show. `image_mean`,
/// float32 `[E]`, and `sureness`, float32 `[6, 2]`, which may be missing, in a safetensors file of the pack.
struct Calibration: Equatable {
    /// The mean of unit embeddings.
    let imageMean: [Float]
    /// How cosines tell what is sure; nil where that was not fitted.
    let sureness: Sureness?

    init(imageMean: [Float], sureness: Sureness? = nil) { (self.imageMean, self.sureness) = (imageMean, sureness) }

    /// - Throws: `WeightFileError`, `PipelineError.manifest` if the width is another.
    init(contentsOf url: URL, width: Int) throws {
        let file = try SafetensorsFile(contentsOf: url)
        guard let mean = file["image_mean"]?.floats(), mean.count == width else {
            throw PipelineError.manifest(
                path: url.path, reason: "holds no image_mean of \(width) numbers for this CLIP model")
        }
        imageMean = mean
        sureness = try file["sureness"].map { view in
            guard let sureness = view.floats().flatMap(Sureness.init(values:)) else {
                throw PipelineError.manifest(
                    path: url.path, reason: "holds no sureness of \(WordClass.allCases.count) times 2 finite numbers")
            }
            return sureness
        }
    }

    func write(to url: URL) throws {
        var tensors = [("image_mean", Tensor(imageMean))]
        if let sureness { tensors.append(("sureness", Tensor(sureness.values, [sureness.curves.count, 2]))) }
        try TensorFile.write(tensors, to: url)
    }
}

/// A bank with its embeddings.
struct ImageryIndex {
    let bank: ImageryBank
    /// N rows of E, unit length.
    let embeddings: [[Float]]
    /// The embeddings less their mean, unit length: how alike two entries are, without what all texts have in common.
    private let centred: [[Float]]
    /// Of each entry; nil for one that is never said.
    private let classes: [WordClass?]

    init(bank: ImageryBank, embeddings: [[Float]]) {
        self.bank = bank
        self.embeddings = embeddings
        let mean = TihuaEncoders.mean(embeddings)
        centred = embeddings.map { row in normalised(zip(row, mean).map { $0 - $1 }) }
        classes = bank.entries.map(WordClass.init)
    }

    /// Encodes every entry: the mean of its prompts' embeddings, at unit length.
    static func embed(_ bank: ImageryBank, with encoder: PictureTextEncoder) throws -> [[Float]] {
        try encoder.encode(ensembles: bank.entries.map(ImageryBank.prompts(for:)))
    }

    /// The cosines of a picture, of unit length, with the entries of the bank.
    func cosines(with image: [Float]) -> [Float] { embeddings.map { dot($0, image) } }

    /// The words that fit a picture, best first, unlike each other: one of a group of near-synonyms, one for the medium
    /// of a painting, at most four of a category, at most two with the same character, and each far from those before
    /// it (maximal marginal relevance, Carbonell and Goldstein 1998).
    ///
    /// Where it is known how sure words are, only sure ones: fewer than `count`, if there are no more. Where nothing
    /// is sure, the two likeliest of sky, light, colour, season and place (or of a flat list's words, which have no
    /// category).
    ///
    /// - Parameters:
    ///   - cosines: the picture's, with the entries
    ///   - scale: the factor of the cosines in the softmax that gives the scores where sureness is not known
    func keywords(from cosines: [Float], count: Int, scale: Float, sureness: Sureness? = nil) -> [Keyword] {
        guard let sureness else {
            guard let best = cosines.max() else { return [] }
            let weights = cosines.map { exp(Double(scale * ($0 - best))) }
            let total = weights.reduce(0, +)
            let chosen = choose(count, of: cosines.indices.filter { classes[$0] != nil }, by: cosines)
            return chosen.map { keyword($0, score: weights[$0] / total) }
        }
        let probabilities = zip(cosines, classes).map { cosine, kind in
            kind.map { sureness.probability(of: cosine, $0) } ?? 0
        }
        let scores = probabilities.map(Float.init)
        let sure = cosines.indices.filter { index in classes[index].map { probabilities[index] >= $0.bar } ?? false }
        var chosen = choose(count, of: sure, by: scores)
        if chosen.count < min(count, Self.fewest) {
            let scenes = cosines.indices.filter { classes[$0] == .scene && !chosen.contains($0) }
            chosen = choose(min(count, Self.fewest), of: scenes, by: scores, after: chosen)
        }
        if chosen.isEmpty { chosen = choose(1, of: cosines.indices.filter { classes[$0] != nil }, by: scores) }
        return chosen.map { keyword($0, score: probabilities[$0]) }
    }

    /// The words that a picture gets whether or not they are sure: a poem needs something to speak of.
    private static let fewest = 2

    private func keyword(_ index: Int, score: Double) -> Keyword {
        Keyword(word: bank.entries[index].word, category: bank.entries[index].category, score: score)
    }

    /// At most `count` of the entries that may stand together, best first.
    private func choose(
        _ count: Int, of entries: [Int], by scores: [Float], after chosen: [Int] = []
    ) -> [Int] {
        // Only what is near the top is let in for being different; what follows waits until the top is used up.
        let order = entries.sorted { (scores[$0], $1) > (scores[$1], $0) }
        guard let best = order.first.map({ scores[$0] }) else { return chosen }
        let step = max(4 * count, 32)
        let worst = order.prefix(step).last.map { scores[$0] } ?? best
        let range = max(best - worst, 1e-6)
        var chosen = chosen
        for start in stride(from: 0, to: order.count, by: step) where chosen.count < count {
            var pool = order[start..<min(start + step, order.count)].filter { fits($0, chosen) }
            while chosen.count < count,
                let picked = pool.max(by: {
                    marginal($0, scores, worst, range, chosen) < marginal($1, scores, worst, range, chosen)
                })
            {
                chosen.append(picked)
                pool.removeAll { $0 == picked || !fits($0, chosen) }
            }
        }
        return chosen.sorted { (scores[$0], $1) > (scores[$1], $0) }
    }

    /// The characters of all words that are sure, whether or not they would be said beside each other.
    func sureCharacters(from cosines: [Float], _ sureness: Sureness) -> Set<Character> {
        zip(zip(bank.entries, classes), cosines).reduce(into: []) { characters, item in
            guard let kind = item.0.1, sureness.probability(of: item.1, kind) >= kind.bar else { return }
            characters.formUnion(item.0.0.word)
        }
    }

    /// What the picture says of each character of the bank: over the words that have it, the mean and the best of their
    /// cosines with the picture, in deviations from the mean over all words.
    ///
    /// The mean is above 0 for what is likely to be seen, below for what is not. The best is that of the one word that
    /// may be right: 月 is not there where not even the likeliest of its words is.
    func evidence(from scores: [Float]) -> [Character: (mean: Float, best: Float)] {
        let mean = scores.reduce(0, +) / Float(max(1, scores.count))
        let variance = scores.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Float(max(1, scores.count))
        guard variance > 0 else { return [:] }
        var found: [Character: [Float]] = [:]
        for (entry, score) in zip(bank.entries, scores) {
            for character in Set(entry.word) {
                found[character, default: []].append((score - mean) / variance.squareRoot())
            }
        }
        return found.mapValues { ($0.reduce(0, +) / Float($0.count), $0.max() ?? 0) }
    }

    /// Whether an entry may stand beside those that are chosen.
    private func fits(_ index: Int, _ chosen: [Int]) -> Bool {
        let entry = bank.entries[index]
        if chosen.contains(where: { entry.group != nil && bank.entries[$0].group == entry.group }) { return false }
        if classes[index] == .medium, chosen.contains(where: { classes[$0] == .medium }) { return false }
        let sharing = chosen.count { !Set(bank.entries[$0].word).isDisjoint(with: entry.word) }
        let alike = chosen.count { bank.entries[$0].category == entry.category }
        return sharing < 2 && (entry.category.isEmpty || alike < 4)
    }

    private func marginal(_ index: Int, _ scores: [Float], _ worst: Float, _ range: Float, _ chosen: [Int]) -> Float {
        let alike = chosen.map { dot(centred[index], centred[$0]) }.max() ?? 0
        return 0.85 * (scores[index] - worst) / range - 0.15 * max(0, alike)
    }
}

/// The embeddings of banks on disk, by the fingerprint of bank and model.
struct BankCache {
    /// Where they are kept; nil keeps none.
    let folder: URL?
    /// One that came with the pack.
    let shipped: URL?

    /// The bank's embeddings: from the pack, else from the folder, else computed and kept. A file that is damaged or of
    /// something else is as good as none.
    func embeddings(of bank: ImageryBank, with encoder: PictureTextEncoder) throws -> [[Float]] {
        let key = try key(of: bank, with: encoder)
        let file = folder?.appending(path: "imagery-\(key).safetensors")
        for url in [shipped, file].compactMap({ $0 }) {
            if let rows = read(url, key: key, count: bank.entries.count, width: encoder.width) { return rows }
        }
        let rows = try ImageryIndex.embed(bank, with: encoder)
        if let file { try? Self.write(rows, key: key, to: file) }
        return rows
    }

    func key(of bank: ImageryBank, with encoder: PictureTextEncoder) throws -> String {
        var fingerprint = Fingerprint()
        for entry in bank.entries {
            fingerprint.combine(entry.word)
            for prompt in ImageryBank.prompts(for: entry) { fingerprint.combine(prompt) }
        }
        try encoder.fingerprint(into: &fingerprint)
        return fingerprint.hexadecimal
    }

    private func read(_ url: URL, key: String, count: Int, width: Int) -> [[Float]]? {
        guard FileManager.default.fileExists(atPath: url.path), let file = try? SafetensorsFile(contentsOf: url),
            file.metadata["key"] == key, let view = file["embeddings"], view.shape == [count, width],
            let values = view.floats(), values.allSatisfy(\.isFinite)
        else { return nil }
        return (0..<count).map { Array(values[$0 * width..<($0 + 1) * width]) }
    }

    /// Writes a cache file: `embeddings`, float32 `[N, E]`, and the key as metadata. Not rounded: what is read
    /// back gives the same poems as what was computed.
    static func write(_ rows: [[Float]], key: String, to url: URL) throws {
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        let tensor = Tensor(rows.flatMap { $0 }, [rows.count, rows.first?.count ?? 0])
        try TensorFile.write([("embeddings", tensor)], metadata: ["key": key], to: url)
    }
}
