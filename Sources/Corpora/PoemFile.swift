public import Foundation
import TihuaDataFiles
public import TihuaTokenizers

/// Reads poems from a text file, one after the other.
public enum PoemFile {
    /// What the lines of a file hold.
    public enum Format: Sendable, CaseIterable {
        /// One `CorpusPoem` a line, as `tihua data poems` writes.
        case corpus
        /// CCPC: one JSON object a line with `content` ("…|…|…|…"), `title`, `author`, `dynasty`, `keywords` ("… …").
        case ccpc
        /// Text: a poem a line, or the lines of a poem under each other with an empty line between poems.
        case text
    }

    /// Hands every poem to `body` with the number of its line, counted from 1.
    ///
    /// Without `format` the first line decides. `converter` makes the characters of CCPC and of text simplified. Throws
    /// `DataFileError.badLine` for a line that is not of the format, is not UTF-8, or (in text) is not verse.
    public static func forEach(
        in url: URL, format: Format? = nil, converter: ChineseConverter? = nil,
        _ body: (CorpusPoem, _ line: Int) throws -> Void
    ) throws {
        let source = try ByteSource(text: url, encoding: nil)
        var format = format
        var number = 0
        var block: [(text: String, line: Int)] = []
        var hasBlanks = false
        let decoder = JSONDecoder()
        func bad(_ line: Int, _ reason: String) -> DataFileError {
            .badLine(file: source.name, line: line, reason: reason)
        }
        while let bytes = try source.readLine() {
            number += 1
            guard let text = String(validating: bytes, as: UTF8.self) else { throw bad(number, "not UTF-8") }
            let isBlank = text.allSatisfy(\.isWhitespace)
            if format == nil, !isBlank { format = detect(text) }
            switch format {
            case .corpus:
                if isBlank { continue }
                guard let poem = try? decoder.decode(CorpusPoem.self, from: Data(bytes)) else {
                    throw bad(number, "not a poem with form, title, author, dynasty, lines and source")
                }
                guard !poem.lines.isEmpty, poem.ends.map({ $0.count == poem.lines.count }) ?? true else {
                    throw bad(number, "a poem without lines, or with more or fewer ends than lines")
                }
                try body(poem, number)
            case .ccpc:
                if isBlank { continue }
                guard let record = try? decoder.decode(CCPCRecord.self, from: Data(bytes)) else {
                    throw bad(number, "not an object with content")
                }
                guard let poem = try record.poem(source: url.lastPathComponent, converter: converter) else {
                    throw bad(number, "content without lines")
                }
                try body(poem, number)
            case .text, nil:
                if isBlank {
                    if !block.isEmpty { hasBlanks = true }
                    try deliver(&block, isWhole: true)
                } else {
                    block.append((text, number))
                    // Without empty lines a file may be long, and every line a poem.
                    if !hasBlanks, block.count > 4096 { try deliver(&block, isWhole: false) }
                }
            }
        }
        try deliver(&block, isWhole: hasBlanks)

        /// The lines between two empty lines: one poem, or a poem each where each holds a whole one.
        func deliver(_ block: inout [(text: String, line: Int)], isWhole: Bool) throws {
            guard let first = block.first else { return }
            let eachIsWhole = block.allSatisfy { clauseCount($0.text) >= 3 }
            let poems = eachIsWhole ? block.map { [$0] } : [block]
            for lines in poems {
                let text = lines.map(\.text).joined(separator: "\n")
                let poem = try textPoem(text, source: url.lastPathComponent, converter: converter)
                switch poem {
                case .success(let poem): try body(poem, lines.first?.line ?? first.line)
                case .failure(let dropped): throw bad(lines.first?.line ?? first.line, dropped.reason.rawValue)
                }
            }
            block.removeAll()
        }
    }

    /// All poems of a file.
    public static func read(
        _ url: URL, format: Format? = nil, converter: ChineseConverter? = nil
    ) throws -> [CorpusPoem] {
        var poems: [CorpusPoem] = []
        try forEach(in: url, format: format, converter: converter) { poem, _ in poems.append(poem) }
        guard !poems.isEmpty else {
            throw DataFileError.nothingFound(file: url.path(percentEncoded: false), expected: "poems")
        }
        return poems
    }

    private static func detect(_ line: String) -> Format {
        guard line.utf8.first == UInt8(ascii: "{") else { return .text }
        return line.contains("\"lines\"") ? .corpus : .ccpc
    }

    private static func clauseCount(_ text: String) -> Int {
        text.split { "，。、；：？！|,.;:?! \t\u{3000}".contains($0) }.count
    }

    private static func textPoem(
        _ text: String, source: String, converter: ChineseConverter?
    ) throws -> Result<CorpusPoem, PoemCleaner.Dropped> {
        let cut = text.map { "| \t\u{3000}".contains($0) ? "\n" : $0 }
        let text = try converter?.simplified(String(cut)) ?? String(cut)
        switch PoemCleaner.clean([text], as: .free(form: "杂言")) {
        case .failure(let dropped): return .failure(dropped)
        case .success(let clean):
            let form = PoemShape.form(ofShi: clean.lines)
            return .success(
                CorpusPoem(
                    form: form ?? clean.form, lines: clean.lines, ends: form == nil ? clean.ends : nil, source: source)
            )
        }
    }

    private struct CCPCRecord: Decodable {
        let content: String
        let title: String?
        let author: String?
        let dynasty: String?
        let keywords: String?

        private static let dynasties = [
            "Tang": "唐", "Song": "宋", "Yuan": "元", "Ming": "明", "Qing": "清", "Han": "汉", "Sui": "隋", "Liao": "辽",
            "Jin": "金", "Contemporary": "当代", "Modern": "近代", "WeiJin": "魏晋", "NanBei": "南北朝", "NanBeiChao": "南北朝",
            "PreQin": "先秦", "MingQing": "清", "TangWu": "五代",
        ]

        func poem(source: String, converter: ChineseConverter?) throws -> CorpusPoem? {
            let fields = [content, title ?? "", author ?? "", keywords ?? ""]
            let texts = try converter?.simplified(fields) ?? fields
            let lines = texts[0].split(separator: "|").map(String.init)
            guard !lines.isEmpty else { return nil }
            let words = texts[3].split(separator: " ").map(String.init)
            return CorpusPoem(
                form: PoemShape.form(ofShi: lines) ?? "杂言", title: texts[1], author: texts[2],
                dynasty: dynasty.map { Self.dynasties[$0] ?? $0 } ?? "", lines: lines,
                keywords: words.isEmpty ? nil : words, source: source)
        }
    }
}

/// One question of CCPM: a modern sentence and four classical lines, of which one says the same.
public struct MatchingItem: Decodable, Sendable, Equatable {
    /// The sentence in modern Chinese.
    public let translation: String
    /// The classical lines.
    public let choices: [String]
    /// The index of the right one.
    public let answer: Int

    /// The line that says the same as the sentence.
    public var line: String { choices[answer] }

    /// Reads CCPM's JSON lines. Throws `DataFileError.badLine` for a line without the three fields or with an answer
    /// that is not among the choices.
    public static func read(_ url: URL) throws -> [MatchingItem] {
        let source = try ByteSource(url)
        let decoder = JSONDecoder()
        var items: [MatchingItem] = []
        var number = 0
        while let bytes = try source.readLine() {
            number += 1
            if bytes.allSatisfy({ $0 == 0x20 }) { continue }
            guard let item = try? decoder.decode(MatchingItem.self, from: Data(bytes)) else {
                throw DataFileError.badLine(
                    file: source.name, line: number, reason: "not an object with translation, choices and answer")
            }
            guard item.choices.indices.contains(item.answer) else {
                throw DataFileError.badLine(
                    file: source.name, line: number, reason: "the answer \(item.answer) is not among the choices")
            }
            items.append(item)
        }
        return items
    }
}
