import Foundation
import Testing
import TihuaPackSupport

/// `tihua train caption` and `tihua caption` on a tiny pack: trained, used, and what can go wrong.
@Suite struct CaptionCommandTests {
    private struct Line: Decodable {
        struct Caption: Decodable {
            let text: String
            let logProbability: Double
        }

        let picture: String
        let captions: [Caption]
    }

    private static let options = """
        {"training": {"steps": 4, "accumulation": 1, "warmup": 1, "validateEvery": 2, "logEvery": 2,
                      "precision": "float32"},
         "caption": {"hiddenSize": 16, "layerCount": 1, "headCount": 2, "prefixLength": 2, "maximumLength": 12,
                     "minimumCharacterCount": 1, "batchCaptions": 4, "holdOut": 3}}
        """

    private func scene() throws -> (pack: TinyPack, folder: URL, arguments: [String]) {
        let pack = try TinyPack()
        let pictures = pack.folder.appending(path: "pictures")
        try FileManager.default.createDirectory(at: pictures, withIntermediateDirectories: true)
        var captions = ""
        for index in 0..<9 {
            try FileManager.default.moveItem(
                at: pack.picture("p\(index).png", red: UInt8(20 * index)), to: pictures.appending(path: "p\(index).png")
            )
            captions += "p\(index)\t一只狗在草地上。\np\(index)\t两个孩子。\n"
        }
        captions += "nobody\t一只猫。\n"
        func write(_ text: String, _ name: String) throws -> String {
            let file = pack.folder.appending(path: name)
            try text.write(to: file, atomically: true, encoding: .utf8)
            return file.path
        }
        let arguments = [
            "train", "caption", "--captions", try write(captions, "train.tsv"), "--shard", pictures.path, "--clip",
            pack.clip.path, "--config", try write(Self.options, "caption.json"), "--device", "cpu", "--threads", "1",
        ]
        return (pack, pack.folder, arguments)
    }

    @Test func aTrainedCaptionerCaptionsAFolder() throws {
        let (pack, folder, arguments) = try scene()
        let out = folder.appending(path: "run").path
        let trained = try Run(arguments + ["--out", out])
        #expect(trained.status == 0, "\(trained.errors)")
        #expect(trained.errors.contains("1 without an embedding"))
        let again = try Run(arguments + ["--out", out])
        #expect(again.status == 1 && again.errors.contains("--resume"))

        let use = ["caption", "--captioner", out + "/best", "--clip", pack.clip.path, "--pack", folder.path]
        let run = try Run(use + [folder.appending(path: "pictures").path, "--json"])
        #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        let lines = try run.output.split(separator: "\n").map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
        #expect(lines.map(\.picture) == (0..<9).map { "p\($0)" })
        #expect(lines.allSatisfy { $0.captions.count == 1 && $0.captions[0].logProbability <= 0 })
        let embedded = try Run(use + ["--embeddings", out + "/embeddings.safetensors", "--json"])
        #expect(embedded.status == 0 && embedded.output.split(separator: "\n").count == 9)

        // The preset is found under the name it had before too.
        let presets = try ["clipcap-chinese", "seed"].map { name in
            try Run(use + [folder.appending(path: "pictures/p1.png").path, "--preset", name, "--quiet"])
        }
        #expect(presets.allSatisfy { $0.status == 0 } && presets[0].output == presets[1].output)
        #expect(presets[0].output.split(separator: "\n").count > 1)

        let missing = try Run(
            use + [folder.appending(path: "pictures/p1.png").path, folder.appending(path: "none.png").path])
        #expect(missing.status == 1 && missing.isOneLine && missing.output.contains("p1.png"))

        let style = folder.appending(path: "style.txt")
        try "明月照两个孩子。\n一只狗在水上。\n".write(to: style, atomically: true, encoding: .utf8)
        let styled = try Run([
            "train", "caption", "--from", out + "/best", "--style", style.path, "--clip", pack.clip.path, "--config",
            folder.appending(path: "caption.json").path, "--out", folder.appending(path: "styled").path, "--device",
            "cpu",
        ])
        #expect(styled.status == 0, "\(styled.errors)")
        #expect(FileManager.default.fileExists(atPath: folder.appending(path: "styled/best/vocab.txt").path))

        // The same sentences without training.
        let picture = folder.appending(path: "pictures/p1.png").path
        let leaning = try Run(use + [picture, "--style", style.path, "--style-weight", "1", "--json"])
        #expect(leaning.status == 0 && leaning.output.contains("captions"), "\(leaning.errors)")
        for (bytes, expected) in [
            (Data("一句\n".utf8), "one sentence only"), (Data(), "no sentence"),
            (Data([0xB9, 0xB7, 0x0A]), "--encoding gb18030"),
        ] {
            try bytes.write(to: style)
            let run = try Run(use + [picture, "--style", style.path])
            #expect(run.status == 1 && run.isOneLine && run.errors.contains(expected), "\(run.errors)")
        }
    }

    /// The options of tihua lm name the search; what they were called before still works, and help does not speak of
    /// it.
    @Test func formerSpellingsNameTheSameSearches() throws {
        let pack = try TinyPack()
        try pack.addCaptioner()
        let base = ["caption", try pack.picture().path, "--pack", pack.folder.path, "--max-length", "8", "--json"]
        func captions(_ options: [String]) throws -> String {
            let run = try Run(base + options + ["--threads", "1", "--device", "cpu"])
            #expect(run.status == 0 && run.errors.isEmpty, "\(options): \(run.errors)")
            return run.output
        }
        let spellings: [(former: [String], now: [String])] = [
            (["--decode", "greedy"], ["--greedy"]), (["--decode", "beam", "--beams", "3"], ["--beams", "3"]),
            (["--decode", "auto"], ["--length-penalty", "1"]),
            (["--decode", "contrastive", "--alpha", "0.4", "--top-k", "3"], ["--contrastive", "0.4", "--top-k", "3"]),
            (["--decode", "sample", "--seed", "4"], ["--temperature", "1", "--seed", "4"]),
            (["--no-repeat", "1"], ["--no-repeat-ngram", "1"]),
            (["--preset", "seed"], ["--preset", "clipcap-chinese"]),
        ]
        var seen: Set<String> = []
        for (former, now) in spellings {
            let written = try captions(former)
            #expect(try written == captions(now), "\(former) \(now)")
            seen.insert(written)
        }
        #expect(seen.count >= 4, "the searches differ")
        let help = try Run(["caption", "--help"]).output
        for option in ["--decode", "--alpha", "--no-repeat "] { #expect(!help.contains(option), "\(option)") }
        #expect(help.contains("--no-repeat-ngram") && help.contains("--contrastive"))
        let two = try Run(base + ["--greedy", "--beams", "2"])
        #expect(two.status == 2 && two.isOneLine && two.errors.contains("exclude each other"), "\(two.errors)")
    }

    @Test(arguments: [
        (["caption"], "nothing to caption"), (["caption", "x.png", "--n", "0"], "number of captions"),
        (["caption", "x.png", "--decode", "greedy", "--n", "2"], "at most 1"),
        (["caption", "x.png", "--style-weight", "1"], "--style FILE"),
        (["train", "caption", "--out", "x"], "nothing to learn"),
        (["train", "caption", "--captions", "a", "--lm", "b", "--from", "c", "--out", "x"], "exclude each other"),
        (["train", "caption", "--captions", "a", "--reward", "clip", "--out", "x"], "--from"),
    ])
    func whatIsTypedWronglyIsAUsageError(_ arguments: [String], _ expected: String) throws {
        let run = try Run(arguments)
        #expect(run.status == 2 && run.errors.contains(expected), "\(run.errors)")
    }

    @Test func aStyleOfOneSentenceAndAMissingCaptionerAreOneLine() throws {
        let pack = try TinyPack()
        let style = pack.folder.appending(path: "style.txt")
        try "一句\n".write(to: style, atomically: true, encoding: .utf8)
        let one = try Run([
            "train", "caption", "--style", style.path, "--clip", pack.clip.path, "--out", pack.folder.path + "/run",
        ])
        #expect(one.status == 1 && one.isOneLine && one.errors.contains("one sentence only"), "\(one.errors)")
        let none = try Run(["caption", "x.png", "--pack", pack.folder.path])
        #expect(none.status == 1 && none.isOneLine && none.errors.contains("--captioner"), "\(none.errors)")
    }
}
