public import Foundation

/// Where derived files are kept, such as the encoded imagery bank; all of it may be deleted at any time.
public enum CacheFolder {
    /// `TIHUA_CACHE`, else `tihua` under `XDG_CACHE_HOME`, else `~/.cache/tihua`. The folder need not exist yet.
    public static func url(environment: [String: String] = ProcessInfo.processInfo.environment) -> URL {
        if let path = environment["TIHUA_CACHE"], !path.isEmpty { return URL(filePath: path) }
        // The XDG specification asks for relative paths to be ignored.
        if let path = environment["XDG_CACHE_HOME"], path.hasPrefix("/") {
            return URL(filePath: path).appending(path: "tihua")
        }
        let home = environment["HOME"].map { URL(filePath: $0) } ?? FileManager.default.homeDirectoryForCurrentUser
        return home.appending(path: ".cache/tihua")
    }

    /// Whether the folder can be made and written, judged by its nearest existing ancestor. Makes nothing.
    public static func isWritable(_ folder: URL) -> Bool {
        var place = folder.standardizedFileURL
        while !FileManager.default.fileExists(atPath: place.path), place.path != "/" { place.deleteLastPathComponent() }
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: place.path, isDirectory: &isFolder) && isFolder.boolValue
            && FileManager.default.isWritableFile(atPath: place.path)
    }
}
