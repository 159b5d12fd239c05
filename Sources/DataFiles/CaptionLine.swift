import Foundation

/// A picture and what is said of it: one line of a caption file, or one entry of a JSON array.
package struct CaptionLine: Equatable {
    package let image: String
    /// `zhc`, `zhb`, `zhg`, `enc`, …; empty where the line says nothing.
    package let language: String
    /// The number of the caption; nil where the line gives none.
    package let number: Int?
    /// One or more, without spaces at the ends; may be empty.
    package let texts: [String]

    /// Why bytes cannot be read as a caption.
    package enum Problem: Error, Hashable {
        case form
        case encoding(TextEncoding?)
        case damaged
        case empty

        /// What is wrong, and where it is not plain, what to do.
        package var reason: String {
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

    /// The bytes as text.
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
    /// What columns and objects call a caption.
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
