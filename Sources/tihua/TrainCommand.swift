import ArgumentParser
import Corpora
import Foundation
import Generation
import Models
import Torch
import TorchNN
import Training

/// `tihua train`: the recipes.
struct TrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Train the models of a pack from data.", subcommands: [TrainPoetCommand.self, TrainClipCommand.self])
}

/// What every training shares.
struct RunArguments: ParsableArguments {
    @Option(name: .long, help: "A JSON file with the options; flags win over it.", completion: .file(extensions: ["json"]))
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

    @Option(name: .long, help: "cpu, cuda, cuda:1 or auto.")
    var device = "auto"

    @Option(name: .long, help: "Processor threads of one operation.")
    var threads: Int?

    @Flag(name: .long, help: "Log to the folder only.")
    var quiet = false

    /// The options of the file, with the flags over them.
    func options<Own: Decodable>(_ key: String, _ none: Own) throws -> (TrainingOptions, Own) {
        var training = TrainingOptions()
        var own = none
        if let config {
            let data = try Data(contentsOf: URL(filePath: config))
            do {
                let sections = try JSONDecoder().decode(Sections<Own>.self, from: data)
                training = sections.training ?? training
                own = sections.own(key) ?? own
            } catch {
                throw TrainingError.data(path: config, reason: "not the options of a run: \(Self.reason(error))")
            }
        }
        training.steps = steps ?? training.steps
        training.learningRate = learningRate ?? training.learningRate
        training.seed = seed ?? training.seed
        try training.validate()
        return (training, own)
    }

    private static func reason(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return error.localizedDescription }
        switch error {
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context),
            .dataCorrupted(let context):
            return (context.codingPath.map(\.stringValue) + [context.debugDescription]).joined(separator: ": ")
        @unknown default: return "it cannot be read"
        }
    }

    /// `{"training": {..}, "poet": {..}}`
    private struct Sections<Own: Decodable>: Decodable {
        let training: TrainingOptions?
        let others: [String: Own]

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Key.self)
            training = try values.decodeIfPresent(TrainingOptions.self, forKey: Key("training"))
            var others: [String: Own] = [:]
            for key in values.allKeys where key.stringValue != "training" {
                others[key.stringValue] = try values.decode(Own.self, forKey: key)
            }
            self.others = others
        }

        func own(_ key: String) -> Own? { others[key] }
    }

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.init(stringValue) }
        init?(intValue: Int) { nil }
    }
}

/// `tihua train poet`: a language model that writes poems from keywords.
struct TrainPoetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "poet", abstract: "Train a poet on a corpus of poems.",
        discussion: """
            The corpus is what tihua data poems writes; CCPC files and plain text load too.

              tihua data poems chinese-poetry.tar.xz --out corpus.jsonl
              tihua train poet --corpus corpus.jsonl --words Weights/mini/imagery.tsv \\
                  --config Recipes/poet-mini.json --out runs/poet
              tihua train poet --corpus corpus.jsonl --words Weights/mini/imagery.tsv \\
                  --config Recipes/poet-mini.json --out runs/poet --resume

            The best model by validation is in runs/poet/best; tensorboard --logdir runs shows the curves.
            """)

    @Option(name: .long, help: "Poems: JSON lines of tihua data poems, CCPC, or plain text.", completion: .file())
    var corpus: [String]

    @Option(name: .long, help: "Files whose first column lists words that may be keywords.", completion: .file())
    var words: [String] = []

    @Option(name: .long, help: "CCPM JSON lines: modern sentences with the classical lines they mean.", completion: .file())
    var glosses: [String] = []

    @Option(name: .long, help: "A poet to go on from.", completion: .directory)
    var from: String?

    @OptionGroup var run: RunArguments

    func run() async throws {
        let (training, options) = try run.options("poet", PoetOptions())
        let device = try Device(named: run.device)
        if let threads = run.threads { Runtime.threadCount = threads }
        let poems = try corpus.flatMap { try PoemFile.read(URL(filePath: $0)) }
        var known = try words.flatMap(Self.firstColumn)
        known += KeywordExtractor.frequentPairs(in: poems.lazy.map(\.lines))
        var themes: [String: [String]] = [:]
        for file in glosses {
            for item in try MatchingItem.read(URL(filePath: file)) {
                themes[item.choices[item.answer], default: []].append(item.translation)
            }
        }
        let folder = try from.map { try ModelFolder(at: URL(filePath: $0)) }
        let vocabulary = try from.map {
            try PoetVocabulary(contentsOf: URL(filePath: $0).appending(path: "vocab.txt"))
        }
        let dataset = PoemDataset(poems: poems, words: known, themes: themes, vocabulary: vocabulary, options: options)
        if !run.quiet {
            let dropped = dataset.dropped.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
            print(
                "\(dataset.training.count) poems to train on, \(dataset.validation.count) held out, "
                    + "\(dataset.vocabulary.count) tokens; left out: \(dropped)", to: &standardError)
        }
        let task = try PoetTask(dataset: dataset, options: options, training: training, device: device, continuing: folder)
        let trainer = try Trainer(
            task, options: training, folder: URL(filePath: run.out), resume: run.resume, quiet: run.quiet)
        let interruption = Interruption()
        if try trainer.run(interrupted: { interruption.wasRequested }) == .interrupted { throw ExitCode(130) }
    }

    private static func firstColumn(of path: String) throws -> [String] {
        try String(contentsOf: URL(filePath: path), encoding: .utf8).split(separator: "\n")
            .compactMap { $0.split(separator: "\t").first.map(String.init) }
    }
}

/// Standard error as a stream for `print`.
struct StandardError: TextOutputStream {
    mutating func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
nonisolated(unsafe) var standardError = StandardError()
