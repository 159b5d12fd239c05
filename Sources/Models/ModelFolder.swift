public import Foundation
import TihuaFiles
public import TihuaNN
public import TihuaTorch
public import TihuaWeightFiles

/// A folder in the Hugging Face layout: `config.json`, weights, tokenizer files.
public struct ModelFolder: Sendable {
    /// The folder.
    public let url: URL
    /// What its `config.json` says the model is.
    public let architecture: Architecture
    /// nil for a checkpoint without `config.json`.
    private let configurationData: Data?

    /// The longest file that is read as a configuration, in bytes.
    private static let maximumConfiguration = 16 << 20

    /// Reads `config.json`. The weights are opened by `checkpoint()`.
    ///
    /// - Throws: `ModelError.configuration`, `ModelError.unknownArchitecture`.
    public init(at url: URL) throws(ModelError) {
        let file = url.appending(path: "config.json")
        let data = try ModelFolder.readConfiguration(file)
        struct Header: Decodable {
            var model_type: String?
            var architectures: [String]?
        }
        let header: Header = try decodeConfiguration(data, path: file.path)
        let classes = header.architectures ?? []
        guard let known = Architecture(modelType: header.model_type, classes: classes) else {
            throw .unknownArchitecture(
                path: file.path, found: header.model_type ?? classes.first ?? "(none named)",
                known: Architecture.allCases.map(\.rawValue))
        }
        self.init(url, known, data)
    }

    /// The same, but where there is no `config.json` the folder or file is taken for a checkpoint of that architecture.
    init(at url: URL, orCheckpointOf architecture: Architecture) throws(ModelError) {
        let isDescribed = FileManager.default.fileExists(atPath: url.appending(path: "config.json").path)
        self = isDescribed ? try ModelFolder(at: url) : ModelFolder(url, architecture, nil)
    }

    private init(_ url: URL, _ architecture: Architecture, _ configurationData: Data?) {
        (self.url, self.architecture, self.configurationData) = (url, architecture, configurationData)
    }

    /// Whether there is a `config.json`.
    var hasConfiguration: Bool { configurationData != nil }

    private static func readConfiguration(_ file: URL) throws(ModelError) -> Data {
        do {
            return Data(try UserFile.bytes(of: file, limit: maximumConfiguration))
        } catch .tooLarge {
            throw .configuration(
                path: file.path, reason: "longer than \(maximumConfiguration >> 20) MB, which no configuration is")
        } catch {
            throw .configuration(
                path: file.path,
                reason: "cannot be read (\(error.reason)); a model folder holds config.json and weights")
        }
    }

    /// The configuration as one architecture's type.
    ///
    /// - Throws: `ModelError.configuration` for missing or mistyped values, `ModelError.unsupported` for variants that
    ///   Tihua does not run.
    public func configuration<Configuration: Decodable>(
        as type: Configuration.Type = Configuration.self
    ) throws(ModelError) -> Configuration {
        let file = url.appending(path: "config.json")
        let data = if let configurationData { configurationData } else { try ModelFolder.readConfiguration(file) }
        return try decodeConfiguration(data, path: file.path)
    }

    /// The configuration of a model of that kind.
    ///
    /// - Throws: `ModelError.unknownArchitecture` where the folder holds another one; as `configuration(as:)`.
    func configuration<Model: LoadableModel>(of model: Model.Type) throws(ModelError) -> Model.Configuration {
        guard architecture == Model.architecture else { throw wrongArchitecture([Model.architecture]) }
        return try configuration()
    }

    /// The configuration as the type of the folder's own architecture.
    ///
    /// - Throws: as `configuration(as:)`.
    public func anyConfiguration() throws(ModelError) -> (any ModelConfiguration)? {
        guard let type = architecture.configurationType else { return nil }
        return try configuration(as: type)
    }

    func wrongArchitecture(_ needed: [Architecture]) -> ModelError {
        .unknownArchitecture(
            path: url.appending(path: "config.json").path, found: architecture.rawValue,
            known: needed.map(\.rawValue))
    }

    /// A file of the folder, nil where it is not there.
    public func file(_ name: String) -> URL? {
        let file = url.appending(path: name)
        return FileManager.default.fileExists(atPath: file.path) ? file : nil
    }

    /// The tokenizer's file: `vocab.txt` (WordPiece), `spiece.model` or `sp.model` (SentencePiece); nil where there is
    /// none.
    public var tokenizerFile: URL? { file("vocab.txt") ?? file("spiece.model") ?? file("sp.model") }

    /// The weights, mapped.
    ///
    /// - Throws: `WeightFileError`.
    public func checkpoint() throws(WeightFileError) -> Checkpoint { try Checkpoint.open(url) }

    /// Where the vocabulary of a model lies: the folder itself, or that of a checkpoint which is given as a file.
    public static func home(of url: URL) -> URL {
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder)
        return isFolder.boolValue ? url : url.deletingLastPathComponent()
    }

    /// Checks the vocabulary against the rows of the model's embedding. Fewer tokens than rows are allowed up to the
    /// padding to a round number that checkpoints are given.
    ///
    /// - Throws: `ModelError.vocabulary`.
    public func check(vocabulary tokens: Int, rows: Int) throws(ModelError) {
        try Self.check(vocabulary: tokens, rows: rows, in: url)
    }

    /// The same for the vocabulary of a folder that need not have a `config.json`.
    ///
    /// - Throws: `ModelError.vocabulary`.
    public static func check(vocabulary tokens: Int, rows: Int, in folder: URL) throws(ModelError) {
        guard tokens <= rows, rows - tokens < 512 else {
            throw .vocabulary(folder: folder.path, tokens: tokens, rows: rows)
        }
    }

    /// Checks, before memory is taken, that the weights can be those of a model of this size.
    ///
    /// - Throws: `ModelError.checkpoint`.
    func check(parameterCount expected: Double, in checkpoint: Checkpoint) throws(ModelError) {
        let claimed = checkpoint.tensors.reduce(0.0) { $0 + Double($1.elementCount) }
        // A tensor of torch.save can repeat one number along a dimension, and so claim more than any memory holds.
        let bytes =
            checkpoint.isPacked
            ? Int(claimed)
            : checkpoint.files.compactMap { try? $0.resourceValues(forKeys: [.fileSizeKey]).fileSize }.reduce(
                0, +)
        guard expected > min(4 * claimed, Double(bytes)) + 1e6 else { return }
        throw .checkpoint(
            path: checkpoint.files.first?.path ?? url.path,
            reason: "holds \(Int(claimed)) numbers in \(bytes) bytes, but "
                + "\(hasConfiguration ? "config.json describes" : "the shapes are those of") a model of "
                + String(format: "%.0f", expected))
    }

    /// Writes a model so that `ModelFolder` and Python's transformers load it: `config.json` and `model.safetensors`.
    ///
    /// A new folder appears whole or not at all; in an existing one each file is replaced whole, weights first.
    ///
    /// - Parameters:
    ///   - dtype: the element type of floating point parameters in the file, float32 or bfloat16; as in the store if
    ///     nil. Buffers keep theirs.
    ///   - files: further files to copy in, such as `vocab.txt`
    ///   - tensor: what to save for a parameter, such as its average; the parameter itself if nil
    /// - Throws: `FileError` where a file cannot be read or written.
    public static func save(
        configuration: some Encodable, store: ParameterStore, dtype: DType? = nil, copying files: [URL] = [],
        to folder: URL, tensor: ((ParameterStore.Entry) -> Tensor)? = nil
    ) throws {
        func write(to target: URL) throws {
            let tensors = store.entries.map { (name: $0.name, tensor: tensor?($0) ?? $0.tensor) }
            // Statistics and scales lose what they are for in 16 bits.
            let buffers = Set(store.entries.filter(\.isBuffer).map(\.name))
            try TensorFile.write(
                tensors, dtype: dtype, keeping: buffers, to: target.appending(path: "model.safetensors"))
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            let json = try encoder.encode(configuration)
            try AtomicFile.write(json, to: target.appending(path: "config.json"))
            for file in files {
                let content = try UserFile.bytes(of: file)
                let copy = target.appending(path: file.lastPathComponent)
                if copy.standardizedFileURL != file.standardizedFileURL {
                    try AtomicFile.write(content, to: copy)
                }
            }
        }
        if FileManager.default.fileExists(atPath: folder.path) {
            try write(to: folder)
        } else {
            try AtomicFile.folder(at: folder, write)
        }
    }
}

/// Fills a store from a checkpoint, strictly: missing, unexpected and misshapen names are errors.
///
/// - Parameter renaming: a checkpoint's name to the store's; nil for tensors that are no parameters. Names that become
///   equal are tied, and must hold equal values.
/// - Throws: `ModelError.checkpoint` with the file and what does not fit.
public func load(_ checkpoint: Checkpoint, into store: ParameterStore, renaming: (String) -> String? = { $0 }) throws {
    let path = checkpoint.files.first?.path ?? "checkpoint"
    let known = Set(store.entries.map(\.name))
    let checkpoint = try checkpoint.withoutTrainerPrefixes { renaming($0).map(known.contains) ?? true }
    var views: [String: TensorView] = [:]
    var names: [String] = []
    for view in checkpoint.tensors {
        guard let name = renaming(view.name) else { continue }
        if let first = views[name] {
            guard equal(first, view) else {
                throw ModelError.checkpoint(
                    path: path, reason: "\(first.name) and \(view.name) differ, but this model ties them")
            }
        } else {
            views[name] = view
            names.append(name)
        }
    }
    // A name that is not known is named as in the file, which is where a person looks for it.
    try fill(store, from: path, names: names, inFile: { views[$0]?.name ?? $0 }) { name in
        guard let view = views[name] else { throw ParameterError.missing([name]) }
        guard DType(view.elementType).isFloatingPoint || store[name]?.dtype.isFloatingPoint == false else {
            throw ParameterError.unreadable(
                name: name, reason: "\(view.elementType.rawValue) where floating point is expected")
        }
        return try Tensor.borrowing(view)
    }
}

/// Loads every parameter of a store; what does not fit is an error of the checkpoint at `path`.
///
/// - Parameter inFile: how the file calls a name
/// - Throws: `ModelError.checkpoint`, and what `tensor` throws.
func fill(
    _ store: ParameterStore, from path: String, names: [String], inFile: (String) -> String = { $0 },
    _ tensor: (String) throws -> Tensor
) throws {
    do {
        try store.load(names: names, tensor)
    } catch ParameterError.missing(let names, let unknown) {
        let error = ParameterError.missing(names, unknown: unknown.map(inFile))
        throw ModelError.checkpoint(path: path, reason: error.description)
    } catch let error as ParameterError {
        throw ModelError.checkpoint(path: path, reason: error.description)
    }
}

func equal(_ first: TensorView, _ second: TensorView) -> Bool {
    guard first.shape == second.shape, first.elementType == second.elementType else { return false }
    let same = first.withUnsafeBytes { a in second.withUnsafeBytes { b in a.baseAddress == b.baseAddress } }
    if same { return first.strides == second.strides }
    // Bytes are compared, not values, so that NaN equals itself.
    return first.contiguousBytes() == second.contiguousBytes()
}

private func decodeConfiguration<Value: Decodable>(_ data: Data, path: String) throws(ModelError) -> Value {
    do {
        return try JSONDecoder().decode(Value.self, from: withoutPythonNumbers(data))
    } catch let error as ModelError {
        throw error
    } catch let error as DecodingError {
        throw .configuration(path: path, reason: explain(error))
    } catch {
        throw .configuration(path: path, reason: "is not valid JSON")
    }
}

private func explain(_ error: DecodingError) -> String {
    func place(_ path: [any CodingKey]) -> String { path.map(\.stringValue).joined(separator: ".") }
    return switch error {
    case .typeMismatch(_, let context): "\(place(context.codingPath)) has the wrong type"
    case .valueNotFound(_, let context): "\(place(context.codingPath)) is null"
    case .keyNotFound(let key, let context): "\(place(context.codingPath + [key])) is missing"
    case .dataCorrupted(let context) where !context.codingPath.isEmpty: "\(place(context.codingPath)) has a wrong value"
    case .dataCorrupted: "is not valid JSON"
    @unknown default: "cannot be understood"
    }
}
