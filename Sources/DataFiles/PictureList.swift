public import Foundation
public import TihuaFiles

/// The encoded pictures of folders, tar shards and single files, in one order, each under one key.
public struct PictureList: Sendable {
    /// One picture.
    public struct Entry: Sendable {
        /// Its path in the folder or shard without the ending; the file's name for a file that was named itself. Bytes
        /// that are not UTF-8 and control characters are written as `PictureName.text` does.
        public fileprivate(set) var key: String
        /// How many bytes it has.
        public let size: Int
        /// The index of the input that it came with.
        public let input: Int
        fileprivate let place: Place
        fileprivate var rank = 0
        /// Whether the file was named itself.
        public fileprivate(set) var isNamed = false

        /// The folder part of the key, which is the label in folders and shards of labelled folders; nil where there is
        /// none.
        public var folder: String? { key.lastIndex(of: "/").map { String(key[..<$0]) } }

        private var file: BytePath {
            switch place {
            case .file(let path): path
            case .member(let shard, _): shard.path
            }
        }

        /// What tells its file, or the shard that it lies in, from other files; nil where that is gone.
        public var identity: FileIdentity? { file.status.map { FileIdentity($0) } }

        /// The folders that its file, or its shard, lies in: two where that is named by a link.
        public var homes: [FileIdentity] { file.homes }

        /// Whether it lies in a shard.
        public var isMember: Bool { if case .member = place { true } else { false } }

        /// Where it lies, for people.
        public var path: String {
            switch place {
            case .file(let path): path.text
            case .member(let shard, let member): "\(shard.name): \(member.key).\(member.fileExtension)"
            }
        }
    }

    fileprivate enum Place: Sendable {
        case file(BytePath)
        case member(TarShard, TarShard.Entry)
    }

    /// How pictures of several inputs are told apart.
    public enum Naming: Sendable {
        /// By their keys alone, as captions and embeddings name them; two inputs with one key are an error.
        case keys
        /// For people: a file that was named itself by its path, the pictures of a folder or shard with the path of
        /// that one in front where another input has the same key. A file that was named twice comes once. A file of
        /// any ending is a picture unless it begins as an archive does.
        case paths
    }

    /// In the order of the inputs; a folder's in the order of their paths, a shard's as they stand.
    public let entries: [Entry]
    /// What a person should know: pictures that were left out, and why.
    public let notes: [String]

    /// The largest file that is taken for a picture, in bytes.
    public static let maximumSize = 64 << 20

    /// Lists the pictures without decoding them. A folder is searched to its end, links followed; hidden files are left
    /// out.
    ///
    /// Where files differ in their endings only, the one whose ending comes first in `PictureName.endings` is taken.
    ///
    /// - Parameter failed: told of an input that is not there, holds no picture, or is a damaged shard; what it throws
    ///   is thrown
    /// - Throws: `DataFileError` for no picture at all, and, by keys, for two inputs with one key.
    public init(
        _ inputs: [URL], naming: Naming = .keys, failed: (any Error) throws -> Void = { throw $0 }
    ) throws {
        var notes: [String] = []
        var entries: [Entry] = []
        var named: Set<BytePath> = []
        for (index, input) in inputs.enumerated() {
            for path in BytePath.matches(input) {
                if naming == .paths || PictureName.split(path.name) != nil, !path.isFolder, !named.insert(path).inserted
                {
                    notes.append("\(path.text): named twice, and taken once")
                    continue
                }
                do { entries += try Self.entries(of: path, index, naming, &notes) } catch { try failed(error) }
            }
        }
        guard !entries.isEmpty else { throw DataFileError.nothingFound(file: "the input", expected: "pictures") }
        switch naming {
        case .keys:
            // Files that were named by a pattern are a folder's too.
            let (kept, note) = PictureName.withoutTwins(
                entries, in: "the input", name: \.path,
                key: { entry in
                    guard entry.isNamed, let stem = PictureName.split(Array(entry.path.utf8))?.stem else {
                        return "\(entry.input):\(entry.key)"
                    }
                    return String(decoding: stem, as: UTF8.self)
                }, rank: \.rank)
            if let note { notes.append(note) }
            var owners: [String: Entry] = [:]
            for entry in kept {
                guard let first = owners.updateValue(entry, forKey: entry.key) else { continue }
                throw DataFileError.duplicateKey(
                    key: entry.key, first: BytePath(inputs[first.input]).text,
                    second: BytePath(inputs[entry.input]).text)
            }
            entries = kept
        case .paths: Self.distinguish(&entries, inputs)
        }
        self.entries = entries
        self.notes = notes
    }

    private init(entries: [Entry], notes: [String]) { (self.entries, self.notes) = (entries, notes) }

    /// The pictures of these keys only; it may be empty.
    public func restricted(to keys: Set<String>) -> PictureList {
        PictureList(entries: entries.filter { keys.contains($0.key) }, notes: notes)
    }

    /// Makes every key another one, by the paths of the inputs.
    private static func distinguish(_ entries: inout [Entry], _ inputs: [URL]) {
        func path(_ entry: Entry) -> String {
            let typed = inputs[entry.input].relativePath
            guard case .file(let path) = entry.place, typed.contains("\u{FFFD}") else {
                return PictureName.text(typed.utf8)
            }
            return path.text
        }
        var owners: [String: Set<Int>] = [:]
        for index in entries.indices {
            if entries[index].isNamed { entries[index].key = path(entries[index]) }
            owners[entries[index].key, default: []].insert(entries[index].input)
        }
        let shared = owners.values.filter { $0.count > 1 }.reduce(into: Set<Int>()) { $0.formUnion($1) }
        var counts: [String: Int] = [:]
        for index in entries.indices {
            let entry = entries[index]
            if shared.contains(entry.input), !entry.isNamed {
                let folder = path(entry).hasSuffix("/") ? String(path(entry).dropLast()) : path(entry)
                entries[index].key = "\(folder)/\(entry.key)"
            }
            // The same folder named twice, after all.
            let count = counts[entries[index].key, default: 0] + 1
            counts[entries[index].key] = count
            if count > 1 { entries[index].key += "#\(count)" }
        }
    }

    private static func entries(
        of input: BytePath, _ index: Int, _ naming: Naming, _ notes: inout [String]
    ) throws -> [Entry] {
        guard input.status != nil else { throw input.unreadable(ENOENT) }
        if input.isFolder { return try pictures(of: input, index, &notes) }
        guard let size = input.regularSize else {
            throw DataFileError.unreadable(file: input.text, reason: "not a regular file")
        }
        let split = PictureName.split(input.name)
        if try split != nil || naming == .paths && !isArchive(input) {
            return [
                Entry(
                    key: PictureName.text(split?.stem ?? input.name), size: size, input: index, place: .file(input),
                    rank: split?.rank ?? 0, isNamed: true)
            ]
        }
        let shard = try TarShard(input)
        notes += shard.notes
        return shard.entries.map { Entry(key: $0.key, size: $0.size, input: index, place: .member(shard, $0)) }
    }

    /// Whether a file is named as a tar archive, or begins as one does, packed or not.
    private static func isArchive(_ file: BytePath) throws -> Bool {
        let name = String(decoding: file.name, as: UTF8.self).lowercased()
        if name.contains(".tar") || name.hasSuffix(".tgz") { return true }
        let handle = try file.open()
        defer { try? handle.close() }
        let head = Array(try handle.read(upToCount: 262) ?? Data())
        return ByteSource.isPacked(head) || head.count == 262 && head[257...].elementsEqual("ustar".utf8)
    }

    private static func pictures(of folder: BytePath, _ index: Int, _ notes: inout [String]) throws -> [Entry] {
        var found: [Entry] = []
        var strange: [String] = []
        let contents = try folder.contents { notes.append("left out: \($0)") }
        for (relative, path) in contents {
            guard let (stem, rank) = PictureName.split(relative) else { continue }
            guard let size = path.regularSize else {
                strange.append(path.text)
                continue
            }
            found.append(
                Entry(key: PictureName.text(stem), size: size, input: index, place: .file(path), rank: rank))
        }
        if let first = strange.first {
            notes.append(
                "\(folder.text): left out \(strange.count) that are no regular files or links to nothing, such as \(first)"
            )
        }
        guard !found.isEmpty else { throw DataFileError.nothingFound(file: folder.text, expected: "pictures") }
        let (kept, note) = PictureName.withoutTwins(
            found, in: folder.text, name: \.path, key: \.key, rank: \.rank)
        if let note { notes.append(note) }
        return kept
    }

    /// The encoded bytes of a picture.
    ///
    /// - Throws: `DataFileError` for a file that is gone, unreadable, too large, or no file any more.
    public func bytes(of entry: Entry) throws -> Data {
        switch entry.place {
        case .member(let shard, let member): return try shard.bytes(of: member)
        case .file(let path):
            let handle = try path.open()
            defer { try? handle.close() }
            do {
                let data = try handle.read(upToCount: Self.maximumSize + 1) ?? Data()
                if data.count <= Self.maximumSize { return data }
            } catch {
                throw DataFileError.unreadable(file: path.text, reason: (error as NSError).localizedDescription)
            }
            throw DataFileError.unreadable(file: path.text, reason: "it has more than \(Self.maximumSize) bytes")
        }
    }

    /// What tells this list from another one: the keys and sizes in their order.
    public var fingerprint: String {
        String(StableHash.hash(entries.map { "\($0.key)\t\($0.size)" }), radix: 16)
    }
}
