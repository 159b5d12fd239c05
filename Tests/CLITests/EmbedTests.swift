import Foundation
import Testing
import TihuaTestSupport

@Suite struct EmbedTests {
    private func embed(_ arguments: [String]) throws -> (status: Int32, output: String, error: String) {
        let run = try Run(["embed"] + arguments)
        return (run.status, run.output, run.errors)
    }

    /// A copy of a fixture's model with a vocabulary of as many tokens; and a picture.
    private func withModel<Result>(_ name: String, _ body: (URL, String) throws -> Result) throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appending(path: "embed-\(UUID().uuidString)")
        try FileManager.default.copyItem(at: fixture("Models/\(name)"), to: folder)
        defer { try? FileManager.default.removeItem(at: folder) }
        let characters = (0..<59).compactMap { Unicode.Scalar(0x5C71 + $0).map(String.init) }  // 山 first
        let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + characters
        try Data(tokens.joined(separator: "\n").utf8).write(to: folder.appending(path: "vocab.txt"))
        return try body(folder, fixture("Pictures/strokes.png").path)
    }

    private struct Line: Decodable { let embedding: [Float] }

    private func vectors(_ output: String) throws -> [[Float]] {
        try output.split(separator: "\n").map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8)).embedding
        }
    }

    @Test(arguments: ["clip-hf", "clip-original"])
    func embeddingsComeInTheOrderOfTheArguments(name: String) throws {
        try withModel(name) { folder, picture in
            let model = ["--model", folder.path, "--device", "cpu", "--threads", "1", "--json"]
            let mixed = try embed(model + ["--text", "山", "--image", picture, "--text=岑"])
            #expect(mixed.status == 0 && mixed.error.isEmpty, "\(mixed.error)")
            let found = try vectors(mixed.output)
            let alone = try [["--text", "山"], ["--image", picture], ["--text", "岑"]].map {
                try vectors(embed(model + $0).output)[0]
            }
            for (a, b) in zip(found, alone) {
                #expect(zip(a, b).allSatisfy { abs($0 - $1) < 1e-5 })
                #expect(abs(a.reduce(0) { $0 + $1 * $1 } - 1) < 1e-4)
            }
            #expect(found.count == 3 && found[0] != found[2])
            let raw = try vectors(embed(model + ["--raw", "--text", "山"]).output)[0]
            let length = raw.reduce(0) { $0 + $1 * $1 }.squareRoot()
            #expect(abs(length - 1) > 0.01 && zip(raw, alone[0]).allSatisfy { abs($0 / length - $1) < 1e-5 })
        }
    }

    @Test func withoutJSONEachVectorIsALine() throws {
        try withModel("clip-hf") { folder, _ in
            let (status, output, _) = try embed(["--model", folder.path, "--text", "山", "--text", "岑"])
            let lines = output.split(separator: "\n")
            #expect(status == 0 && lines.count == 2 && lines.allSatisfy { $0.split(separator: " ").count == 20 })
        }
    }

    @Test func badInputGivesOneLineAndItsStatus() throws {
        try withModel("clip-hf") { folder, picture in
            let model = ["--model", folder.path]
            let cases: [([String], Int32, String)] = [
                (model + ["--image", "/nowhere/x.jpg"], 1, "/nowhere/x.jpg"),
                (model + ["--image", folder.path], 1, folder.path),
                (["--model", "/nowhere", "--text", "山"], 1, "/nowhere"),
                (model + ["--text", "山", "--device", "cuda:99"], 2, "cuda:99"),
            ]
            for (arguments, status, message) in cases {
                let result = try embed(arguments)
                #expect(result.status == status && result.output.isEmpty, "\(arguments)")
                #expect(
                    result.error.contains(message) && result.error.split(separator: "\n").count == 1, "\(result.error)")
            }
            // The vocabulary of another model.
            let more = (0..<80).map { "token\($0)" }.joined(separator: "\n")
            let file = folder.appending(path: "vocab.txt")
            try Data("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\(more)".utf8).write(to: file)
            let foreign = try embed(model + ["--text", "山"])
            #expect(foreign.status == 1 && foreign.error.contains("85 tokens") && foreign.error.contains("64"))
            // Pictures alone ask for no vocabulary.
            try FileManager.default.removeItem(at: file)
            #expect(try embed(model + ["--image", picture]).status == 0)
            #expect(try embed(model + ["--text", "山"]).error.contains("vocab.txt"))
        }
    }

    @Test(
        arguments: [
            ([], "or give --text TEXT"), (["--text", "山", "--threads", "0"], "--threads 0"),
            (["--text", "山", "--dtype", "int8"], "float32"),
        ] as [([String], String)])
    func wrongFlagsAreUsageErrors(flags: [String], message: String) throws {
        let result = try embed(["--model", "x"] + flags)
        #expect(result.status == 2 && result.output.isEmpty)
        #expect(result.error.contains(message) && result.error.split(separator: "\n").count == 1, "\(result.error)")
    }

    @Test func aSentenceEncoderEmbedsTextsAndRefusesPictures() throws {
        let model = ["--clip", fixture("Models/sentences").path]
        let texts = ["一只狗在雪地里奔跑", "", "the moon"]
        let found = try embed(model + ["--json"] + texts.flatMap { ["--text", $0] })
        #expect(found.status == 0 && found.error.isEmpty, "\(found.error)")
        let rows = try vectors(found.output)
        #expect(rows.count == 3 && rows.allSatisfy { $0.count == 8 } && rows[0] != rows[1])
        for row in rows { #expect(abs(row.reduce(0) { $0 + $1 * $1 } - 1) < 1e-4) }
        let picture = fixture("Pictures/strokes.png").path
        let cases: [([String], Int32, String)] = [
            (model + [picture], 2, "embeds no pictures"),
            (model + ["--text", "山", "--image", picture], 2, "--text alone"),
            (model + ["--text", "山", "--dtype", "bfloat16"], 2, "float32"),
            (["--clip", fixture("Tokenizers").path, "--text", "山"], 1, "Tokenizers"),
        ]
        for (arguments, status, message) in cases {
            let result = try embed(arguments)
            #expect(result.status == status && result.output.isEmpty, "\(arguments)")
            #expect(
                result.error.contains(message) && result.error.split(separator: "\n").count == 1, "\(result.error)")
        }
        let scratch = try Scratch()
        let file = try Run(
            ["data", "embed", picture, "--out", scratch.url.appending(path: "x.safetensors").path] + model)
        #expect(file.status == 1 && file.isOneLine && file.errors.contains("sentence encoder"), "\(file.errors)")
        #expect(scratch.names.isEmpty)
    }

    @Test func aCutEncoderEmbedsAsTheWholeOne() throws {
        let scratch = try Scratch()
        let (whole, cut) = (fixture("Models/sentences").path, scratch.url.appending(path: "cut").path)
        let run = try Run(["models", "cut", whole, "--scripts", "han,letters", "--out", cut])
        #expect(run.status == 0 && run.output.isEmpty && run.errors.contains(" of 333 pieces in "), "\(run.errors)")
        let texts = ["--text", "雪地里的T恤，2024", "--text", "山"]
        #expect(try embed(["--clip", cut] + texts).output == embed(["--clip", whole] + texts).output)
        let inspection = try Run(["models", "inspect", cut])
        #expect(inspection.output.contains("universal_sentence_encoder") && inspection.output.contains("sp.model"))
        for (arguments, status, message) in [
            ([whole, "--out", cut], 2, "is there already"),
            ([whole, "--scripts", "han,runes", "--out", cut + "2"], 2, "“runes”"),
            ([fixture("Models/clip-hf").path, "--out", cut + "2"], 1, "sp.model"),
            (["/nowhere", "--out", cut + "2"], 1, "/nowhere"),
        ] as [([String], Int32, String)] {
            let refused = try Run(["models", "cut"] + arguments)
            #expect(
                refused.status == status && refused.isOneLine && refused.errors.contains(message), "\(refused.errors)")
        }
        #expect(scratch.names == ["cut"])
    }
}
