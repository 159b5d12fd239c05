import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaModels
import TihuaNN
import TihuaTokenizers
import TihuaTorch
import TihuaTraining
import TihuaVerse

/// `tihua train`: the recipes.
struct TrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Train the models of a pack from data.",
        subcommands: [
            TrainPoetCommand.self, TrainClipCommand.self, TrainCaptionCommand.self, TrainPrefixCommand.self,
        ])
}

/// What every training shares.
struct RunArguments: ParsableArguments {
    @Option(
        name: .long, help: "A JSON file with the options; flags of the command come first.",
        completion: .file(extensions: ["json"]))
    var config: String?

    @Option(name: .long, help: "The folder of the run: log, checkpoint, best model.", completion: .directory)
    var out: String

    @Flag(name: .long, help: "Continue the run that the folder holds.")
    var resume = false

    @Option(name: .long, help: "Optimiser steps.")
    var steps: Int?

    @Option(name: .long, help: "The highest learning rate.")
    var learningRate: Double?

    @Option(name: .long, help: "The seed of weights, order and prompts.")
    var seed: UInt64?

    @OptionGroup var place: DeviceOptions

    @Flag(name: .long, help: "Log to the folder only.")
    var quiet = false

    func validate() throws {
        if let steps, steps < 1 { throw ValidationError("--steps \(steps) is not at least 1") }
        if let learningRate, !(learningRate > 0 && learningRate.isFinite) {
            throw ValidationError("--learning-rate \(learningRate) is not above 0")
        }
    }

    /// The file of options, empty where none is named.
    func recipe() throws -> RecipeFile {
        try config.map { try RecipeFile(contentsOf: URL(filePath: $0)) } ?? RecipeFile()
    }

    /// The options of the file, with the flags over them.
    func options(_ recipe: RecipeFile) throws -> TrainingOptions {
        var training = try recipe.section("training", or: TrainingOptions())
        training.steps = steps ?? training.steps
        training.learningRate = learningRate ?? training.learningRate
        training.seed = seed ?? training.seed
        try training.validate()
        return training
    }

    /// Finds the device and settles the precision: the run's that is continued, else what the device computes fastest
    /// in.
    ///
    /// - Throws: `TorchError.noDevice` for a device that is not there.
    func prepare(_ training: TrainingOptions) throws -> (device: Device, training: TrainingOptions) {
        let device = try place.prepare()
        return (device, training.resolvingPrecision(on: device, continuing: resume ? URL(filePath: out) : nil))
    }

    /// Trains until the end or Ctrl-C, which leaves a checkpoint and exits with 130.
    func train(_ task: some TrainingTask, _ training: TrainingOptions) throws {
        if place.threads == nil, task.store.device == .cpu {
            // Workers whose operations all took all cores would wait for each other.
            Runtime.threadCount = max(1, Runtime.threadCount / training.workers)
        }
        let trainer = try Trainer(task, options: training, folder: URL(filePath: out), resume: resume, quiet: quiet)
        let interruption = Interruption()
        guard try trainer.run(interrupted: { interruption.wasRequested }) == .interrupted else { return }
        note("--resume continues from here")
        throw ExitCode(130)
    }

    /// Says what a person should know, unless nothing is to be said.
    func note(_ text: String) { if !quiet { Console.note(text) } }
}

/// `tihua train poet`: a language model that writes poems from keywords.
struct TrainPoetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "poet", abstract: "Train a poet on a corpus of poems.",
        discussion: """
            The corpus is what tihua data poems writes; CCPC files and plain text are read too.

              tihua data poems chinese-poetry.tar.xz --out corpus.jsonl
              tihua train poet --corpus corpus.jsonl --words Weights/mini/imagery.tsv \\
                --config Recipes/poet-mini.json --out runs/poet
              tihua train poet --corpus corpus.jsonl --words Weights/mini/imagery.tsv \\
                --config Recipes/poet-mini.json --out runs/poet --resume

            The best model by validation is in runs/poet/best; tensorboard --logdir runs shows the curves.

            Recipes: gpt2 and t5 take the prompts of Tihua (form, rhyme, keywords, theme). image2poem-gpt2 and \
            image2poem-t5 are the objectives of Image2Poem, on quatrains. The file of options has the parts training, \
            poet, image2poem and t5.

              tihua train poet --recipe image2poem-t5 --corpus ccpc_train.json \\
                --config Recipes/image2poem-t5.json --out runs/t5
            """)

    @OptionGroup var data: PoetDataArguments

    @Option(name: .long, help: "A GPT2 poet of Tihua to go on from.", completion: .directory)
    var from: String?

    enum Recipe: String, ExpressibleByArgument, CaseIterable {
        case gpt2
        case t5
        case image2poemGPT2 = "image2poem-gpt2"
        case image2poemT5 = "image2poem-t5"
    }

    @Option(name: .long, help: "What is trained and how.")
    var recipe = Recipe.gpt2

    @OptionGroup var run: RunArguments

    func validate() throws {
        if from != nil, recipe != .gpt2 { throw ValidationError("--from goes with --recipe gpt2 only") }
    }

    func run() async throws {
        let file = try run.recipe()
        let given = try run.options(file)
        let options = try file.section("poet", or: PoetOptions())
        let objective = try file.section("image2poem", or: Image2PoemOptions())
        let shape = try file.section("t5", or: T5Options())
        let (device, training) = try run.prepare(given)
        let folder = try from.map { try ModelFolder(at: URL(filePath: $0)) }
        let vocabulary = try from.map {
            try PoetVocabulary(contentsOf: URL(filePath: $0).appending(path: "vocab.txt"))
        }
        let dataset = try data.dataset(vocabulary: vocabulary, options: options)
        run.note(
            "\(dataset.training.count) poems to train on, \(dataset.validation.count) held out, "
                + "\(dataset.vocabulary.count) tokens; left out: \(reasons(dataset.dropped).joined(separator: ", "))")
        switch recipe {
        case .gpt2:
            try run.train(
                PoetTask(dataset: dataset, options: options, training: training, device: device, continuing: folder),
                training)
        case .t5, .image2poemT5:
            try run.train(
                T5PoetTask(
                    dataset: dataset, options: options, shape: shape,
                    format: recipe == .t5 ? .tihua : .image2poem(objective), training: training, device: device),
                training)
        case .image2poemGPT2:
            try run.train(
                Image2PoemTask(
                    dataset: dataset, options: options, objective: objective, training: training, device: device),
                training)
        }
    }
}

/// What a poet is trained on, and measured on: the same options name the same poems, split in the same way.
struct PoetDataArguments: ParsableArguments {
    @Option(name: .long, help: "Poems: JSON lines of tihua data poems, CCPC, or plain text.", completion: .file())
    var corpus: [String]

    @OptionGroup var lists: PoetListArguments

    /// Reads the files and splits the poems.
    ///
    /// - Throws: `DataFileError`, `FileError`.
    func dataset(vocabulary: PoetVocabulary?, options: PoetOptions) throws -> PoemDataset {
        try lists.dataset(of: corpus, vocabulary: vocabulary, options: options)
    }

    /// Reads the files.
    ///
    /// - Throws: `DataFileError`, `FileError`.
    func read() throws -> PoemSources { try lists.read(corpus) }
}

/// What the prompts for a poet's poems may say.
struct PoetListArguments: ParsableArguments {
    @Option(
        name: .long,
        help: """
            A list of words that may be keywords, in its first column; its third may say what a picture of the word \
            shows. May stand several times.
            """,
        completion: .file())
    var words: [String] = []

    @Option(
        name: .long, help: "CCPM JSON lines: modern sentences with the classical lines they mean.", completion: .file())
    var glosses: [String] = []

    /// Reads the poems of files, with these lists, and splits them.
    ///
    /// - Parameter converter: makes the characters of texts and of CCPC simplified
    /// - Throws: `DataFileError`, `FileError`.
    func dataset(
        of corpus: [String], vocabulary: PoetVocabulary?, options: PoetOptions, converter: ChineseConverter? = nil
    ) throws -> PoemDataset {
        PoemDataset(try read(corpus, converter: converter), vocabulary: vocabulary, options: options.dataset)
    }

    /// - Throws: `DataFileError`, `FileError`.
    func read(_ corpus: [String], converter: ChineseConverter? = nil) throws -> PoemSources {
        func urls(_ paths: [String]) -> [URL] { paths.map { URL(filePath: $0) } }
        return try PoemSources(
            corpus: urls(corpus), words: urls(words), glosses: urls(glosses), converter: converter)
    }
}
