import ArgumentParser
import Foundation
import TihuaEncoders
import TihuaGeneration
import TihuaModels
import TihuaNN
import TihuaPictures
import TihuaTorch
import TihuaWeightFiles

/// The Swift side of `make bench`: times one thing, prints the seconds of each repetition as a JSON array; and what
/// `make parity` compares of a network that the tool does not show by itself.
/// `Benchmarks/bench.py` times Python on the same weights and threads in the same run and makes the table.
@main
struct Benchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tihua-bench", abstract: "Times models for make bench.",
        subcommands: [Generate.self, Embed.self, Classify.self, Outputs.self, Caption.self])
}

struct Settings: ParsableArguments {
    @Option var model: String
    @Option var dtype = "float32"
    @Option var threads = 4
    @Option var repeats = 5

    var url: URL { URL(filePath: model) }
    var type: DType { dtype == "bfloat16" ? .bfloat16 : .float32 }

    /// Runs `body` once to warm up and then `repeats` times.
    func time(_ body: () throws -> Void) throws {
        var seconds: [Double] = []
        try withoutGradients {
            try body()
            for _ in 0..<repeats {
                let start = ContinuousClock.now
                try body()
                seconds.append((ContinuousClock.now - start) / .seconds(1))
            }
        }
        print("[\(seconds.map { String($0) }.joined(separator: ", "))]")
    }
}

/// Candidates for one prompt: prefilled once, then all in one batch, top-k sampling, one cache.
struct Generate: ParsableCommand {
    @OptionGroup var settings: Settings
    @Option var candidates = 50
    @Option var prompt = 16
    @Option var tokens = 32

    func run() throws {
        Runtime.threadCount = settings.threads
        let model = try GPT2.open(settings.url, dtype: settings.type).model
        let ids = Tensor.ids((0..<prompt).map { Int32(100 + 7 * $0) }, [1, prompt])
        let generator = Generator(seed: 1)
        try settings.time {
            let cache = KeyValueCache(layerCount: model.configuration.layerCount, capacity: prompt + tokens)
            var hidden = model.hidden(ids, cache: cache).narrowed(1, prompt - 1..<prompt)  // [1, 1, C]
            if candidates > 1 {
                cache.expand(batch: candidates)
                hidden = hidden.expanded(candidates, 1, -1)
            }
            for _ in 0..<tokens {
                let top = model.logits(hidden.selected(1, 0)).topK(50)  // [B, 50]
                let drawn = top.values.softmax(-1).multinomial(generator: generator)  // [B, 1]
                let next = top.indices.gathered(1, drawn)
                hidden = model.hidden(next, cache: cache)  // [B, 1, C]
            }
        }
    }
}

/// Picture embeddings of one batch.
struct Embed: ParsableCommand {
    @OptionGroup var settings: Settings
    @Option var batch = 1

    func run() throws {
        Runtime.threadCount = settings.threads
        let model = try ChineseCLIP.open(settings.url, dtype: settings.type, computeType: settings.type).model
        let side = model.configuration.imageSize
        let pixels = Tensor.randn([batch, 3, side, side], generator: Generator(seed: 1)).to(settings.type)
        try settings.time { _ = model.encodeImages(pixels).array(of: Float.self) }
    }
}

/// The classes of one batch of pictures by an EfficientNet-Lite; `model` is a published `.pth`.
struct Classify: ParsableCommand {
    @OptionGroup var settings: Settings
    @Option var batch = 1

    func run() throws {
        Runtime.threadCount = settings.threads
        let model = try EfficientNet.open(settings.url, computeType: settings.type).model
        model.fold()
        let side = model.configuration.imageSize
        let pixels = Tensor.randn([batch, 3, side, side], generator: Generator(seed: 1))
        try settings.time { _ = model(pixels).array(of: Float.self) }
    }
}

/// Writes what an EfficientNet-Lite makes of `pixels` `[B, 3, H, W]` in a safetensors file, or of pictures, for
/// `Scripts/parity_efficientnet.py`: features and logits, folded and not.
struct Outputs: ParsableCommand {
    @OptionGroup var settings: Settings
    @Option var pixels: String?
    @Option var out: String
    @Argument var pictures: [String] = []

    func run() throws {
        Runtime.threadCount = settings.threads
        let model = try EfficientNet.open(settings.url, computeType: settings.type).model
        let input: Tensor
        if let pixels {
            input = try Tensor.borrowing(Checkpoint.open(URL(filePath: pixels)).tensor("pixels"))
        } else {
            var preprocessing = Preprocessing(size: model.configuration.imageSize)
            preprocessing.mean = Array(repeating: EfficientNet.pixelMean, count: 3)
            preprocessing.deviation = Array(repeating: EfficientNet.pixelDeviation, count: 3)
            let values = try pictures.map { path in
                let bytes = try Data(contentsOf: URL(filePath: path))
                return preprocessing.pixels(try Picture(encoded: Array(bytes), name: path))
            }
            input = Tensor(values.flatMap { $0 }, [values.count, 3, preprocessing.size, preprocessing.size])
        }
        var tensors: [(name: String, tensor: Tensor)] = []
        withoutGradients {
            for form in ["plain", "folded"] {
                if form == "folded" { model.fold() }
                let features = model.features(input)
                let logits = model.logits(features: features)
                tensors += [("\(form).features", features), ("\(form).logits", logits)].map { ($0, $1.to(.float32)) }
            }
        }
        try TensorFile.write(tensors, to: URL(filePath: out))
    }
}

/// Nucleus samples of captions of one picture, from its embedding on; `model` is a checkpoint of ClipCap-Chinese.
struct Caption: ParsableCommand {
    @OptionGroup var settings: Settings
    @Option var candidates = 10
    @Option var tokens = 30

    func run() throws {
        Runtime.threadCount = settings.threads
        let model = try ClipCap.open(settings.url, dtype: settings.type).model
        let picture = Tensor.randn([1, model.configuration.embeddingSize], generator: Generator(seed: 1))
        var decoding = Decoding.clipCapChinese(stop: -1, unknown: 100)
        (decoding.count, decoding.rules.maximumLength) = (candidates, tokens)
        var seed: UInt64 = 0
        try settings.time {
            seed += 1
            let texts = try TextGenerator(model.source(picture.to(settings.type)))
                .generate([TextPrompt(seed: seed)], decoding)
            guard texts[0].allSatisfy({ $0.ids.count == tokens }) else { throw ExitCode(1) }
        }
    }
}
