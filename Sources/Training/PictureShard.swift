import Corpora
import Foundation
public import Pictures

/// One shard with what is said of its pictures, which stay encoded until they are asked for.
public struct PictureShard: Sendable {
    /// The file's name without its extension.
    public let name: String
    /// The pictures of which something is said, in the order of the shard.
    public let items: [PictureSet.Item]
    /// All pictures of the shard.
    let archive: PictureArchive
    /// The place of each item among them.
    let rows: [Int]

    /// Reads the list of the pictures, and the captions or labels.
    ///
    /// - Throws: `CorporaError`, `TrainingError.data` if nothing is said of any picture.
    public init(_ source: PictureSet.Source) throws {
        archive = try PictureArchive(source.shard)
        name = source.shard.deletingPathExtension().lastPathComponent
        var texts: [String: [String]] = [:]
        for url in source.captions {
            for (image, captions) in try CaptionFile(contentsOf: url).textsByImage {
                texts[image, default: []] += captions
            }
        }
        let labels = try source.labels.map(Self.labels)
        var items: [PictureSet.Item] = []
        var rows: [Int] = []
        for (row, entry) in archive.entries.enumerated() {
            if let label = entry.label, let captions = labels?[label] ?? (archive.isFolder ? Self.prompts(label) : nil)
            {
                items.append(.init(key: entry.key, captions: captions, group: "\(name)/\(label)", label: label))
            } else if let captions = texts[entry.key] ?? texts[entry.key + ".jpg"] {
                items.append(.init(key: entry.key, captions: captions, group: entry.key, label: nil))
            } else {
                continue
            }
            rows.append(row)
        }
        guard !items.isEmpty else {
            throw TrainingError.data(path: source.shard.path, reason: "none of its pictures has a caption or a label")
        }
        self.items = items
        self.rows = rows
    }

    /// Decodes the picture of an item.
    ///
    /// - Throws: `PictureError`, `CorporaError`.
    public func picture(at index: Int) throws -> Picture {
        let entry = archive.entries[rows[index]]
        return try Picture(encoded: Array(archive.bytes(of: entry)), name: entry.key)
    }

    private static func prompts(_ label: String) -> [String] {
        PictureSet.promptTemplates.map { $0.replacing("{}", with: label) }
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
}

/// Where pictures lie: in a tar archive, or in folders named by their labels.
struct PictureArchive: Sendable {
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
