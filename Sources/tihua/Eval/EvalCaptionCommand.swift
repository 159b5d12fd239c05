import ArgumentParser
import Foundation
import Tihua
import TihuaCorpora
import TihuaEvaluation

/// `tihua eval caption`: captions against references, and against their pictures.
struct EvalCaptionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caption", abstract: "Measure captions against references and pictures.",
        discussion: """
            Measures BLEU-1 to 4, ROUGE-L and CIDEr-D as pycocoevalcap defines them, distinct-1 and 2, self-BLEU, and \
            with --pictures the CLIP score, 2.5 max(cos, 0), and its reference form. Files are what tihua data \
            captions reads, lines ID<TAB>TEXT<TAB>TEXT…, or the JSON lines of tihua caption.

              tihua eval caption --references flickr8kzhc.caption.txt \\
                --captions captions.tsv
              tihua eval caption --references val.tsv --captions captions.jsonl --first \\
                --pictures flickr8k-val.tar
              tihua eval caption --references val.tsv --captions captions.tsv \\
                --words words.txt --json

            Captions are split into characters, without punctuation; --words LIST and --spaces split them into words \
            instead. The numbers differ much between the three, so state which one you used. Every caption of a \
            picture counts; with --first only the first one does, and self-BLEU alone uses the others.
            """)

    @Option(help: "Captions written by people; may stand several times.", completion: .file())
    var references: [String]

    @Option(help: "The captions to measure.", completion: .file())
    var captions: String

    @Flag(help: "Measure the first caption of each picture only.")
    var first = false

    @OptionGroup var texts: TextArguments

    @OptionGroup(title: "TOKENS") var segmentation: SegmentationArguments

    @Option(
        help: "A shard or a folder with the pictures, for the CLIP score; may stand several times.",
        completion: .file())
    var pictures: [String] = []

    @OptionGroup(title: "WEIGHTS OF THE CLIP SCORE") var towers: TowerArguments

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        if references.isEmpty { throw ValidationError("nothing to measure against; give --references FILE") }
    }

    func run() async throws {
        let segmentation = try segmentation.value()
        var truth: [String: [String]] = [:]
        for path in references {
            truth.merge(try CaptionFile(contentsOf: URL(filePath: path), encoding: texts.encoding).textsByImage) {
                $0 + $1
            }
        }
        let found = try group(CaptionFile(contentsOf: URL(filePath: captions), encoding: texts.encoding), truth)
        guard !found.groups.isEmpty else {
            throw EvalFailure.nothingInCommon(captions: captions, references: references.joined(separator: ", "))
        }
        if !found.unknown.isEmpty {
            let names = found.unknown.prefix(10).joined(separator: ", ")
            Console.note("left out: \(found.unknown.count) pictures without a reference: \(names)")
        }
        if truth.count > found.groups.count {
            Console.note("\(truth.count - found.groups.count) pictures of the references have no caption")
        }
        let known = found.groups.map { truth[$0.image] ?? [] }
        let all = found.groups.map(\.texts)
        let measured = first ? all.map { Array($0.prefix(1)) } : all
        let evaluation = try CaptionEvaluation(captions: measured, references: known, segmentation: segmentation)
        var result = CaptionMeasures(tokens: self.segmentation.unit, evaluation: evaluation)
        if first {
            result.selfBleu = CaptionDiversity.selfBleu(all.map { $0.map(segmentation.tokens) })
        }
        if !pictures.isEmpty {
            (result.clipScore, result.refClipScore) = try await clipScores(
                found.groups.map(\.image), measured, known)
        }
        try Console.print(json ? try jsonLine(result) : result.text)
    }

    /// The captions by picture in the order of the file, and the pictures that nothing is known of.
    ///
    /// A path is taken for the last part of it where only that is known: `album/1.jpg` may be `1`.
    ///
    /// - Throws: `EvalFailure.ambiguous` for two paths that would be one picture.
    private func group(
        _ file: CaptionFile, _ truth: [String: [String]]
    ) throws -> (groups: [(image: String, texts: [String])], unknown: [String]) {
        var groups: [(image: String, texts: [String])] = []
        var places: [String: Int] = [:]
        // What the captions call each picture of the references.
        var names: [String: String] = [:]
        var unknown: [String] = []
        var isUnknown: Set<String> = []
        for caption in file.captions {
            let last = caption.image.split(separator: "/").last.map(String.init) ?? caption.image
            guard let image = [caption.image, last].first(where: { truth[$0] != nil }) else {
                if isUnknown.insert(caption.image).inserted { unknown.append(caption.image) }
                continue
            }
            if let first = names.updateValue(caption.image, forKey: image), first != caption.image {
                throw EvalFailure.ambiguous(captions: captions, first: first, second: caption.image, image: image)
            }
            if let place = places[image] {
                groups[place].texts.append(caption.text)
            } else {
                places[image] = groups.count
                groups.append((image, [caption.text]))
            }
        }
        return (groups, unknown)
    }

    /// The mean CLIP score and RefCLIPScore of all captions.
    private func clipScores(
        _ images: [String], _ captions: [[String]], _ references: [[String]]
    ) async throws -> (Double, Double) {
        let engine = try towers.makeEngine()
        let list = try PictureList(pictures.map { URL(filePath: $0) }).restricted(to: Set(images))
        list.notes.forEach(Console.note)
        let found = try await engine.embeddings(of: list) { done in
            Console.progress("\(done)/\(list.entries.count) pictures")
        }
        Console.progress(nil)
        let missing = images.filter { found.rows[$0] == nil }
        if let first = missing.first {
            let reason = found.bad.first { $0.key == first }?.reason
            throw EvalFailure.pictures(count: missing.count, first: first, reason: reason)
        }
        let texts = Set(captions.joined()).union(references.joined()).sorted()
        let rows = Dictionary(
            uniqueKeysWithValues: zip(texts, try await engine.embeddings(of: texts)))
        var (sum, referenceSum, count) = (0.0, 0.0, 0)
        for (place, image) in images.enumerated() {
            let picture = found.rows[image] ?? []
            let known = references[place].compactMap { rows[$0] }
            for caption in captions[place].compactMap({ rows[$0] }) {
                sum += ClipScore.score(picture: picture, caption: caption)
                referenceSum += ClipScore.score(picture: picture, caption: caption, references: known)
                count += 1
            }
        }
        return (sum / Double(count), referenceSum / Double(count))
    }
}

/// What is printed.
private struct CaptionMeasures: Encodable {
    let tokens: String
    let evaluation: CaptionEvaluation
    var selfBleu: Double?
    var clipScore: Double?
    var refClipScore: Double?

    init(tokens: String, evaluation: CaptionEvaluation) {
        self.tokens = tokens
        self.evaluation = evaluation
        selfBleu = evaluation.selfBleu
    }

    private enum Key: CodingKey { case tokens, selfBleu, clipScore, refClipScore }

    func encode(to encoder: any Encoder) throws {
        try evaluation.encode(to: encoder)
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(tokens, forKey: .tokens)
        try container.encodeIfPresent(selfBleu, forKey: .selfBleu)
        try container.encodeIfPresent(clipScore, forKey: .clipScore)
        try container.encodeIfPresent(refClipScore, forKey: .refClipScore)
    }

    var text: String {
        let found = evaluation
        var rows = [("", "\(found.captions) captions, \(found.pictures) pictures, \(found.references) references")]
        rows += found.bleu.enumerated().map { ("BLEU-\($0 + 1) x 100", decimal(100 * $1, 2)) }
        rows += [
            ("ROUGE-L x 100", decimal(100 * found.rougeL, 2)), ("CIDEr-D x 100", decimal(100 * found.cider, 2)),
        ]
        if let clipScore { rows.append(("CLIP score", decimal(clipScore, 4))) }
        if let refClipScore { rows.append(("RefCLIPScore", decimal(refClipScore, 4))) }
        rows += [
            ("distinct-1", decimal(found.distinct[0], 4)), ("distinct-2", decimal(found.distinct[1], 4)),
        ]
        if let selfBleu { rows.append(("self-BLEU", decimal(selfBleu, 4))) }
        rows += [
            ("opening with 一", share(found.shareOpeningWithOne)),
            ("mean length", "\(decimal(found.meanLength, 2)) \(tokens)"),
        ]
        return table(rows)
    }
}

/// What the command itself can find wrong.
private enum EvalFailure: Error, CustomStringConvertible {
    case nothingInCommon(captions: String, references: String)
    case ambiguous(captions: String, first: String, second: String, image: String)
    case pictures(count: Int, first: String, reason: String?)

    var description: String {
        switch self {
        case .nothingInCommon(let captions, let references):
            "\(captions) and \(references) have no picture in common; compare the ids at the beginning of their lines"
        case .ambiguous(let captions, let first, let second, let image):
            "\(captions): \(first) and \(second) would both be the references' \(image); use the same ids in both files"
        case .pictures(let count, let first, let reason):
            "\(count) of the pictures cannot be read, the first is \(first)"
                + (reason.map { " (\($0))" } ?? "; name the shards or folders that hold them with --pictures")
        }
    }
}
