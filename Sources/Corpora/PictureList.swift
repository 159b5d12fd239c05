public import Foundation

/// The encoded pictures of folders, tar shards and single files, in one order, each under one key.
public struct PictureList: Sendable {
    /// One picture.
    public struct Entry: Sendable {
        /// Its path in the folder or shard without the extension; the file's name for a file that was named itself.
        public let key: String
        /// How many bytes it has.
        public let size: Int
        fileprivate let place: Place
    }

    fileprivate enum Place: Sendable {
        case file(URL)
        case member(TarShard, TarShard.Entry)
    }

    /// In the order of the inputs; a folder's in the order of their paths, a shard's as they stand.
    public let entries: [Entry]

    /// Endings that make a file of a folder a picture.
    public static let extensions: Set<String> = [
        "jpg", "jpeg", "png", "webp", "gif", "tif", "tiff", "heic", "heif", "avif",
    ]

    /// Lists the pictures without decoding them. A folder is searched to its end; hidden files are left out.
    ///
    /// - Throws: `CorporaError` for an input that is not there or holds no picture, a damaged shard, or two pictures of one
    ///   key.
    public init(_ inputs: [URL]) throws {
        var entries: [Entry] = []
        var owners: [String: String] = [:]
        for input in inputs {
            for entry in try Self.entries(of: input) {
                // Keys stand in lines and columns of text files.
                guard !entry.key.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
                    throw CorporaError.unreadable(
                        file: input.path, reason: "the name of a picture holds a tab or a line feed")
                }
                if let first = owners.updateValue(input.path, forKey: entry.key) {
                    throw CorporaError.duplicateKey(key: entry.key, first: first, second: input.path)
                }
                entries.append(entry)
            }
        }
        guard !entries.isEmpty else { throw CorporaError.nothingFound(file: "the input", expected: "pictures") }
        self.entries = entries
    }

    private init(entries: [Entry]) { self.entries = entries }

    /// The pictures of these keys only; it may be empty.
    public func restricted(to keys: Set<String>) -> PictureList {
        PictureList(entries: entries.filter { keys.contains($0.key) })
    }

    private static func entries(of input: URL) throws -> [Entry] {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: input.path, isDirectory: &isDirectory) else {
            throw CorporaError.unreadable(file: input.path, reason: "no such file")
        }
        if isDirectory.boolValue {
            let paths = (FileManager.default.enumerator(atPath: input.path)?.compactMap { $0 as? String } ?? [])
                .sorted()
            let found = paths.compactMap { path -> Entry? in
                let url = input.appending(path: path)
                let isHidden = path.split(separator: "/").contains { $0.hasPrefix(".") }
                guard !isHidden, extensions.contains(url.pathExtension.lowercased()), let size = regularSize(url)
                else { return nil }
                let key = String(path.dropLast(url.pathExtension.count + 1))
                return Entry(key: key, size: size, place: .file(url))
            }
            guard !found.isEmpty else { throw CorporaError.nothingFound(file: input.path, expected: "pictures") }
            return found
        }
        guard extensions.contains(input.pathExtension.lowercased()) else {
            guard regularSize(input) != nil else {
                throw CorporaError.unreadable(file: input.path, reason: "not a regular file")
            }
            let shard = try TarShard(contentsOf: input)
            return shard.entries.map { Entry(key: $0.key, size: $0.size, place: .member(shard, $0)) }
        }
        guard let size = regularSize(input) else {
            throw CorporaError.unreadable(file: input.path, reason: "not a regular file")
        }
        let key = input.deletingPathExtension().lastPathComponent
        return [Entry(key: key, size: size, place: .file(input))]
    }

    /// The size; nil for a pipe, a device and the like, whose reading might never end.
    private static func regularSize(_ url: URL) -> Int? {
        var status = stat()
        guard stat(url.path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int(status.st_size)
    }

    /// The encoded bytes of a picture.
    ///
    /// - Throws: `CorporaError` for a file that is gone, unreadable, or no file any more.
    public func bytes(of entry: Entry) throws -> Data {
        switch entry.place {
        case .member(let shard, let member): return try shard.bytes(of: member)
        case .file(let url):
            guard Self.regularSize(url) != nil else {
                throw CorporaError.unreadable(file: url.path, reason: "no such file any more")
            }
            do {
                return try Data(contentsOf: url)
            } catch {
                throw CorporaError.unreadable(file: url.path, reason: (error as NSError).localizedDescription)
            }
        }
    }

    /// What tells this list from another one: the keys and sizes in their order.
    public var fingerprint: String {
        String(StableHash.hash(entries.map { "\($0.key)\t\($0.size)" }), radix: 16)
    }
}
