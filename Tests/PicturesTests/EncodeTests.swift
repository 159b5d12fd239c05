import Foundation
import Testing
import TihuaPictures

@Suite struct EncodeTests {
    @Test func writesPNGWithoutLoss() throws {
        let scene = try picture("scene.png")
        #expect(try Picture(encoded: scene.encoded(as: .png)) == scene)
    }

    @Test(arguments: [PictureFormat.jpeg, .webp]) func writesLossyFormatsClosely(_ format: PictureFormat) throws {
        let gradient = try picture("quarters.png").resized(width: 96, height: 64)
        let read = try Picture(encoded: gradient.encoded(as: format, quality: 100))
        let differences = zip(read.bytes, gradient.bytes).map { abs(Int($0) - Int($1)) }
        #expect(differences.reduce(0, +) < differences.count * 4)
    }

    @Test func writesTheFormatOfTheEnding() throws {
        try withFolder { folder in
            for (name, format) in [
                ("a.png", "89504e47"), ("a.JPG", "ffd8ff"), ("a.jpeg", "ffd8ff"), ("a.webp", "524946"),
            ] {
                let path = folder.appending(path: name).path
                try picture("quarters.png").write(to: path)
                let start = try Data(contentsOf: URL(filePath: path)).prefix(4)
                #expect(start.map { String(format: "%02x", $0) }.joined().hasPrefix(format))
            }
            for path in ["a.txt", "png", "a.png/b", "a.png/", ""] {
                #expect(throws: PictureError.unknownOutput(path: path)) { try picture("quarters.png").write(to: path) }
            }
        }
    }

    @Test func writesTheWholeFileOrNothing() throws {
        try withFolder { folder in
            let path = folder.appending(path: "a.png").path
            try Data("old".utf8).write(to: URL(filePath: path))
            try picture("quarters.png").write(to: path)
            #expect(try picture("quarters.png") == Picture(contentsOf: path))

            let nowhere = folder.appending(path: "none/a.png").path
            #expect(throws: PictureError.unwritable(path: nowhere, reason: "No such file or directory")) {
                try picture("quarters.png").write(to: nowhere)
            }
            let directory = folder.appending(path: "d.png")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            #expect(throws: PictureError.unwritable(path: directory.path, reason: "it exists and is not a file")) {
                try picture("quarters.png").write(to: directory.path)
            }
            let link = folder.appending(path: "link.png")
            try FileManager.default.createSymbolicLink(at: link, withDestinationURL: URL(filePath: path))
            try picture("grey.png").write(to: link.path)
            #expect(try picture("grey.png") == Picture(contentsOf: path))
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == [
                    "a.png", "d.png", "link.png",
                ])
        }
    }

    @Test func refusesPicturesTooLargeForTheFormat() throws {
        let line = try Picture(width: 70_000, height: 1, bytes: [UInt8](repeating: 0, count: 210_000))
        #expect(throws: PictureError.notEncoded(format: "WebP", width: 70_000, height: 1)) {
            try line.encoded(as: .webp)
        }
        #expect(throws: PictureError.notEncoded(format: "GIF", width: 70_000, height: 1)) {
            try line.encoded(as: .gif)
        }
    }
}
