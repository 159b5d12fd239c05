public import Foundation
public import TihuaNN
public import TihuaTorch
public import TihuaWeightFiles

/// The shape of a model, as its `config.json` states it.
public protocol ModelConfiguration: Codable, Sendable, Equatable {
    /// The number of trained numbers, about; a Double, since a hostile file may name sizes whose product overflows.
    var parameterCount: Double { get }
}

/// The trained numbers of a transformer's layer: four projections, the two layers of the feed-forward part, two norms,
/// all with biases.
func layerParameterCount(width: Double, inner: Double) -> Double {
    4 * width * width + 2 * width * inner + 9 * width + inner
}

/// A model that is opened from a folder in the Hugging Face layout or from a checkpoint of its original code.
///
/// A model states its configuration, its parameters and their names; `open` does the rest, for all models alike. A new
/// one also needs a line in `Architecture.models`.
public protocol LoadableModel: AnyObject {
    /// What `config.json` holds.
    associatedtype Configuration: ModelConfiguration

    /// How `config.json` names the model.
    static var architecture: Architecture { get }

    /// What the model was made with.
    var configuration: Configuration { get }

    /// Declares the parameters under `path`, which is the store's root for a checkpoint.
    ///
    /// - Parameter computeType: the element type of the activations
    init(_ configuration: Configuration, computeType: DType, at path: ParameterPath)

    /// What the model of a folder is: what `config.json` says, or what the weights tell where there is no such file.
    ///
    /// - Parameter notes: what a person should know of the file is added to it
    /// - Throws: `ModelError`, `WeightFileError`.
    static func configuration(
        of folder: ModelFolder, _ checkpoint: Checkpoint, notes: inout [String]
    ) throws -> Configuration

    /// A checkpoint's name as this model has it, whatever its size; nil for what is no parameter.
    static func parameterName(_ name: String) -> String?

    /// The same where the name depends on the configuration. Names that become equal are tied, and must hold equal
    /// values.
    static func parameterName(_ name: String, in configuration: Configuration) -> String?

    /// Fills the parameters of a model from a checkpoint, strictly: missing, unexpected and misshapen names are errors.
    ///
    /// - Throws: `ModelError.checkpoint` with the file and what does not fit, `WeightFileError`.
    static func load(_ checkpoint: Checkpoint, into store: ParameterStore, as configuration: Configuration) throws
}

/// A model with its weights.
public struct OpenedModel<Model> {
    /// The model.
    public let model: Model
    /// Its parameters.
    public let store: ParameterStore
    /// What a person should know of the file, such as that it does not hold the model that its name says.
    public var notes: [String] = []
}

extension LoadableModel {
    /// What `config.json` says.
    public static func configuration(
        of folder: ModelFolder, _ checkpoint: Checkpoint, notes: inout [String]
    ) throws -> Configuration {
        try folder.configuration(of: Self.self)
    }

    /// Names are the model's own.
    public static func parameterName(_ name: String) -> String? { name }

    /// Names depend on no configuration.
    public static func parameterName(_ name: String, in configuration: Configuration) -> String? { parameterName(name) }

    /// Renames the tensors of the checkpoint by `parameterName`.
    public static func load(
        _ checkpoint: Checkpoint, into store: ParameterStore, as configuration: Configuration
    ) throws {
        try TihuaModels.load(checkpoint, into: store) { parameterName($0, in: configuration) }
    }

    /// Opens a folder with `config.json`, or a checkpoint without one of a model that is told by its tensors.
    ///
    /// - Parameters:
    ///   - dtype: the element type of the parameters: float32, or bfloat16 for speed
    ///   - computeType: the element type of the activations; nil is `dtype`
    /// - Throws: `ModelError`, `WeightFileError`.
    public static func open(
        _ url: URL, dtype: DType = .float32, computeType: DType? = nil, device: Device = .cpu
    ) throws -> OpenedModel<Self> {
        let folder = try ModelFolder(at: url, orCheckpointOf: architecture)
        return try open(folder, dtype: dtype, computeType: computeType, device: device)
    }

    /// Opens a folder whose `config.json` has been read.
    ///
    /// - Parameters: as for a URL
    /// - Throws: `ModelError`, `WeightFileError`.
    public static func open(
        _ folder: ModelFolder, dtype: DType = .float32, computeType: DType? = nil, device: Device = .cpu
    ) throws -> OpenedModel<Self> {
        try open(folder, dtype: dtype, computeType: computeType, device: device, adapting: { $0 }, loading: load)
    }

    /// - Parameters:
    ///   - change: another configuration than the checkpoint's
    ///   - load: fills the parameters of the changed one
    static func open(
        _ folder: ModelFolder, dtype: DType, computeType: DType?, device: Device,
        adapting change: (Configuration) throws -> Configuration,
        loading load: (Checkpoint, ParameterStore, Configuration) throws -> Void
    ) throws -> OpenedModel<Self> {
        let checkpoint = try folder.checkpoint()
        var notes: [String] = []
        let found = try configuration(of: folder, checkpoint, notes: &notes)
        try folder.check(parameterCount: found.parameterCount, in: checkpoint)
        let configuration = try change(found)
        let store = ParameterStore(seed: nil, dtype: dtype, device: device)
        let model = Self(configuration, computeType: computeType ?? dtype, at: store.root)
        try load(checkpoint, store, configuration)
        return OpenedModel(model: model, store: store, notes: notes)
    }

    fileprivate static var configurationType: any ModelConfiguration.Type { Configuration.self }
}

/// How `config.json` names a model.
public struct Architecture: Sendable, Hashable, CaseIterable {
    /// Its `model_type`.
    public let rawValue: String
    /// Other values of `model_type` that mean the same.
    let synonyms: [String]
    /// What the class names of `architectures` begin with, in old files without `model_type`.
    let classes: [String]

    init(_ rawValue: String, synonyms: [String] = [], classes: [String]) {
        self.rawValue = rawValue
        self.synonyms = synonyms
        self.classes = classes
    }

    /// The models that Tihua runs.
    private static var models: [any LoadableModel.Type] {
        [
            ChineseCLIP.self, GPT2.self, T5.self, BERT.self, ClipCap.self, PrefixMapper.self, EfficientNet.self,
            UniversalSentenceEncoder.self, VisionTextDualEncoder.self,
        ]
    }

    /// The architectures that Tihua runs.
    public static var allCases: [Architecture] { models.map { $0.architecture } }

    /// What the `config.json` of such a model is read as.
    var configurationType: (any ModelConfiguration.Type)? {
        Self.models.first { $0.architecture == self }?.configurationType
    }

    /// The same for a model that writes by itself; nil for another one.
    var languageModel: (any LanguageModelConfiguration.Type)? {
        configurationType as? any LanguageModelConfiguration.Type
    }

    /// Those that write by themselves.
    static var languageModels: [Architecture] { allCases.filter { $0.languageModel != nil } }

    /// Finds the architecture by `model_type`, or by the class names of `architectures` in old files without one.
    init?(modelType: String?, classes: [String]) {
        let found =
            if let modelType {
                Self.allCases.first { $0.rawValue == modelType || $0.synonyms.contains(modelType) }
            } else {
                classes.lazy.compactMap { name in
                    Self.allCases.first { $0.classes.contains(where: name.hasPrefix) }
                }.first
            }
        guard let found else { return nil }
        self = found
    }
}
