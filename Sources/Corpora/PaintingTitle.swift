import TihuaProsody

/// The titles of Chinese paintings as catalogues have them, `明 李流芳 《吴中十景图》 金笺本墨笔 纵27.7厘米`, and what they say
/// is painted.
public enum PaintingTitle {
    private static let dynasties = ["北宋", "南宋", "五代", "唐", "宋", "元", "明", "清", "辽", "金"]
    /// What tells that a part of a title speaks of the sheet and not of what is painted.
    private static let sheets = [
        "纸本", "绢本", "金笺", "设色", "水墨", "墨笔", "厘米", "博物", "美术馆", "年代", "局部", "选一", "选八", "写生稿", "笔法", "每开", "每页", "大图",
        "合绘", "附",
    ]
    /// Ends that name the mounting or the series.
    private static let mounts = [
        "图轴", "图卷", "图册", "册页", "长卷", "立轴", "散页", "扇面", "诗文册页", "写生册", "写生", "轴", "卷", "册", "图", "扇", "屏", "合",
    ]
    /// Beginnings that name no thing.
    private static let openings = ["仿古", "画", "仿"]
    private static let numerals = Set("一二三四五六七八九十百○〇")
    /// Whole parts that name no subject.
    private static let vague: Set = ["书画", "杂画", "诗画", "家藏", "作品", "博古", "年", "画", "山水四", "己未", "蒙象", "约", "四条"]
    private static let brackets: [Character: Character] = ["（": "）", "(": ")", "【": "】", "[": "]"]

    /// What is painted, in Chinese characters only; nil where the title does not say.
    ///
    /// What stands in 《》 is the title, if anything does. Brackets, numbers, measures, materials, owners, painter and
    /// dynasty and the words for mounting and series go; of the parts that are left, the first stands.
    ///
    /// - Parameters:
    ///   - title: in simplified characters
    ///   - painter: the name of the painter, in simplified characters, which a title may begin with; may be empty
    public static func subject(_ title: String, painter: String = "") -> String? {
        var kept = title
        if let start = title.firstIndex(of: "《"), let end = title[start...].firstIndex(of: "》") {
            kept = String(title[title.index(after: start)..<end])
        }
        let parts = withoutBrackets(kept).split { !$0.isHan && $0 != "○" && $0 != "〇" }.map(String.init)
        var ofSeries: String?
        for part in parts {
            let bare = withoutNames(part, painter)
            guard !sheets.contains(where: bare.contains), !dynasties.contains(bare) else { continue }
            guard let subject = withoutMount(bare) else { continue }
            // 写生册 枇杷: the leaf says more than the album that it is from.
            if bare.hasSuffix("册"), ofSeries == nil {
                ofSeries = subject
                continue
            }
            return subject
        }
        return ofSeries
    }

    /// What may be said of a painting of a subject.
    public static func caption(_ subject: String) -> String { "画着\(subject)的国画" }

    private static func withoutBrackets(_ text: String) -> String {
        var closing: Character?
        return String(
            text.map { character in
                if let end = closing {
                    if character == end { closing = nil }
                    return " "
                }
                closing = brackets[character]
                return closing == nil ? character : " "
            })
    }

    /// A part without a dynasty and a painter before it. Where the painter is not known, a dynasty and two characters
    /// go: most names have two.
    private static func withoutNames(_ part: String, _ painter: String) -> String {
        for dynasty in dynasties where part.hasPrefix(dynasty) {
            let rest = part.dropFirst(dynasty.count)
            if !painter.isEmpty, rest.hasPrefix(painter) { return String(rest.dropFirst(painter.count)) }
            if painter.isEmpty, rest.count >= 4 { return String(rest.dropFirst(2)) }
        }
        return !painter.isEmpty && part.hasPrefix(painter) ? String(part.dropFirst(painter.count)) : part
    }

    private static func withoutMount(_ part: String) -> String? {
        var rest = Substring(part)
        while true {
            if let end = mounts.first(where: { rest.hasSuffix($0) }) {
                rest = rest.dropLast(end.count)
            } else if rest.hasSuffix("开"), let before = rest.dropLast().last, numerals.contains(before) {
                rest = rest.dropLast()
                while let last = rest.last, numerals.contains(last) { rest = rest.dropLast() }
            } else if let start = openings.first(where: { rest.hasPrefix($0) && rest.count > $0.count + 1 }) {
                rest = rest.dropFirst(start.count)
            } else {
                break
            }
        }
        guard !rest.allSatisfy(numerals.contains), !vague.contains(String(rest)) else { return nil }
        return String(rest)
    }
}
