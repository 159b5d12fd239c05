import Corpora
public import Foundation
import Pictures
import Torch
import WeightFiles

/// The pictures of one shard, decoded and resized once, with what is said of each.
public struct PictureSet: Sendable {
    /// One picture.
    public struct Item: Sendable {
        /// The path in the shard, without the extension.
        public let key: String
        /// What may be said of it; never empty.
        public let captions: [String]
        /// Pictures with an equal group are equally right for each other's captions: a label, or the picture itself.
        public let group: String
    }

    /// The pictures that can be read and of which something is said, in the order of the shard.
    public let items: [Item]
    /// Pixels of one side.
    public let side: Int
    /// How often each picture comes up in an epoch.
    let repeats: Int
    /// uint8 `[N, 3, side, side]`, mapped from the cache.
    let pixels: TensorView
    /// The row of each item in `pixels`.
    let rows: [Int]
    /// The teacher's classes and their probabilities by row: int16 and uint8 (in 256ths) `[N, K]`; nil without a teacher.
    let teacher: (classes: TensorView, probabilities: TensorView)?

    /// What belongs to a shard.
    public struct Source: Sendable {
        /// A tar archive in WebDataset layout, or a folder with one folder of pictures for each label.
        public var shard: URL
        /// Captions by picture (`id.jpg#zhc#0 text`), for shards with captions.
        public var captions: [URL]
        /// `label<TAB>caption` lines, for shards whose keys begin with a label. A folder needs none: its labels, which are then
        /// Chinese words, go through `promptTemplates`.
        public var labels: URL?
        /// The teacher's soft labels, rows in the order of the shard.
        public var teacher: URL?
        /// How often each picture comes up in an epoch, at least 1: sets that matter more, or are smaller, come up more often.
        public var repeats = 1

        /// A shard and what else is known of its pictures.
        public init(shard: URL, captions: [URL] = [], labels: URL? = nil, teacher: URL? = nil, repeats: Int = 1) {
            self.shard = shard
            self.captions = captions
            self.labels = labels
            self.teacher = teacher
            self.repeats = repeats
        }
    }

    /// Opens a shard; decodes it into `cache` if that was not done before.
    ///
    /// - Parameters:
    ///   - side: pixels of the cached pictures, squashed as Chinese-CLIP does
    ///   - report: what a person should know, such as pictures that could not be read
    /// - Throws: `CorporaError`, `TrainingError.data`, `WeightFileError`.
    public init(_ source: Source, side: Int, cache: URL, report: (String) -> Void) throws {
        let shard = try PictureArchive(source.shard)
        let name = source.shard.deletingPathExtension().lastPathComponent
        // Two shards may have one name; their keys tell them apart.
        let keys = String(stableHash(shard.entries.map(\.key).joined(separator: "\n")), radix: 36)
        let file = cache.appending(path: "\(name)-\(side)-\(keys).safetensors")
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

        var texts: [String: [String]] = [:]
        for url in source.captions {
            for (image, captions) in try CaptionFile(contentsOf: url).textsByImage {
                texts[image, default: []] += captions
            }
        }
        let labels = try source.labels.map(Self.labels)
        var items: [Item] = []
        var rows: [Int] = []
        for (row, entry) in shard.entries.enumerated() where isGood[row] {
            if let label = entry.label, let captions = labels?[label] ?? (shard.isFolder ? Self.prompts(label) : nil) {
                items.append(Item(key: entry.key, captions: captions, group: "\(name)/\(label)"))
            } else if let captions = texts[entry.key] ?? texts[entry.key + ".jpg"] {
                items.append(Item(key: entry.key, captions: captions, group: entry.key))
            } else {
                continue
            }
            rows.append(row)
        }
        guard !items.isEmpty else {
            throw TrainingError.data(path: source.shard.path, reason: "none of its pictures has a caption or a label")
        }
        if items.count < shard.entries.count {
            report("\(shard.entries.count - items.count) pictures of \(name) have no caption and are left out")
        }
        if let url = source.teacher {
            let soft = try SafetensorsFile(contentsOf: url)
            guard let classes = soft["class"], let probabilities = soft["prob_u8"], classes.elementType == .int16,
                probabilities.elementType == .uint8, classes.shape.first == shard.entries.count,
                classes.shape == probabilities.shape, classes.shape.count == 2
            else {
                throw TrainingError.data(
                    path: url.path,
                    reason:
                        "needs class int16 [N, K] and prob_u8 uint8 [N, K] for the \(shard.entries.count) pictures of \(name)"
                )
            }
            teacher = (classes, probabilities)
        } else {
            teacher = nil
        }
        self.items = items
        self.rows = rows
        self.side = side
        repeats = max(1, source.repeats)
        self.pixels = pixels
    }

    /// What is said of a picture when only a label is known; `{}` is the label.
    public static let promptTemplates = [
        "{}", "{}的照片", "一张{}的照片", "一张有{}的图片", "照片里有{}", "画面中可以看到{}", "这是{}", "拍得很清楚的{}", "远处的{}", "近处的{}",
        "一张模糊的{}的照片", "黑白照片里的{}",
    ]

    private static func prompts(_ label: String) -> [String] {
        promptTemplates.map { $0.replacing("{}", with: label) }
    }

    private static func labels(_ url: URL) throws -> [String: [String]] {
        var labels: [String: [String]] = [:]
        for (index, line) in try readText(url).split(separator: "\n").enumerated() {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard fields.count == 2, !fields[1].isEmpty else {
                throw TrainingError.data(
                    path: url.path, reason: "line \(index + 1) is not a label, a tab and a caption")
            }
            labels[String(fields[0]), default: []].append(String(fields[1]))
        }
        return labels
    }

    /// Decodes and squashes every picture, on all processors; the keys that could not be read.
    private static func decode(_ shard: PictureArchive, side: Int, to file: URL) throws -> [String] {
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

/// Where pictures lie: in a tar archive, or in folders named by their labels.
private struct PictureArchive: Sendable {
    struct Entry: Sendable {
        /// The path without its extension.
        let key: String
        let label: String?
        fileprivate let place: Place
    }

    fileprivate enum Place: Sendable {
        case member(TarShard.Entry)
        case file(URL)
    }

    let entries: [Entry]
    private let tar: TarShard?

    var isFolder: Bool { tar == nil }

    /// Opens an archive, or lists a folder in the order of its names.
    ///
    /// - Throws: `CorporaError` for a bad archive, `TrainingError.data` for a folder without pictures.
    init(_ url: URL) throws {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isDirectory), isDirectory.boolValue else {
            let tar = try TarShard(contentsOf: url)
            self.tar = tar
            entries = tar.entries.map { Entry(key: $0.key, label: $0.label, place: .member($0)) }
            return
        }
        tar = nil
        let kinds: Set<String> = ["jpg", "jpeg", "png", "webp"]
        let paths = (FileManager.default.enumerator(atPath: url.path)?.compactMap { $0 as? String } ?? []).sorted()
        entries = paths.compactMap { path in
            let file = url.appending(path: path)
            guard kinds.contains(file.pathExtension.lowercased()), !file.lastPathComponent.hasPrefix("."),
                let slash = path.firstIndex(of: "/")
            else { return nil }
            return Entry(
                key: String(path.dropLast(file.pathExtension.count + 1)), label: String(path[..<slash]),
                place: .file(file))
        }
        guard !entries.isEmpty else {
            throw TrainingError.data(
                path: url.path, reason: "no pictures in folders named by their labels (LABEL/PICTURE.jpg)")
        }
    }

    func bytes(of entry: Entry) throws -> Data {
        switch entry.place {
        case .member(let member): try tar?.bytes(of: member) ?? Data()
        case .file(let file): try Data(contentsOf: file)
        }
    }
}
