public import Foundation
import TihuaFiles
public import TihuaNN
public import TihuaTorch
public import TihuaWeightFiles

/// The architectures that Tihua runs, by `model_type` of `config.json`.
public enum Architecture: String, Sendable, Codable, CaseIterable {
    case chineseCLIP = "chinese_clip"
    case gpt2
    case t5
    case bert
    case clipCap = "clipcap"
    case clipCapPrefix = "clipcap_prefix"
    case efficientNetLite = "efficientnet_lite"

    /// Finds the architecture by `model_type`, or by the class names of `architectures` in old files without one.
    init?(modelType: String?, classes: [String]) {
        switch modelType {
        case "mt5": self = .t5
        case let type?:
            guard let known = Architecture(rawValue: type) else { return nil }
            self = known
        case nil:
            let prefixes: [(String, Architecture)] = [
                ("ChineseCLIP", .chineseCLIP), ("GPT2", .gpt2), ("T5", .t5), ("MT5", .t5), ("Bert", .bert),
                ("ClipCaption", .clipCap), ("ClipCapPrefix", .clipCapPrefix), ("EfficientNetLite", .efficientNetLite),
            ]
            let known = classes.lazy.compactMap { name in prefixes.first { name.hasPrefix($0.0) }?.1 }.first
            guard let known else { return nil }
            self = known
        }
    }
}

/// A folder in the Hugging Face layout: `config.json`, weights, tokenizer files.
public struct ModelFolder: Sendable {
    /// The folder.
    public let url: URL
    /// What its `config.json` says the model is.
    public let architecture: Architecture
    private let configurationData: Data

    /// No configuration is longer; anything that is, is something else.
    private static let maximumConfiguration = 16 << 20

    /// Reads `config.json`. The weights are opened by `checkpoint()`.
    ///
    /// - Throws: `ModelError.configuration`, `ModelError.unknownArchitecture`.
    public init(at url: URL) throws(ModelError) {
        self.url = url
        let file = url.appending(path: "config.json")
        configurationData = try ModelFolder.readConfiguration(file)
        struct Header: Decodable {
            var model_type: String?
            var architectures: [String]?
        }
        let header: Header = try decodeConfiguration(configurationData, path: file.path)
        let classes = header.architectures ?? []
        guard let known = Architecture(modelType: header.model_type, classes: classes) else {
            throw .unknownArchitecture(
                path: file.path, found: header.model_type ?? classes.first ?? "(none named)",
                known: Architecture.allCases.map(\.rawValue))
        }
        architecture = known
    }

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
        try decodeConfiguration(configurationData, path: url.appending(path: "config.json").path)
    }

    /// A file of the folder, nil where it is not there.
    public func file(_ name: String) -> URL? {
        let file = url.appending(path: name)
        return FileManager.default.fileExists(atPath: file.path) ? file : nil
    }

    /// The tokenizer's file: `vocab.txt` (WordPiece) or `spiece.model` (SentencePiece); nil where there is none.
    public var tokenizerFile: URL? { file("vocab.txt") ?? file("spiece.model") }

    /// The weights, mapped.
    ///
    /// - Throws: `WeightFileError`.
    public func checkpoint() throws(WeightFileError) -> Checkpoint { try Checkpoint.open(url) }

    /// Fills a store from the folder's weights, strictly: missing, unexpected and misshapen names are errors.
    ///
    /// - Parameter renaming: a checkpoint's name to the store's; nil for tensors that are no parameters. Names that become
    ///   equal are tied, and must hold equal values.
    /// - Throws: `WeightFileError`, or `ModelError.checkpoint` with the file and what does not fit.
    public func load(into store: ParameterStore, renaming: (String) -> String? = { $0 }) throws {
        try TihuaModels.load(checkpoint(), into: store, renaming: renaming)
    }

    /// Checks the vocabulary against the rows of the model's embedding. Fewer tokens than rows are allowed up to the
    /// padding to a round number that checkpoints are given.
    ///
    /// - Throws: `ModelError.vocabulary`.
    public func check(vocabulary tokens: Int, rows: Int) throws(ModelError) {
        guard tokens <= rows, rows - tokens < 512 else {
            throw .vocabulary(folder: url.path, tokens: tokens, rows: rows)
        }
    }

    /// Whether the weights lack the second tensor or hold it as a copy of the first.
    func sharesValues(_ first: String, _ second: String) throws -> Bool {
        let checkpoint = try checkpoint().withoutTrainerPrefixes { [first, second].contains($0) }
        guard let one = checkpoint[first], let other = checkpoint[second] else { return true }
        return equal(one, other)
    }

    /// Checks, before memory is taken, that the weights can be those of a model of this size.
    ///
    /// - Throws: `ModelError.checkpoint`, `WeightFileError`.
    public func check(parameterCount expected: Double) throws {
        let checkpoint = try checkpoint()
        let found = checkpoint.tensors.reduce(0.0) { $0 + Double($1.elementCount) }
        guard expected <= 4 * found + 1e6 else {
            throw ModelError.checkpoint(
                path: checkpoint.files.first?.path ?? url.path,
                reason:
                    "holds \(Int(found)) numbers, but config.json describes a model of \(String(format: "%.0f", expected))"
            )
        }
    }

    /// Writes a model so that `ModelFolder` and Python's transformers load it: `config.json` and `model.safetensors`.
    ///
    /// A new folder appears whole or not at all; in an existing one each file is replaced whole, weights first.
    ///
    /// - Parameters:
    ///   - dtype: of the floating point tensors in the file, float32 or bfloat16; as in the store if nil
    ///   - files: further files to copy in, such as `vocab.txt`
    ///   - tensor: what to save for a parameter, such as its average; the parameter itself if nil
    /// - Throws: `FileError` for a full disk or a missing permission, and `FileError` for the files.
    public static func save(
        configuration: some Encodable, store: ParameterStore, dtype: DType? = nil, copying files: [URL] = [],
        to folder: URL, tensor: ((ParameterStore.Entry) -> Tensor)? = nil
    ) throws {
        func write(to target: URL) throws {
            let tensors = store.entries.map { (name: $0.name, tensor: tensor?($0) ?? $0.tensor) }
            try TensorFile.write(tensors, dtype: dtype, to: target.appending(path: "model.safetensors"))
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            let json = try encoder.encode(configuration)
            try AtomicFile.write(to: target.appending(path: "config.json")) { try $0.write(Array(json)) }
            for file in files {
                let content = try UserFile.bytes(of: file)
                let copy = target.appending(path: file.lastPathComponent)
                if copy.standardizedFileURL != file.standardizedFileURL {
                    try AtomicFile.write(to: copy) { try $0.write(content) }
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

/// Fills a store from a checkpoint; see `ModelFolder.load`.
///
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
    do {
        try store.load(names: names) { name in
            guard let view = views[name] else { throw ParameterError.missing([name]) }
            guard DType(view.elementType).isFloatingPoint || store[name]?.dtype.isFloatingPoint == false else {
                throw ParameterError.unreadable(
                    name: name, reason: "\(view.elementType.rawValue) where floating point is expected")
            }
            return try Tensor.borrowing(view)
        }
    } catch ParameterError.missing(let names, let unknown) {
        // As they stand in the file, where a person looks for them.
        let error = ParameterError.missing(names, unknown: unknown.map { views[$0]?.name ?? $0 })
        throw ModelError.checkpoint(path: path, reason: error.description)
    } catch let error as ParameterError {
        throw ModelError.checkpoint(path: path, reason: error.description)
    }
}

private func equal(_ first: TensorView, _ second: TensorView) -> Bool {
    guard first.shape == second.shape, first.elementType == second.elementType else { return false }
    let same = first.withUnsafeBytes { a in second.withUnsafeBytes { b in a.baseAddress == b.baseAddress } }
    if same { return first.strides == second.strides }
    // Bytes, not values: a copy is a copy, and NaN equals itself.
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
