public import Foundation
import TihuaFiles

/// The folders and files that make a picture a poem: what a manifest `pack.json` names, or what the user named one by one.
///
/// The manifest is `{"name": "mini", "clip": "clip", "poet": "poet", "bank": "imagery.tsv", "lineFilter": "poet/lines.filter",
/// "bankCache": "imagery.safetensors", "calibration": "calibration.safetensors", "captioner": "captioner", "prefix": "prefix",
/// "endingFilter": "poet/endings.filter", "stockPairs": "poet/stock.tsv", "wordUses": "poet/words.tsv"}`, all paths relative to it; the last eight may be missing, and so may `clip` or `poet` where a verb does not need them.
public struct Pack: Sendable, Equatable {
    /// For messages; the folder's name where the manifest has none.
    public var name: String
    /// A Chinese-CLIP model.
    public var clip: URL?
    /// A GPT2 or T5 poet.
    public var poet: URL?
    /// A ClipCap captioner.
    public var captioner: URL?
    /// A mapping network before the poet.
    public var prefix: URL?
    /// The bank of imagery.
    public var bank: URL?
    /// Entries beside those of the bank, which no manifest names.
    public var extraBank: URL?
    /// Tells the lines of the poems that the poet was trained on.
    public var lineFilter: URL?
    /// Tells the two characters in which lines of those poems end.
    public var endingFilter: URL?
    /// What the poet writes too often; see `OverusedPairs`.
    public var stockPairs: URL?
    /// In how many of those poems each word of the bank stands, and how they rhyme.
    public var wordUses: URL?
    /// The embeddings of the bank, so that the first start computes none.
    public var bankCache: URL?
    /// The mean embedding of many pictures; see `Calibration`.
    public var calibration: URL?

    private struct Manifest: Decodable {
        var name: String?
        var clip: String?
        var poet: String?
        var captioner: String?
        var prefix: String?
        var bank: String?
        var lineFilter: String?
        var endingFilter: String?
        var stockPairs: String?
        var wordUses: String?
        var bankCache: String?
        var calibration: String?
    }

    /// Reads `pack.json` of a folder.
    ///
    /// - Throws: `PipelineError.manifest` if it is damaged or names what is not there, `.unreadable`.
    public init(folder: URL) throws(PipelineError) {
        let file = folder.appending(path: PackLocator.manifestName)
        let data: Data
        do {
            data = Data(try UserFile.bytes(of: file, limit: 1 << 20))
        } catch {
            throw .unreadable(path: file.path, reason: error.reason)
        }
        let manifest: Manifest
        do {
            manifest = try JSONDecoder().decode(Manifest.self, from: data)
        } catch {
            throw .manifest(path: file.path, reason: "not a JSON object of texts; see the manifest of Weights/mini")
        }
        func locate(_ key: String, _ path: String?) throws(PipelineError) -> URL? {
            guard let path else { return nil }
            // A manifest from elsewhere must not make the tool read what it likes. Links are another thing: somebody put
            // them into the folder here, so they are followed.
            guard !path.isEmpty, !path.hasPrefix("/"), !path.split(separator: "/").contains("..") else {
                throw .manifest(
                    path: file.path, reason: "\(key) names \(path), which is no path inside the pack's folder")
            }
            let url = folder.appending(path: path)
            guard FileManager.default.fileExists(atPath: url.path) else {
                throw .manifest(path: file.path, reason: "\(key) names \(path), which is not there; get the pack again")
            }
            return url
        }
        name = manifest.name ?? folder.lastPathComponent
        clip = try locate("clip", manifest.clip)
        poet = try locate("poet", manifest.poet)
        captioner = try locate("captioner", manifest.captioner)
        prefix = try locate("prefix", manifest.prefix)
        bank = try locate("bank", manifest.bank)
        lineFilter = try locate("lineFilter", manifest.lineFilter)
        endingFilter = try locate("endingFilter", manifest.endingFilter)
        stockPairs = try locate("stockPairs", manifest.stockPairs)
        wordUses = try locate("wordUses", manifest.wordUses)
        bankCache = try locate("bankCache", manifest.bankCache)
        calibration = try locate("calibration", manifest.calibration)
    }

    /// Takes folders that the user named, and for the rest what `base` has, as far as it still fits: what was measured
    /// with one CLIP model does not hold for another.
    public init(clip: URL? = nil, poet: URL? = nil, base: Pack? = nil) {
        name = base?.name ?? "custom"
        self.clip = clip ?? base?.clip
        self.poet = poet ?? base?.poet
        captioner = base?.captioner
        // Trained with both.
        prefix = clip == nil && poet == nil ? base?.prefix : nil
        bank = base?.bank
        bankCache = clip == nil ? base?.bankCache : nil
        calibration = clip == nil ? base?.calibration : nil
        func own(_ name: String) -> URL? {
            let file = poet?.appending(path: name)
            return file.flatMap { FileManager.default.fileExists(atPath: $0.path) ? $0 : nil }
        }
        lineFilter = own("lines.filter") ?? (poet == nil ? base?.lineFilter : nil)
        endingFilter = own("endings.filter") ?? (poet == nil ? base?.endingFilter : nil)
        stockPairs = own("stock.tsv") ?? (poet == nil ? base?.stockPairs : nil)
        wordUses = own("words.tsv") ?? (poet == nil ? base?.wordUses : nil)
    }

    /// The folder of the CLIP model.
    ///
    /// - Throws: `PipelineError.manifest` if the pack has none.
    public func requiredClip() throws(PipelineError) -> URL {
        guard let clip else {
            throw .manifest(path: name, reason: "this pack has no clip model; name one with --clip DIR")
        }
        return clip
    }

    /// The folder of the poet.
    ///
    /// - Throws: `PipelineError.manifest` if the pack has none.
    public func requiredPoet() throws(PipelineError) -> URL {
        guard let poet else { throw .manifest(path: name, reason: "this pack has no poet; name one with --poet DIR") }
        return poet
    }

    func requiredCaptioner() throws(PipelineError) -> URL {
        guard let captioner else {
            throw .manifest(path: name, reason: "this pack has no captioner; name one with --captioner DIR")
        }
        return captioner
    }

    func requiredPrefix() throws(PipelineError) -> URL {
        guard let prefix else {
            throw .manifest(
                path: name,
                reason: "this pack has no prefix for its poet; write through keywords, or name one with --prefix DIR")
        }
        return prefix
    }

    /// The mean of many pictures' embeddings of length 1, E numbers; nil where the pack does not say it.
    ///
    /// - Parameter width: E, of the pack's CLIP model
    /// - Throws: `WeightFileError`, `PipelineError.manifest` if the width is another.
    public func imageMean(width: Int) throws -> [Float]? {
        try calibration.map { try Calibration(contentsOf: $0, width: width).imageMean }
    }

    func requiredBank() throws(PipelineError) -> URL {
        guard let bank else { throw .manifest(path: name, reason: "this pack has no bank; name one with --bank FILE") }
        return bank
    }
}
