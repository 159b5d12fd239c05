public import Foundation
import TihuaFiles

/// How a caption is split into the tokens that measures count.
///
/// All of them first fold a caption: NFKC (full-width letters become narrow ones), lower case, and whatever is neither
/// a letter, a mark nor a number (punctuation, symbols, spaces) only separates. That is what the English tokenizer of
/// `pycocoevalcap` does to punctuation.
public enum CaptionSegmentation: Sendable {
    /// Every Han character is a token, and so is every run of other letters and digits: 一只T恤 is 一, 只, t, 恤.
    case characters
    /// What stands between spaces: for captions that are already segmented.
    case spaces
    /// Words of a list by maximum matching; what the list does not hold is split as by `characters`.
    case words(WordList)

    /// The tokens of a caption.
    public func tokens(of caption: String) -> [String] {
        let folded = caption.precomposedStringWithCompatibilityMapping.lowercased()
        // Runs of letters, marks and numbers.
        let runs = folded.split { !$0.unicodeScalars.contains(where: Self.isWord) }
        switch self {
        case .characters: return runs.flatMap(Self.characters)
        case .spaces:
            return folded.split(whereSeparator: \.isWhitespace).compactMap { word in
                let kept = word.filter { $0.unicodeScalars.contains(where: Self.isWord) }
                return kept.isEmpty ? nil : kept
            }
        case .words(let list): return runs.flatMap { list.segment(Self.characters($0)) }
        }
    }

    private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .nonspacingMark,
            .spacingMark, .enclosingMark, .decimalNumber, .letterNumber, .otherNumber:
            true
        default: false
        }
    }

    private static func characters(_ run: Substring) -> [String] {
        var tokens: [String] = []
        var isOpen = false
        for character in run {
            let isHan = character.unicodeScalars.first?.properties.isIdeographic ?? false
            if isHan || !isOpen {
                tokens.append(String(character))
            } else {
                tokens[tokens.count - 1].append(character)
            }
            isOpen = !isHan
        }
        return tokens
    }
}

/// A list of words, by which text is segmented.
///
/// Bidirectional maximum matching: from the front and from the back, the longest word of the list each time; of the two
/// results the one with fewer words is taken, then the one with fewer words of a single character, then that from the
/// back.
public struct WordList: Sendable {
    private let words: Set<[String]>
    private let longest: Int

    /// Words; what a caption's own folding would change in them is folded alike, and empty ones are left out.
    public init(_ words: some Sequence<String>) {
        // A word as the characters that it may be found by.
        self.words = Set(words.map { CaptionSegmentation.characters.tokens(of: $0) }.filter { $0.count > 1 })
        longest = self.words.map(\.count).max() ?? 1
    }

    /// Reads a list: one word a line, which may be followed by a space or a tab and whatever else, such as its
    /// frequency (the form of jieba's and THUOCL's lists); `#` begins a comment.
    ///
    /// - Throws: `FileError` if the file cannot be read as UTF-8, `EvaluationError.noWords`.
    public init(contentsOf url: URL) throws {
        let text = try UserFile.text(of: url, limit: 1 << 28)
        self.init(
            text.split(whereSeparator: \.isNewline).compactMap { line in
                line.hasPrefix("#") ? nil : line.split(whereSeparator: \.isWhitespace).first.map(String.init)
            })
        guard !words.isEmpty else { throw EvaluationError.noWords(file: url.path) }
    }

    /// How many words of more than one character it holds.
    public var count: Int { words.count }

    /// The words of a run of characters.
    func segment(_ characters: [String]) -> [String] {
        let (front, back) = (forward(characters), backward(characters))
        func cost(_ lengths: [Int]) -> (Int, Int) { (lengths.count, lengths.count { $0 == 1 }) }
        let best = cost(front) < cost(back) ? front : back
        var start = 0
        return best.map { length in
            defer { start += length }
            return characters[start..<start + length].joined()
        }
    }

    /// The lengths of the words, from the front.
    private func forward(_ characters: [String]) -> [Int] {
        var lengths: [Int] = []
        var start = 0
        while start < characters.count {
            let most = min(longest, characters.count - start)
            let length = stride(from: most, to: 1, by: -1).first {
                words.contains(Array(characters[start..<start + $0]))
            }
            lengths.append(length ?? 1)
            start += length ?? 1
        }
        return lengths
    }

    private func backward(_ characters: [String]) -> [Int] {
        var lengths: [Int] = []
        var end = characters.count
        while end > 0 {
            let most = min(longest, end)
            let length = stride(from: most, to: 1, by: -1).first { words.contains(Array(characters[end - $0..<end])) }
            lengths.append(length ?? 1)
            end -= length ?? 1
        }
        return lengths.reversed()
    }
}
