import TihuaProsody

/// One poem of a corpus: a line of the JSON lines that `tihua data poems` writes.
public struct CorpusPoem: Codable, Sendable, Equatable {
    /// 五绝 七绝 五律 七律 五言古绝 七言古绝 五古 七古 四言 六言 (`PoemShape`), 词 曲 楚辞 诗经, 杂言 for other text.
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
    /// The form of shi lines; nil where they are not the lines of a shi (unequal, odd in number, fewer than four, not
    /// of 4 to 7 characters).
    ///
    /// Four and eight lines of 5 or 7 characters are 五绝 七绝 五律 七律 where tones and rhyme say so (`ProsodyChecker`,
    /// `loose`), else 五言古绝 七言古绝 五古 七古. All other numbers of lines are 五古 and 七古, 排律 among them; 四言 and 六言 have no
    /// metre.
    public static func form(ofShi lines: [String]) -> String? {
        guard let length = lines.first?.unicodeScalars.count, lines.count >= 4, lines.count % 2 == 0,
            lines.allSatisfy({ $0.unicodeScalars.count == length })
        else { return nil }
        switch length {
        case 4: return "四言"
        case 6: return "六言"
        case 5, 7:
            if lines.count == 4 || lines.count == 8, let report = try? ProsodyChecker().check(lines),
                report.kind == .regulated
            {
                return report.form
            }
            return Form.ancient(syllables: length, lines: lines.count).name
        default: return nil
        }
    }
}
