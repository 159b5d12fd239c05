import Foundation
import Glibc
import Testing
import TihuaTestSupport

@testable import TihuaDataFiles

/// A member of a tar archive that a test writes byte by byte.
private struct Member {
    var path: [UInt8]
    var data: [UInt8] = []
    var kind: Character = "0"
    var link = ""

    init(_ path: String, _ text: String = "", kind: Character = "0", link: String = "") {
        self.init(Array(path.utf8), Array(text.utf8), kind: kind, link: link)
    }

    init(_ path: [UInt8], _ data: [UInt8] = [], kind: Character = "0", link: String = "") {
        (self.path, self.data, self.kind, self.link) = (path, data, kind, link)
    }

    /// The header and the data, filled to whole blocks.
    var bytes: [UInt8] {
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ value: some Sequence<UInt8>, at place: Int) {
            for (offset, byte) in value.enumerated() { header[place + offset] = byte }
        }
        func octal(_ value: Int, _ digits: Int) -> String.UTF8View {
            let text = String(value, radix: 8)
            return (String(repeating: "0", count: digits - text.count) + text).utf8
        }
        put(path.prefix(100), at: 0)
        put("0000644".utf8, at: 100)
        put(octal(data.count, 11), at: 124)
        put("        ".utf8, at: 148)
        header[156] = kind.asciiValue ?? 0x30
        put(link.utf8, at: 157)
        put("ustar\u{0}00".utf8, at: 257)
        put(octal(header.reduce(0) { $0 + Int($1) }, 6), at: 148)
        header[154] = 0
        return header + data + [UInt8](repeating: 0, count: (512 - data.count % 512) % 512)
    }

    static func pax(_ records: [(String, String)]) -> Member {
        let body = records.map { key, value -> String in
            // The length counts its own digits.
            let rest = " \(key)=\(value)\n"
            var length = rest.utf8.count
            while length != rest.utf8.count + String(length).count { length = rest.utf8.count + String(length).count }
            return "\(length)\(rest)"
        }
        return Member("pax", body.joined(), kind: "x")
    }
}

private func archive(_ members: [Member], endMark: Bool = true) -> Data {
    Data(members.flatMap(\.bytes) + [UInt8](repeating: 0, count: endMark ? 1024 : 0))
}

@Suite struct PictureInputTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func path(_ name: String) -> String { scratch.url.appending(path: name).path }

    private func list(_ names: String..., naming: PictureList.Naming = .keys) throws -> PictureList {
        try PictureList(names.map { scratch.url.appending(path: $0) }, naming: naming)
    }

    private func texts(_ list: PictureList) throws -> [String] {
        try list.entries.map { String(decoding: try list.bytes(of: $0), as: UTF8.self) }
    }

    private func problem(_ body: () throws -> Void) -> String {
        do {
            try body()
            return ""
        } catch { return "\(error)" }
    }

    // MARK: - Endings

    @Test("every ending of a picture is one in folders, in shards and in captions", arguments: PictureName.endings)
    func endings(ending: String) throws {
        try scratch.write("1", to: "in/a.\(ending)")
        try scratch.write("2", to: "in/b.\(ending.uppercased())")
        try scratch.write(archive([Member("a.\(ending)", "1"), Member("b.\(ending.uppercased())", "2")]), to: "s.tar")
        for input in ["in", "s.tar"] {
            let list = try list(input)
            #expect(list.entries.map(\.key) == ["a", "b"] && list.notes.isEmpty)
            #expect(try texts(list) == ["1", "2"])
        }
        let captions = try CaptionFile(
            contentsOf: scratch.write("a.\(ending)\t一只猫\nb.\(ending.uppercased())#zhc#0 狗\n", to: "c.tsv"))
        #expect(captions.textsByImage == ["a": ["一只猫"], "b": ["狗"]])
    }

    @Test("of a photo in two formats the first of the order is taken, and a note says so")
    func twins() throws {
        for (name, text) in [
            ("IMG_1.heic", "h"), ("IMG_1.JPG", "j"), ("a/2.png", "p"), ("a/2.jpeg", "q"), ("3.gif", "g"),
        ] {
            try scratch.write(text, to: "in/\(name)")
        }
        let folder = try list("in")
        #expect(folder.entries.map(\.key) == ["3", "IMG_1", "a/2"])
        #expect(try texts(folder) == ["g", "j", "q"])
        #expect(folder.notes.count == 1)
        let note = try #require(folder.notes.first)
        #expect(note.contains("left out 2") && note.contains("IMG_1.heic beside ") && note.contains("jpg, jpeg"))
        try scratch.write(
            archive([
                Member("IMG_1.heic", "h"), Member("x.txt", "x"), Member("./a/2.png", "p"), Member("IMG_1.JPG", "j"),
            ]),
            to: "s.tar")
        let shard = try list("s.tar")
        #expect(shard.entries.map(\.key) == ["a/2", "IMG_1"] && shard.notes.count == 1)
        #expect(try texts(shard) == ["p", "j"])
        // As a pattern of a shell names them.
        let named = try list("in/IMG_1.heic", "in/IMG_1.JPG", "in/3.gif")
        #expect(named.entries.map(\.key) == ["IMG_1", "3"] && named.notes.count == 1)
        #expect(try texts(named) == ["j", "g"])
    }

    @Test("a member that stands twice is the later one, as where the archive is unpacked")
    func appendedMembers() throws {
        try scratch.write(archive([Member("a.jpg", "old"), Member("b.jpg", "b"), Member("a.jpg", "new")]), to: "s.tar")
        let shard = try list("s.tar")
        #expect(try texts(shard) == ["b", "new"] && shard.notes.first?.contains("left out 1 ") == true)
    }

    // MARK: - Names

    @Test("keys of several inputs are unique for people, and an error where captions go by them")
    func sharedKeys() throws {
        for name in ["a/x.jpg", "b/x.jpg", "b/y.jpg", "c/z.jpg"] { try scratch.write(name, to: name) }
        #expect(problem { _ = try list("a", "b") }.contains("both have a picture x"))
        let inputs = ["a", "b", "c", "a/x.jpg", "a/x.jpg"].map { scratch.url.appending(path: $0) }
        let found = try PictureList(inputs, naming: .paths)
        #expect(
            found.entries.map(\.key) == [path("a/x"), path("b/x"), path("b/y"), "z", path("a/x.jpg")],
            "\(found.entries.map(\.key))")
        #expect(found.notes.count == 1 && found.notes[0].contains("named twice"))
        let twice = try list("a", "a", naming: .paths)
        #expect(Set(twice.entries.map(\.key)).count == 2)
    }

    @Test("an input that cannot be listed is reported, and the others are listed")
    func failures() throws {
        try scratch.write("1", to: "in/a.jpg")
        var failed: [String] = []
        let inputs = ["nowhere", "in"].map { scratch.url.appending(path: $0) }
        let found = try PictureList(inputs) { failed.append("\($0)") }
        #expect(found.entries.map(\.key) == ["a"] && failed.count == 1 && failed[0].contains("nowhere"))
    }

    private static let gbk: [UInt8] = [0xD5, 0xD5, 0xC6, 0xAC]  // 照片

    /// Writes a file of a name that `URL` cannot hold.
    private func write(_ text: String, named name: [UInt8], in folder: String) throws {
        let path = BytePath(scratch.url.appending(path: folder)).appending(name)
        let descriptor = creat(path.cString, 0o600)
        try #require(descriptor >= 0)
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try file.write(contentsOf: Data(text.utf8))
    }

    @Test("names that are not UTF-8, or hold a line feed, are listed, read and printed in one line")
    func names() throws {
        try scratch.write("u", to: "in/照片.jpg")
        try write("g", named: Self.gbk + Array(".jpg".utf8), in: "in")
        try write("l", named: Array("a\nb\tc\\d.jpg".utf8), in: "in")
        try write("c", named: Array("e\u{9B}31m.png".utf8), in: "in")
        try scratch.write("s", to: "in/p\\q.jpg")
        let found = try list("in")
        let keys: Set<String> = ["照片", #"\xD5\xD5\xC6\xAC"#, #"a\x0Ab\x09c\\d"#, #"e\xC2\x9B31m"#, #"p\q"#]
        #expect(Set(found.entries.map(\.key)) == keys && found.notes.isEmpty)
        for (entry, text) in zip(found.entries, try texts(found)) {
            #expect(["照片": "u", #"\xD5\xD5\xC6\xAC"#: "g", #"p\q"#: "s"][entry.key] ?? text == text)
            #expect(!entry.path.contains("\n") && entry.path.hasPrefix(path("in")))
        }
        // The same names in a shard.
        try scratch.write(
            archive([Member(Self.gbk + Array("/1.jpg".utf8), [0x31]), Member(Array("a\nb.jpg".utf8), [0x32])]),
            to: "s.tar")
        let shard = try list("s.tar")
        #expect(shard.entries.map(\.key) == [#"\xD5\xD5\xC6\xAC/1"#, #"a\x0Ab"#])
        #expect(shard.entries[0].folder == #"\xD5\xD5\xC6\xAC"#)
        // And in captions: the key is the list's, and stays it when it is read again.
        #expect(PictureName.key(of: "a\nb.jpg") == #"a\x0Ab"# && PictureName.key(of: #"a\x0Ab"#) == #"a\x0Ab"#)
    }

    @Test("a name that is not UTF-8 is found by what becomes of it on the command line")
    func argumentsThatAreNotUTF8() throws {
        try FileManager.default.createDirectory(
            at: scratch.url.appending(path: "in"), withIntermediateDirectories: true)
        let names: [[UInt8]] = [[0xD5, 0xD5], [0xB7, 0xD5]].map { $0 + Array(".jpg".utf8) }  // 照, 氛
        for (index, name) in names.enumerated() { try write("\(index)", named: name, in: "in") }
        let arguments = names.map { "in/" + String(decoding: $0, as: UTF8.self) }
        // Two arguments of a shell's pattern look alike then; each file comes once.
        try #require(arguments[0] == "in/\u{FFFD}\u{FFFD}.jpg" && arguments[1] == arguments[0])
        let found = try list(arguments[0], arguments[1])
        #expect(try texts(found) == ["1", "0"])
        #expect(problem { _ = try list("in/\u{FFFD}.png") }.contains("no such file"))
        // The folder itself.
        let folder = BytePath(scratch.url).appending(Self.gbk)
        try #require(mkdir(folder.cString, 0o700) == 0)
        try Data("3".utf8).write(to: scratch.url.appending(path: "x.png"))
        let target = folder.appending(Array("x.png".utf8))
        try #require(rename(path("x.png"), target.cString) == 0)
        let inside = try list(String(decoding: Self.gbk, as: UTF8.self))
        #expect(try inside.entries.map(\.key) == ["x"] && texts(inside) == ["3"])
    }

    @Test("no name becomes the text of another, and no text has a control character")
    func textsOfNamesAreUnique() {
        var seen: [String: [UInt8]] = [:]
        let alphabet: [UInt8] = [0x0A, 0x41, 0x5C, 0x78, 0x80, 0xC2, 0xE4, 0xFF]
        for length in 1...4 {
            for number in 0..<Int(pow(8, Double(length))) {
                let name = (0..<length).map { alphabet[number >> (3 * $0) & 7] }
                let text = PictureName.text(name)
                #expect(!text.unicodeScalars.contains { $0.properties.generalCategory == .control })
                #expect(seen.updateValue(name, forKey: text) == nil, "\(name)")
            }
        }
    }

    // MARK: - Links

    @Test("links are followed, each folder once, and circles end")
    func links() throws {
        for name in ["real/b/1.jpg", "real/2.jpg", "elsewhere/3.jpg", "elsewhere/deep/4.jpg"] {
            try scratch.write(name, to: name)
        }
        func link(_ name: String, to target: String) throws {
            try FileManager.default.createSymbolicLink(atPath: path(name), withDestinationPath: target)
        }
        try link("album", to: "real")
        try link("real/a", to: "b")  // to a neighbour, which keeps its name
        try link("real/b/up", to: "..")
        try link("real/more", to: path("elsewhere"))
        try link("elsewhere/deep/round", to: path("real"))
        try link("real/5.jpg", to: "2.jpg")
        try link("real/gone.jpg", to: "nothing.jpg")
        try link("real/loop.jpg", to: "loop.jpg")
        for input in ["real", "album"] {
            let found = try list(input)
            #expect(
                found.entries.map(\.key) == ["2", "5", "b/1", "more/3", "more/deep/4"], "\(found.entries.map(\.key))")
            #expect(found.notes.count == 1 && found.notes[0].contains("left out 2 that are no regular files"))
        }
        try link("circle", to: "circle")
        #expect(problem { _ = try list("circle") }.contains("circle"))
    }

    @Test("folders that cannot be read are named", .enabled(if: getuid() != 0, "root reads everything"))
    func foldersWithoutPermission() throws {
        try scratch.write("1", to: "in/a.jpg")
        try scratch.write("2", to: "in/closed/b.jpg")
        chmod(path("in/closed"), 0)
        defer { chmod(path("in/closed"), 0o700) }
        let found = try list("in")
        #expect(found.entries.map(\.key) == ["a"] && found.notes.first?.contains("Permission denied") == true)
        #expect(problem { _ = try list("in/closed") }.contains("Permission denied"))
    }

    // MARK: - Archives

    @Test("an archive without an end mark is read where its members are whole")
    func endMarks() throws {
        let members = [Member("a.jpg", "1234"), Member("b.jpg", String(repeating: "5", count: 600))]
        let whole = archive(members, endMark: false)
        func notes(_ data: Data) throws -> [String] {
            let found = try TarShard(contentsOf: scratch.write(data, to: "s.tar"))
            #expect(found.entries.map(\.key) == ["a", "b"])
            #expect(try found.bytes(of: found.entries[1]).count == 600)
            return found.notes
        }
        #expect(try notes(archive(members)).isEmpty)
        #expect(try notes(whole).first?.contains("has no end mark") == true)
        // Without what fills the last block, or with half of the mark.
        #expect(try notes(whole.dropLast(400)).first?.contains("has no end mark") == true)
        #expect(try notes(whole + Data(count: 512)).isEmpty)
        #expect(try notes(archive(members) + archive([Member("c.jpg", "3")])).first?.contains("end mark") == true)
        for length in [whole.count - 600, whole.count - 1024 - 100] {
            let cut = try scratch.write(whole.prefix(length), to: "cut.tar")
            #expect(problem { _ = try TarShard(contentsOf: cut) }.contains("download the archive again"))
        }
    }

    @Test("packed archives are unpacked, whatever their names", arguments: ["gzip", "xz", "bzip2"])
    func packedArchives(program: String) throws {
        let data = archive((0..<300).map { Member("k/\($0).jpg", String(repeating: "\($0)", count: $0)) })
        let plain = try scratch.write(data, to: "s")
        func pack(_ url: URL) throws {
            let process = Process()
            process.executableURL = URL(filePath: "/usr/bin/env")
            process.arguments = [program, "-k", "--suffix=.packed", url.path]
            if program == "bzip2" {
                process.arguments = ["bash", "-c", "bzip2 -k < '\(url.path)' > '\(url.path).packed'"]
            }
            try process.run()
            process.waitUntilExit()
            try #require(process.terminationStatus == 0)
        }
        try pack(plain)
        let packed = scratch.url.appending(path: "s.packed")
        let before = try FileManager.default.contentsOfDirectory(atPath: FileManager.default.temporaryDirectory.path)
        let shard = try TarShard(contentsOf: packed)
        #expect(shard.entries.count == 300 && shard.notes.isEmpty)
        for entry in shard.entries.reversed() {
            let number = try #require(Int(entry.key.dropFirst(2)))
            #expect(try shard.bytes(of: entry) == Data(String(repeating: "\(number)", count: number).utf8))
        }
        let after = try FileManager.default.contentsOfDirectory(atPath: FileManager.default.temporaryDirectory.path)
        #expect(!Set(after).subtracting(before).contains { $0.hasPrefix("tihua-") && !$0.hasPrefix("tihua-cli") })
        #expect(
            problem { _ = try TarShard(contentsOf: packed, maximumUnpackedSize: 100_000) }.contains(
                "more than 100000 bytes"))
        let cut = try scratch.write(Data(contentsOf: packed).dropLast(200), to: "cut.tgz")
        #expect(problem { _ = try TarShard(contentsOf: cut) }.contains("cannot unpack it"))
        let text = try scratch.write("一行文字\n", to: "t")
        try pack(text)
        #expect(
            problem { _ = try TarShard(contentsOf: scratch.url.appending(path: "t.packed")) }.contains(
                "a text file, not"))
    }

    @Test("long names, sizes and links of pax and GNU are read")
    func extensions() throws {
        let long = String(repeating: "长", count: 60) + "/x.jpg"
        var sized = Member("b.jpg", "12345")
        sized.data = Array("12345".utf8)
        var binary = Member("big.jpg", "123").bytes
        // The size in base 256, and the sum anew.
        for index in 124..<136 { binary[index] = 0 }
        (binary[124], binary[135]) = (0x80, 3)
        for index in 148..<156 { binary[index] = 0x20 }
        let sum = String(binary.prefix(512).reduce(0) { $0 + Int($1) }, radix: 8)
        for (index, byte) in (String(repeating: "0", count: 6 - sum.count) + sum).utf8.enumerated() {
            binary[148 + index] = byte
        }
        binary[154] = 0
        let members: [[UInt8]] = [
            Member("././@LongLink", long + "\u{0}", kind: "L").bytes, Member(String(long.prefix(30)), "1").bytes,
            Member.pax([("path", "pax/名.png"), ("mtime", "1.5")]).bytes, Member("short", "22").bytes, sized.bytes,
            Member("copy.jpg", kind: "1", link: "b.jpg").bytes, Member("soft.jpg", kind: "2", link: "b.jpg").bytes,
            binary,
            Member("c.jpg", "7", kind: "7").bytes, Member("folder.jpg", kind: "5").bytes,
        ]
        let found = try TarShard(
            contentsOf: scratch.write(Data(members.flatMap { $0 }) + Data(count: 1024), to: "s.tar"))
        #expect(
            found.entries.map(\.key) == [String(long.dropLast(4)), "pax/名", "b", "copy", "big", "c"],
            "\(found.entries.map(\.key))")
        #expect(found.entries.map(\.size) == [1, 2, 5, 5, 3, 1])
        #expect(try found.bytes(of: found.entries[3]) == Data("12345".utf8))
        #expect(found.notes.count == 1 && found.notes[0].contains("left out 1 that are links"))
    }

    @Test("what is no archive is called what it is, and nobody is told to download it again")
    func otherFiles() throws {
        let cases: [(Data, String)] = [
            (Data("a.jpg\t一只猫\n".utf8), "a text file"), (Data("short".utf8), "a text file"), (Data(), "an empty file"),
            (Data([0xB9, 0xB7, 0x0D, 0x0A]), "a text file"), (Data("PK\u{3}\u{4}\u{14}".utf8), "a zip archive"),
            (Data([0xFF, 0xD8, 0xFF, 0xE0, 0, 0x10]), "a picture by its contents"),
            (Data([0, 0, 0, 0x1C] + Array("ftypavif".utf8)), "a picture by its contents"),
            (Data((0..<2000).map { UInt8(truncatingIfNeeded: $0 &* 37) }), "of another kind"),
        ]
        for (data, kind) in cases {
            let message = problem { _ = try list(try scratch.write(data, to: "x").lastPathComponent) }
            #expect(message.contains(": \(kind)") && message.contains("not a tar archive"), "\(message)")
            #expect(!message.contains("download") && !message.contains("\n"))
        }
        try #require(mkfifo(path("pipe"), 0o600) == 0)
        #expect(problem { _ = try list("pipe") }.contains("not a regular file"))
        #expect(
            problem { _ = try CaptionFile(contentsOf: scratch.url.appending(path: "pipe")) }.contains("regular file"))
    }
}
