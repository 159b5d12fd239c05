public import Foundation
public import TihuaCorpora
public import TihuaDataFiles
import TihuaFiles
import TihuaPictures
import TihuaTorch
import TihuaWeightFiles

/// The pictures of one shard, decoded and resized once, with what is said of each.
public struct PictureSet: Sendable {
    /// The pictures that can be read and of which something is said, in the order of the shard.
    public let items: [CaptionedPictures.Item]
    /// Pixels of one side.
    public let side: Int
    /// How often each picture comes up in an epoch.
    let repeats: Int
    /// One picture in this many is held out; nil as the options say.
    let holdOut: Int?
    /// Cuts of each picture whose features are computed, for a tower that is frozen; nil as the options say.
    let views: Int?
    /// uint8 `[N, 3, side, side]`, mapped from the cache.
    let pixels: TensorView
    /// The row of each item in `pixels`.
    let rows: [Int]
    /// The soft labels of a teacher for each row of `pixels`; nil without a teacher.
    let teacher: SoftLabels?
    /// What files that are derived from these pixels are named after.
    let cacheName: String

    /// The class of ImageNet, 0 to 999, that the teacher is at least half sure of, for each item; nil without one.
    func sureClasses() -> [Int?] { rows.map { row in teacher.flatMap { $0.sureClass(row: row) } } }

    /// What belongs to a shard.
    public struct Source: Sendable {
        /// A tar archive in WebDataset layout, or a folder with one folder of pictures for each label.
        public var shard: URL
        /// Captions by picture, for shards with captions.
        public var captions: [URL]
        /// `label<TAB>caption` lines, for shards whose keys begin with a label. A folder needs none: its labels, which
        /// are then Chinese words, go through `CaptionedPictures.promptTemplates`.
        public var labels: URL?
        /// The teacher's soft labels, rows in the order of the shard.
        public var teacher: URL?
        /// Whether pictures of which nothing is said are kept, for what the towers' own teachers tell of them.
        public var isUnlabelled = false
        /// How often each picture comes up in an epoch, at least 1: sets that matter more, or are smaller, come up more
        /// often.
        public var repeats = 1
        /// One picture in this many is held out, 0 holds out none; nil as `ClipOptions.holdOut` says.
        public var holdOut: Int?
        /// Cuts of each picture whose features are computed, for a tower that is frozen; nil as the options say.
        public var views: Int?
        /// How the captions and labels are written; nil takes UTF-16 where a file begins with its mark, else UTF-8.
        public var encoding: TextEncoding?

        /// A shard and what else is known of its pictures.
        public init(shard: URL, captions: [URL] = [], labels: URL? = nil, teacher: URL? = nil, repeats: Int = 1) {
            self.shard = shard
            self.captions = captions
            self.labels = labels
            self.teacher = teacher
            self.repeats = repeats
        }

        /// The pictures with what is said of each, none decoded.
        ///
        /// - Throws: `DataFileError`.
        public func described() throws -> CaptionedPictures {
            try CaptionedPictures(
                shard, captions: captions, labels: labels, encoding: encoding, keepingUnlabelled: isUnlabelled)
        }
    }

    /// Opens a shard; decodes it into `cache` if that was not done before.
    ///
    /// - Parameters:
    ///   - side: pixels of the cached pictures, squashed as Chinese-CLIP does
    ///   - report: receives what a person should know, such as pictures that cannot be read
    /// - Throws: `DataFileError`, `TrainingError.data`, `WeightFileError`.
    public init(_ source: Source, side: Int, cache: URL, report: (String) -> Void) throws {
        let described = try source.described()
        let (shard, name) = (described.list, described.name)
        described.notes.forEach(report)
        // Two shards may have one name; their keys tell them apart.
        let keys = String(stableHash(shard.entries.map(\.key).joined(separator: "\n")), radix: 36)
        cacheName = "\(name)-\(side)-\(keys)"
        let file = cache.appending(path: "\(cacheName).safetensors")
        if !FileManager.default.fileExists(atPath: file.path) {
            report("decoding \(shard.entries.count) pictures of \(name)")
            try FileManager.default.createDirectory(at: cache, withIntermediateDirectories: true)
            let bad = try Self.decode(shard, side: side, to: file)
            if !bad.isEmpty {
                report("\(bad.count) pictures of \(name) cannot be read: \(bad.prefix(5).joined(separator: ", "))")
            }
        }
        let stored = try SafetensorsFile(contentsOf: file)
        guard let pixels = stored["pixels"], pixels.shape == [shard.entries.count, 3, side, side],
            let good = stored["good"],
            good.shape == [shard.entries.count]
        else {
            throw TrainingError.data(path: file.path, reason: "not the cache of \(name); delete it and start again")
        }
        let isGood = good.withUnsafeBytes { bytes in bytes.map { $0 != 0 } }

        let readable = described.rows.indices.filter { isGood[described.rows[$0]] }
        let items = readable.map { described.items[$0] }
        guard !items.isEmpty else {
            throw TrainingError.data(path: source.shard.path, reason: "none of its pictures can be read")
        }
        teacher = try source.teacher.map { url in
            guard let labels = SoftLabels(try SafetensorsFile(contentsOf: url), count: shard.entries.count) else {
                throw TrainingError.data(
                    path: url.path,
                    reason: "needs class int16 [N, K] and prob_u8 uint8 [N, K] for the \(shard.entries.count) pictures"
                        + " of \(name)")
            }
            return labels
        }
        self.items = items
        rows = readable.map { described.rows[$0] }
        self.side = side
        repeats = max(1, source.repeats)
        (holdOut, views) = (source.holdOut, source.views)
        self.pixels = pixels
    }

    /// Decodes and squashes every picture, on all processors; the keys that could not be read.
    private static func decode(_ shard: PictureList, side: Int, to file: URL) throws -> [String] {
        let size = 3 * side * side
        let count = shard.entries.count
        let all = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, count * size), alignment: 64)
        defer { all.deallocate() }
        _ = all.initializeMemory(as: UInt8.self, repeating: 0)
        let good = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, count))
        good.initialize(repeating: 0)
        defer { good.deallocate() }
        struct Shared: @unchecked Sendable {  // each iteration writes its own rows
            let pixels: UnsafeMutableRawBufferPointer
            let good: UnsafeMutableBufferPointer<UInt8>
        }
        let shared = Shared(pixels: all, good: good)
        DispatchQueue.concurrentPerform(iterations: count) { index in
            guard let bytes = try? shard.bytes(of: shard.entries[index]),
                let picture = try? Picture(encoded: Array(bytes), name: shard.entries[index].key)
            else { return }
            let squashed = picture.squared(side)
            squashed.bytes.withUnsafeBufferPointer { source in
                for channel in 0..<3 {
                    let start = index * size + channel * side * side
                    for place in 0..<side * side { shared.pixels[start + place] = source[3 * place + channel] }
                }
            }
            shared.good[index] = 1
        }
        let sources = [
            SafetensorsWriter.Source(name: "pixels", elementType: .uint8, shape: [count, 3, side, side]) {
                try $0.write(UnsafeRawBufferPointer(rebasing: all.prefix(count * size)))
            },
            SafetensorsWriter.Source(name: "good", elementType: .uint8, shape: [count]) {
                try $0.write(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(good).prefix(count)))
            },
        ]
        try SafetensorsWriter.write(sources, to: file)
        return (0..<count).filter { good[$0] == 0 }.map { shard.entries[$0].key }
    }
}
