import Foundation
import Testing

@testable import TihuaFiles

@Suite struct AtomicFileTests {
    @Test func aFullDiskIsAnErrorThatLeavesTheOlderFileAndNothingElse() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.bin")
            try Data("old".utf8).write(to: url)
            let expected = FileError.system(path: url.path, operation: "write", reason: "No space left on device")
            #expect(throws: expected) {
                // The temporary file is really made; the descriptor is that of a device that is always full.
                try AtomicFile.write(to: url) { path in
                    #expect(FileManager.default.createFile(atPath: path, contents: nil))
                    return open("/dev/full", O_WRONLY)
                } _: { sink in
                    try sink.write([UInt8](repeating: 0, count: 1 << 20))
                }
            }
            #expect(try text(url) == "old")
            #expect(try names(folder) == ["a.bin"])
        }
    }

    @Test func anOlderFileKeepsItsPermissions() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "secret")
            try Data("old".utf8).write(to: url)
            for wanted: mode_t in [0o600, 0o640, 0o444] {
                #expect(chmod(url.path, wanted) == 0)
                try AtomicFile.write("new".utf8, to: url)
                #expect(mode(url) == wanted)
            }
            #expect(try text(url) == "new")
        }
    }

    @Test func linksAreFollowedAlsoOnesThatPointAtNothingYet() throws {
        try withTemporaryFolder { folder in
            let manager = FileManager.default
            let inner = folder.appending(path: "inner")
            try manager.createDirectory(at: inner, withIntermediateDirectories: true)
            let target = inner.appending(path: "target")
            let links = ["relative": "inner/target", "absolute": target.path, "second": "relative"]
            for (name, destination) in links {
                try manager.createSymbolicLink(
                    atPath: folder.appending(path: name).path, withDestinationPath: destination)
            }
            // At first the target is not there.
            for name in ["second", "relative", "absolute", "second"] {
                let link = folder.appending(path: name)
                try AtomicFile.write(name.utf8, to: link)
                #expect(try text(target) == name)
                #expect(try manager.destinationOfSymbolicLink(atPath: link.path) == links[name])
            }
            #expect(try names(inner) == ["target"])
            #expect(try names(folder) == ["absolute", "inner", "relative", "second"])

            let loop = folder.appending(path: "loop")
            try manager.createSymbolicLink(atPath: loop.path, withDestinationPath: "loop")
            #expect(throws: FileError.self) { try AtomicFile.write("x".utf8, to: loop) }
            #expect(try manager.destinationOfSymbolicLink(atPath: loop.path) == "loop")
        }
    }

    @Test func aDeviceIsWrittenAndStays() throws {
        // A node like /dev/null's, so that a fault of the writer does not harm the machine's.
        try withTemporaryFolder { folder in
            let device = folder.appending(path: "null")
            guard mknod(device.path, S_IFCHR | 0o666, 0x0103) == 0 else { return }  // only root may
            var before = stat()
            var after = stat()
            #expect(stat(device.path, &before) == 0)
            do {
                try AtomicFile.write("text".utf8, to: device)
            } catch FileError.system {
                return  // a file system mounted without devices
            }
            #expect(stat(device.path, &after) == 0)
            #expect(after.st_mode & S_IFMT == S_IFCHR && after.st_ino == before.st_ino)
            #expect(try names(folder) == ["null"])
        }
        #expect(throws: FileError.self) { try AtomicFile.write("text".utf8, to: URL(filePath: "/dev/full")) }
    }

    @Test func aPipeIsWrittenToItsReaderAndRefusedWithoutOne() throws {
        try withTemporaryFolder { folder in
            let pipe = folder.appending(path: "pipe")
            #expect(mkfifo(pipe.path, 0o600) == 0)
            let lonely = FileError.system(path: pipe.path, operation: "write", reason: "nobody reads this pipe")
            #expect(throws: lonely) { try AtomicFile.write("x".utf8, to: pipe) }
            let reader = open(pipe.path, O_RDONLY | O_NONBLOCK)
            defer { close(reader) }
            try AtomicFile.write("题画".utf8, to: pipe)
            var buffer = [UInt8](repeating: 0, count: 100)
            #expect(read(reader, &buffer, 100) == 6)
            #expect(Array(buffer.prefix(6)) == Array("题画".utf8))
            #expect(try names(folder) == ["pipe"])
        }
    }

    @Test func aFolderIsRefused() throws {
        try withTemporaryFolder { folder in
            let inner = folder.appending(path: "inner")
            try FileManager.default.createDirectory(at: inner, withIntermediateDirectories: true)
            #expect(throws: FileError.notAFile(path: inner.path, what: "a folder")) {
                try AtomicFile.write("x".utf8, to: inner)
            }
            #expect(try names(folder) == ["inner"])
        }
    }

    @Test func aFolderAppearsWholeOrNotAtAll() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "model")
            #expect(throws: CancellationError.self) {
                try AtomicFile.folder(at: url) { partial in
                    try AtomicFile.write("x".utf8, to: partial.appending(path: "a"))
                    throw CancellationError()
                }
            }
            #expect(try names(folder).isEmpty)
            try AtomicFile.folder(at: url) { try AtomicFile.write("x".utf8, to: $0.appending(path: "a")) }
            #expect(try names(folder) == ["model"])
            #expect(try names(url) == ["a"])
        }
    }
}
