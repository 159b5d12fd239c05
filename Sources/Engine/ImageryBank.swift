public import Foundation
import TihuaFiles

/// One thing that pictures show, under the word that classical poems have for it (意象).
public struct Imagery: Sendable, Equatable {
    /// The classical word, one to eight characters.
    public let word: String
    /// Such as 天象 or 山水; empty in a flat list.
    public let category: String
    /// What such a picture shows, in plain modern Chinese, which is what the text towers of CLIP read.
    public let descriptions: [String]
    /// What keeps it from being said of any picture that it is near; nil for most.
    public let kind: Kind?
    /// The word after which its group of near-synonyms is named, of which one is said; nil for a word of no group.
    public let group: String?

    /// What keeps a word from being said lightly.
    public enum Kind: String, Sendable {
        /// A person of an age, a sex or a people: said where that is seen beyond doubt.
        case person
        /// The medium of a painting: said of no photo, and one word alone.
        case medium
        /// A word that says nothing, or what nearly every picture shows: compared, never said.
        case mute
    }

    /// An entry as it is; nothing is checked.
    public init(
        word: String, category: String, descriptions: [String], kind: Kind? = nil, group: String? = nil
    ) {
        (self.word, self.category, self.descriptions) = (word, category, descriptions)
        (self.kind, self.group) = (kind, group)
    }
}

/// The words that a picture is compared with.
public struct ImageryBank: Sendable, Equatable {
    /// The entries, no word twice, in the order of the file.
    public private(set) var entries: [Imagery]

    /// The most bytes that a bank may have.
    private static let maximumBytes = 32 << 20
    private static let longestWord = 8

    /// A bank of these entries; nothing is checked.
    public init(entries: [Imagery]) { self.entries = entries }

    /// Reads a bank: rows of word, category, descriptions and, if wanted, kind and group (tabs between, ` | ` between
    /// descriptions, `-` for no kind or group; a first row that starts with `word` is a heading), or a flat list of one
    /// word a line, as Image2Poem's `keywords.txt`.
    ///
    /// Empty lines and lines that start with `#` are left out; a word that stands twice keeps its first row.
    ///
    /// - Parameter simplify: turns words into simplified characters, which the tables of metre know
    /// - Throws: `PipelineError.unreadable`, `.emptyBank`, `.bankColumns`, `.bankEntry` with the line.
    public init(contentsOf url: URL, simplify: (String) throws -> String = { $0 }) throws {
        let path = url.path
        let text: String
        do {
            text = try UserFile.text(of: url, limit: Self.maximumBytes)
        } catch {
            throw PipelineError.unreadable(path: path, reason: error.reason)
        }
        var entries: [Imagery] = []
        var words: Set<String> = []
        let isTable = text.contains("\t")
        for (index, row) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let row = row.trimmingCharacters(in: [" ", "\u{FEFF}"])
            if row.isEmpty || row.hasPrefix("#") { continue }
            let columns = isTable ? row.components(separatedBy: "\t") : [row]
            guard (isTable ? 3...5 : 1...1).contains(columns.count) else {
                throw PipelineError.bankColumns(path: path, line: index + 1, found: columns.count)
            }
            if isTable, entries.isEmpty, columns[0] == "word" { continue }
            func wrong(_ reason: String) -> PipelineError { .bankEntry(path: path, line: index + 1, reason: reason) }
            let word = try simplify(columns[0].trimmingCharacters(in: .whitespaces))
            guard !word.isEmpty else { throw wrong("the word is empty") }
            guard word.count <= Self.longestWord else {
                throw wrong("“\(word.prefix(12))” is longer than \(Self.longestWord) characters")
            }
            guard word.unicodeScalars.allSatisfy(\.properties.isIdeographic) else {
                throw wrong("“\(word)” is not written in Chinese characters only")
            }
            func optional(_ column: Int) throws -> String? {
                guard column < columns.count else { return nil }
                let text = try simplify(columns[column].trimmingCharacters(in: .whitespaces))
                return text.isEmpty || text == "-" ? nil : text
            }
            var descriptions = [word]
            var category = ""
            var kind: Imagery.Kind?
            var group: String?
            if isTable {
                category = columns[1].trimmingCharacters(in: .whitespaces)
                descriptions = columns[2].components(separatedBy: "|")
                    .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
                guard !descriptions.isEmpty else { throw wrong("“\(word)” has no description of what a picture shows") }
            }
            if let name = try optional(3) {
                guard let known = Imagery.Kind(rawValue: name) else {
                    throw wrong("“\(name.prefix(12))” is no kind of word (person, medium, mute, or - for none)")
                }
                kind = known
            }
            group = try optional(4)
            guard words.insert(word).inserted else { continue }
            entries.append(
                Imagery(word: word, category: category, descriptions: descriptions, kind: kind, group: group))
        }
        guard !entries.isEmpty else { throw PipelineError.emptyBank(path: path) }
        self.entries = entries
    }

    /// This bank with the entries of another, which replace those of the same word.
    public func merging(_ other: ImageryBank) -> ImageryBank {
        let replaced = Set(other.entries.map(\.word))
        return ImageryBank(entries: entries.filter { !replaced.contains($0.word) } + other.entries)
    }

    /// What the text tower reads for each entry: every description bare and in prompts, whose embeddings are averaged
    /// (prompt ensemble, Radford et al. 2021, section 3.1.4; templates after Chinese-CLIP's `normal` and `openai`
    /// sets).
    public static func prompts(for entry: Imagery) -> [String] {
        entry.descriptions.flatMap { [$0, "\($0)的照片", "一幅\($0)的图片"] }
    }
}
