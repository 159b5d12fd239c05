public import Foundation

/// A folder that goes away with the test.
public final class Scratch {
    /// Where the folder is.
    public let url = FileManager.default.temporaryDirectory.appending(path: "scratch-\(UUID().uuidString)")

    /// A new folder of its own.
    public init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(at: url) }

    /// Writes a text to a file of the folder.
    @discardableResult
    public func write(_ text: String, to name: String) throws -> URL { try write(Data(text.utf8), to: name) }

    /// Writes bytes to a file of the folder, which may lie in folders that are made for it.
    @discardableResult
    public func write(_ data: Data, to name: String) throws -> URL {
        let file = url.appending(path: name)
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try data.write(to: file)
        return file
    }

    /// The names in the folder.
    public var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? [] }
}

/// Packs files with the tar of the system.
public func tar(_ folder: URL, to archive: URL, options: [String] = []) throws {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["tar"] + options + ["-cf", archive.path, "-C", folder.path, "."]
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw CocoaError(.fileWriteUnknown) }
}
