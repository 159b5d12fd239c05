import Foundation
import Testing
import TihuaDataFiles
import TihuaTestSupport

@Suite struct PictureListTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    @Test("folders, shards and files are listed under their keys")
    func inputs() throws {
        try scratch.write("1", to: "in/b/2.PNG")
        try scratch.write("22", to: "in/a.jpg")
        try scratch.write("x", to: "in/.hidden/h.jpg")
        try scratch.write("x", to: "in/notes.txt")
        try scratch.write("333", to: "s/sea/9.jpg")
        try scratch.write("4444", to: "one.webp")
        try tar(scratch.url.appending(path: "s"), to: scratch.url.appending(path: "s.tar"))
        let list = try PictureList(["in", "s.tar", "one.webp"].map { scratch.url.appending(path: $0) })
        #expect(list.entries.map(\.key) == ["a", "b/2", "sea/9", "one"])
        #expect(
            try list.entries.map { String(decoding: try list.bytes(of: $0), as: UTF8.self) } == [
                "22", "1", "333", "4444",
            ])
        #expect(list.restricted(to: ["one", "other"]).entries.map(\.key) == ["one"])
        #expect(list.fingerprint == list.restricted(to: ["a", "b/2", "sea/9", "one"]).fingerprint)
        #expect(list.fingerprint != list.restricted(to: ["a"]).fingerprint)
        try FileManager.default.removeItem(at: scratch.url.appending(path: "in/a.jpg"))
        #expect(throws: DataFileError.self) { try list.bytes(of: list.entries[0]) }
    }

    @Test("a pipe among the pictures is left out instead of waited for")
    func pipes() throws {
        try scratch.write("1", to: "in/a.jpg")
        try #require(mkfifo(scratch.url.appending(path: "in/b.jpg").path, 0o600) == 0)
        #expect(try PictureList([scratch.url.appending(path: "in")]).entries.map(\.key) == ["a"])
    }

    @Test func whatCannotBeListedIsAnErrorWithItsName() throws {
        try scratch.write("1", to: "in/a.jpg")
        try scratch.write("text", to: "empty/a.txt")
        func problem(_ names: String...) -> String {
            do {
                _ = try PictureList(names.map { scratch.url.appending(path: $0) })
                return ""
            } catch { return "\(error)" }
        }
        #expect(problem("nowhere").contains("nowhere"))
        #expect(problem("empty").contains("empty"))
        #expect(problem("empty/a.txt").contains("a.txt"))
        #expect(problem("in", "in/a.jpg").contains("both have a picture a"))
    }
}
