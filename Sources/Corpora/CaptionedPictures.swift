public import Foundation
public import TihuaDataFiles
import TihuaFiles

/// The pictures of a shard with what is said of each; they stay encoded until they are asked for.
public struct CaptionedPictures: Sendable {
    /// One picture.
    public struct Item: Sendable {
        /// The path in the shard, without the extension.
        public let key: String
        /// What may be said of it; empty for a picture of which nothing is known, where such are asked for.
        public let captions: [String]
        /// Pictures with an equal group are equally right for each other's captions: a label, or the picture itself.
        public let group: String
        /// The folder in the shard, where the captions come by label; nil where they were written for this picture.
        public let label: String?

        /// Whether training leaves this picture out to measure on: one picture in `count` of those with a label, or of
        /// those of which nothing is known, by a hash of its key; none for 0. Captioned pictures come with their own
        /// validation set.
        public func isHeldOut(oneIn count: Int) -> Bool {
            (label != nil || captions.isEmpty) && TihuaFiles.isHeldOut(key, oneIn: count)
        }

        /// At most `count` different captions, drawn by a hash of the key.
        public func drawnCaptions(_ count: Int) -> [String] {
            let captions = Array(Set(captions)).sorted()
            guard !captions.isEmpty else { return [] }
            // Neighbours in a ring, so that each caption is equally likely.
            let start = Int(stableHash("caption of " + key) % UInt64(captions.count))
            return (0..<min(count, captions.count)).map { captions[(start + $0) % captions.count] }
        }
    }

    /// The file's name without its extension.
    public let name: String
    /// The pictures of which something is said, in the order of the shard.
    public let items: [Item]
    /// What a person should know: pictures that were left out, labels that are no Chinese words.
    public let notes: [String]
    /// All pictures of the shard.
    package let list: PictureList
    /// The place of each item among them.
    package let rows: [Int]

    /// Reads the list of the pictures, and the captions or labels.
    ///
    /// A picture's captions are those of its label where a table of labels is given, else those that the files of
    /// captions have for its key, or for the last part of it where no other picture has that. A folder without either
    /// gives the names of its folders through `promptTemplates`.
    ///
    /// - Parameters:
    ///   - shard: a tar archive in WebDataset layout, or a folder with one folder of pictures for each label
    ///   - captions: files of captions by picture
    ///   - labels: a file of lines `label<TAB>caption`
    ///   - encoding: of both; nil takes UTF-16 where a file begins with its mark, else UTF-8
    ///   - keepingUnlabelled: whether pictures of which nothing is said are kept, without captions
    /// - Throws: `DataFileError`, also if nothing is said of any picture.
    public init(
        _ shard: URL, captions: [URL] = [], labels: URL? = nil, encoding: TextEncoding? = nil,
        keepingUnlabelled: Bool = false
    ) throws {
        list = try PictureList([shard])
        let file = shard.deletingPathExtension()
        // x for x.tar.gz.
        name = (file.pathExtension == "tar" ? file.deletingPathExtension() : file).lastPathComponent
        let written = try Captions(captions, encoding, keys: list.entries.map(\.key))
        let table = try labels.map { try Self.table($0, encoding) }
        let usesFolders = labels == nil && captions.isEmpty
        var items: [Item] = []
        var rows: [Int] = []
        var (unknown, foreign): (Set<String>, Set<String>) = ([], [])
        for (row, entry) in list.entries.enumerated() {
            if let table, let label = Self.places(entry.folder ?? "").first(where: { table[$0] != nil }) {
                items.append(
                    .init(key: entry.key, captions: table[label] ?? [], group: "\(name)/\(label)", label: label))
            } else if let found = written[entry.key] {
                items.append(.init(key: entry.key, captions: found, group: entry.key, label: nil))
            } else if usesFolders, !entry.isMember,
                let label = entry.folder?.split(separator: "/").first.map(String.init)
            {
                if !label.unicodeScalars.contains(where: \.properties.isIdeographic) { foreign.insert(label) }
                let prompts = Self.promptTemplates.map { $0.replacing("{}", with: label) }
                items.append(.init(key: entry.key, captions: prompts, group: "\(name)/\(label)", label: label))
            } else if keepingUnlabelled {
                items.append(.init(key: entry.key, captions: [], group: entry.key, label: nil))
            } else {
                if labels != nil { unknown.insert(entry.folder ?? entry.key) }
                continue
            }
            rows.append(row)
        }
        func some(_ names: Set<String>) -> String {
            names.sorted().prefix(5).joined(separator: ", ") + (names.count > 5 ? " and \(names.count - 5) more" : "")
        }
        let lacking = labels.flatMap { unknown.isEmpty ? nil : "\($0.path) lacks \(some(unknown))" }
        guard !items.isEmpty else {
            let isLoose = usesFolders && !list.entries.contains(where: \.isMember)
            throw DataFileError.notCaptioned(
                file: shard.path,
                reason: isLoose
                    ? "no pictures in folders named by their labels (LABEL/PICTURE.jpg); add captions=FILE or labels=FILE"
                    : "none of its pictures has a caption or a label; "
                        + (lacking ?? "add captions=FILE or labels=FILE, or compare its keys, such as "
                            + "\(list.entries[0].key), with those of the file"))
        }
        var notes = list.notes
        if items.count < list.entries.count {
            notes.append(
                "\(list.entries.count - items.count) pictures of \(name) have no caption and are left out"
                    + (lacking.map { "; \($0)" } ?? ""))
        }
        if let example = foreign.sorted().first {
            notes.append(
                "\(name): the folders' names stand in the captions (一张\(example)的照片), and these are not Chinese: "
                    + "\(some(foreign)); labels=FILE gives them captions, lines FOLDER<TAB>CAPTION")
        }
        self.items = items
        self.rows = rows
        self.notes = notes
    }

    /// What a table may call a folder: `a/b`, `b`, `a` for `a/b`.
    private static func places(_ folder: String) -> [String] {
        var parts = folder.split(separator: "/").map(String.init)
        var places: [String] = []
        while let last = parts.last {
            places += [parts.joined(separator: "/"), last]
            parts.removeLast()
        }
        return places
    }

    /// The captions of files by picture.
    private struct Captions {
        private var texts: [String: [String]] = [:]
        /// The key in the files for each last part that stands there once.
        private var byName: [Substring: String?] = [:]
        /// How many pictures have each last part.
        private var counts: [Substring: Int] = [:]

        init(_ files: [URL], _ encoding: TextEncoding?, keys: [String]) throws {
            for url in files {
                texts.merge(try CaptionFile(contentsOf: url, encoding: encoding).textsByImage) { $0 + $1 }
            }
            for key in texts.keys {
                byName.updateValue(byName[Self.name(key)] == nil ? key : nil, forKey: Self.name(key))
            }
            for key in keys { counts[Self.name(key), default: 0] += 1 }
        }

        subscript(_ key: String) -> [String]? {
            if let found = texts[key] { return found }
            let name = Self.name(key)
            guard counts[name] == 1, let other = byName[name] ?? nil else { return nil }
            return texts[other]
        }

        private static func name(_ key: String) -> Substring {
            key[(key.lastIndex(of: "/").map(key.index(after:)) ?? key.startIndex)...]
        }
    }

    /// The encoded bytes of the picture of an item.
    ///
    /// - Throws: `DataFileError`.
    public func bytes(at index: Int) throws -> Data { try list.bytes(of: list.entries[rows[index]]) }

    /// What is said of a picture when only a label is known; `{}` is the label.
    public static let promptTemplates = [
        "{}", "{}的照片", "一张{}的照片", "一张有{}的图片", "照片里有{}", "画面中可以看到{}", "这是{}", "拍得很清楚的{}", "远处的{}", "近处的{}",
        "一张模糊的{}的照片", "黑白照片里的{}",
    ]

    private static func table(_ url: URL, _ encoding: TextEncoding?) throws -> [String: [String]] {
        var labels: [String: [String]] = [:]
        for (index, line) in try TextFile.lines(of: url, encoding: encoding).enumerated() where !line.isEmpty {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard fields.count == 2, !fields[1].isEmpty else {
                throw DataFileError.badLine(
                    file: url.path, line: index + 1, reason: "not a label, a tab and a caption")
            }
            labels[String(fields[0]), default: []].append(String(fields[1]))
        }
        return labels
    }
}
