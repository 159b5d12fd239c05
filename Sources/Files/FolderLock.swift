public import Foundation

/// A lock on a folder that one process holds: as long as the object lives, or until the process ends, however it ends.
///
/// It is `flock` on the file `.lock` in the folder, which stays there. On a file system without locks nobody is kept
/// out.
public final class FolderLock {
    private let descriptor: Int32

    /// Takes the lock; nil where another process, or another object of this one, has it.
    ///
    /// - Throws: `FileError.system` for a folder that cannot be written to.
    public init?(folder: URL) throws(FileError) {
        let path = folder.appending(path: ".lock").path(percentEncoded: false)
        descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw .system(path, "write") }
        if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK { return nil }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }
}

extension AtomicFile {
    /// Makes a folder with those above it, and flushes their names to the disk.
    ///
    /// Throws Foundation's error where there is something else, or no permission.
    public static func makeFolder(at url: URL) throws {
        var missing: [URL] = []
        var place = url.standardizedFileURL
        while place.path(percentEncoded: false) != "/", !FileManager.default.fileExists(atPath: place.path) {
            missing.append(place)
            place = place.deletingLastPathComponent()
        }
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        for folder in missing { syncFolder(folder.deletingLastPathComponent()) }
    }

    /// Removes what a process that was killed left of its writing: `.NAME.partial-NUMBER` and nothing else. Only who
    /// holds the folder alone may ask for it, since what another process is writing has such a name too.
    ///
    /// - Parameter name: of the file that was written; nil for any
    public static func removeLeftovers(in folder: URL, of name: String? = nil) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path(percentEncoded: false))) ?? []
        for entry in names where entry.hasPrefix(".") {
            guard let mark = entry.range(of: partialMark, options: .backwards), mark.lowerBound > entry.startIndex,
                UInt32(entry[mark.upperBound...]).map(String.init) == String(entry[mark.upperBound...])
            else { continue }
            let written = entry[entry.index(after: entry.startIndex)..<mark.lowerBound]
            guard !written.isEmpty, name.map({ $0 == written }) ?? true else { continue }
            try? FileManager.default.removeItem(at: folder.appending(path: entry))
        }
    }
}
