public import Foundation

/// Captions by picture, in any of the forms in which people pass them on:
///
/// - `IMAGE#LANGUAGE#NUMBER TEXT` (Flickr8k-CN, Flickr30k-CN of li-xirong/cross-lingual-cap) and `IMAGE#NUMBER TEXT`
///   (Flickr8k, COCO-CN), with spaces or a tab in between;
/// - `IMAGE<TAB>TEXT`, as `tihua data captions` and ClipCap-Chinese's `flickr_caption.txt` have it, with further
///   columns for further captions (what its `predict.py` writes);
/// - a table with a header, divided by commas, semicolons, tabs or `|`: `image,caption` and
///   `image_name| comment_number| comment` of Kaggle's Flickr8k and Flickr30k;
/// - JSON lines: `{"picture": IMAGE, "captions": [TEXT or {"text": TEXT}]}` of `tihua caption --json`, `{"image_id":
///   ID, "text": [TEXT, …]}` of MUGE, `{"text_id": N, "text": TEXT, "image_ids": [ID, …]}` of Chinese-CLIP;
/// - a JSON array of such objects, as AI Challenger's (`image_id`, `caption`: five texts) and COCO's results;
/// - COCO's object with `images` (`id`, `file_name`) and `annotations` (`image_id`, `caption`), and Karpathy's with
///   `images` (`filename`, `sentences`).
public struct CaptionFile: Sendable {
    /// One caption.
    public struct Caption: Sendable, Equatable {
        /// The key of the picture, without the ending of its file.
        public let image: String
        /// `zhc` written by people, `zhb` and `zhg` machine translations, `enc` English, or whatever the file says;
        /// empty where it says nothing.
        public let language: String
        /// Which of the captions of the picture it is; counted from 0 in the order of the file where it does not say.
        public let number: Int
        /// The text, without spaces at its ends.
        public let text: String

        /// A caption of a picture.
        public init(image: String, text: String, language: String = "", number: Int = 0) {
            (self.image, self.language, self.number, self.text) = (image, language, number, text)
        }
    }

    /// The forms in one line, for the message about a file that has another one.
    static let forms = """
        IMAGE<TAB>TEXT, IMAGE#NUMBER TEXT, IMAGE#LANGUAGE#NUMBER TEXT, CSV with a header such as image,caption, JSON lines or \
        an array of objects with image_id and caption, JSON of COCO
        """

    /// The captions in the order of the file.
    public let captions: [Caption]

    /// Reads the file.
    ///
    /// - Parameter encoding: nil takes UTF-16 where the file begins with its mark, else UTF-8
    /// - Throws: `DataFileError.badLine` for a line of another form or without text, `.notUTF8`, `.unreadable`.
    public init(contentsOf url: URL, encoding: TextEncoding? = nil) throws {
        var captions: [Caption] = []
        var counts: [String: Int] = [:]
        try Self.forEachLine(in: url, encoding: encoding) { place, parsed in
            let line: CaptionLine
            switch parsed {
            case .success(let parsed): line = parsed
            case .failure(let problem):
                throw DataFileError.badLine(file: place.file, line: place.line, reason: place.reason(problem))
            }
            for text in line.texts where !text.isEmpty {
                let index = line.number ?? counts[line.image, default: 0]
                counts[line.image, default: 0] += 1
                captions.append(Caption(image: line.image, text: text, language: line.language, number: index))
            }
        }
        guard !captions.isEmpty else {
            throw DataFileError.nothingFound(file: BytePath(url).text, expected: "captions")
        }
        self.captions = captions
    }

    /// The texts by picture, in the order of the file.
    public var textsByImage: [String: [String]] {
        captions.reduce(into: [:]) { $0[$1.image, default: []].append($1.text) }
    }

    // MARK: - Forms

    /// Where a caption stands.
    package struct Place {
        package let file: String
        /// From 1; where an entry of several lines begins.
        package let line: Int
        /// The number of the element in a JSON array, from 1; nil elsewhere.
        package var entry: Int?

        package func reason(_ problem: CaptionLine.Problem) -> String {
            (entry.map { "entry \($0): " } ?? "") + problem.reason
        }
    }

    package typealias Body = (Place, Result<CaptionLine, CaptionLine.Problem>) throws -> Void

    /// Hands everything that is said of a picture to `body` in the order of the file, which is not held in memory.
    ///
    /// - Throws: `DataFileError.notUTF8` for a line that is not in the encoding, unless UTF-8 was asked for by name:
    ///   where one line is of another encoding, the others that look like UTF-8 are too. `.badLine` for JSON that is
    ///   cut off or is none.
    package static func forEachLine(in url: URL, encoding: TextEncoding?, _ body: Body) throws {
        let source = try ByteSource(text: url, encoding: encoding)
        func hand(_ place: Place, _ parse: () throws(CaptionLine.Problem) -> [CaptionLine]) throws {
            let lines: [CaptionLine]
            do throws(CaptionLine.Problem) { lines = try parse() } catch {
                if case .encoding(let guess) = error, encoding != .utf8 {
                    throw DataFileError.notUTF8(file: place.file, line: place.line, guess: guess)
                }
                return try body(place, .failure(error))
            }
            for line in lines { try body(place, .success(line)) }
        }
        let head = try source.peek(1 << 16)
        switch head.first(where: { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }) {
        case UInt8(ascii: "["):
            var scanner = JSONElements(source)
            try scanner.array { bytes, place in
                try hand(place) { () throws(CaptionLine.Problem) in try CaptionLine.entries(bytes) }
            }
            try scanner.end()
        case UInt8(ascii: "{") where !isJSONLines(head):
            try forEachAnnotation(in: url, encoding: encoding, source, hand)
        default:
            var table = CaptionTable(source)
            while let (number, row) = try table.next() {
                let place = Place(file: source.name, line: number)
                try hand(place) { () throws(CaptionLine.Problem) in
                    switch row {
                    case .line(let bytes): try CaptionLine.lines(bytes)
                    case .row(let line): try [line.get()]
                    }
                }
            }
        }
    }

    /// Whether the first line is an object of its own.
    private static func isJSONLines(_ head: ArraySlice<UInt8>) -> Bool {
        let line = head.drop { [0x20, 0x09, 0x0A, 0x0D].contains($0) }.prefix { $0 != 0x0A && $0 != 0x0D }
        guard let object = (try? JSONSerialization.jsonObject(with: Data(line))) as? [String: Any] else {
            // One that is none is a bad line of them where it is no beginning of something and an object follows it.
            let goesOn = line.last.map { ",[{:".utf8.contains($0) } ?? true
            return !goesOn
                && head[line.endIndex...].first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) } == UInt8(ascii: "{")
        }
        return !(object["annotations"] is [Any]) && !(object["images"] is [Any])
    }

    /// COCO's object: read once for the names of the pictures, and once for what is said of them.
    private static func forEachAnnotation(
        in url: URL, encoding: TextEncoding?, _ source: ByteSource,
        _ hand: (Place, () throws(CaptionLine.Problem) -> [CaptionLine]) throws -> Void
    ) throws {
        func object(_ bytes: [UInt8]) throws(CaptionLine.Problem) -> [String: Any] {
            _ = try CaptionLine.text(bytes)
            guard let object = (try? JSONSerialization.jsonObject(with: Data(bytes))) as? [String: Any] else {
                throw .form
            }
            return object
        }
        func number(_ value: Any?) -> String? { (value as? Int).map(String.init) ?? value as? String }
        var names: [String: String] = [:]
        var found = false
        var scanner = JSONElements(source)
        try scanner.object(["images", "annotations"]) { key, bytes, place in
            found = true
            guard key == "images", let image = try? object(bytes), let id = number(image["id"]) else { return }
            names[id] = (image["file_name"] ?? image["filename"]) as? String
        }
        guard found else {
            throw DataFileError.badLine(file: source.name, line: 1, reason: CaptionLine.Problem.form.reason)
        }
        scanner = JSONElements(try ByteSource(text: url, encoding: encoding))
        try scanner.object(["images", "annotations"]) { key, bytes, place in
            try hand(place) { () throws(CaptionLine.Problem) in
                var entry = try object(bytes)
                if key == "images" { return entry["sentences"] == nil ? [] : try CaptionLine.entries(entry) }
                if let name = number(entry["image_id"]).flatMap({ names[$0] }) { entry["file_name"] = name }
                return try CaptionLine.entries(entry)
            }
        }
        try scanner.end()
    }
}

/// The lines of a text, as rows where the first one is a header.
private struct CaptionTable {
    enum Row {
        case line([UInt8])
        case row(Result<CaptionLine, CaptionLine.Problem>)
    }

    private let source: ByteSource
    private var number = 0
    /// Lines that were read ahead for a field that did not end.
    private var pending: [[UInt8]] = []
    private var header: (mark: Character, images: Int, texts: [Int], width: Int)?

    /// The most lines of a field in quotation marks.
    private static let longestField = 64

    init(_ source: ByteSource) { self.source = source }

    private mutating func line() throws -> [UInt8]? {
        if let first = pending.first {
            pending.removeFirst()
            return first
        }
        return try source.readLine()
    }

    mutating func next() throws -> (number: Int, row: Row)? {
        guard let bytes = try line() else { return nil }
        number += 1
        if number == 1, let text = try? CaptionLine.text(bytes), let found = Self.header(text) {
            header = found
            return try next()
        }
        guard let header else { return (number, .line(bytes)) }
        if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) { return try next() }
        let start = number
        var (row, ahead) = (bytes, [[UInt8]]())
        func isOpen() -> Bool { Self.fields(String(decoding: row, as: UTF8.self), header.mark) == nil }
        while isOpen(), ahead.count < Self.longestField, let more = try line() {
            ahead.append(more)
            row += [0x0A] + more
        }
        if isOpen() {
            // A quotation mark that is none: the lines are rows by themselves.
            pending = ahead + pending
            row = bytes
        } else {
            number += ahead.count
        }
        return (start, .row(Result { () throws(CaptionLine.Problem) in try Self.line(CaptionLine.text(row), header) }))
    }

    private static func line(
        _ row: String, _ header: (mark: Character, images: Int, texts: [Int], width: Int)
    ) throws(CaptionLine.Problem) -> CaptionLine {
        var fields =
            fields(row, header.mark)
            ?? row.split(separator: header.mark, omittingEmptySubsequences: false).map(String.init)
        if fields.count > header.width, header.texts.last == header.width - 1 {
            // A text with the mark in it, without quotation marks.
            fields[header.width - 1] = fields[(header.width - 1)...].joined(separator: String(header.mark))
        }
        guard fields.indices.contains(header.images), let last = header.texts.last, fields.count > last else {
            throw .form
        }
        return try CaptionLine(image: fields[header.images], texts: header.texts.map { fields[$0] })
    }

    /// What the columns are, if the line names a picture's and a caption's.
    private static func header(_ line: String) -> (mark: Character, images: Int, texts: [Int], width: Int)? {
        for mark in ["\t", "|", ",", ";"] as [Character] {
            let names = (fields(line, mark) ?? []).map { $0.trimmingCharacters(in: .whitespaces).lowercased() }
            func isText(_ name: String) -> Bool {
                // caption1, caption_2
                let bare = String(name.reversed().drop { $0.isNumber || $0 == "_" || $0 == " " }.reversed())
                return CaptionLine.textNames.contains(bare)
            }
            let texts = names.indices.filter { isText(names[$0]) }
            let image = CaptionLine.imageNames.lazy.compactMap { names.firstIndex(of: $0) }.first
            if let image, !texts.isEmpty { return (mark, image, texts, names.count) }
        }
        return nil
    }

    /// Splits a row; fields of commas and semicolons may stand in quotation marks (RFC 4180). Nil where one does not
    /// end.
    private static func fields(_ row: String, _ mark: Character) -> [String]? {
        guard mark == "," || mark == ";" else {
            return row.split(separator: mark, omittingEmptySubsequences: false).map(String.init)
        }
        var fields: [String] = []
        var rest = row[...]
        while true {
            var field = ""
            if rest.first == "\"" {
                rest = rest.dropFirst()
                while true {
                    guard let end = rest.firstIndex(of: "\"") else { return nil }
                    field += rest[..<end]
                    rest = rest[rest.index(after: end)...]
                    guard rest.first == "\"" else { break }
                    field += "\""
                    rest = rest.dropFirst()
                }
            }
            let end = rest.firstIndex(of: mark)
            fields.append(field + rest[..<(end ?? rest.endIndex)])
            guard let end else { return fields }
            rest = rest[rest.index(after: end)...]
        }
    }
}
