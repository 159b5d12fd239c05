public import Foundation

/// What goes wrong when a pack of weights is looked for.
public enum PackError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `source`, such as `TIHUA_PACK`, names a path without a manifest.
    case noManifest(path: String, source: String)
    /// None is named, and no folder above the executable holds the default pack.
    case notFound(executable: String)

    /// One line: what is missing, where, and what to do.
    public var description: String {
        switch self {
        case .noManifest(let path, let source):
            "\(source) names \(path), where there is no \(PackLocator.manifestName): name the folder that holds it"
        case .notFound(let executable):
            "no pack of weights: no folder above \(executable) holds Weights/mini or share/tihua/Weights/mini; "
                + "set TIHUA_PACK=DIR, or name a pack"
        }
    }
}

/// Finds the pack of weights that a verb works with: the one that is named, else the default pack.
///
/// The order is the named pack, the environment's `TIHUA_PACK`, and then, for every folder above the executable's real
/// path from the nearest up, `Weights/mini` (a checkout) and `share/tihua/Weights/mini` (an installation).
public struct PackLocator: Sendable {
    /// The file that makes a folder a pack.
    public static let manifestName = "pack.json"

    private let named: (path: String, source: String)?
    private let executable: URL
    /// Whether the caller named a pack; the environment's does not count.
    let isExplicit: Bool

    /// - Parameters:
    ///   - pack: the folder or the manifest that the user named, if any.
    ///   - source: where the user named it, for messages, such as an option.
    ///   - environment: the variables of the process.
    ///   - executable: the real path of the running program.
    public init(
        pack: String? = nil, source: String = "the request",
        environment: [String: String] = ProcessInfo.processInfo.environment,
        executable: URL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    ) {
        if let pack {
            named = (pack, source)
        } else if let pack = environment["TIHUA_PACK"], !pack.isEmpty {
            named = (pack, "TIHUA_PACK")
        } else {
            named = nil
        }
        self.executable = executable
        isExplicit = pack != nil
    }

    /// The folders that may hold the default pack, in order of preference.
    public var defaultFolders: [URL] {
        var folders: [URL] = []
        var folder = executable.standardizedFileURL
        while folder.path != "/" {
            folder.deleteLastPathComponent()
            folders.append(folder.appending(path: "Weights/mini"))
            folders.append(folder.appending(path: "share/tihua/Weights/mini"))
        }
        return folders
    }

    /// The folder of the pack.
    ///
    /// A pack that was named and is not there is an error: nothing else is taken in its place.
    ///
    /// - Throws: `PackError`.
    public func locate() throws(PackError) -> URL {
        if let named {
            let url = URL(filePath: named.path)
            let folder = url.lastPathComponent == Self.manifestName ? url.deletingLastPathComponent() : url
            guard Self.isPack(folder) else { throw .noManifest(path: named.path, source: named.source) }
            return folder
        }
        guard let folder = defaultFolders.first(where: Self.isPack) else {
            throw .notFound(executable: executable.path)
        }
        return folder
    }

    private static func isPack(_ folder: URL) -> Bool {
        FileManager.default.isReadableFile(atPath: folder.appending(path: manifestName).path)
    }
}
