import Foundation
import Testing
import Tihua
import TihuaCorpora
import TihuaDataFiles
import TihuaEncoders
import TihuaFiles
import TihuaModels
import TihuaNN
import TihuaPackSupport
import TihuaPictures
import TihuaProsody
import TihuaTestSupport
import TihuaTokenizers
import TihuaVerse
import TihuaWeightFiles

@testable import TihuaTraining

/// Every reader of files that a person names, with whole files to damage.
enum Reader: String, CaseIterable, CustomTestStringConvertible {
    case weights, shardIndex, tar, vocabulary, tokenizerSettings, sentencePiece, configuration, clipConfiguration
    case pack, preprocessor, captions, sentences, embeddings, events, poems, gloss, ratings, verse, names, recipe
    case bank, rules, lineFilter, stockPairs, picture, checkpoint

    var testDescription: String { rawValue }

    /// Reads what there is, or throws. `folder` is the reader's own, and empty.
    func read(_ bytes: [UInt8], in folder: URL) throws {
        func file(_ name: String) throws -> URL {
            let url = folder.appending(path: name)
            try Data(bytes).write(to: url)
            return url
        }
        switch self {
        case .weights:
            for tensor in try Checkpoint.open(file("weights")).tensors where tensor.byteCount < 1 << 16 {
                _ = tensor.contiguousBytes()
            }
        case .shardIndex: _ = try Checkpoint.open(file("model.safetensors.index.json"))
        case .tar:
            let shard = try TarShard(contentsOf: file("a.tar"))
            for entry in shard.entries where try shard.bytes(of: entry).count < 0 { break }
        case .vocabulary:
            let url = try file("vocab.txt")
            let tokens = try vocabularyTokens(at: url)
            let tokenizer = try BertTokenizer(vocabularyAt: url)
            _ = tokenizer.decode(tokenizer.encode("春江花月 hello"))
            _ = try PoetFormat(tokens: tokens)
        case .tokenizerSettings:
            try Data("[PAD]\n[UNK]\n[CLS]\n[SEP]\n月\n".utf8).write(to: folder.appending(path: "vocab.txt"))
            for name in ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"] { _ = try file(name) }
            _ = try BertTokenizer(folder: folder).encode("月[七绝]")
        case .sentencePiece:
            let tokenizer = try SentencePieceTokenizer(modelAt: file("spiece.model"))
            _ = tokenizer.decode(tokenizer.encode("春江花月夜 hello"))
        case .configuration, .clipConfiguration:
            _ = try file("config.json")
            _ = try ModelFolder(at: folder).anyConfiguration()
        case .pack:
            _ = try file("pack.json")
            _ = try Pack(folder: folder)
        case .preprocessor:
            _ = try file("preprocessor_config.json")
            _ = try Preprocessing(folder: folder, size: 32)
        case .captions:
            let url = try file("captions.txt")
            _ = try CaptionFile(contentsOf: url)
        case .sentences: _ = try readSentences(file("style.txt"))
        case .embeddings:
            let found = try EmbeddingFile(contentsOf: file("e.safetensors"))
            for row in found.keys.indices { _ = found.embedding(at: row) }
        case .events:
            _ = try file("events.out.tfevents.1.tihua.1.0")
            let writer = try EventWriter(folder: folder, resumingAfter: 5)
            try writer.scalar("a", 1, step: 6)
            try writer.flush()
        case .poems:
            let url = try file("poems.txt")
            for poem in try PoemFile.read(url) { _ = PoemDataset.form(of: poem) }
        case .gloss: _ = try MatchingItem.read(file("ccpm.jsonl"))
        case .ratings: _ = try RatedPoem.read(file("rated.jsonl"))
        case .verse:
            let lines = try PoemText.lines(of: String(decoding: bytes, as: UTF8.self))
            for tones in [TonePolicy.loose, .strict, .off] { _ = try? ProsodyChecker(tones: tones).check(lines) }
            _ = try ProsodyChecker().check(lines)
        case .names:
            let name = String(decoding: bytes, as: UTF8.self)
            _ = RhymeBook(named: name)
            _ = try Form(named: name)
        case .recipe:
            let recipe = try RecipeFile(contentsOf: file("recipe.json"))
            try recipe.section("training", or: TrainingOptions()).validate()
            try recipe.section("poet", or: PoetOptions()).validate()
            try recipe.section("t5", or: T5Options()).validate()
            try recipe.section("image2poem", or: Image2PoemOptions()).validate()
            try recipe.section("clip", or: ClipOptions()).validate()
            try recipe.section("caption", or: CaptionOptions()).validate()
            try recipe.section("reward", or: RewardOptions()).validate()
            try recipe.section("prefix", or: PrefixOptions()).validate()
        case .bank:
            for entry in try ImageryBank(contentsOf: file("bank.tsv")).entries { _ = ImageryBank.prompts(for: entry) }
        case .rules:
            _ = try ImageryRules(contentsOf: file("rules.tsv")).words(label: nil, captions: ["一只狗"], teacherClass: 7)
        case .lineFilter: _ = try LineFilter(contentsOf: file("lines.bin")).contains("春江潮水连海平")
        case .stockPairs: _ = try OverusedPairs(contentsOf: file("stock.tsv"))
        case .picture: _ = try Picture(encoded: bytes, name: "picture")
        case .checkpoint:
            _ = try file("checkpoint.safetensors")
            let store = ParameterStore(seed: 1)
            _ = Linear(2, 3, at: store.root / "layer")
            _ = try RunCheckpoint(folder: folder).restore(
                store: store, optimizer: AdamW(store), average: nil, generators: [], options: TrainingOptions(),
                identity: "i")
        }
    }

    /// Whole files, which are read.
    func seeds(in folder: URL) throws -> [[UInt8]] {
        func text(_ lines: String...) -> [[UInt8]] { lines.map { Array($0.utf8) } }
        func bytes(_ url: URL) throws -> [UInt8] { Array(try Data(contentsOf: url)) }
        func temporary(_ name: String, _ write: (URL) throws -> Void) throws -> [UInt8] {
            let url = folder.appending(path: name)
            try write(url)
            defer { try? FileManager.default.removeItem(at: url) }
            return try bytes(url)
        }
        switch self {
        case .weights:
            return try ["types.safetensors", "small.pt", "small.legacy.pt", "handmade.pt"].map {
                try bytes(fixture("WeightFiles/\($0)"))
            }
        case .shardIndex: return text(#"{"metadata": {"total_size": 8}, "weight_map": {"a": "b.safetensors"}}"#)
        case .tar:
            return [
                try temporary("seed") { place in
                    try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
                    for name in ["a.png", "b.png"] {
                        try FileManager.default.copyItem(
                            at: fixture("Pictures/gradient.1x1.png"), to: place.appending(path: name))
                    }
                    let process = Process()
                    process.executableURL = URL(filePath: "/usr/bin/env")
                    process.arguments = [
                        "tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-cf",
                        folder.appending(path: "seed.tar").path, "-C", place.path, ".",
                    ]
                    try process.run()
                    process.waitUntilExit()
                    try FileManager.default.removeItem(at: place)
                    try FileManager.default.moveItem(at: folder.appending(path: "seed.tar"), to: place)
                }
            ]
        case .vocabulary:
            return text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[EOS]\n春\n江\n花\n##月\nhello\n\n春\n")
        case .tokenizerSettings:
            return text(
                #"{"do_lower_case": false, "added_tokens_decoder": {"8": {"content": "[七绝]"}}, "eos_token": "[EOS]", "model_max_length": Infinity}"#,
                #"{"[七绝]": 8, "additional_special_tokens": ["[new]", {"content": "x"}]}"#)
        case .sentencePiece:
            let folder = fixture("Tokenizers")
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
                $0.hasSuffix(".model")
            }
            return try names.sorted().prefix(2).map { try bytes(folder.appending(path: $0)) }
        case .configuration:
            return try ["gpt2", "t5_gated", "bert-plain", "clipcap_t5"].map {
                try bytes(fixture("Models/\($0)/config.json"))
            }
        case .clipConfiguration: return [try bytes(fixture("Models/clip-hf/config.json"))]
        case .pack:
            return text(#"{"name": "tiny", "clip": "clip", "poet": "poet", "bank": "imagery.tsv", "prefix": "p"}"#)
        case .preprocessor:
            return text(
                #"{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2], "size": {"height": 32}, "resample": 3}"#
            )
        case .captions:
            return text(
                "a.jpg#zhc#0 一 只 猫\nb.jpg#zhc#1 两只狗\n", "a\t一只猫\nb\t两只狗\n", #"{"image": "a", "text": "猫"}"# + "\n")
        case .sentences: return text("月光照在地上。\n山中没有人。\n")
        case .embeddings:
            return [
                try temporary("seed.safetensors") {
                    try EmbeddingFile.write(
                        keys: ["a", "b"], values: [1, 2, 3, 4], width: 2, isNormalized: false, model: "m", to: $0)
                }
            ]
        case .events:
            let place = folder.appending(path: "seed-events")
            defer { try? FileManager.default.removeItem(at: place) }
            do {
                let writer = try EventWriter(folder: place)
                for step in 1...9 { try writer.scalar("train/loss", 0.5, step: step) }
                try writer.text("note", "text", step: 9)
            }
            let names = try FileManager.default.contentsOfDirectory(atPath: place.path)
            return try names.map { try bytes(place.appending(path: $0)) }
        case .poems:
            return text(
                "静夜思\n李白\n床前明月光，疑是地上霜。\n举头望明月，低头思故乡。\n\n白日依山尽，黄河入海流。\n欲穷千里目，更上一层楼。\n",
                #"{"content":"床前明月光|疑是地上霜|举头望明月|低头思故乡","keywords":"明月 故乡","title":"静夜思"}"# + "\n",
                #"{"lines":["床前明月光","疑是地上霜","举头望明月","低头思故乡"],"author":"李白","keywords":["明月"]}"# + "\n")
        case .gloss: return text(#"{"translation": "月光", "choices": ["床前明月光", "疑是地上霜"], "answer": 1}"# + "\n")
        case .ratings: return text(#"{"poem": "床前明月光|疑是地上霜", "fluency": "3.5", "overall": 4}"# + "\n")
        case .verse: return text("床前明月光，疑是地上霜。\n举头望明月，低头思故乡。", "常记溪亭日暮。沉醉不知归路。兴尽晚回舟，误入藕花深处。争渡，争渡。惊起一滩鸥鹭。")
        case .names: return text("七绝", "如梦令", "七阳", "平水韵", "五言律诗", "qijue")
        case .recipe:
            let recipes = SharedData.packageRoot.appending(path: "Recipes")
            return try ["poet-mini.json", "clip-mini.json", "caption-mini.json"].map {
                try bytes(recipes.appending(path: $0))
            }
        case .bank: return text("明月\t天\t月亮|夜空中的月亮\n青山\t山\t一座山\n", "# 注\n江水\t水\n")
        case .rules: return text("丹山\twarm\t红色\n碧水\tcold t:7\t蓝色\n白雪\t\t雪 !雨\n")
        case .lineFilter:
            return [
                try temporary("seed.bin") { try LineFilter(lines: ["春江潮水连海平", "海上明月共潮生"]).write(to: $0) }
            ]
        case .stockPairs: return text("明月\t1.25\n春风\t0.5\n")
        case .picture:
            return try [
                "gradient.32x32.png", "quarters.jpg", "quarters.webp", "frames.gif", "quarters.bmp", "quarters.tif",
            ].map {
                try bytes(fixture("Pictures/\($0)"))
            }
        case .checkpoint:
            let store = ParameterStore(seed: 1)
            _ = Linear(2, 3, at: store.root / "layer")
            let place = folder.appending(path: "seed-run")
            defer { try? FileManager.default.removeItem(at: place) }
            try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
            try RunCheckpoint(folder: place).write(
                RunProgress(step: 2, epoch: 1, batch: 3), store: store, optimizer: AdamW(store), average: nil,
                generators: [], options: TrainingOptions(), identity: "i")
            return [try bytes(place.appending(path: "checkpoint.safetensors"))]
        }
    }

    /// Readers that cost much for each file get fewer.
    var standardCount: Int { self == .picture || self == .tar ? 100 : 300 }
}

/// Damaged files for every reader: each is read or refused in one line of our own, none traps or hangs.
@Suite struct ReaderFuzzTests {
    @Test(arguments: Reader.allCases)
    func damagedFilesAreReadOrRefused(_ reader: Reader) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "fuzz-\(UUID().uuidString)")
        let place = folder.appending(path: "here")
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let seeds = try reader.seeds(in: folder)
        try #require(!seeds.isEmpty)
        var whole = 0
        for seed in seeds {
            do {
                try reader.read(seed, in: place)
                whole += 1
            } catch {
                // A half of the seeds may name what is not there.
                expectOneLine(error, reader, seed)
            }
            try clear(place)
        }
        var fuzz = Fuzz(seed: UInt64(seeds[0].count))
        var (read, refused) = (0, 0)
        for round in 0..<Fuzz.count(reader.standardCount) {
            let bytes = fuzz.damaged(seeds[round % seeds.count], mixing: seeds)
            let start = ContinuousClock.now
            do {
                try reader.read(bytes, in: place)
                read += 1
            } catch {
                refused += 1
                expectOneLine(error, reader, bytes)
            }
            // No speed is asserted; this is what a person takes for a hang.
            #expect(ContinuousClock.now - start < .seconds(60), "\(Data(bytes).base64EncodedString().prefix(400))")
            try clear(place)
        }
        #expect(
            read + refused > 0 && (whole == 0 || read > 0) && (reader == .events || refused > 0),
            "\(read) read, \(refused) refused")
    }

    private func clear(_ folder: URL) throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
            try FileManager.default.removeItem(at: folder.appending(path: name))
        }
    }

    private func expectOneLine(_ error: any Error, _ reader: Reader, _ bytes: [UInt8]) {
        let type = String(reflecting: Swift.type(of: error))
        let isOurs = !["Foundation", "Swift.", "__C"].contains(where: type.hasPrefix)
        // What a person typed comes back as it was typed; the tool escapes it.
        let message = reader == .verse || reader == .names ? printable("\(error)") : "\(error)"
        #expect(
            isOurs && !message.isEmpty && !message.contains("\n")
                && !message.unicodeScalars.contains { $0.value < 32 || $0.value == 127 },
            "\(type): \(message.prefix(200)) for \(Data(bytes).base64EncodedString().prefix(400))")
    }
}

/// Files that were read wrongly once, each with what is right.
@Suite struct OnceBadTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let reader: Reader
        let name: String
        let bytes: [UInt8]
        /// Words of the error; nil where the file is read.
        let words: String?

        init(_ reader: Reader, _ name: String, _ text: String, _ words: String?) {
            self.init(reader, name, Array(text.utf8), words)
        }

        init(_ reader: Reader, _ name: String, _ bytes: [UInt8], _ words: String?) {
            (self.reader, self.name, self.bytes, self.words) = (reader, name, bytes, words)
        }

        var testDescription: String { "\(reader.rawValue): \(name)" }
    }

    static let cases: [Case] = [
        .init(
            .recipe, "a count that overflows", #"{"poet":{"minimumCharacterCount":9223372036854775807}}"#,
            "minimumCharacterCount is"),
        .init(.recipe, "a hold-out without an end", #"{"clip":{"holdOut":9223372036854775807}}"#, "holdOut is"),
        .init(.recipe, "an image size below the range of the patches", #"{"clip":{"imageSize":0}}"#, "imageSize is"),
        .init(
            .recipe, "steps whose time left is no number", #"{"training":{"steps":9223372036854775807}}"#, "steps is"),
        .init(.recipe, "a batch whose square is 4 TB", #"{"clip":{"batchPairs":1048576}}"#, "batchPairs is"),
        .init(.recipe, "a number that is none", #"{"training":{"learningRate":1e999}}"#, "learningRate"),
        .init(.recipe, "nested a hundred thousand deep", String(repeating: "[", count: 100_000), "not"),
        .init(.vocabulary, "a token twice", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[EOS]\n月\n光\n月\n", nil),
        .init(.vocabulary, "an empty line and CRLF", "[PAD]\r\n[UNK]\r\n\r\n[CLS]\r\n[SEP]\r\n[EOS]\r\n月\r\n", nil),
        .init(.configuration, "numbers that JSON lacks", #"{"model_type":"gpt2","attn_pdrop":NaN,"x":-Infinity}"#, nil),
        .init(
            .configuration, "a list of end tokens", #"{"model_type":"t5","eos_token_id":[1,2],"bos_token_id":null}"#,
            nil),
        .init(
            .configuration, "sizes whose product overflows", #"{"model_type":"gpt2","n_embd":4611686018427387904}"#,
            "n_embd"),
        .init(.weights, "a header of 2^63 bytes", [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x7b], "header"),
        .init(
            .weights, "a pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "git lfs pull"),
        .init(
            .shardIndex, "a shard above its folder", #"{"weight_map": {"a": "../../etc/passwd"}}"#, "no file beside it"),
        .init(.pack, "a model above the pack", #"{"name":"x","clip":"../../../../etc/passwd"}"#, "no path inside"),
        .init(.tokenizerSettings, "a length that is infinite", #"{"model_max_length": Infinity}"#, nil),
        .init(.picture, "no bytes", [], "empty"),
        .init(.stockPairs, "an excess that is none", "明月\tNaN\n", ":1"),
        .init(
            .events, "a record longer than the file", [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0], nil),
    ]

    @Test(arguments: cases)
    func areReadRightlyNow(_ bad: Case) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "bad-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        guard let words = bad.words else { return try bad.reader.read(bad.bytes, in: folder) }
        let error = #expect(throws: (any Error).self) { try bad.reader.read(bad.bytes, in: folder) }
        let message = error.map { "\($0)" } ?? ""
        #expect(message.contains(words) && !message.contains("\n"), "\(message.prefix(300))")
    }
}
