import Foundation
import TihuaFiles

/// The bytes of a regular file of at most `limit` bytes; nothing that could block or never end is opened.
func readPictureFile(_ path: String, limit: Int) throws -> [UInt8] {
    do {
        return try UserFile.bytes(atPath: path, limit: limit)
    } catch {
        switch error {
        case .missing: throw PictureError.missing(path: path)
        case .notAFile(_, let what): throw PictureError.notAFile(path: path, what: what)
        case .tooLarge(_, let bytes, _): throw PictureError.tooManyBytes(name: path, bytes: bytes, limit: limit)
        case .system(_, _, let reason): throw PictureError.unreadable(path: path, reason: reason)
        case .notUTF8: throw error
        }
    }
}

/// Writes beside the path, then renames; a folder is refused.
func writePictureFile(_ bytes: [UInt8], to path: String) throws {
    do {
        try AtomicFile.write(bytes, to: URL(filePath: path))
    } catch FileError.system(_, _, let reason) {
        throw PictureError.unwritable(path: path, reason: reason)
    } catch FileError.notAFile {
        throw PictureError.unwritable(path: path, reason: "it exists and is not a file")
    }
}
