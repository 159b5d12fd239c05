import Foundation
import Prosody

/// One line of a caption file in any of the known forms.
///
/// - `IMAGE#LANGUAGE#NUMBER TEXT` (Flickr8k-CN, Flickr30k-CN of li-xirong/cross-lingual-cap) and `IMAGE#NUMBER TEXT` (Flickr8k,
///   COCO-CN), with spaces or a tab in between;
/// - `IMAGE<TAB>TEXT`, as `tihua data captions` and ClipCap-Chinese's `flickr_caption.txt` have it, with further columns for
///   further captions (what its `predict.py` writes);
/// - `{"picture": IMAGE, "captions": [TEXT or {"text": TEXT}]}`, as `tihua caption --json` has it.
struct CaptionLine {
    let image: String
    /// `zhc`, `zhb`, `zhg`, `enc`, …; empty where the line says nothing.
    let language: String
    /// Nil where the line does not number.
    let number: Int?
    /// One or more, without spaces at the ends; may be empty.
    let texts: [String]

    /// Why bytes are no caption.
    enum Problem: Error, Hashable {
        case form
        case utf16
        case notUTF8(looksLikeGBK: Bool)
        case damaged
        case empty
    }

    /// Parses a line without its end; nil for one of spaces only.
    init?(_ bytes: [UInt8]) throws(Problem) {
        guard !bytes.contains(0) else { throw .utf16 }
        guard !bytes.starts(with: [0xFF, 0xFE]), !bytes.starts(with: [0xFE, 0xFF]) else { throw .utf16 }
        guard let line = String(validating: bytes, as: UTF8.self) else {
            throw .notUTF8(looksLikeGBK: Self.looksLikeGBK(bytes))
        }
        if line.allSatisfy(\.isWhitespace) { return nil }
        // What an earlier conversion could not read has become this character.
        guard !line.unicodeScalars.contains("\u{FFFD}") else { throw .damaged }
        if line.hasPrefix("{") {
            guard let written = try? JSONDecoder().decode(Written.self, from: Data(line.utf8)) else { throw .form }
            image = Self.key(written.picture[...])
            (language, number, texts) = ("", nil, written.captions.map { $0.text.trimmingCharacters(in: .whitespaces) })
            guard texts.contains(where: { !$0.isEmpty }) else { throw .empty }
            return
        }
        let head = line.prefix { !$0.isWhitespace }
        let parts = head.split(separator: "#", omittingEmptySubsequences: false)
        let texts: [Substring]
        if (2...3).contains(parts.count), let index = parts.last.flatMap({ Int($0) }) {
            (language, number) = (parts.count == 3 ? String(parts[1]) : "", index)
            image = Self.key(parts[0])
            texts = [line[head.endIndex...]]
        } else {
            let columns = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard columns.count > 1 else { throw .form }
            (language, number) = ("", nil)
            image = Self.key(columns[0])
            texts = Array(columns.dropFirst())
        }
        guard !image.isEmpty else { throw .form }
        self.texts = texts.map { $0.trimmingCharacters(in: .whitespaces) }
        guard self.texts.contains(where: { !$0.isEmpty }) else { throw .empty }
    }

    /// A line of JSON.
    private struct Written: Decodable {
        struct Caption: Decodable {
            let text: String

            private enum Key: CodingKey { case text }

            init(from decoder: any Decoder) throws {
                if let plain = try? decoder.singleValueContainer().decode(String.self) {
                    text = plain
                } else {
                    text = try decoder.container(keyedBy: Key.self).decode(String.self, forKey: .text)
                }
            }
        }

        let picture: String
        let captions: [Caption]
    }

    private static func key(_ text: Substring) -> String {
        PictureName.key(of: text.trimmingCharacters(in: .whitespaces))
    }

    /// Whether the bytes above ASCII come in the pairs of GBK (lead 81...FE, trail 40...FE without 7F).
    private static func looksLikeGBK(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while let byte = rest.popFirst() {
            if byte < 0x80 { continue }
            guard byte > 0x80, byte < 0xFF, let trail = rest.popFirst(), trail >= 0x40, trail < 0xFF, trail != 0x7F
            else { return false }
        }
        return true
    }
}

/// Text of captions that were made for programs: segmented, tagged.
enum CaptionText {
    /// `word:POS` or `word/POS` in every place becomes the word; spaces that are not between Latin words go.
    ///
    /// Upstream: the test file of Flickr30k-CN in li-xirong/cross-lingual-cap, whose fields are `word:POS`.
    static func plain(_ text: String) -> String {
        var words = text.split(whereSeparator: \.isWhitespace).map(String.init)
        if let bare = untagged(words) { words = bare }
        return words.reduce(into: "") { result, word in
            if let last = result.unicodeScalars.last, let first = word.unicodeScalars.first, last.isASCII, first.isASCII
            {
                result += " "
            }
            result += word
        }
    }

    /// The words without their tags; nil unless every one has a tag, and one of them is Chinese.
    private static func untagged(_ words: [String]) -> [String]? {
        var bare: [String] = []
        for word in words {
            guard let mark = word.lastIndex(where: { $0 == ":" || $0 == "/" }), mark != word.startIndex else {
                return nil
            }
            let tag = word[word.index(after: mark)...]
            guard (1...5).contains(tag.count), tag.allSatisfy({ $0.isASCII && $0.isLetter }) else { return nil }
            bare.append(String(word[..<mark]))
        }
        return bare.contains { $0.contains(where: \.isHan) } ? bare : nil
    }
}
