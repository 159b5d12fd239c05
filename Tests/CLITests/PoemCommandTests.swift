import Foundation
import Testing
import TihuaPackSupport
import TihuaPictures
import TihuaProsody
import TihuaTestSupport

@Suite struct PoemCommandTests {
    private static let quick = ["--candidates", "4", "--threads", "1", "--device", "cpu"]

    private func poem(_ pack: TinyPack, _ arguments: String...) throws -> Run {
        try Run(
            ["poem"] + arguments + Self.quick + ["--pack", pack.folder.path],
            environment: ["TIHUA_CACHE": pack.folder.appending(path: "cache").path])
    }

    @Test func jsonHasOneObjectALineForEachPicture() throws {
        let pack = try TinyPack()
        let paths = try ["a.png", "b.png"].map { try pack.picture($0, red: $0 == "a.png" ? 10 : 250).path }
        let run = try poem(pack, paths[0], paths[1], "--json", "--seed", "5", "--n", "2", "--form", "wujue")
        #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        let reports = try PoemLine.all(run)
        #expect(reports.map(\.picture) == paths)
        for report in reports {
            #expect(report.seed == 5 && report.poems.count == 2 && !report.keywords.isEmpty)
            for poem in report.poems {
                #expect(poem.form == "五绝" && poem.scores["total"] != nil)
                let checked = try ProsodyChecker(tones: .loose).check(poem.lines, as: .wujue)
                #expect(checked.faults.isEmpty && checked.rhymeGroups.contains(poem.rhyme))
            }
        }
        #expect(
            try poem(pack, paths[0], paths[1], "--json", "--seed", "5", "--n", "2", "--form", "wujue").output
                == run.output)
    }

    /// An empty line stands between the halves; JSON says where, and `check` reads the text as it is printed.
    @Test func aTuneIsPrintedInItsHalves() throws {
        let pack = try TinyPack()
        let picture = try pack.picture().path
        let printed = try poem(pack, picture, "--form", "菩萨蛮", "--n", "1", "--seed", "9", "--quiet")
        let rows = printed.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        #expect(rows[0].hasPrefix("  〔菩萨蛮·") && rows[5].isEmpty && !rows[4].isEmpty && !rows[6].isEmpty)
        let json = try poem(pack, picture, "--form", "菩萨蛮", "--n", "1", "--seed", "9", "--json")
        let written = try #require(try PoemLine.all(json).first?.poems.first)
        #expect(written.breaks == [4] && written.lines.count == 8 && written.rhymes.count == 4)
        #expect(written.rhymes.first == written.rhyme)
        let checked = try Run(["check", "--form", "菩萨蛮"], input: rows.dropFirst().joined(separator: "\n"))
        #expect(checked.status == 0 && checked.output.contains("\n\n"), "\(checked.output)")
        let shi = try poem(pack, picture, "--form", "七律", "--n", "1", "--json")
        #expect(try PoemLine.all(shi)[0].poems[0].breaks.isEmpty)
    }

    /// The tiny poet knows characters of every rhyme group, and typefaces lack some of them.
    @Test func aPoemThatIsSetHasOnlyCharactersThatCanBeDrawn() throws {
        let pack = try TinyPack()
        let known = try String(contentsOf: pack.poet.appending(path: "vocab.txt"), encoding: .utf8)
            .split(separator: "\n").filter { $0.count == 1 }.joined()
        let missing = try PoemRenderer().undrawable(known)
        try #require(!missing.isEmpty, "this machine's typefaces have all characters of the tables")
        let picture = try pack.picture().path
        var lacking = 0
        for seed in 1...4 {
            let target = pack.folder.appending(path: "set-\(seed).png").path
            let arguments = [picture, "--n", "1", "--json", "--form", "七律", "--seed", "\(seed)"]
            let run = try Run(
                ["poem"] + arguments + Self.quick + ["--pack", pack.folder.path, "--quiet", "--render", target])
            #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
            #expect(FileManager.default.fileExists(atPath: target))
            #expect(try PoemLine.all(run)[0].poems[0].lines.joined().allSatisfy { !missing.contains($0) })
            let free = try Run(["poem"] + arguments + Self.quick + ["--pack", pack.folder.path])
            lacking += try PoemLine.all(free)[0].poems[0].lines.joined().filter(missing.contains).count
        }
        #expect(lacking > 0, "without --render such characters are written")
        let title = try poem(pack, picture, "--render", pack.folder.appending(path: "t.png").path, "--title", "山𗀀")
        #expect(title.status == 2 && title.isOneLine && title.errors.contains("𗀀"), "\(title.errors)")
    }

    @Test func textShowsKeywordsPoemsAndSeed() throws {
        let pack = try TinyPack()
        let run = try poem(pack, try pack.picture().path, "--form", "如梦令", "--n", "1", "--seed", "9")
        #expect(run.status == 0 && run.errors.isEmpty)
        #expect(run.output.contains("意象  ") && run.output.contains("〔如梦令·") && run.output.contains("种子  9"))
        let quiet = try poem(pack, try pack.picture().path, "--n", "1", "--quiet")
        #expect(quiet.output.hasPrefix("  〔七绝·"))
        #expect(quiet.output.split(separator: "\n").count == 3)
    }

    @Test func badPictureIsReportedAndTheOthersAreServed() throws {
        let pack = try TinyPack()
        let good = try pack.picture().path
        let run = try poem(pack, "/nowhere.jpg", good, "--json", "--n", "1")
        #expect(run.status == 1 && run.isOneLine)
        #expect(run.errors.contains("/nowhere.jpg"))
        #expect(try PoemLine.all(run).map(\.picture) == [good])
    }

    @Test func picturesTogetherBecomeOnePoem() throws {
        let pack = try TinyPack()
        let paths = try ["a.png", "b.png"].map { try pack.picture($0).path }
        let run = try poem(pack, paths[0], paths[1], "--together", "--json", "--n", "1")
        let reports = try PoemLine.all(run)
        #expect(run.status == 0 && reports.count == 1 && reports.first?.pictures == paths)
    }

    @Test func poemIsSetOnThePicture() throws {
        let pack = try TinyPack()
        let picture = try pack.picture().path
        let target = pack.folder.appending(path: "poem.png")
        let run = try poem(pack, picture, "--n", "1", "--quiet", "--seed", "4", "--render", target.path)
        #expect(run.status == 0, "\(run.errors)")
        #expect(try Data(contentsOf: target).starts(with: [0x89, 0x50, 0x4E, 0x47]))
        let titled = pack.folder.appending(path: "titled.png")
        let other = try poem(
            pack, picture, "--n", "1", "--quiet", "--seed", "4", "--render", titled.path, "--title", "江上",
            "--signature", "秋日", "--seal", "")
        #expect(other.status == 0 && other.errors.isEmpty, "\(other.errors)")
        #expect(try Data(contentsOf: titled) != Data(contentsOf: target))
        let unknownFormat = try poem(pack, picture, "--render", "poem.txt")
        let unknownFont = try poem(pack, picture, "--render", titled.path, "--font", "No Such Face")
        for bad in [unknownFormat, unknownFont] {
            #expect(bad.status == 2 && bad.isOneLine && bad.output.isEmpty, "\(bad.errors)")
        }
    }

    @Test func traditionalCharactersAreUnderstood() throws {
        let pack = try TinyPack()
        let run = try poem(
            pack, try pack.picture().path, "--acrostic", "東風無情", "--theme", "在遠方的山", "--json", "--n", "1")
        #expect(run.status == 0, "\(run.errors)")
        #expect(try PoemLine.all(run).first?.poems.first?.lines.map { String($0.prefix(1)) } == ["东", "风", "无", "情"])
    }

    @Test(arguments: [
        (["--form", "八绝"], "unknown form"), (["--rhyme", "七月"], "rhyme group"), (["--rhyme", "一屋"], "tone"),
        (["--form", "满江红", "--rhyme", "十五咸"], "rhyme group"),
        (["--acrostic", "春夏秋冬春"], "more characters than the 4 lines"), (["--acrostic", "abcd"], "“a”"),
        (["--theme", "a boat"], "“a”"), (["--theme", "山🌸"], "“🌸”"), (["--theme", "，"], "the theme is empty"),
        (["--first-line", "床前明月"], "line 1"),
        (["--keywords", "boat"], "“b”"), (["--tones", "maybe"], "maybe"), (["--n", "0"], "number of poems"),
        (["--n", "x"], "x"), (["--temperature", "-3"], "temperature"), (["--top-p", "7"], "top-p"),
        (["--seed", "-1"], "seed"), (["--device", "quantum"], "quantum"), (["--book", "韵书"], "韵书"),
        (["--theme", String(repeating: "山", count: 101)], "length of the theme"),
        (["--colour", "red"], "colour"),
    ])
    func badRequestIsOneLineAndStatus2(arguments: [String], expected: String) throws {
        let pack = try TinyPack()
        // A flag given twice is read once, the last time: what is quick stands first.
        let run = try Run(
            ["poem", try pack.picture().path, "--candidates", "4"] + arguments + ["--pack", pack.folder.path])
        #expect(run.status == 2 && run.isOneLine && run.output.isEmpty, "\(run.status) \(run.errors)")
        #expect(run.errors.contains(expected), "\(run.errors)")
    }

    @Test func noPictureIsAUsageError() throws {
        let run = try Run(["poem"])
        #expect(run.status == 2 && run.isOneLine)
    }

    @Test(arguments: ["huge.png", "zero.png"])
    func pictureThatIsTooMuchIsRefused(fixture name: String) throws {
        let pack = try TinyPack()
        let run = try poem(pack, fixture("Pictures/\(name)").path)
        #expect(run.status == 1 && run.isOneLine && run.errors.contains(name), "\(run.errors)")
    }

    @Test func picturesThatAreNoneAreRefused() throws {
        let pack = try TinyPack()
        let (empty, text, cut) = (
            pack.folder.appending(path: "empty.jpg"), pack.folder.appending(path: "text.jpg"),
            pack.folder.appending(path: "cut.png")
        )
        try Data().write(to: empty)
        try Data("床前明月光".utf8).write(to: text)
        try Data(contentsOf: fixture("Pictures/scene.png")).prefix(2000).write(to: cut)
        let folder = pack.folder.appending(path: "folder")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for path in [empty.path, text.path, cut.path, folder.path, "/dev/null"] {
            let run = try poem(pack, path)
            #expect(run.status == 1 && run.isOneLine && run.output.isEmpty, "\(path): \(run.errors)")
        }
    }

    @Test(.enabled(if: getuid() != 0, "the superuser may read everything"))
    func pictureWithoutPermissionIsRefused() throws {
        let pack = try TinyPack()
        let picture = try pack.picture()
        try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: picture.path)
        let run = try poem(pack, picture.path)
        #expect(run.status == 1 && run.isOneLine)
    }

    enum Damage: String, CaseIterable {
        case truncated, lyingHeader, wrongShape, missingTensor, extraTensor, evilPickle, unknownArchitecture, vocabulary
        case noManifest, noFolder, badBank
    }

    @Test(arguments: Damage.allCases)
    func damagedWeightsAreOneLineAndStatus1(damage: Damage) throws {
        let pack = try TinyPack()
        let picture = try pack.picture().path
        let weights = pack.poet.appending(path: "model.safetensors")
        let config = pack.poet.appending(path: "config.json")
        func edit(_ url: URL, _ old: String, _ new: String) throws {
            let text = try String(contentsOf: url, encoding: .utf8)
            #expect(text.contains(old))
            try text.replacing(old, with: new).write(to: url, atomically: true, encoding: .utf8)
        }
        var arguments = [picture]
        switch damage {
        case .truncated: try Data(contentsOf: weights).dropLast(1000).write(to: weights)
        case .lyingHeader:
            var data = try Data(contentsOf: weights)
            data.replaceSubrange(0..<8, with: [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F])
            try data.write(to: weights)
        case .wrongShape: try edit(config, "\"n_embd\" : 16", "\"n_embd\" : 32")
        case .missingTensor: try edit(config, "\"n_layer\" : 1", "\"n_layer\" : 2")
        case .extraTensor:
            let data = try Data(contentsOf: weights)
            let name = Data("transformer.h.0.ln_1.bias".utf8)
            let place = try #require(data.range(of: name))
            var changed = data
            changed.replaceSubrange(place, with: Data("transformer.h.0.ln_1.bios".utf8))
            try changed.write(to: weights)
        case .evilPickle:
            try FileManager.default.removeItem(at: weights)
            try FileManager.default.copyItem(
                at: fixture("WeightFiles/evil.system2.pt"), to: pack.poet.appending(path: "pytorch_model.bin"))
        case .unknownArchitecture: try edit(config, "\"gpt2\"", "\"rwkv\"")
        case .vocabulary: try edit(pack.poet.appending(path: "vocab.txt"), "[TOPIC]\n", "")
        case .noManifest: try FileManager.default.removeItem(at: pack.manifest)
        case .noFolder: arguments += ["--poet", "/nowhere/poet"]
        case .badBank:
            let bank = pack.folder.appending(path: "own.tsv")
            try "明月\t天象\n".write(to: bank, atomically: true, encoding: .utf8)
            arguments += ["--bank", bank.path]
        }
        let run = try Run(
            ["poem"] + arguments + Self.quick + ["--pack", pack.folder.path],
            environment: ["TIHUA_CACHE": pack.folder.appending(path: "cache").path])
        #expect(run.status == 1 && run.isOneLine && run.output.isEmpty, "\(run.status) \(run.errors)")
    }

    @Test func keywordsHaveScores() throws {
        let pack = try TinyPack()
        let picture = try pack.picture().path
        let environment = ["TIHUA_CACHE": pack.folder.appending(path: "cache").path]
        let run = try Run(
            ["keywords", picture, "--n", "3", "--json", "--pack", pack.folder.path], environment: environment)
        #expect(run.status == 0 && run.errors.isEmpty)
        #expect(run.output.contains("\"keywords\":[{\"score\":") && run.output.contains("\"picture\":"))
        struct Line: Decodable {
            let picture: String
            let keywords: [PoemLine.Keyword]
        }
        let line = try JSONDecoder().decode(Line.self, from: Data(run.output.utf8))
        let bank = try String(contentsOf: pack.bank, encoding: .utf8).split(separator: "\n").dropFirst()
            .compactMap { $0.split(separator: "\t").first.map(String.init) }
        #expect(line.picture == picture && line.keywords.count == 3)
        #expect(Set(line.keywords.map(\.word)).count == 3 && line.keywords.allSatisfy { bank.contains($0.word) })
        // Shares of the bank's probability.
        #expect(line.keywords.allSatisfy { (0...1).contains($0.score) })
        #expect(line.keywords.reduce(0) { $0 + $1.score } <= 1)
        let plain = try Run(["keywords", picture, "--n", "3", "--pack", pack.folder.path], environment: environment)
        let shown = plain.output.split(separator: "\n").dropFirst().map { $0.split(separator: " ").map(String.init) }
        #expect(shown.map { $0[1] } == line.keywords.map(\.word))
        #expect(shown.map { $0[0] } == line.keywords.map { String(format: "%.3f", $0.score) })
        let bad = try Run(["keywords", picture, "--n", "0", "--pack", pack.folder.path])
        #expect(bad.status == 2 && bad.isOneLine)
    }

    @Test func helpTeachesByExample() throws {
        let run = try Run(["poem", "--help"])
        #expect(run.status == 0 && run.output.contains("tihua poem photo.jpg --form"))
    }
}
