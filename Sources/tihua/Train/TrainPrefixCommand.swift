import ArgumentParser
import Foundation
import Tihua
import TihuaCorpora
import TihuaEncoders
import TihuaModels
import TihuaTorch
import TihuaTraining
import TihuaVerse

/// `tihua train prefix`: a mapping network from pictures to a poet.
struct TrainPrefixCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prefix", abstract: "Train the way from a picture to a poet without keywords, on texts alone.",
        discussion: """
            A mapping network turns the embedding of a picture into a few embeddings that stand in the poet's prompt \
            in place of keywords. It learns without pictures, as CapDec does: from the embeddings of modern glosses \
            (CCPM), of descriptions of the poem's words (the third column of the bank), and of the poem's own lines, \
            all with noise. The poet is not changed, and the mapping network fits only this poet and this CLIP model.

              tihua train prefix --corpus corpus.jsonl --words Weights/mini/imagery.tsv \\
                --glosses ccpm/train.jsonl --config Recipes/prefix-mini.json \\
                --out runs/prefix
              tihua poem photo.jpg --through prefix --prefix runs/prefix/best

            To put it into a pack, write "prefix": "prefix" into its pack.json, with the name of the folder.
            """)

    @OptionGroup var data: PoetDataArguments

    @OptionGroup var packs: PackArguments

    @Option(help: "A GPT2 poet of Tihua, instead of the pack's.", completion: .directory)
    var poet: URL?

    @Option(
        help: "The mean of pictures' embeddings (image_mean), instead of the pack's.",
        completion: .file(extensions: ["safetensors"]))
    var calibration: URL?

    @OptionGroup var run: RunArguments

    func run() async throws {
        let file = try run.recipe()
        let given = try run.options(file)
        let options = try file.section("prefix", or: PrefixOptions())
        try options.validate()
        let (device, training) = try run.prepare(given)
        let report = run.note
        let models = try packs.find(.init(poet: poet, calibration: calibration), needing: [.clip, .poet])
        let folder = try ModelFolder(at: models.requiredPoet())
        let vocabulary = try PoetVocabulary(contentsOf: folder.url.appending(path: "vocab.txt"))
        let engine = try Engine(pack: models, device: device, threads: run.place.threads)
        let width = try await engine.embeddingWidth
        let imageMean = options.addsModalityOffset ? try models.imageMean(width: width) : nil
        let content = try data.read()
        let dataset = try await PrefixDataset(
            poems: content.poems, themes: content.themes, descriptions: content.descriptions, vocabulary: vocabulary,
            options: options
        ) { texts in
            report("embedding \(texts.count) texts")
            return try await engine.embeddings(of: texts)
        }
        let dropped = reasons(dataset.dropped).joined(separator: ", ")
        report(
            "\(dataset.counts.training) poems to train on, \(dataset.counts.validation) held out"
                + (dropped.isEmpty ? "" : "; left out: \(dropped)"))
        try run.train(
            PrefixTask(
                dataset: dataset, options: options, training: training, device: device, poet: folder,
                imageMean: imageMean, clipModel: await engine.fingerprint,
                poetModel: modelFingerprint(folder.url)), training)
    }
}
