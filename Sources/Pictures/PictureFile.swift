import Foundation

/// The bytes of a regular file of at most `limit` bytes; nothing that could block or never end is opened.
func readPictureFile(_ path: String, limit: Int) throws -> [UInt8] {
    var status = stat()
    guard stat(path, &status) == 0 else { throw cannotRead(path, errno) }
    try requireRegularFile(path, status)
    // Without O_NONBLOCK a pipe put in place of the file since the check would wait for a writer.
    let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
    guard descriptor >= 0 else { throw cannotRead(path, errno) }
    defer { close(descriptor) }
    guard fstat(descriptor, &status) == 0 else { throw cannotRead(path, errno) }
    try requireRegularFile(path, status)
    let size = Int(status.st_size)
    guard size <= limit else { throw PictureError.tooManyBytes(name: path, bytes: size, limit: limit) }

    var bytes = [UInt8]()
    bytes.reserveCapacity(size)
    var chunk = [UInt8](repeating: 0, count: min(max(size, 1) + 1, 1 << 20))
    while true {
        let count = chunk.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        guard count >= 0 else { throw cannotRead(path, errno) }
        guard count > 0 else { return bytes }
        bytes.append(contentsOf: chunk[..<count])
        // Files of /proc say that they are empty, and others may grow while they are read.
        guard bytes.count <= limit else {
            throw PictureError.tooManyBytes(name: path, bytes: bytes.count, limit: limit)
        }
    }
}

private func requireRegularFile(_ path: String, _ status: stat) throws {
    switch status.st_mode & S_IFMT {
    case S_IFREG: return
    case S_IFDIR: throw PictureError.notAFile(path: path, what: "a directory")
    case S_IFIFO: throw PictureError.notAFile(path: path, what: "a pipe")
    case S_IFSOCK: throw PictureError.notAFile(path: path, what: "a socket")
    default: throw PictureError.notAFile(path: path, what: "a device")
    }
}

private func cannotRead(_ path: String, _ code: Int32) -> PictureError {
    code == ENOENT || code == ENOTDIR
        ? .missing(path: path) : .unreadable(path: path, reason: String(cString: strerror(code)))
}

/// Writes beside the path, then renames; a link is followed, and a directory, pipe or device is refused.
func writePictureFile(_ bytes: [UInt8], to path: String) throws {
    func failure() -> PictureError { .unwritable(path: path, reason: String(cString: strerror(errno))) }
    var target = path
    var mode: mode_t = 0o666
    var status = stat()
    if stat(path, &status) == 0 {
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw PictureError.unwritable(path: path, reason: "it exists and is not a file")
        }
        mode = status.st_mode & 0o777
        guard let resolved = realpath(path, nil) else { throw failure() }
        target = String(cString: resolved)
        free(resolved)
    }
    let beside = "\(target).\(getpid()).\(UInt32.random(in: 0 ... .max)).part"
    let descriptor = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard descriptor >= 0 else { throw failure() }
    var kept = false
    defer { if !kept { unlink(beside) } }

    var written = 0
    while written < bytes.count {
        let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + written, $0.count - written) }
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else {
            let error = failure()
            close(descriptor)
            throw error
        }
        written += count
    }
    guard fsync(descriptor) == 0 else {
        let error = failure()
        close(descriptor)
        throw error
    }
    guard close(descriptor) == 0, rename(beside, target) == 0 else { throw failure() }
    kept = true
}
