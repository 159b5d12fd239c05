public import Foundation

/// Captions in the format of flickr8kcn, lines `IMAGE#LANGUAGE#NUMBER TEXT` such as `667626_18933d713e.jpg#zhc#0 …`, or of
/// COCO-CN, `IMAGE#NUMBER TEXT`.
public struct CaptionFile: Sendable {
    /// One caption.
    public struct Caption: Sendable, Equatable {
        /// The key of the picture, without `.jpg`.
        public let image: String
        /// `zhc` written by people, `zhb` and `zhg` machine translations, `enc` English, or whatever the file says;
        /// empty where it says nothing.
        public let language: String
        /// Which of the captions of the picture it is.
        public let number: Int
        /// The text, without spaces at its ends.
        public let text: String
    }

    /// The captions in the order of the file.
    public let captions: [Caption]

    /// Reads the file. Throws `CorporaError.badLine` for a line of another shape or without text.
    public init(contentsOf url: URL) throws {
        let source = try ByteSource(url)
        var captions: [Caption] = []
        var number = 0
        while let bytes = try source.readLine() {
            number += 1
            guard let line = String(validating: bytes, as: UTF8.self) else {
                throw CorporaError.badLine(file: source.name, line: number, reason: "not UTF-8")
            }
            if line.allSatisfy(\.isWhitespace) { continue }
            let head = line.prefix { !$0.isWhitespace }
            let parts = head.split(separator: "#", omittingEmptySubsequences: false)
            let text = line[head.endIndex...].trimmingCharacters(in: .whitespaces)
            guard (2...3).contains(parts.count), let image = parts.first, !image.isEmpty,
                let index = parts.last.flatMap({ Int($0) }), !text.isEmpty
            else {
                throw CorporaError.badLine(
                    file: source.name, line: number, reason: "not of the form IMAGE#LANGUAGE#NUMBER TEXT")
            }
            captions.append(
                Caption(
                    image: String(image.hasSuffix(".jpg") ? image.dropLast(4) : image),
                    language: parts.count == 3 ? String(parts[1]) : "", number: index, text: text))
        }
        guard !captions.isEmpty else { throw CorporaError.nothingFound(file: source.name, expected: "captions") }
        self.captions = captions
    }

    /// The texts by picture, in the order of the file.
    public var textsByImage: [String: [String]] {
        captions.reduce(into: [:]) { $0[$1.image, default: []].append($1.text) }
    }
}
