import Foundation
import Testing
import TihuaPackSupport

/// Files, folders and archives as every command takes them.
@Suite struct PictureInputTests {
    private struct Line: Decodable {
        let picture: String?
        let text: String?
        let embedding: [Float]?
    }

    private func lines(_ run: Run) throws -> [Line] {
        try run.output.split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    }

    /// A pack with folders `a` and `b` of one picture x each, `a` with a y too, a shard of `a`, and a damaged picture
    /// in `b`.
    private func scene() throws -> (pack: TinyPack, path: (String) -> String) {
        let pack = try TinyPack()
        try pack.addCaptioner()
        for (index, name) in ["a/x.png", "a/y.png", "b/x.png"].enumerated() {
            let folder = pack.folder.appending(path: name).deletingLastPathComponent()
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try pack.picture(name, red: UInt8(90 * index))
        }
        try Data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]).write(to: pack.folder.appending(path: "b/cut.png"))
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["tar", "--sort=name", "-cf", "a.tar", "-C", "a", "."]
        process.currentDirectoryURL = pack.folder
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        return (pack, { pack.folder.appending(path: $0).path })
    }

    private static let commands = [
        ["caption", "--decode", "greedy", "--max-length", "10"], ["keywords"], ["embed"],
        ["poem", "--n", "1", "--candidates", "2", "--form", "五绝"],
    ]

    @Test(arguments: commands)
    func keysAreUniqueAndABadPictureLeavesTheOthers(command: [String]) throws {
        let (pack, path) = try scene()
        let options = command + ["--json", "--pack", pack.folder.path, "--threads", "1", "--device", "cpu"]
        let whole = try Run(options + [path("a")])
        #expect(whole.status == 0, "\(whole.errors)")
        #expect(try lines(whole).map(\.picture) == ["x", "y"])
        let shard = try Run(options + [path("a.tar"), path("a/x.png")])
        #expect(try lines(shard).map(\.picture) == ["x", "y", path("a/x.png")], "\(shard.errors)")

        let both = try Run(options + [path("a"), path("b")])
        #expect(both.status == 1 && both.isOneLine && both.errors.contains("cut"), "\(both.errors)")
        #expect(try lines(both).map(\.picture) == ["a/x", "a/y", "b/x"].map(path))
        let twice = try Run(options + [path("a/x.png"), path("a/x.png"), "/nowhere"])
        #expect(twice.status == 1 && twice.errors.contains("/nowhere"), "\(twice.errors)")
        #expect(try lines(twice).map(\.picture) == [path("a/x.png")])
        // What has no ending, or another one, is a picture all the same.
        for name in ["photo", "photo.bin"] {
            try FileManager.default.copyItem(atPath: path("a/x.png"), toPath: path(name))
            let run = try Run(options + [path(name)])
            #expect(run.status == 0, "\(run.errors)")
            #expect(try lines(run).map(\.picture) == [path(name)])
        }
        let none = try Run(options + ["/nowhere"])
        #expect(none.status == 1 && none.isOneLine && none.output.isEmpty, "\(none.errors)")
    }

    @Test func captionsOfTwoPicturesAreNotMeasuredAsOne() throws {
        let (pack, path) = try scene()
        let references = path("references.tsv")
        try "x\t一只狗\ny\t孩子\n".write(toFile: references, atomically: true, encoding: .utf8)
        let captions = path("captions.tsv")
        try "a/x\t一只狗\na/y\t孩子\nb/x\t两个孩子\n".write(toFile: captions, atomically: true, encoding: .utf8)
        let run = try Run(["eval", "caption", "--references", references, "--captions", captions])
        #expect(run.status == 1 && run.isOneLine && run.output.isEmpty, "\(run.errors)")
        #expect(run.errors.contains("a/x and b/x would both be") && run.errors.contains("captions.tsv"))
        try "a/x\t一只狗\na/y\t孩子\n".write(toFile: captions, atomically: true, encoding: .utf8)
        #expect(try Run(["eval", "caption", "--references", references, "--captions", captions]).status == 0)
        _ = pack
    }

    /// One way to the model for all commands: the pack's, or `--clip`.
    @Test func embedTakesThePacksModelAndFoldersAmongTexts() throws {
        let (pack, path) = try scene()
        let place = ["--threads", "1", "--device", "cpu"]
        let run = try Run(
            ["embed", path("b/x.png"), "--text", "明", "--image", path("a"), "--text=月", "--json", "--pack"]
                + [pack.folder.path] + place)
        #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        let found = try lines(run)
        #expect(found.map { $0.picture ?? $0.text } == [path("b/x.png"), "明", "x", "y", "月"])
        for options in [["--clip", pack.clip.path], ["--model", pack.clip.path]] {
            #expect(
                try lines(Run(["embed", "--text", "明", "--json"] + options + place))[0].embedding == found[1].embedding)
        }
        let plain = try Run(["embed", path("a"), "--pack", pack.folder.path] + place)
        #expect(plain.output.split(separator: "\n").map { $0.prefix(2) } == ["x\t", "y\t"])
        let quiet = try Run(["embed", path("a"), "--quiet", "--pack", pack.folder.path] + place)
        #expect(!quiet.output.contains("\t") && quiet.output.split(separator: "\n").count == 2)
        let both = try Run(["embed", "--text", "明", "--model", pack.clip.path, "--pack", pack.folder.path])
        #expect(both.status == 2 && both.isOneLine, "\(both.errors)")
    }

    /// Neither by its own path nor by a link.
    @Test func noCommandWritesOverAnInput() throws {
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let (file, link) = (folder.appending(path: "input.tsv").path, folder.appending(path: "link.tsv").path)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: file)
        let text = "明月\t天象\n"
        for arguments in [
            ["data", "captions", file, "--out", link], ["data", "poems", file, "--out", file],
            ["data", "poems", file, "--out", "x", "--report", link], ["data", "lines", file, "--out", link],
            ["data", "words", file, "--words", "x", "--out", link],
            ["data", "words", "x", "--words", file, "--out", link],
            ["data", "stock", "--corpus", "x", "--words", file, "--out", link],
            ["data", "labels", "--shard", "x,labels=\(file)", "--out", link],
            ["lm", "--model", folder.path, "--ids", "1", "--logits", link],
        ] {
            try text.write(toFile: file, atomically: true, encoding: .utf8)
            let run = try Run(arguments)
            #expect(
                run.status == 2 && run.isOneLine && run.errors.contains("is an input"), "\(arguments): \(run.errors)")
            #expect(try String(contentsOfFile: file, encoding: .utf8) == text)
        }
    }

    /// Unset variables of scripts.
    @Test(arguments: [
        ["poem", "x.png", "--theme", ""], ["poem", "x.png", "--theme="], ["poem", "x.png", "--theme", " "],
        ["poem", "x.png", "--rhyme", ""], ["poem", "x.png", "--pack", ""], ["poem", "x.png", "--clip="],
        ["poem", "x.png", "--keywords", "，"], ["poem", "x.png", "--form", ","], ["poem", "x.png", "--acrostic", "、"],
        ["poem", "x.png", "--render", ""], ["poem", "x.png", "--title", "　"], ["caption", "x.png", "--prompt", ""],
        ["caption", "x.png", "--style", ""], ["keywords", "x.png", "--bank", ""], ["embed", "--image", ""],
        ["data", "poems", "x", "--out", ""], ["train", "poet", "--out", "x", "--corpus", ""],
        ["check", "--form", "", "山"],
    ])
    func anEmptyValueIsRefused(_ arguments: [String]) throws {
        let run = try Run(arguments)
        #expect(run.status == 2 && run.isOneLine && run.output.isEmpty, "\(arguments): \(run.errors)")
        let option = arguments.last { $0.hasPrefix("--") }?.split(separator: "=").first ?? ""
        #expect(run.errors.contains(option), "\(run.errors)")
    }
}
