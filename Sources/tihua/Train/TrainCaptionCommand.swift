import ArgumentParser
import Foundation
import Tihua
import TihuaCorpora
import TihuaDataFiles
import TihuaFiles
import TihuaModels
import TihuaTokenizers
import TihuaTorch
import TihuaTraining

/// `tihua train caption`: a mapping network from pictures to a language model.
struct TrainCaptionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caption", abstract: "Train a captioner on pictures and captions, or on texts alone.",
        discussion: """
            Captions are lines KEY<TAB>TEXT with the key of a picture (tihua data captions), or the lines of \
            Flickr8k-CN. The embeddings of the pictures come from tihua data embed, or are made from the pictures with \
            a CLIP model; the mapper grid needs --grid there. Files of several views (--view) of the same pictures are \
            drawn from at random. One picture in N is held out with all of its captions; holdOut in the options is N.

              tihua train caption --captions train.tsv --embeddings train.safetensors \\
                --config Recipes/caption-mini.json --out runs/caption
              tihua train caption --captions flickr8kzhc.caption.txt \\
                --shard flickr8k-train.tar --out runs/caption

            With --lm a language model (a folder with vocab.txt) is trained further, or kept as it is where the \
            options say so:

              tihua train caption … --lm gpt2-chinese-cluecorpussmall \\
                --config Recipes/caption-seed.json --out runs/seed

            --text-only learns from the embeddings of the captions themselves, with noise, as CapDec does. --style \
            learns from a file of sentences, one a line, and works best on top of a captioner:

              tihua train caption … --text-only --out runs/capdec
              tihua train caption --from runs/caption/best --style poetic.txt \\
                --out runs/poetic

            --reward draws captions from a trained captioner and scores them by likeness to the picture, by CIDEr, or \
            by both:

              tihua train caption … --from runs/caption/best --reward mixture \\
                --config Recipes/caption-reward.json --out runs/rewarded

            The best model is in runs/NAME/best. Use it so:

              tihua caption photo.jpg --captioner runs/NAME/best
            """)

    @Option(help: "Captions of pictures; may stand several times.", completion: .file())
    var captions: [String] = []

    @Option(help: "Captions of further pictures, to measure on and never to train on.", completion: .file())
    var validation: [String] = []

    @Option(help: "Embeddings of pictures, a file of tihua data embed.", completion: .file())
    var embeddings: [String] = []

    @Option(help: "Pictures to embed now: a tar archive or a folder.", completion: .file())
    var shard: [String] = []

    @Option(help: "A file of sentences, one a line, to learn without pictures.", completion: .file())
    var style: [String] = []

    @Flag(help: "Learn from the texts of the captions alone; pictures are used only to measure.")
    var textOnly = false

    @Option(
        help: "The language model to start from: a GPT2 or T5 with its vocab.txt, or a captioner that has one.",
        completion: .directory)
    var lm: URL?

    @Option(help: "A captioner to go on from.", completion: .file())
    var from: URL?

    @OptionGroup var packs: PackArguments

    enum Reward: String, ExpressibleByArgument, CaseIterable {
        case clip, cider, mixture

        var preset: RewardOptions.Preset {
            switch self {
            case .clip: .clip
            case .cider: .cider
            case .mixture: .mixture
            }
        }
    }

    @Option(
        help: """
            Train the captioner of --from by reward: clip, cider or mixture. Weights in the file of options come first.
            """
    )
    var reward: Reward?

    @OptionGroup var texts: TextArguments

    @OptionGroup var run: RunArguments

    func validate() throws {
        if reward != nil, from == nil {
            throw ValidationError("--reward goes on from a trained captioner; name it with --from")
        }
        if reward != nil, textOnly || !style.isEmpty {
            throw ValidationError("--reward needs pictures; it does not go with --text-only or --style")
        }
        if captions.isEmpty, style.isEmpty { throw ValidationError("nothing to learn; give --captions or --style") }
        if lm != nil, from != nil {
            throw ValidationError("--lm and --from exclude each other: a captioner has its model")
        }
    }

    func run() async throws {
        let file = try run.recipe()
        let given = try run.options(file)
        let options = try file.section("caption", or: CaptionOptions())
        try options.validate()
        let (device, training) = try run.prepare(given)
        let report = run.note

        var sources = CaptionDataset.Sources(
            captions: try captions.flatMap { try read($0) }, pictures: nil)
        sources.validation = try validation.flatMap { try read($0) }
        sources.sentences = try style.flatMap { try readSentences(URL(filePath: $0), encoding: texts.encoding) }
        sources.isTextOnly = textOnly
        let start = try CaptionTask.Start(languageModel: lm, captioner: from, note: report)
        let vocabulary = try (lm ?? from).map(vocabularyTokens(besideModel:))
        let engine = try Engine(
            pack: needsClip ? packs.find(needing: [.clip]) : Pack(.init(), base: nil), device: device)
        let needsTexts = textOnly || !style.isEmpty
        if needsTexts { sources.clipModel = try await engine.fingerprint }
        var files = embeddings.map { URL(filePath: $0) }
        var takesGrid = options.mapper == .grid
        if case .captioner(let opened) = start { takesGrid = opened.model.configuration.takesGrid }
        if !shard.isEmpty { files.append(try await embed(engine, grid: takesGrid, report)) }
        if !files.isEmpty { sources.pictures = try EmbeddingTable(contentsOf: files) }
        if sources.pictures == nil, !captions.isEmpty, !textOnly {
            throw ValidationError("captions need their pictures: give --embeddings or --shard, or --text-only")
        }
        let dataset = try await CaptionDataset(sources, vocabulary: vocabulary, options: options) { texts in
            report("embedding \(texts.count) texts")
            return try await engine.embeddings(of: texts)
        }
        let counts = dataset.counts
        let dropped = reasons(dataset.dropped).joined(separator: ", ")
        report(
            "\(counts.training) captions to train on, \(counts.validation) of \(counts.pictures) pictures held out, "
                + "\(dataset.tokens.count) tokens" + (dropped.isEmpty ? "" : "; left out: \(dropped)"))
        if let reward, case .captioner(let opened) = start {
            let weights = try file.section("reward", or: RewardOptions().with(reward.preset))
            let task = try CaptionRewardTask(
                dataset: dataset, caption: options, options: weights, training: training, captioner: opened,
                clip: weights.clipWeight > 0 ? clipFolder() : nil, device: device, report: report)
            return try run.train(task, training)
        }
        let task = try CaptionTask(
            dataset: dataset, options: options, training: training, device: device, start: start, report: report)
        if run.steps != nil { task.epochs = 0 }
        try run.train(task, training)
    }

    private func read(_ path: String) throws -> [CaptionFile.Caption] {
        try CaptionFile(contentsOf: URL(filePath: path), encoding: texts.encoding).captions
    }

    private var needsClip: Bool { !shard.isEmpty || textOnly || !style.isEmpty }

    private func clipFolder() throws -> URL { try packs.find(needing: [.clip]).requiredClip() }

    /// Embeds the pictures of all shards into a file of the run's folder, which another start takes up again.
    private func embed(_ engine: Engine, grid: Bool, _ report: (String) -> Void) async throws -> URL {
        let list = try PictureList(shard.map { URL(filePath: $0) })
        list.notes.forEach(report)
        let folder = URL(filePath: run.out)
        try AtomicFile.makeFolder(at: folder)
        let file = folder.appending(path: "embeddings.safetensors")
        report("embedding \(list.entries.count) pictures into \(file.path)")
        let interruption = Interruption()
        let result = try await EmbeddingJob(list, engine: engine, output: file, hasGrids: grid)
            .run(interrupted: { interruption.wasRequested })
        if result.isInterrupted { throw ExitCode(130) }
        if !result.bad.isEmpty {
            let names = result.bad.prefix(5).map(\.key).joined(separator: ", ")
            report("\(result.bad.count) pictures cannot be read: \(names)")
        }
        return file
    }
}
