public import Foundation
import TihuaEncoders
import TihuaGeneration
import TihuaModels
public import TihuaTorch

/// The weights of a pack on one device, and one thread that they work on: pictures to vectors, words, poems and
/// captions.
///
///     let engine = try Engine(pack: Pack(folder: PackLocator().locate()))
///     let result = try await engine.poems(for: [Picture(contentsOf: "photo.jpg")])
///
/// An actor on a thread of its own, as libtorch asks; only values cross. Each part of the weights is loaded at its
/// first use and serves every verb and every caller; a picture passes the image tower once a request, whatever is made
/// of it. What an engine can do stands in one file a verb: `Engine+Embedding.swift`, `Engine+Poem.swift`,
/// `Engine+Caption.swift`.
public actor Engine {
    let pack: Pack
    let device: Device
    let cacheFolder: URL?
    let note: @Sendable (String) -> Void
    private let thread: TorchThread
    var parts = Parts()

    /// The thread that all of this actor's work runs on.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    /// - Parameters:
    ///   - pack: names the weights; what a verb does not need may be missing
    ///   - threads: the threads of one operation; nil leaves libtorch's choice
    ///   - cache: where derived files are kept; nil keeps none
    ///   - note: is told what a person should know of the weights
    /// - Throws: `TorchError.noThread`.
    public init(
        pack: Pack, device: Device = .cpu, threads: Int? = nil, cache: URL? = CacheFolder.url(),
        note: @escaping @Sendable (String) -> Void = { _ in }
    ) throws(TorchError) {
        self.pack = pack
        self.device = device
        self.note = note
        cacheFolder = cache
        thread = try TorchThread(name: "tihua.engine", intraOpThreads: threads)
    }

    /// What was loaded, or made of what was loaded, and is kept.
    struct Parts {
        var towers: PictureTextEncoder?
        var sentences: SentenceEncoder?
        var imagery: ImageryPart?
        var poet: PoetPart?
        var prefix: PrefixMapper?
        var captioner: CaptionerPart?
        /// Whether the captioner was trained with the towers of this pack.
        var captionerFitsTowers: Bool?
        /// The last style that captions were asked for in.
        var style: (asked: CaptionStyle, made: TextStyle)?
    }

    /// A part, made at its first use.
    func part<Part>(_ place: WritableKeyPath<Parts, Part?>, _ make: () throws -> Part) rethrows -> Part {
        if let part = parts[keyPath: place] { return part }
        let part = try make()
        parts[keyPath: place] = part
        return part
    }

    /// What sees: the two towers of the pack's CLIP model.
    ///
    /// - Throws: `PipelineError.wrongModel` where a sentence encoder, which sees nothing, stands in its place.
    func towers() throws -> PictureTextEncoder {
        try part(\.towers) {
            let folder = try pack.requiredClip()
            if SentenceEncoder.isOne(folder) {
                throw PipelineError.wrongModel(
                    path: folder.path, found: "sentence encoder's", needed: "model of pictures and texts")
            }
            return try PictureTextEncoder(folder: folder, device: device)
        }
    }

    /// The sentence encoder that stands in the place of the pack's CLIP model; nil where there is a CLIP model.
    func sentences() throws -> SentenceEncoder? {
        if let encoder = parts.sentences { return encoder }
        guard parts.towers == nil, let folder = pack.clip, SentenceEncoder.isOne(folder) else { return nil }
        return try part(\.sentences) { try SentenceEncoder(folder: folder, device: device) }
    }
}
