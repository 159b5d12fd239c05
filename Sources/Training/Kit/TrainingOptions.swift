import Foundation
import TihuaCorpora
import TihuaFiles
import TihuaNN

/// How a run trains, whatever it trains: the part `training` of a `RecipeFile`; missing keys keep these values.
public struct TrainingOptions: RecipeOptions, Codable, Sendable, Equatable {
    /// Optimiser steps in all.
    public var steps = 1000
    /// Batches of one step. Each has the same weight, however many tokens it has: batches are of about equal size.
    public var accumulation = 1
    /// Batches that are computed at the same time, each on a thread of its own; `accumulation` is a multiple. The sum
    /// of their gradients, and so the run, is the same as one after the other.
    public var workers = 1
    /// `adamw`, or `muon` for the matrices of the hidden layers and AdamW for the rest.
    public var optimizer = OptimizerName.adamw
    /// The highest learning rate.
    public var learningRate = 1e-3
    /// Steps of linear warm-up.
    public var warmup = 100
    /// After the warm-up: `cosine`, `linear` or `constant`.
    public var schedule = ScheduleName.cosine
    /// AdamW's weight decay, at least 0; it shrinks matrices only.
    public var weightDecay = 0.1
    /// AdamW's decay of the mean squared gradient, 0 to below 1.
    public var beta2 = 0.98
    /// The largest norm of the gradients of a step; 0 does not clip.
    public var gradientClip = 1.0
    /// The weight of the past in the average of the parameters, which is what is validated and kept; 0 keeps the
    /// parameters themselves.
    public var averageDecay = 0.0
    /// Steps between validations.
    public var validateEvery = 200
    /// Steps between checkpoints.
    public var checkpointEvery = 200
    /// Steps between lines of the log.
    public var logEvery = 20
    /// Validations without a better result after which the run ends; 0 never ends it.
    public var patience = 0
    /// The seed of the first parameters, of the order of the batches and of everything else that is drawn.
    public var seed: UInt64 = 1
    /// The element type of activations and of Muon's orthogonalisation; parameters stay float32.
    public var precision = Precision.auto

    /// How the parameters are moved.
    public enum OptimizerName: String, Codable, Sendable, CaseIterable {
        case adamw, muon
    }

    /// The curve of the learning rate after the warm-up.
    public enum ScheduleName: String, Codable, Sendable, CaseIterable {
        case cosine, linear, constant, trapezoid
    }

    /// The default options.
    public init() {}

    /// Checks the ranges.
    ///
    /// - Throws: `TrainingError.option` naming the first value that makes no sense.
    public func validate() throws(TrainingError) {
        try OptionRange.check(ranges)
        guard accumulation % workers == 0 else {
            throw .option("workers", "\(workers)", "a divisor of accumulation, \(accumulation)")
        }
    }

    var ranges: [OptionRange] {
        let counts = 1...OptionRange.countLimit
        return [
            .init("steps", steps, counts), .init("accumulation", accumulation, 1...1 << 20),
            .init("workers", workers, 1...1024),
            .init("learningRate", learningRate, .leastNonzeroMagnitude...1e6, "above 0, up to a million"),
            .init("warmup", warmup, 0...OptionRange.countLimit), .weight("weightDecay", weightDecay),
            .share("beta2", beta2), .weight("gradientClip", gradientClip), .share("averageDecay", averageDecay),
            .init("validateEvery", validateEvery, counts), .init("checkpointEvery", checkpointEvery, counts),
            .init("logEvery", logEvery, counts), .init("patience", patience, 0...OptionRange.countLimit),
        ]
    }

    var rates: Schedule {
        switch schedule {
        case .cosine: .cosine(peak: learningRate, warmup: warmup, total: steps, floor: 0.05)
        case .linear: .linear(peak: learningRate, warmup: warmup, total: steps)
        case .constant: .constant(peak: learningRate, warmup: warmup)
        case .trapezoid: .trapezoid(peak: learningRate, warmup: warmup, total: steps)
        }
    }
}

private func gigabytes(_ bytes: Double) -> String { String(format: "%.0f", (bytes / 1e9).rounded(.up)) }

/// Why a run cannot start or go on.
public enum TrainingError: Error, Equatable, Sendable, CustomStringConvertible {
    case option(_ name: String, _ value: String, _ expected: String)
    /// `quantity` is `loss`, or `gradient norm` where the loss is still finite.
    case diverged(step: Int, quantity: String, value: Double)
    case folderInUse(String)
    /// Another process trains in the folder.
    case folderLocked(String)
    /// The model does not fit into the memory; bytes.
    case tooLarge(parameters: Double, needed: Double, memory: Double)
    case foreignCheckpoint(path: String, reason: String)
    case data(path: String, reason: String)

    /// The error of data of which nothing can be trained on, with the reasons.
    static func nothingLeft(
        _ path: String, _ what: String, dropped: [String: Int], heldOut: Int
    ) -> TrainingError {
        let all = reasons(dropped) + ["\(heldOut) held out"]
        return .data(path: path, reason: "\(what) are left to train on (\(all.joined(separator: ", ")))")
    }

    /// One line: what is wrong, where, and what to do.
    public var description: String {
        switch self {
        case .option(let name, let value, let expected): "\(name) is \(value), but must be \(expected)"
        case .diverged(let step, let quantity, let value):
            "the \(quantity) became \(value) at step \(step); "
                + "lower the learning rate and resume from the last checkpoint"
        case .folderInUse(let path):
            "\(path) already holds a run"
        case .folderLocked(let path):
            "\(path): another process is training there; wait for its end, or name another folder"
        case .tooLarge(let parameters, let needed, let memory):
            "a model of \(String(format: "%.0f", parameters)) numbers takes \(gigabytes(needed)) GB to train, "
                + "but this machine has \(gigabytes(memory)) GB; make it narrower or lower in the recipe"
        case .foreignCheckpoint(let path, let reason): "\(printable(path)) cannot be continued: \(printable(reason))"
        case .data(let path, let reason): "\(printable(path)): \(printable(reason))"
        }
    }
}
