import Foundation
import Testing
import TihuaFiles

@Suite struct UserFileTests {
    @Test func whatCouldBlockOrNeverEndIsRefusedAtOnce() throws {
        try withTemporaryFolder { folder in
            let pipe = folder.appending(path: "pipe")
            #expect(mkfifo(pipe.path, 0o600) == 0)
            let irregular = [(pipe.path, "a pipe"), (folder.path, "a folder"), ("/dev/zero", "a device")]
            for (path, what) in irregular {
                let expected = FileError.notAFile(path: path, what: what)
                #expect(throws: expected) { try UserFile.bytes(of: URL(filePath: path, directoryHint: .notDirectory)) }
                #expect(throws: expected) { try UserFile.text(of: URL(filePath: path, directoryHint: .notDirectory)) }
                #expect(throws: expected) { try UserFile.open(URL(filePath: path, directoryHint: .notDirectory)) }
            }
            let dangling = folder.appending(path: "dangling")
            try FileManager.default.createSymbolicLink(atPath: dangling.path, withDestinationPath: "nothing")
            #expect(throws: FileError.notAFile(path: dangling.path, what: "a link to nothing")) {
                try UserFile.bytes(of: dangling)
            }
            let missing = folder.appending(path: "none")
            #expect(throws: FileError.missing(path: missing.path)) { try UserFile.bytes(of: missing) }
        }
    }

    @Test func aLimitBoundsWhatIsRead() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a")
            try Data(repeating: 65, count: 100).write(to: url)
            #expect(try UserFile.bytes(of: url, limit: 100).count == 100)
            #expect(throws: FileError.tooLarge(path: url.path, bytes: 100, limit: 99)) {
                try UserFile.bytes(of: url, limit: 99)
            }
            // It says that it has no bytes, and has many.
            #expect(throws: FileError.self) { try UserFile.bytes(of: URL(filePath: "/proc/self/maps"), limit: 10) }
        }
    }

    @Test func textIsStrictAndLosesItsMark() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.txt")
            try Data([0xEF, 0xBB, 0xBF] + Array("题画\n".utf8)).write(to: url)
            #expect(try UserFile.text(of: url) == "题画\n")
            try Data(Array("一\n二\n".utf8) + [0xC9, 0xCF, 0x0A]).write(to: url)
            #expect(throws: FileError.notUTF8(path: url.path, line: 3)) { try UserFile.text(of: url) }
            try Data().write(to: url)
            #expect(try UserFile.text(of: url).isEmpty)
        }
    }
}

@Suite struct PrintableTests {
    @Test(arguments: [
        ("\u{1B}[2J", "\\u{1B}[2J"), ("a\u{7}b", "a\\u{07}b"), ("a\nb", "a\\nb"), ("\u{9B}31m", "\\u{009B}31m"),
        ("\u{7F}", "\\u{7F}"), ("\u{202E}txt.exe", "\\u{202E}txt.exe"), ("\u{2028}", "\\u{2028}"),
        ("\u{E0041}", "\\u{000E0041}"), ("\u{FEFF}a", "\\u{FEFF}a"), ("\u{AD}", "\\u{00AD}"),
    ])
    func `what could steer a terminal is escaped`(_ text: String, _ shown: String) {
        #expect(printable(text).uppercased() == shown.uppercased())
    }

    @Test(arguments: ["题画：平仄", "a b.jpg", "👨‍👩‍👧", "é", "\u{A0}", "🎞️", "ﷺ", ""])
    func `other text stays as it is`(_ text: String) { #expect(printable(text) == text) }

    /// The quick look at bytes must let no scalar pass that the slow one escapes.
    @Test func `no scalar slips through`() {
        for value in UInt32(0)...0x10FFFF {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let shown = printable(String(Character(scalar)))
            let isHarmful =
                switch scalar.properties.generalCategory {
                case .control, .lineSeparator, .paragraphSeparator: true
                case .format: value != 0x200C && value != 0x200D
                default: false
                }
            if isHarmful != shown.hasPrefix("\\") && value != 0x5C { Issue.record("U+\(String(value, radix: 16))") }
        }
    }

    @Test func `escaped JSON says the same`() throws {
        let text = "a\u{9B}b\u{202E}\u{2028}\u{E0041}\u{7F}题"
        let json = String(decoding: try JSONEncoder().encode([text]), as: UTF8.self)
        let shown = printableJSON(json)
        #expect(printable(shown) == shown)
        #expect(try JSONDecoder().decode([String].self, from: Data(shown.utf8)) == [text])
    }

    @Test func `line feeds and tabs of a table stay`() {
        #expect(printableLines("a\tb\n\u{1B}c\n") == "a\tb\n\\u{1B}c\n")
        #expect(printableLines("a\r\nb") == "a\\r\nb")
    }
}
