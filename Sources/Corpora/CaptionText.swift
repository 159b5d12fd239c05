import TihuaProsody

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
