import Foundation
import Testing
import TihuaPackSupport
import TihuaTestSupport

/// What is printed arrives, or the exit status says that it did not; what is written replaces nothing that must stay.
@Suite struct OutputTests {
    /// Every command that prints a result and needs little for it.
    private static let commands: [[String]] = [
        ["poem", "PICTURE", "--pack", "PACK", "--form", "五绝", "--n", "1"],
        ["poem", "PICTURE", "--pack", "PACK", "--form", "五绝", "--n", "1", "--json"],
        ["keywords", "PICTURE", "--pack", "PACK"], ["keywords", "PICTURE", "--pack", "PACK", "--json"],
        ["caption", "PICTURE", "--quiet"], ["caption", "PICTURE", "--json"],
        ["embed", "--model", "PACK/clip", "--text", "山"], ["check", "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"],
        ["models", "inspect", "PACK/poet"], ["lm", "--model", "PACK/poet", "--ids", "0,7,11"], ["doctor"],
        ["--help"], ["help", "poem"], ["--version"], ["--generate-completion-script", "bash"],
    ]

    /// Runs the tool in a shell, with what the shell puts behind the command.
    private func run(_ arguments: [String], _ redirection: String) throws -> Run {
        try Run(arguments, shell: redirection)
    }

    @Test(arguments: ["> /dev/full", ">&-"])
    func whatCannotBePrintedIsOneLineAndStatusOne(redirection: String) throws {
        let pack = try TinyPack()
        let picture = try pack.picture()
        for command in Self.commands {
            let arguments = command.map {
                $0 == "PICTURE" ? picture.path : $0.replacing("PACK", with: pack.folder.path)
            }
            let run = try run(arguments, redirection)
            #expect(run.status == 1 && run.isOneLine, "\(command) \(redirection): \(run.status) \(run.errors)")
            #expect(run.errors.contains("standard output"), "\(command): \(run.errors)")
        }
    }

    @Test func closedStreamsAreNotTakenForFilesThatAreWritten() throws {
        let pack = try TinyPack()
        let logits = pack.folder.appending(path: "logits.safetensors")
        let arguments = ["lm", "--model", pack.poet.path, "--ids", "0,7,11", "--logits", logits.path]
        let whole = try Run(arguments)
        #expect(whole.status == 0)
        let bytes = try Data(contentsOf: logits)
        for redirection in [">&- 2>&-", "<&- >&- 2>&-"] {
            #expect(try run(arguments, redirection).status == 1)
            #expect(try Data(contentsOf: logits) == bytes)
        }
    }

    @Test(arguments: [
        "\u{1B}]0;owned\u{7}", "\u{1B}[2J", "a\u{9B}31mb", "two\nlines", "\u{202E}gnp",
    ])
    func foreignTextCannotSteerTheTerminal(text: String) throws {
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        // A tensor of that name in a file of that name, an architecture of that name, and an argument that is no file.
        let url = folder.appending(path: "w\(text).safetensors")
        let name = String(decoding: try JSONEncoder().encode("t\(text)"), as: UTF8.self)
        let header = Array("{\(name):{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}".utf8)
        try Data(withUnsafeBytes(of: UInt64(header.count).littleEndian, Array.init) + header + [0]).write(to: url)
        let model = folder.appending(path: "model")
        try FileManager.default.createDirectory(at: model, withIntermediateDirectories: true)
        try Data(contentsOf: url).write(to: model.appending(path: "model.safetensors"))
        try JSONEncoder().encode(["model_type": text]).write(to: model.appending(path: "config.json"))
        let commands = [
            ["models", "inspect", url.path], ["models", "inspect", "--json", url.path],
            ["models", "inspect", model.path], ["keywords", folder.path + "/\(text).png"],
            ["poem", "--form", text, "x"],
            ["check", "白日\(text)"], ["caption", text],
            ["train", "poet", "--corpus", text, "--out", folder.path + "/o"],
            [text],
        ]
        for arguments in commands {
            let run = try Run(arguments)
            for stream in [run.output, run.errors] {
                let bad = stream.unicodeScalars.first {
                    switch $0.properties.generalCategory {
                    case .control: $0 != "\n" && $0 != "\t"
                    case .lineSeparator, .paragraphSeparator, .format: true
                    default: false
                    }
                }
                #expect(bad == nil, "\(arguments.prefix(2)): \(stream.debugDescription)")
            }
            if run.status != 0 && run.output.isEmpty { #expect(run.isOneLine, "\(arguments.prefix(2)): \(run.errors)") }
        }
    }

    @Test func decodersOfDamagedPicturesAddNoLinesOfTheirOwn() throws {
        let pack = try TinyPack()
        var pictures: [String] = []
        for name in ["quarters.avif", "quarters.heic", "quarters.tif", "quarters.webp", "quarters.jpg", "quarters.png"]
        {
            let whole = [UInt8](try Data(contentsOf: fixture("Pictures/\(name)")))
            for number in 0..<8 {
                var bytes = whole
                // Behind the header, where the pixels are.
                for place in 0...number {
                    let index = whole.count * 2 / 3 + (place * 7919 + number * 104_729) % (whole.count / 3)
                    bytes[index] ^= UInt8(truncatingIfNeeded: 1 << (place % 8))
                }
                let url = pack.folder.appending(path: "\(number).\(name)")
                try Data(bytes).write(to: url)
                pictures.append(url.path)
            }
        }
        let run = try Run(["keywords", "--pack", pack.folder.path] + pictures)
        #expect(run.status == 1)
        let lines = run.errors.split(separator: "\n")
        #expect(lines.count >= 8 && lines.allSatisfy { $0.hasPrefix("Error: ") }, "\(run.errors)")
    }

    @Test func outputsFollowLinksKeepModesAndWriteStraightToPipes() throws {
        let pack = try TinyPack()
        let folder = pack.folder
        let text = folder.appending(path: "words.txt")
        try Data("明月\n青山\n".utf8).write(to: text)
        func lines(_ out: String) -> [String] { ["lm", "--model", pack.poet.path, "--ids", "0,7,11", "--logits", out] }

        let target = folder.appending(path: "target")
        try Data("old".utf8).write(to: target)
        #expect(chmod(target.path, 0o600) == 0)
        let link = folder.appending(path: "link")
        try FileManager.default.createSymbolicLink(atPath: link.path, withDestinationPath: "target")
        let run = try Run(lines(link.path))
        #expect(run.status == 0, "\(run.errors)")
        var status = stat()
        #expect(lstat(link.path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
        #expect(stat(target.path, &status) == 0 && status.st_mode & 0o777 == 0o600 && status.st_size > 100)

        // As `--logits >(consumer)`: the bytes arrive, and the pipe stays one.
        let pipe = folder.appending(path: "pipe")
        let copy = folder.appending(path: "copy")
        #expect(mkfifo(pipe.path, 0o600) == 0)
        #expect(try Run(lines(pipe.path), shell: "& cat '\(pipe.path)' > '\(copy.path)'; wait").status >= 0)
        #expect(try Data(contentsOf: copy) == Data(contentsOf: target))
        #expect(lstat(pipe.path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO)
    }

    @Test func pipesInThePlaceOfFilesAreRefusedAtOnce() throws {
        let pack = try TinyPack()
        let pipe = pack.folder.appending(path: "pipe").path
        #expect(mkfifo(pipe, 0o600) == 0)
        let broken = pack.folder.appending(path: "broken")
        try FileManager.default.createDirectory(at: broken, withIntermediateDirectories: true)
        for name in ["config.json", "pack.json"] {
            try FileManager.default.createSymbolicLink(
                atPath: broken.appending(path: name).path, withDestinationPath: pipe)
        }
        let picture = try pack.picture().path
        let commands = [
            ["check", "--file", pipe], ["models", "inspect", pipe], ["lm", "--model", broken.path, "--ids", "1"],
            ["keywords", picture, "--pack", broken.path], ["keywords", pipe],
            ["keywords", picture, "--pack", pack.folder.path, "--bank", pipe],
            ["poem", picture, "--pack", pack.folder.path, "--words", pipe], ["caption", pipe],
            ["caption", picture, "--style", pipe], ["caption", "--embeddings", pipe],
            ["train", "poet", "--corpus", pipe, "--out", "OUT"],
            ["train", "poet", "--corpus", "/dev/zero", "--out", "OUT"],
            ["train", "caption", "--captions", pipe, "--shard", pack.folder.path, "--out", "OUT"],
            ["train", "poet", "--corpus", picture, "--config", pipe, "--out", "OUT"],
            ["data", "poems", pipe, "--out", "OUT"], ["data", "captions", pipe, "--out", "OUT"],
            ["data", "lines", pipe, "--out", "OUT"], ["data", "statistics", "--captions", pipe],
            ["data", "embed", pipe, "--out", "OUT"], ["eval", "caption", pipe, "--references", pipe],
        ]
        for command in commands {
            let arguments = command.map { $0 == "OUT" ? pack.folder.appending(path: "out").path : $0 }
            // Whatever waits for the other end of the pipe is ended by `timeout`, with status 124.
            let run = try Run(arguments, shell: "", limit: 20)
            #expect(run.status == 1 || run.status == 2, "\(command.prefix(3)): \(run.status) \(run.errors)")
            #expect(run.isOneLine, "\(command.prefix(3)): \(run.errors)")
            let words = ["pipe", "device", "regular file"]
            #expect(run.status == 2 || words.contains { run.errors.contains($0) }, "\(run.errors)")
        }
    }
}
