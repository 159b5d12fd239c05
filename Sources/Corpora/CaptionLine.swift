import Foundation
import TihuaProsody

/// A picture and what is said of it: one line of a caption file, or one entry of a JSON array.
struct CaptionLine: Equatable {
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
        case encoding(TextEncoding?)
        case damaged
        case empty

        /// What is wrong, and where it is not plain, what to do.
        var reason: String {
            switch self {
            case .form: "none of the known forms: \(CaptionFile.forms)"
            case .encoding(.utf16): "UTF-16 text, or holds a null"
            case .encoding(.gb18030): "not UTF-8, perhaps GBK"
            case .encoding: "not UTF-8"
            case .damaged: "holds the character of a failed conversion, U+FFFD"
            case .empty: "no text"
            }
        }
    }

    /// - Throws: `.form` without a picture, `.empty` without a text.
    init(image: String, language: String = "", number: Int? = nil, texts: [some StringProtocol]) throws(Problem) {
        self.image = PictureName.key(of: image.trimmingCharacters(in: .whitespaces))
        (self.language, self.number) = (language, number)
        self.texts = texts.map { text in
            text.split(whereSeparator: \.isNewline).joined(separator: " ").trimmingCharacters(in: .whitespaces)
        }
        guard !self.image.isEmpty else { throw .form }
        guard self.texts.contains(where: { !$0.isEmpty }) else { throw .empty }
    }

    /// Bytes as the text that they are.
    static func text(_ bytes: [UInt8]) throws(Problem) -> String {
        guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
            throw .encoding(TextEncoding(guessing: bytes))
        }
        // What an earlier conversion could not read has become this character.
        guard !text.unicodeScalars.contains("\u{FFFD}") else { throw .damaged }
        return text
    }

    /// Parses a line without its end; none for one of spaces only.
    static func lines(_ bytes: [UInt8]) throws(Problem) -> [CaptionLine] {
        let line = try text(bytes)
        if line.allSatisfy(\.isWhitespace) { return [] }
        if line.hasPrefix("{") { return try entries(bytes) }
        let head = line.prefix { !$0.isWhitespace }
        let parts = head.split(separator: "#", omittingEmptySubsequences: false)
        if (2...3).contains(parts.count), let index = parts.last.flatMap({ Int($0) }) {
            let language = parts.count == 3 ? String(parts[1]) : ""
            return [
                try CaptionLine(
                    image: String(parts[0]), language: language, number: index, texts: [line[head.endIndex...]])
            ]
        }
        let columns = line.split(separator: "\t", omittingEmptySubsequences: false)
        guard columns.count > 1 else { throw .form }
        return [try CaptionLine(image: String(columns[0]), texts: Array(columns.dropFirst()))]
    }

    /// Parses an object of JSON that names one picture or several, and their captions.
    static func entries(_ bytes: [UInt8]) throws(Problem) -> [CaptionLine] {
        _ = try text(bytes)
        guard let object = (try? JSONSerialization.jsonObject(with: Data(bytes))) as? [String: Any] else { throw .form }
        return try entries(object)
    }

    static func entries(_ object: [String: Any]) throws(Problem) -> [CaptionLine] {
        let images = imageNames.lazy.map { names(object[$0]) }.first { !$0.isEmpty } ?? []
        guard !images.isEmpty, let said = textNames.lazy.compactMap({ object[$0] }).first else { throw .form }
        let texts = texts(said)
        var lines: [CaptionLine] = []
        for image in images { lines.append(try CaptionLine(image: image, texts: texts)) }
        return lines
    }

    /// What a picture is called in columns and objects; the names of files before numbers.
    static let imageNames = [
        "picture", "file_name", "filename", "image_name", "image_path", "filepath", "file", "image", "img", "image_id",
        "image_ids", "item_ids", "id", "图片", "文件名",
    ]
    /// What a caption is called.
    static let textNames = [
        "captions", "caption", "text", "texts", "sentences", "sentence", "query_text", "comment", "description",
        "title",
        "描述", "文本",
    ]

    private static func names(_ value: Any?) -> [String] {
        switch value {
        case let name as String: [name]
        case let number as Int: [String(number)]
        case let list as [Any]: list.flatMap { names($0) }
        default: []
        }
    }

    private static func texts(_ value: Any) -> [String] {
        switch value {
        case let text as String: [text]
        case let list as [Any]: list.flatMap { texts($0) }
        case let object as [String: Any]:
            (["text", "caption", "raw", "sentence"].lazy.compactMap { object[$0] as? String }.first).map { [$0] } ?? []
        default: []
        }
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
