import Foundation
import TihuaCorpora
public import TihuaPictures

/// One shard with what is said of its pictures, which stay encoded until they are asked for.
public struct PictureShard: Sendable {
    /// The file's name without its extension.
    public let name: String
    /// The pictures of which something is said, in the order of the shard.
    public let items: [PictureSet.Item]
    /// What a person should know: pictures that were left out, labels that are no Chinese words.
    public let notes: [String]
    /// All pictures of the shard.
    let list: PictureList
    /// The place of each item among them.
    let rows: [Int]

    /// Reads the list of the pictures, and the captions or labels.
    ///
    /// A picture's captions are those of its label where a table of labels is given, else those that the files of
    /// captions have for its key, or for the last part of it where no other picture has that. A folder without either
    /// gives the names of its folders through `PictureSet.promptTemplates`.
    ///
    /// - Throws: `CorporaError`, `TrainingError.data` if nothing is said of any picture.
    public init(_ source: PictureSet.Source) throws {
        list = try PictureList([source.shard])
        let file = source.shard.deletingPathExtension()
        // x for x.tar.gz.
        name = (file.pathExtension == "tar" ? file.deletingPathExtension() : file).lastPathComponent
        let captions = try Captions(source, keys: list.entries.map(\.key))
        let labels = try source.labels.map { try Self.labels($0, source.encoding) }
        let usesFolders = labels == nil && source.captions.isEmpty
        var items: [PictureSet.Item] = []
        var rows: [Int] = []
        var (unknown, foreign): (Set<String>, Set<String>) = ([], [])
        for (row, entry) in list.entries.enumerated() {
            if let labels, let label = Self.places(entry.folder ?? "").first(where: { labels[$0] != nil }) {
                items.append(
                    .init(key: entry.key, captions: labels[label] ?? [], group: "\(name)/\(label)", label: label))
            } else if let found = captions[entry.key] {
                items.append(.init(key: entry.key, captions: found, group: entry.key, label: nil))
            } else if usesFolders, !entry.isMember,
                let label = entry.folder?.split(separator: "/").first.map(String.init)
            {
                if !label.unicodeScalars.contains(where: \.properties.isIdeographic) { foreign.insert(label) }
                let prompts = PictureSet.promptTemplates.map { $0.replacing("{}", with: label) }
                items.append(.init(key: entry.key, captions: prompts, group: "\(name)/\(label)", label: label))
            } else {
                if labels != nil { unknown.insert(entry.folder ?? entry.key) }
                continue
            }
            rows.append(row)
        }
        func some(_ names: Set<String>) -> String {
            names.sorted().prefix(5).joined(separator: ", ") + (names.count > 5 ? " and \(names.count - 5) more" : "")
        }
        let lacking = source.labels.flatMap { unknown.isEmpty ? nil : "\($0.path) lacks \(some(unknown))" }
        guard !items.isEmpty else {
            let isLoose = usesFolders && !list.entries.contains(where: \.isMember)
            throw TrainingError.data(
                path: source.shard.path,
                reason: isLoose
                    ? "no pictures in folders named by their labels (LABEL/PICTURE.jpg); "
                        + "add captions=FILE or labels=FILE"
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

        init(_ source: PictureSet.Source, keys: [String]) throws {
            for url in source.captions {
                texts.merge(try CaptionFile(contentsOf: url, encoding: source.encoding).textsByImage) { $0 + $1 }
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

    /// Decodes the picture of an item.
    ///
    /// - Throws: `PictureError`, `CorporaError`.
    public func picture(at index: Int) throws -> Picture {
        let entry = list.entries[rows[index]]
        return try Picture(encoded: Array(list.bytes(of: entry)), name: entry.key)
    }

    private static func labels(_ url: URL, _ encoding: TextEncoding?) throws -> [String: [String]] {
        var labels: [String: [String]] = [:]
        for (index, line) in try TextFile.lines(of: url, encoding: encoding).enumerated() where !line.isEmpty {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard fields.count == 2, !fields[1].isEmpty else {
                throw TrainingError.data(
                    path: url.path, reason: "line \(index + 1) is not a label, a tab and a caption")
            }
            labels[String(fields[0]), default: []].append(String(fields[1]))
        }
        return labels
    }
}
