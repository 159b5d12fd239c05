public import Foundation

/// Captions by picture: lines `IMAGE#LANGUAGE#NUMBER TEXT` of flickr8kcn, such as `667626_18933d713e.jpg#zhc#0 …`,
/// `IMAGE#NUMBER TEXT` of COCO-CN, or `IMAGE<TAB>TEXT`, which may go on with further captions in further columns.
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
    }

    /// The captions in the order of the file.
    public let captions: [Caption]

    /// Reads the file. Throws `CorporaError.badLine` for a line of another shape or without text.
    public init(contentsOf url: URL) throws {
        var captions: [Caption] = []
        var counts: [String: Int] = [:]
        try Self.forEachLine(in: url) { number, parsed in
            let line: CaptionLine
            switch parsed {
            case .success(let parsed): line = parsed
            case .failure(let problem):
                throw CorporaError.badLine(file: url.path(percentEncoded: false), line: number, reason: problem.reason)
            }
            for text in line.texts where !text.isEmpty {
                let index = line.number ?? counts[line.image, default: 0]
                counts[line.image, default: 0] += 1
                captions.append(Caption(image: line.image, language: line.language, number: index, text: text))
            }
        }
        guard !captions.isEmpty else {
            throw CorporaError.nothingFound(file: url.path(percentEncoded: false), expected: "captions")
        }
        self.captions = captions
    }

    /// Hands every line that is not blank to `body` with its number, counted from 1.
    static func forEachLine(
        in url: URL, _ body: (Int, Result<CaptionLine, CaptionLine.Problem>) throws -> Void
    ) throws {
        let source = try ByteSource(url)
        var number = 0
        while var bytes = try source.readLine() {
            number += 1
            if number == 1, bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
            let parsed: Result<CaptionLine, CaptionLine.Problem>
            do throws(CaptionLine.Problem) {
                guard let line = try CaptionLine(bytes) else { continue }
                parsed = .success(line)
            } catch {
                parsed = .failure(error)
            }
            try body(number, parsed)
        }
    }

    /// The texts by picture, in the order of the file.
    public var textsByImage: [String: [String]] {
        captions.reduce(into: [:]) { $0[$1.image, default: []].append($1.text) }
    }
}

extension CaptionLine.Problem {
    /// What is wrong, and where it is not plain, what to do.
    var reason: String {
        switch self {
        case .form: "not of the form IMAGE<TAB>TEXT, IMAGE#NUMBER TEXT or IMAGE#LANGUAGE#NUMBER TEXT"
        case .utf16: "UTF-16 text, or holds a null (iconv -f UTF-16 -t UTF-8 converts a whole file)"
        case .notUTF8(true): "not UTF-8, perhaps GBK (iconv -f GB18030 -t UTF-8 converts a whole file)"
        case .notUTF8(false): "not UTF-8"
        case .damaged: "holds the character of a failed conversion, U+FFFD"
        case .empty: "no text"
        }
    }
}
