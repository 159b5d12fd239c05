public import ArgumentParser
public import Foundation
import Tihua
import TihuaTorch

extension URL: @retroactive ExpressibleByArgument {
    /// A path, relative to the working folder.
    public init?(argument: String) { self.init(filePath: argument) }
}

/// Which pack of weights, and which CLIP model.
struct PackArguments: ParsableArguments {
    @Option(help: "The pack of weights, instead of the default one.", completion: .directory)
    var pack: String?

    @Option(help: "A Chinese-CLIP model, instead of the pack's.", completion: .directory)
    var clip: URL?

    /// The pack with what was named in place of its parts.
    ///
    /// - Parameters:
    ///   - overrides: what was named besides the CLIP model
    ///   - needed: the parts that make a pack unnecessary where all of them were named
    /// - Throws: `PackError`, `PipelineError`.
    func find(_ overrides: Pack.Overrides = .init(), needing needed: Set<Pack.Part>) throws -> Pack {
        var overrides = overrides
        overrides.clip = clip
        return try Pack(PackLocator(pack: pack, source: "--pack"), overrides, needing: needed)
    }
}

/// Which two-tower model, and where it runs.
struct TowerArguments: ParsableArguments {
    @OptionGroup var packs: PackArguments
    @OptionGroup var place: DeviceOptions

    func validate() throws {
        if packs.pack != nil, packs.clip != nil {
            throw ValidationError("--pack and --clip both name a model; give one of them")
        }
    }

    /// The folder of the model.
    ///
    /// - Throws: `PackError`, `PipelineError`.
    func folder() throws -> URL { try packs.find(needing: [.clip]).requiredClip() }

    /// An engine with the model.
    ///
    /// - Throws: `TorchError`, `PackError`, `PipelineError`.
    func makeEngine() throws -> Engine {
        try Engine(pack: packs.find(needing: [.clip]), device: place.find(), threads: place.threads)
    }
}

/// Which weights poems are written with, and where they run.
struct PoetArguments: ParsableArguments {
    @OptionGroup var packs: PackArguments

    @Option(help: "A poet (GPT2 or T5), instead of the pack's.", completion: .directory)
    var poet: URL?

    @Option(help: "A mapping network of tihua train prefix, instead of the pack's.", completion: .directory)
    var prefix: URL?

    @Option(
        help: "More words than the pack's bank has: columns word, category, descriptions, or one word a line.",
        completion: .file())
    var bank: URL?

    @OptionGroup var place: DeviceOptions

    /// The pack with what was named in place of its parts.
    ///
    /// - Throws: `PackError`, `PipelineError`.
    func pack() throws -> Pack {
        var pack = try packs.find(.init(poet: poet, prefix: prefix), needing: [.clip, .poet])
        pack.extraBank = bank
        return pack
    }

    /// An engine with these weights.
    ///
    /// - Throws: `TorchError`, `PackError`, `PipelineError`.
    func makeEngine() throws -> Engine { try Engine(pack: pack(), device: place.find(), threads: place.threads) }
}

/// Which weights captions are written with, and where they run.
struct CaptionerArguments: ParsableArguments {
    @OptionGroup var packs: PackArguments

    @Option(help: "A captioner: a folder of tihua train caption, or a .pt of ClipCap.", completion: .file())
    var captioner: URL?

    @OptionGroup var place: DeviceOptions

    /// An engine with these weights. A captioner needs a CLIP model only where pictures are given, and says so then.
    ///
    /// - Throws: `TorchError`, `PackError`, `PipelineError`.
    func makeEngine() throws -> Engine {
        try Engine(
            pack: packs.find(.init(captioner: captioner), needing: [.captioner]), device: place.find(),
            threads: place.threads, note: Console.note)
    }
}
