public import Foundation
import TihuaFiles

/// The options of a run as a JSON file: `{"training": {..}, "poet": {..}}`, one object for each part of a recipe.
///
/// Missing keys keep their values; a key that no part knows is an error, since a misspelt option would silently do
/// nothing.
public struct RecipeFile {
    /// The parts that a file may hold; a recipe reads those that it needs.
    public static let sections = [
        "training", "poet", "image2poem", "t5", "clip", "dual", "caption", "reward", "prefix",
    ]

    private let parts: [String: JSONValue]
    private let path: String

    /// A file without any part.
    public init() { (parts, path) = ([:], "") }

    /// Reads the JSON object of a file.
    ///
    /// - Throws: `FileError`; `TrainingError.data` with the file and the first part that no recipe has.
    public init(contentsOf url: URL) throws {
        path = url.path(percentEncoded: false)
        guard let json = JSONValue(try UserFile.bytes(of: url, limit: 1 << 20)) else {
            throw TrainingError.data(path: path, reason: "not the options of a run: not valid JSON")
        }
        guard let parts = json.object else {
            throw TrainingError.data(path: path, reason: "not the options of a run: not an object")
        }
        if let unknown = parts.keys.sorted().first(where: { !Self.sections.contains($0) }) {
            throw TrainingError.data(
                path: path, reason: "unknown key \(unknown); the parts are \(Self.sections.joined(separator: ", "))")
        }
        self.parts = parts
    }

    /// The options of one part, `defaults` where the file does not hold it. Keys that the part does not have keep the
    /// values of `defaults`.
    ///
    /// - Throws: `TrainingError.data` with the file, the key and what is wrong with it.
    public func section<Options: Codable>(_ name: String, or defaults: Options) throws(TrainingError) -> Options {
        guard let part = parts[name], !part.isNull else { return defaults }
        do {
            return try part.options(over: defaults, name)
        } catch {
            throw .data(path: path, reason: error.reason)
        }
    }
}

/// What is wrong with options in JSON: the key and why.
struct OptionFault: Error {
    let reason: String
}

/// A JSON value as it stands in a file.
struct JSONValue: Codable, Sendable {
    /// One of `types`; nil for null, and for a number that none of them holds.
    private let content: (any Codable & Sendable)?
    /// Whether it is null.
    let isNull: Bool

    private static let types: [any (Codable & Sendable).Type] = [
        Bool.self, Int.self, UInt64.self, Double.self, String.self, [JSONValue].self, [String: JSONValue].self,
    ]

    /// Reads JSON; nil where it is none.
    init?(_ text: some Sequence<UInt8>) {
        guard let value = try? JSONDecoder().decode(JSONValue.self, from: Data(text)) else { return nil }
        self = value
    }

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        isNull = value.decodeNil()
        content = isNull ? nil : Self.types.lazy.compactMap { try? value.decode($0) as any Codable & Sendable }.first
    }

    func encode(to encoder: any Encoder) throws {
        if let content { return try content.encode(to: encoder) }
        var container = encoder.singleValueContainer()
        try container.encodeNil()
    }

    /// The values of an object by their keys; nil where it is none.
    var object: [String: JSONValue]? { content as? [String: JSONValue] }

    /// Options with the values of this object in place of those of `defaults`; keys that are missing, or null, keep
    /// theirs.
    ///
    /// - Parameters:
    ///   - defaults: a structure whose stored properties are its keys, none of them nil
    ///   - name: of the object, which stands before the key in errors
    /// - Throws: `OptionFault` for a key that `defaults` does not have or a value of another type.
    func options<Options: Codable>(over defaults: Options, _ name: String) throws(OptionFault) -> Options {
        guard let values = object else { throw OptionFault(reason: "\(name): not an object") }
        guard var all = (try? JSONEncoder().encode(defaults)).flatMap(JSONValue.init)?.object else {
            throw OptionFault(reason: "\(name): not options")
        }
        if let unknown = values.keys.sorted().first(where: { all[$0] == nil }) {
            throw OptionFault(reason: "\(name).\(unknown): unknown key")
        }
        var options = defaults
        // One key after the other: the decoder does not say where a number stands that does not fit, such as 1.5 steps.
        for (key, value) in values.sorted(by: { $0.key < $1.key }) where !value.isNull {
            all[key] = value
            do {
                options = try JSONDecoder().decode(Options.self, from: JSONEncoder().encode(all))
            } catch {
                let known = Mirror(reflecting: defaults).children.first { $0.label == key }?.value
                throw OptionFault(reason: "\(name).\(key): not \(kind(of: known))")
            }
        }
        return options
    }
}

/// What values like this one are, in the words of a person who writes JSON.
private func kind(of value: Any?) -> String {
    func names<Choice: CaseIterable & RawRepresentable>(_: Choice) -> String {
        Choice.allCases.map { "\($0.rawValue)" }.joined(separator: ", ")
    }
    return switch value {
    case is Int, is UInt64: "a whole number"
    case is Double: "a number"
    case is Bool: "true or false"
    case is [Int]: "a list of whole numbers"
    case let choice as any CaseIterable & RawRepresentable: "one of \(names(choice))"
    default: "a value of its type"
    }
}

/// The text of a file in UTF-8.
///
/// - Throws: `TrainingError.data` with the path.
public func readText(_ url: URL) throws(TrainingError) -> String {
    do {
        return try UserFile.text(of: url)
    } catch {
        throw .data(path: url.path(percentEncoded: false), reason: error.reason)
    }
}
