import Foundation
public import TihuaTorch

/// What moves the parameters of a store along their gradients.
public protocol Optimizer: AnyObject {
    /// Steps taken.
    var step: Int { get }
    /// The parameters that are moved.
    var trained: [ParameterStore.Entry] { get }
    /// What a checkpoint must keep, by name; the tensors are the optimiser's own.
    var state: [(name: String, tensor: Tensor)] { get }

    /// One step over every parameter that has a gradient, then clears the gradients.
    ///
    /// - Throws: `TorchError` if libtorch refuses the step.
    func step(learningRate: Double) throws(TorchError)

    /// Continues a run: the step that was reached, and each tensor of `state`, copied in.
    ///
    /// - Parameter stored: the kept tensor of a name; the second argument is what it goes into, of the same shape
    /// - Throws: what `stored` throws.
    func restore(step: Int, _ stored: (String, Tensor) throws -> Tensor) throws
}

extension Optimizer {
    /// Scales the gradients so that their total norm is at most `maximum`, as `clip_grad_norm_` does; a norm that is
    /// not finite changes nothing.
    ///
    /// - Returns: the norm before.
    @discardableResult
    public func clipGradients(maximum: Double) -> Double {
        let gradients = trained.compactMap(\.tensor.gradient)
        let norm = Kernels.totalNorm(gradients)
        if norm > maximum, norm.isFinite {
            for gradient in gradients { gradient.multiply_(maximum / (norm + 1e-6)) }
        }
        return norm
    }

    /// Forgets the gradients.
    public func clearGradients() {
        for entry in trained { entry.tensor.clearGradient() }
    }
}

/// AdamW (Loshchilov and Hutter 2019) over the parameters of a store, with decay on the `decayed` group only.
public final class AdamW: Optimizer {
    /// The constants of the method.
    public struct Configuration: Sendable, Codable, Equatable {
        /// The decay of the mean gradient, β₁.
        public var beta1 = 0.9
        /// The decay of the mean squared gradient, β₂.
        public var beta2 = 0.95
        /// What is added to the root of the mean squared gradient.
        public var epsilon = 1e-8
        /// The weight decay: a step shrinks the decayed group by the factor 1 - `learningRate` · `weightDecay`.
        public var weightDecay = 0.1

        /// The defaults are those of small language models (Brown et al. 2020).
        public init(beta1: Double = 0.9, beta2: Double = 0.95, epsilon: Double = 1e-8, weightDecay: Double = 0.1) {
            self.beta1 = beta1
            self.beta2 = beta2
            self.epsilon = epsilon
            self.weightDecay = weightDecay
        }
    }

    /// The moments of one parameter, by which a checkpoint continues.
    public struct Moments {
        /// The parameter's name in the store.
        public let name: String
        /// The mean gradient, of the parameter's shape.
        public let first: Tensor
        /// The mean squared gradient, of the parameter's shape.
        public let second: Tensor
    }

    /// The constants that the optimiser was made with.
    public let configuration: Configuration
    /// Steps taken.
    public private(set) var step = 0
    /// The moments of every trained parameter; the tensors are the optimiser's own.
    public var moments: [Moments] { slots.map { Moments(name: $0.entry.name, first: $0.first, second: $0.second) } }

    private struct Slot {
        let entry: ParameterStore.Entry
        let first: Tensor
        let second: Tensor
    }
    private let slots: [Slot]

    /// Makes the parameters leaves of autograd. `frozen` names are left alone.
    public init(
        _ store: ParameterStore, _ configuration: Configuration = .init(), frozen: (String) -> Bool = { _ in false }
    ) {
        self.configuration = configuration
        slots = store.parameters.filter { !frozen($0.name) }.map { entry in
            entry.tensor.requiresGradient = true
            let shape = entry.tensor.shape
            return Slot(
                entry: entry, first: .zeros(shape, dtype: entry.tensor.dtype, device: entry.tensor.device),
                second: .zeros(shape, dtype: entry.tensor.dtype, device: entry.tensor.device))
        }
    }

    /// The parameters that are moved.
    public var trained: [ParameterStore.Entry] { slots.map(\.entry) }

    /// `first/NAME` and `second/NAME` of every parameter.
    public var state: [(name: String, tensor: Tensor)] {
        moments.flatMap { [("first/\($0.name)", $0.first), ("second/\($0.name)", $0.second)] }
    }

    /// One step over every parameter that has a gradient, then clears the gradients.
    ///
    /// - Throws: `TorchError` if libtorch refuses the step.
    public func step(learningRate: Double) throws(TorchError) {
        step += 1
        for group in [ParameterGroup.decayed, .undecayed] {
            var parameters: [Tensor] = []
            var gradients: [Tensor] = []
            var first: [Tensor] = []
            var second: [Tensor] = []
            for slot in slots where slot.entry.group == group {
                guard let gradient = slot.entry.tensor.gradient else { continue }
                parameters.append(slot.entry.tensor)
                gradients.append(gradient)
                first.append(slot.first)
                second.append(slot.second)
            }
            guard !parameters.isEmpty else { continue }
            try Kernels.adamW_(
                parameters: parameters, gradients: gradients, firstMoments: first, secondMoments: second, step: step,
                learningRate: learningRate, beta1: configuration.beta1, beta2: configuration.beta2,
                weightDecay: group == .decayed ? configuration.weightDecay : 0, epsilon: configuration.epsilon)
        }
        clearGradients()
    }

    /// Continues a run: the step that was reached and each parameter's moments, copied in.
    ///
    /// - Throws: `ParameterError.shape` for moments of another shape than their parameter; and what `moments` throws.
    public func restore(step: Int, _ moments: (String) throws -> (first: Tensor, second: Tensor)) throws {
        try restore(step: step, moments: { slot in try moments(slot.entry.name) })
    }

    /// Continues a run from the tensors of `state`.
    ///
    /// - Throws: `ParameterError.shape` for a tensor of another shape than its parameter; and what `stored` throws.
    public func restore(step: Int, _ stored: (String, Tensor) throws -> Tensor) throws {
        try restore(
            step: step,
            moments: { slot in
                let name = slot.entry.name
                return (try stored("first/\(name)", slot.first), try stored("second/\(name)", slot.second))
            })
    }

    private func restore(step: Int, moments: (Slot) throws -> (first: Tensor, second: Tensor)) throws {
        for slot in slots {
            let stored = try moments(slot)
            for (moment, source) in [(slot.first, stored.first), (slot.second, stored.second)] {
                guard moment.shape == source.shape else {
                    throw ParameterError.shape(name: slot.entry.name, expected: moment.shape, found: source.shape)
                }
                moment.copy_(source)
            }
        }
        self.step = step
    }
}

/// The learning rate at a step.
public enum Schedule: Sendable, Codable, Equatable {
    /// Linear warm-up from 0, then half a cosine down to `floor` times the peak.
    case cosine(peak: Double, warmup: Int, total: Int, floor: Double)
    /// Linear warm-up from 0, then a line down to 0.
    case linear(peak: Double, warmup: Int, total: Int)
    /// Linear warm-up from 0, then the peak.
    case constant(peak: Double, warmup: Int)
    /// Linear warm-up from 0, the peak, and over the last 30 % of the steps a line down to 0 (Hägele et al. 2024, arXiv
    /// 2405.18392). Until it falls, it does not matter how long the run will be.
    case trapezoid(peak: Double, warmup: Int, total: Int)

    /// The share of the steps over which a trapezoid falls.
    private static let fall = 0.3

    /// The rate of the step with this index, from 0.
    public func rate(at step: Int) -> Double {
        let (peak, warmup) =
            switch self {
            case .cosine(let peak, let warmup, _, _), .linear(let peak, let warmup, _), .constant(let peak, let warmup),
                .trapezoid(let peak, let warmup, _):
                (peak, warmup)
            }
        if step < warmup { return peak * Double(step + 1) / Double(warmup) }
        switch self {
        case .constant: return peak
        case .trapezoid(_, _, let total):
            let left = Double(total - step) / max(1, Self.fall * Double(total))
            return peak * min(1, max(0, left))
        case .linear(_, _, let total): return peak * (1 - progress(step, warmup, total))
        case .cosine(_, _, let total, let floor):
            let wave = 0.5 * (1 + cos(.pi * progress(step, warmup, total)))
            return peak * (floor + (1 - floor) * wave)
        }
    }

    private func progress(_ step: Int, _ warmup: Int, _ total: Int) -> Double {
        min(1, Double(step - warmup) / Double(max(1, total - warmup)))
    }
}

/// An exponential moving average of the trained parameters, which is what is evaluated and kept. Buffers are not
/// averaged: with `withAverages` the model runs on its own.
public final class ExponentialMovingAverage {
    /// The weight of the average so far in each update, once the early steps are over.
    public let decay: Double
    /// The averages by the parameters' names.
    public private(set) var shadows: [String: Tensor] = [:]
    private let store: ParameterStore

    /// Starts from the parameters as they are.
    public init(_ store: ParameterStore, decay: Double) {
        self.decay = decay
        self.store = store
        withoutGradients {
            for entry in store.parameters { shadows[entry.name] = entry.tensor.detached().clone() }
        }
    }

    /// After each optimiser step: shadow = decay shadow + (1 - decay) parameter. Early steps average less, at most
    /// (1 + step) / (10 + step), so that the random start is forgotten.
    public func update(step: Int) {
        let decay = min(self.decay, Double(1 + step) / Double(10 + step))
        withoutGradients {
            for entry in store.parameters {
                shadows[entry.name]?.interpolate_(entry.tensor, weight: 1 - decay)
            }
        }
    }

    /// Runs `body` with the averaged parameters in the model, then puts the trained ones back.
    public func withAverages<Result>(_ body: () throws -> Result) rethrows -> Result {
        exchange()
        defer { exchange() }
        return try body()
    }

    private func exchange() {
        withoutGradients {
            for entry in store.parameters {
                guard let shadow = shadows[entry.name] else { continue }
                let trained = entry.tensor.detached().clone()
                entry.tensor.copy_(shadow)
                shadow.copy_(trained)
            }
        }
    }
}
