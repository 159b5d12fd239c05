public import Foundation
import TihuaFiles

/// The folders and files that make a picture a poem: what a manifest `pack.json` names, or what the user named one by
/// one.
///
///     {"name": "mini", "clip": "clip", "poet": "poet", "bank": "imagery.tsv", "lineFilter": "poet/lines.filter",
///      "endingFilter": "poet/endings.filter", "stockPairs": "poet/stock.tsv", "wordUses": "poet/words.tsv",
///      "bankCache": "imagery.safetensors", "calibration": "calibration.safetensors", "captioner": "captioner",
///      "prefix": "prefix"}
///
/// All paths are relative to the manifest. Every part may be missing; what needs one says so.
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
    /// The mean embedding of many pictures, and how sure words are; see `Calibration`.
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
            // A manifest from elsewhere must not name files outside of its folder. Links are followed: somebody made
            // them here.
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

    /// A part that what is asked for may need; its raw value stands in messages.
    public enum Part: String, Sendable {
        case clip = "clip model"
        case poet, captioner, prefix, bank
    }

    /// Files and folders that the user named in place of those of a pack.
    public struct Overrides: Sendable, Equatable {
        /// A Chinese-CLIP model.
        public var clip: URL?
        /// A GPT2 or T5 poet.
        public var poet: URL?
        /// A ClipCap captioner.
        public var captioner: URL?
        /// A mapping network before the poet.
        public var prefix: URL?
        /// The mean embedding of many pictures.
        public var calibration: URL?

        /// What was named; nil leaves the pack's.
        public init(
            clip: URL? = nil, poet: URL? = nil, captioner: URL? = nil, prefix: URL? = nil, calibration: URL? = nil
        ) {
            (self.clip, self.poet, self.captioner) = (clip, poet, captioner)
            (self.prefix, self.calibration) = (prefix, calibration)
        }

        fileprivate var parts: Set<Part> {
            let named: [(Part, URL?)] = [(.clip, clip), (.poet, poet), (.captioner, captioner), (.prefix, prefix)]
            return Set(named.filter { $0.1 != nil }.map(\.0))
        }
    }

    /// Finds a pack and takes what the user named in place of its parts.
    ///
    /// - Parameter needed: the parts without which nothing can be done. Where the user named all of them, and no pack,
    ///   the default pack may be missing.
    /// - Throws: `PackError` if there is no pack, `PipelineError` if its manifest is damaged.
    public init(_ locator: PackLocator, _ overrides: Overrides = Overrides(), needing needed: Set<Part> = []) throws {
        var base: Pack?
        do {
            base = try Pack(folder: locator.locate())
        } catch let error as PackError {
            guard !locator.isExplicit, !needed.isEmpty, needed.isSubset(of: overrides.parts) else { throw error }
        }
        self.init(overrides, base: base)
    }

    /// Takes what the user named, and for the rest what `base` has, as far as it still fits: what was measured with one
    /// CLIP model does not hold for another.
    public init(_ overrides: Overrides, base: Pack?) {
        name = base?.name ?? "custom"
        let (ownClip, ownPoet) = (overrides.clip, overrides.poet)
        clip = ownClip ?? base?.clip
        poet = ownPoet ?? base?.poet
        captioner = overrides.captioner ?? base?.captioner
        // A prefix is trained with one CLIP model and one poet.
        prefix = overrides.prefix ?? (ownClip == nil && ownPoet == nil ? base?.prefix : nil)
        bank = base?.bank
        bankCache = ownClip == nil ? base?.bankCache : nil
        calibration = overrides.calibration ?? (ownClip == nil ? base?.calibration : nil)
        func beside(_ name: String, or file: URL?) -> URL? {
            guard let ownPoet else { return file }
            let own = ownPoet.appending(path: name)
            return FileManager.default.fileExists(atPath: own.path) ? own : nil
        }
        lineFilter = beside("lines.filter", or: base?.lineFilter)
        endingFilter = beside("endings.filter", or: base?.endingFilter)
        stockPairs = beside("stock.tsv", or: base?.stockPairs)
        wordUses = beside("words.tsv", or: base?.wordUses)
    }

    private func required(_ file: URL?, _ part: Part) throws(PipelineError) -> URL {
        guard let file else { throw .missingPart(pack: name, part: part) }
        return file
    }

    /// The folder of the CLIP model.
    ///
    /// - Throws: `PipelineError.missingPart` if the pack has none.
    public func requiredClip() throws(PipelineError) -> URL { try required(clip, .clip) }

    /// The folder of the poet.
    ///
    /// - Throws: `PipelineError.missingPart` if the pack has none.
    public func requiredPoet() throws(PipelineError) -> URL { try required(poet, .poet) }

    func requiredCaptioner() throws(PipelineError) -> URL { try required(captioner, .captioner) }

    func requiredPrefix() throws(PipelineError) -> URL { try required(prefix, .prefix) }

    func requiredBank() throws(PipelineError) -> URL { try required(bank, .bank) }

    /// The mean of many pictures' embeddings of length 1, E numbers; nil where the pack does not say it.
    ///
    /// - Parameter width: E, of the pack's CLIP model
    /// - Throws: `WeightFileError`, `PipelineError.manifest` if the width is another.
    public func imageMean(width: Int) throws -> [Float]? { try readCalibration(width: width)?.imageMean }

    /// What is known of how pictures lie in the space of the pack's CLIP model; nil where the pack does not say it.
    func readCalibration(width: Int) throws -> Calibration? {
        try calibration.map { try Calibration(contentsOf: $0, width: width) }
    }
}
