public import TihuaTorch

/// How a parameter starts.
public enum Initialization: Sendable {
    /// 0 everywhere.
    case zeros
    /// 1 everywhere.
    case ones
    /// One value everywhere.
    case constant(Double)
    /// Normal with mean 0.
    case normal(std: Double)
    /// Uniform in [-bound, bound].
    case uniform(bound: Double)
}

/// How the optimiser treats a parameter.
public enum ParameterGroup: Sendable, Hashable {
    /// Matrices, to which weight decay applies.
    case decayed
    /// Biases, norms, embeddings of positions, scales: no weight decay.
    case undecayed
}

/// Something is wrong with a checkpoint's names or shapes.
public enum ParameterError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Parameters of the model that the checkpoint does not have, and names that it has instead.
    case missing([String], unknown: [String] = [])
    /// Names of the checkpoint that the model does not have.
    case unexpected([String])
    /// Both have the name, with different shapes.
    case shape(name: String, expected: [Int], found: [Int])
    /// The checkpoint has the name, but not its elements.
    case unreadable(name: String, reason: String)

    /// What does not fit, in one line; of many names the first eight.
    public var description: String {
        switch self {
        case .missing(let names, let unknown):
            unknown.isEmpty
                ? "the checkpoint lacks \(names.count) parameters: \(ParameterError.sample(names))"
                : "the checkpoint lacks \(names.count) parameters: \(ParameterError.sample(names, 4)); "
                    + "it has \(unknown.count) that the model does not know: \(ParameterError.sample(unknown, 4))"
        case .unexpected(let names):
            "the checkpoint has \(names.count) parameters that the model does not know: \(ParameterError.sample(names))"
        case .shape(let name, let expected, let found): "parameter \(name): expected shape \(expected), found \(found)"
        case .unreadable(let name, let reason): "parameter \(name): \(reason)"
        }
    }

    private static func sample(_ names: [String], _ count: Int = 8) -> String {
        names.prefix(count).joined(separator: ", ") + (names.count > count ? ", ..." : "")
    }
}

/// The parameters and buffers of one model by name, in the order of declaration.
///
/// Layers ask a path for their tensors, with PyTorch's names and layout; the store is the model's state dict and the
/// optimiser's list in one.
public final class ParameterStore {
    /// One tensor of the model.
    public struct Entry {
        /// The name in checkpoints, such as `encoder.layer.0.attention.query.weight`.
        public let name: String
        /// The tensor itself, shared with the layer that declared it.
        public let tensor: Tensor
        /// Whether weight decay applies.
        public let group: ParameterGroup
        /// Whether it is saved and loaded but not trained.
        public let isBuffer: Bool
    }

    /// Where the tensors live.
    public let device: Device
    /// The element type of the floating point parameters.
    public let dtype: DType
    /// Parameters and buffers, in order.
    public private(set) var entries: [Entry] = []

    private var names: Set<String> = []
    private let generator: Generator?
    private let original: ParameterStore?

    /// An empty store.
    ///
    /// - Parameter seed: for a model to train; nil leaves the memory uninitialised, for one that is loaded at once.
    public init(seed: UInt64?, dtype: DType = .float32, device: Device = .cpu) {
        self.dtype = dtype
        self.device = device
        generator = seed.map { Generator(seed: $0) }
        original = nil
    }

    /// An empty store for a second model with the numbers of another: a parameter that is declared here is the tensor
    /// of that name there, in the same memory, with a gradient of its own; a buffer is a copy, so that two models at
    /// work at the same time do not write the same statistics.
    public init(sharing original: ParameterStore) {
        dtype = original.dtype
        device = original.device
        generator = nil
        self.original = original
    }

    /// The root of the tree of names.
    public var root: ParameterPath { ParameterPath(store: self, name: "") }

    /// Trained parameters, in order.
    public var parameters: [Entry] { entries.filter { !$0.isBuffer } }

    /// The number of trained numbers.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.tensor.count } }

    /// The tensor of this name, nil if none is declared.
    public subscript(name: String) -> Tensor? { entries.first { $0.name == name }?.tensor }

    /// Makes every parameter a leaf of autograd.
    public func requireGradients() {
        for entry in parameters { entry.tensor.requiresGradient = true }
    }

    fileprivate func declare(
        _ name: String, _ shape: [Int], _ initialization: Initialization, group: ParameterGroup, isBuffer: Bool,
        dtype: DType
    ) -> Tensor {
        guard names.insert(name).inserted else { fatalError("parameter \(name) is declared twice") }
        let tensor: Tensor
        if let original {
            guard let shared = original[name], shared.shape == shape else {
                fatalError("parameter \(name) is not in the store that is shared")
            }
            tensor = isBuffer ? shared.detached().clone() : shared.detached()
        } else if let generator {
            switch initialization {
            case .zeros: tensor = .zeros(shape, dtype: dtype, device: device)
            case .ones: tensor = .ones(shape, dtype: dtype, device: device)
            case .constant(let value): tensor = .full(shape, value, dtype: dtype, device: device)
            // Drawn on the CPU in float32, so that a seed means the same model on every device.
            case .normal(let std): tensor = (Tensor.randn(shape, generator: generator) * std).to(dtype, device)
            case .uniform(let bound):
                tensor = ((Tensor.rand(shape, generator: generator) - 0.5) * (2 * bound)).to(dtype, device)
            }
        } else {
            tensor = .empty(shape, dtype: dtype, device: device)
        }
        entries.append(Entry(name: name, tensor: tensor, group: group, isBuffer: isBuffer))
        return tensor
    }

    /// Copies a whole checkpoint in. Every name must match and every shape be equal: nothing broadcasts, nothing is
    /// left.
    ///
    /// - Parameters:
    ///   - names: the names in the checkpoint, after renaming to the model's.
    ///   - tensor: reads one of them.
    /// - Throws: `ParameterError`, before anything is changed for names, at the tensor for shapes.
    public func load(names available: [String], _ tensor: (String) throws -> Tensor) throws {
        let given = Set(available)
        let missing = entries.map(\.name).filter { !given.contains($0) }
        let unexpected = available.filter { !names.contains($0) }.sorted()
        guard missing.isEmpty else { throw ParameterError.missing(missing, unknown: unexpected) }
        guard unexpected.isEmpty else { throw ParameterError.unexpected(unexpected) }
        try withoutGradients {
            for entry in entries {
                let source = try tensor(entry.name)
                guard source.shape == entry.tensor.shape else {
                    throw ParameterError.shape(name: entry.name, expected: entry.tensor.shape, found: source.shape)
                }
                entry.tensor.copy_(source)
            }
        }
    }
}

/// A place in the tree of names, such as `encoder.layer.0.attention`.
public struct ParameterPath {
    fileprivate let store: ParameterStore
    /// The whole name up to here, empty at the root.
    public let name: String

    /// The place `component` under `path`.
    public static func / (path: ParameterPath, component: String) -> ParameterPath {
        ParameterPath(store: path.store, name: path.name.isEmpty ? component : "\(path.name).\(component)")
    }

    /// The place of layer `index` under `path`.
    public static func / (path: ParameterPath, index: Int) -> ParameterPath { path / String(index) }

    /// Declares a trained tensor. Vectors and scalars are not decayed unless asked.
    ///
    /// - Precondition: nothing of this name is declared yet.
    public func parameter(
        _ component: String, _ shape: [Int], _ initialization: Initialization, group: ParameterGroup? = nil
    ) -> Tensor {
        store.declare(
            (self / component).name, shape, initialization, group: group ?? (shape.count < 2 ? .undecayed : .decayed),
            isBuffer: false, dtype: store.dtype)
    }

    /// Declares a tensor that is saved but not trained, such as running statistics.
    ///
    /// - Precondition: nothing of this name is declared yet.
    public func buffer(
        _ component: String, _ shape: [Int], _ initialization: Initialization, dtype: DType = .float32
    ) -> Tensor {
        store.declare((self / component).name, shape, initialization, group: .undecayed, isBuffer: true, dtype: dtype)
    }
}
