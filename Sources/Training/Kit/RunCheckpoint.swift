import Foundation
import TihuaModels
import TihuaNN
import TihuaTorch
import TihuaWeightFiles

/// How far a run is.
struct RunProgress: Codable, Equatable {
    /// Optimiser steps done.
    var step = 0
    var epoch = 0
    /// Batches of the epoch done.
    var batch = 0
    /// The lowest validation so far.
    var best: Double?
    /// Validations since then.
    var staleValidations = 0
}

/// Everything that a run needs to continue bit for bit, in one safetensors file: parameters, moments, averages,
/// generators, and in its metadata the place in the data.
struct RunCheckpoint {
    let url: URL

    init(folder: URL) { url = folder.appending(path: "checkpoint.safetensors") }

    /// The options of the run, with the precision that it has; nil where there is no checkpoint that says.
    var options: TrainingOptions? {
        (try? SafetensorsFile(contentsOf: url)).flatMap(Self.options)
    }

    /// Keys that a checkpoint of an older version lacks have their defaults.
    private static func options(_ file: SafetensorsFile) -> TrainingOptions? {
        try? file.metadata["options"].flatMap { JSONValue($0.utf8) }?.options(over: TrainingOptions(), "options")
    }

    /// What Muon computes in: older checkpoints, which do not say, have bfloat16.
    var orthogonalType: DType {
        (try? SafetensorsFile(contentsOf: url).metadata["orthogonalization"]) == "float32" ? .float32 : .bfloat16
    }

    var exists: Bool { FileManager.default.fileExists(atPath: url.path) }

    /// Replaces the last checkpoint, whole or not at all.
    ///
    /// - Throws: `FileError` for a full disk or a missing permission; the last checkpoint is untouched then.
    func write(
        _ progress: RunProgress, store: ParameterStore, optimizer: any Optimizer, average: ExponentialMovingAverage?,
        generators: [(name: String, generator: Generator)], options: TrainingOptions, identity: String
    ) throws {
        var tensors: [(name: String, tensor: Tensor)] = store.entries.map { ("model/\($0.name)", $0.tensor) }
        tensors += optimizer.state
        for (name, shadow) in (average?.shadows ?? [:]).sorted(by: { $0.key < $1.key }) {
            tensors.append(("average/\(name)", shadow))
        }
        for (name, generator) in generators { tensors.append(("generator/\(name)", generator.state)) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let metadata = [
            "progress": String(decoding: try encoder.encode(progress), as: UTF8.self),
            "options": String(decoding: try encoder.encode(options), as: UTF8.self),
            "identity": identity,
            "orthogonalization": "\((optimizer as? Muon)?.computeType ?? .bfloat16)",
        ]
        try TensorFile.write(tensors, metadata: metadata, to: url)
    }

    /// Puts everything back.
    ///
    /// - Throws: `TrainingError.foreignCheckpoint` if the file is not of this run's model and options,
    ///   `WeightFileError`.
    func restore(
        store: ParameterStore, optimizer: any Optimizer, average: ExponentialMovingAverage?,
        generators: [(name: String, generator: Generator)], options: TrainingOptions, identity: String
    ) throws -> RunProgress {
        func foreign(_ reason: String) -> TrainingError { .foreignCheckpoint(path: url.path, reason: reason) }
        let file = try SafetensorsFile(contentsOf: url)
        let decoder = JSONDecoder()
        guard let text = file.metadata["progress"],
            let progress = try? decoder.decode(RunProgress.self, from: Data(text.utf8)),
            let old = Self.options(file)
        else { throw foreign("it is not a checkpoint of a run") }
        // A step and a batch are counted on from here.
        let counts = [progress.step, progress.epoch, progress.batch, progress.staleValidations]
        guard counts.allSatisfy((0...OptionRange.countLimit).contains) else {
            throw foreign(
                "it says that the run is at step \(progress.step), epoch \(progress.epoch), batch \(progress.batch)")
        }
        // Only how long and how often may change between two parts of a run; everything else would change its course.
        var comparable = old
        comparable.steps = options.steps
        comparable.validateEvery = options.validateEvery
        comparable.checkpointEvery = options.checkpointEvery
        comparable.logEvery = options.logEvery
        comparable.patience = options.patience
        guard comparable.precision == options.precision else {
            throw foreign(
                "it was trained in \(old.precision.rawValue), and would go on in \(options.precision.rawValue);"
                    + " set precision to \(old.precision.rawValue)")
        }
        guard comparable == options else { throw foreign("it was made with other options (see run.json)") }
        // Older checkpoints do not say.
        if let other = file.metadata["identity"], other != identity {
            throw foreign("it is of another recipe or other data: \(other), not \(identity)")
        }

        func tensor(_ name: String, like expected: Tensor? = nil) throws -> Tensor {
            guard let view = file[name] else { throw foreign("it lacks \(name)") }
            if let expected, view.shape != expected.shape {
                throw foreign("\(name) has shape \(view.shape), the model has \(expected.shape)")
            }
            return try Tensor.borrowing(view)
        }
        try withoutGradients {
            for entry in store.entries { entry.tensor.copy_(try tensor("model/\(entry.name)", like: entry.tensor)) }
            try optimizer.restore(step: progress.step) { try tensor($0, like: $1) }
            for (name, shadow) in average?.shadows ?? [:] { shadow.copy_(try tensor("average/\(name)", like: shadow)) }
            for (name, generator) in generators { try generator.restore(try tensor("generator/\(name)").clone()) }
        }
        return progress
    }
}
