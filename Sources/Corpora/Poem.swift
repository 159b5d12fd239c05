/// One poem of a corpus: a line of the JSON lines that `tihua data poems` writes.
public struct Poem: Codable, Sendable, Equatable {
    /// 五绝 七绝 五律 七律 五古 七古 四言 六言 词 曲 楚辞 诗经, as `PoemShape` names them.
    public var form: String
    /// The tune (词牌) of a 词, where it is known.
    public var tune: String?
    /// The title in simplified characters; may be empty.
    public var title: String
    /// The author in simplified characters; may be empty.
    public var author: String
    /// 先秦 汉 唐 五代 宋 元 清, or what the source says; may be empty.
    public var dynasty: String
    /// The clauses in simplified characters, without punctuation.
    public var lines: [String]
    /// The sign after each line, one character per line; nil for a shi, whose lines end in ， and 。 in turn.
    public var ends: String?
    /// Keywords that the source gives, nil where it gives none.
    public var keywords: [String]?
    /// The folder and file of the source.
    public var source: String

    /// Takes every field as it is.
    public init(
        form: String, tune: String? = nil, title: String = "", author: String = "", dynasty: String = "",
        lines: [String], ends: String? = nil, keywords: [String]? = nil, source: String = ""
    ) {
        self.form = form
        self.tune = tune
        self.title = title
        self.author = author
        self.dynasty = dynasty
        self.lines = lines
        self.ends = ends
        self.keywords = keywords
        self.source = source
    }

    /// The poem as one text with its punctuation.
    public var text: String {
        let ends = ends.map(Array.init) ?? lines.indices.map { $0 % 2 == 0 ? "，" : "。" }
        return zip(lines, ends).map { $0 + String($1) }.joined()
    }
}

/// Names the form of a poem.
public enum PoemShape {
    /// The form of shi lines by their number and length; nil where they are not the lines of a shi (unequal, odd in number,
    /// fewer than four, not of 4 to 7 characters).
    ///
    /// By shape alone: a 古绝 counts as 五绝 or 七绝 and a 排律 as 五古 or 七古, since the lines do not tell without tones.
    public static func form(ofShi lines: [String]) -> String? {
        guard let length = lines.first?.unicodeScalars.count, lines.count >= 4, lines.count % 2 == 0,
            lines.allSatisfy({ $0.unicodeScalars.count == length })
        else { return nil }
        switch (length, lines.count) {
        case (5, 4): return "五绝"
        case (7, 4): return "七绝"
        case (5, 8): return "五律"
        case (7, 8): return "七律"
        case (5, _): return "五古"
        case (7, _): return "七古"
        case (4, _): return "四言"
        case (6, _): return "六言"
        default: return nil
        }
    }
}
