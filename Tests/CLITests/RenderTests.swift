import Foundation
import Testing
import TihuaPackSupport

/// `tihua poem --render`: what is written, and what must stay.
@Suite struct RenderTests {
    private let pack: TinyPack

    init() throws { pack = try TinyPack() }

    private func path(_ name: String) -> String { pack.folder.appending(path: name).path }

    private func picture(_ name: String, red: UInt8 = 200) throws -> String {
        let url = pack.folder.appending(path: name)
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        return try pack.picture(name, red: red).path
    }

    private func bytes(_ path: String) throws -> Data { try Data(contentsOf: URL(filePath: path)) }

    private func names(_ folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path(folder)).sorted()
    }

    private func render(_ arguments: [String], to target: String, _ more: String...) throws -> Run {
        try Run(
            ["poem"] + arguments + ["--render", target, "--pack", pack.folder.path, "--n", "1", "--form", "五绝"]
                + ["--candidates", "2", "--seed", "1", "--threads", "1", "--device", "cpu"] + more,
            environment: ["TIHUA_CACHE": path("cache")])
    }

    @Test func picturesOfOneNameGetFilesOfTheirOwn() throws {
        let inputs = try [picture("a/x.png", red: 10), picture("b/x.png"), picture("b/X.png", red: 90)]
        try FileManager.default.createDirectory(atPath: path("out"), withIntermediateDirectories: true)
        try Data("old".utf8).write(to: URL(filePath: path("out/x.png")))
        let run = try render(inputs, to: path("out"))
        #expect(run.status == 0, "\(run.errors)")
        // Some file systems hold x and X for one; what else is in the folder is replaced.
        let written = try names("out")
        #expect(written.count == 3 && written.allSatisfy { $0.lowercased().hasPrefix("x") }, "\(written)")
        #expect(try Set(names("out").map { try bytes(path("out/\($0)")) }).count == 3)
        #expect(try bytes(path("out/x.png")) != Data("old".utf8))
        #expect(run.errors.split(separator: "\n").count == 3 && run.errors.contains("out/x-2.png"))
    }

    @Test func originalsAndWhatLiesBesideThemStay() throws {
        let inputs = try [picture("album/x.png", red: 10), picture("album/deep/x.png")]
        let other = try picture("album/y.png", red: 77)
        let old = try (inputs + [other]).map(bytes)
        let run = try render(inputs, to: path("album"), "--json")
        #expect(run.status == 0, "\(run.errors)")
        #expect(try (inputs + [other]).map(bytes) == old)
        #expect(try names("album") == ["deep", "x-2.png", "x-3.png", "x.png", "y.png"])
        // By a link to the folder, and for pictures that are named by links.
        try FileManager.default.createSymbolicLink(atPath: path("link"), withDestinationPath: path("album"))
        try FileManager.default.createSymbolicLink(atPath: path("y.png"), withDestinationPath: other)
        let linked = try render([path("y.png"), inputs[0]], to: path("link"))
        #expect(linked.status == 0, "\(linked.errors)")
        #expect(try (inputs + [other]).map(bytes) == old)
        #expect(try names("album").contains("y-2.png"))
    }

    @Test func linksInTheFolderAreNotFollowed() throws {
        let inputs = try [picture("a/x.png", red: 10), picture("b/y.png")]
        let other = try picture("c/z.png", red: 77)
        let old = try bytes(other)
        try FileManager.default.createDirectory(atPath: path("out"), withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(atPath: path("out/x.png"), withDestinationPath: other)
        try FileManager.default.linkItem(atPath: inputs[1], toPath: path("out/y.png"))
        let run = try render(inputs, to: path("out"))
        #expect(run.status == 0, "\(run.errors)")
        #expect(try bytes(other) == old)
        #expect(try names("out") == ["x-2.png", "x.png", "y-2.png", "y.png"])
    }

    @Test func aPictureIsNeverItsOwnOutput() throws {
        let picture = try picture("photo.png")
        let old = try bytes(picture)
        try FileManager.default.createSymbolicLink(atPath: path("soft.png"), withDestinationPath: picture)
        try FileManager.default.linkItem(atPath: picture, toPath: path("hard.png"))
        for target in [picture, path("soft.png"), path("hard.png"), path("cache/../photo.png")] {
            try FileManager.default.createDirectory(atPath: path("cache"), withIntermediateDirectories: true)
            let run = try render([picture], to: target)
            #expect(run.status == 2 && run.isOneLine && run.output.isEmpty, "\(target): \(run.errors)")
            #expect(run.errors.contains("is an input"), "\(run.errors)")
        }
        let together = try render([try self.picture("b.png"), picture], to: picture, "--together")
        #expect(together.status == 2 && together.output.isEmpty)
        #expect(try bytes(picture) == old)
        // The measurements of keywords are outputs too.
        for option in ["--write-calibration", "--write-bank-cache"] {
            let run = try Run(["keywords", picture, option, path("soft.png"), "--pack", pack.folder.path])
            #expect(run.status == 2 && run.isOneLine && run.errors.contains(option), "\(run.errors)")
        }
        #expect(try bytes(picture) == old)
    }

    @Test func oneFileForSeveralPicturesIsRefusedBeforeTheWork() throws {
        let inputs = try [picture("a.png"), picture("b.png")]
        try Data().write(to: URL(filePath: path("file")))
        for target in ["poem.png", "file"] {
            let run = try render(inputs, to: path(target))
            #expect(run.status == 2 && run.isOneLine && run.output.isEmpty, "\(run.errors)")
            #expect(run.errors.contains("several pictures need a folder"), "\(run.errors)")
        }
        #expect(!FileManager.default.fileExists(atPath: path("poem.png")))
        // A folder that cannot be made, and one for a file that is not there.
        for target in ["file/out", "nowhere/poem.png"] {
            let run = try render(target.hasSuffix("png") ? [inputs[0]] : inputs, to: path(target))
            #expect(run.status == 1 && run.isOneLine && run.output.isEmpty, "\(run.errors)")
        }
    }

    @Test func aFolderTakesOnePictureTooAndPicturesOfFolders() throws {
        let one = try picture("one/a.png")
        try FileManager.default.createDirectory(atPath: path("out"), withIntermediateDirectories: true)
        #expect(try render([one], to: path("out")).status == 0)
        #expect(try names("out") == ["a.png"])
        _ = try picture("one/deep/b.c.png")
        let run = try render([path("one")], to: path("more"))
        #expect(run.status == 0, "\(run.errors)")
        #expect(try names("more") == ["a.png", "b.c.png"])
        #expect(run.output.contains("\ndeep/b.c\n"), "\(run.output)")
    }

    @Test func picturesTogetherSayWhichOneIsMeant() throws {
        try pack.addCaptioner()
        let inputs = try [picture("a.png", red: 10), picture("b.png")]
        let run = try render(["/nowhere.png"] + inputs, to: path("poem.png"), "--together")
        // One that is not there leaves the others.
        #expect(run.status == 1 && run.errors.contains("/nowhere.png"), "\(run.errors)")
        #expect(run.output.hasPrefix(inputs.joined(separator: " ") + "\n") && run.output.contains("（第一幅）"))
        #expect(FileManager.default.fileExists(atPath: path("poem.png")), "\(run.errors)")
    }
}
