public import Foundation
import TihuaDataFiles

/// A poem with the marks that people gave it: a line of PQED (THUNLP-AIPoet/Datasets).
public struct RatedPoem: Sendable, Equatable {
    /// The lines, without punctuation.
    public let lines: [String]
    /// The marks by what they are for: fluency, coherence, meaningfulness, overall score.
    public let marks: [String: Double]

    /// A poem with its marks.
    public init(lines: [String], marks: [String: Double]) {
        self.lines = lines
        self.marks = marks
    }

    /// Reads PQED's JSON lines: `poem` ("…|…|…|…") and marks.
    ///
    /// - Throws: `DataFileError.badLine` for a line without a poem or without the marks of the first line,
    ///   `.nothingFound` for a file without poems.
    public static func read(_ url: URL) throws -> [RatedPoem] {
        let source = try ByteSource(url)
        var poems: [RatedPoem] = []
        var number = 0
        func bad(_ reason: String) -> DataFileError {
            .badLine(file: source.name, line: number, reason: reason)
        }
        while let bytes = try source.readLine() {
            number += 1
            if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x0D }) { continue }
            guard let record = try? JSONDecoder().decode([String: Value].self, from: Data(bytes)),
                case .text(let poem)? = record["poem"]
            else { throw bad("not an object with a poem and its marks") }
            let lines = poem.split(separator: "|").map(String.init)
            let marks = record.compactMapValues { value -> Double? in
                if case .number(let mark) = value { mark } else { nil }
            }
            guard !lines.isEmpty, !marks.isEmpty else { throw bad("a poem without lines, or without marks") }
            if let first = poems.first, Set(first.marks.keys) != Set(marks.keys) {
                let names = first.marks.keys.sorted().joined(separator: ", ")
                throw bad("the marks are not those of the first poem, \(names)")
            }
            poems.append(RatedPoem(lines: lines, marks: marks))
        }
        guard !poems.isEmpty else {
            throw DataFileError.nothingFound(file: url.path(percentEncoded: false), expected: "rated poems")
        }
        return poems
    }

    private enum Value: Decodable {
        case text(String)
        case number(Double)

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let number = try? value.decode(Double.self) {
                self = .number(number)
            } else {
                self = .text(try value.decode(String.self))
            }
        }
    }
}
