public import Foundation
import TihuaFiles

/// The options of a run as a JSON file: `{"training": {..}, "poet": {..}}`, one object for each part of a recipe.
///
/// Missing keys keep their values; a key that no part knows is an error, since a misspelt option would silently do nothing.
public struct RecipeFile {
    /// The parts that a file may hold; a recipe reads those that it needs.
    public static let sections = ["training", "poet", "image2poem", "t5", "clip", "caption", "reward", "prefix"]

    private let data: Data
    private let path: String

    /// A file without any part.
    public init() {
        data = Data("{}".utf8)
        path = ""
    }

    /// - Throws: `FileError`; `TrainingError.data` with the file and the first part that no recipe has.
    public init(contentsOf url: URL) throws {
        path = url.path(percentEncoded: false)
        data = Data(try UserFile.bytes(of: url, limit: 1 << 20))
        let names = try decode(Names.self).names
        if let unknown = names.first(where: { !Self.sections.contains($0) }) {
            throw TrainingError.data(
                path: path, reason: "unknown key \(unknown); the parts are \(Self.sections.joined(separator: ", "))")
        }
    }

    /// The options of one part, `defaults` where the file does not hold it. The parts of a recipe that has presets begin with
    /// `defaults` too.
    ///
    /// - Throws: `TrainingError.data` with the file, the key and what is wrong with it.
    public func section<Options: Decodable & Sendable>(_ name: String, or defaults: Options) throws -> Options {
        let decoder = JSONDecoder()
        if let key = CodingUserInfoKey.defaults { decoder.userInfo[key] = defaults }
        if let key = Section<Options>.name { decoder.userInfo[key] = name }
        return try decode(Section<Options>.self, decoder).options ?? defaults
    }

    private func decode<Value: Decodable>(_ type: Value.Type, _ decoder: JSONDecoder = JSONDecoder()) throws -> Value {
        do {
            return try decoder.decode(type, from: data)
        } catch let error as DecodingError {
            throw TrainingError.data(path: path, reason: Self.reason(error))
        }
    }

    private static func reason(_ error: DecodingError) -> String {
        func place(_ context: DecodingError.Context, _ problem: String) -> String {
            let key = context.codingPath.map(\.stringValue).joined(separator: ".")
            return key.isEmpty ? "not the options of a run: \(problem)" : "\(key): \(problem)"
        }
        switch error {
        case .typeMismatch(let type, let context): return place(context, "not \(expected(type))")
        case .valueNotFound(let type, let context): return place(context, "null, not \(expected(type))")
        case .keyNotFound(let key, let context): return place(context, "\(key.stringValue) is missing")
        case .dataCorrupted(let context):
            return place(context, context.codingPath.isEmpty ? "not valid JSON" : context.debugDescription)
        @unknown default: return "it cannot be read"
        }
    }

    private struct Names: Decodable {
        let names: [String]

        init(from decoder: any Decoder) throws {
            names = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue).sorted()
        }
    }

    private struct Section<Options: Decodable>: Decodable {
        static var name: CodingUserInfoKey? { CodingUserInfoKey(rawValue: "section") }
        let options: Options?

        init(from decoder: any Decoder) throws {
            let name = Self.name.flatMap { decoder.userInfo[$0] as? String } ?? ""
            options = try decoder.container(keyedBy: AnyKey.self).decodeIfPresent(Options.self, forKey: AnyKey(name))
        }
    }
}

/// A type in the words of a person who writes JSON.
private func expected(_ type: any Any.Type) -> String {
    switch type {
    case is Int.Type, is UInt64.Type: "a whole number"
    case is Double.Type: "a number"
    case is Bool.Type: "true or false"
    case is String.Type: "a text"
    case is [String: Any].Type: "an object"
    default: "a value of type \(type)"
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

/// Any key of an object.
private struct AnyKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(_ name: String) { stringValue = name }
    init?(stringValue: String) { self.init(stringValue) }
    init?(intValue: Int) { nil }
}

extension CodingUserInfoKey {
    /// What missing keys of a part keep.
    static var defaults: CodingUserInfoKey? { CodingUserInfoKey(rawValue: "defaults") }
}

/// Reads options key by key: missing ones keep their value, unknown ones are errors.
struct OptionReader<Keys: CodingKey> {
    private let values: KeyedDecodingContainer<Keys>

    /// - Throws: `DecodingError.dataCorrupted` at a key that is none of `Keys`.
    init(_ decoder: any Decoder, keyedBy type: Keys.Type) throws {
        let names = try decoder.container(keyedBy: AnyKey.self)
        for key in names.allKeys.sorted(by: { $0.stringValue < $1.stringValue })
        where Keys(stringValue: key.stringValue) == nil {
            throw DecodingError.dataCorruptedError(forKey: key, in: names, debugDescription: "unknown key")
        }
        values = try decoder.container(keyedBy: type)
    }

    func read<Value: Decodable>(_ key: Keys, _ value: inout Value) throws {
        do {
            value = try values.decodeIfPresent(Value.self, forKey: key) ?? value
        } catch let error where !(error is DecodingError) {
            // Foundation does not say where a number stands that does not fit, such as 1.5 steps.
            throw DecodingError.dataCorruptedError(
                forKey: key, in: values, debugDescription: "not \(expected(Value.self))")
        }
    }
}
