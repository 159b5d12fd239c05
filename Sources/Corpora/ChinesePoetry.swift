import Foundation

/// The layout of the repository chinese-poetry/chinese-poetry: what each folder holds and how its records are written.
enum ChinesePoetry {
    struct Collection: Sendable {
        let folder: String
        let dynasty: String
        let kind: PoemCleaner.Kind
        /// Only files whose names begin so.
        var filePrefix = ""
    }

    static let collections: [Collection] = [
        Collection(folder: "全唐诗", dynasty: "", kind: .shi, filePrefix: "poet."),
        Collection(folder: "御定全唐詩", dynasty: "唐", kind: .shi),
        Collection(folder: "水墨唐诗", dynasty: "唐", kind: .shi),
        Collection(folder: "曹操诗集", dynasty: "汉", kind: .shi),
        Collection(folder: "宋词", dynasty: "宋", kind: .free(form: "词"), filePrefix: "ci."),
        Collection(folder: "五代诗词", dynasty: "五代", kind: .free(form: "词")),
        Collection(folder: "纳兰性德", dynasty: "清", kind: .free(form: "词")),
        Collection(folder: "元曲", dynasty: "元", kind: .free(form: "曲")),
        Collection(folder: "诗经", dynasty: "先秦", kind: .free(form: "诗经")),
        Collection(folder: "楚辞", dynasty: "先秦", kind: .free(form: "楚辞")),
    ]

    /// The collection that a file belongs to and its path from there on; nil for files that hold no poems.
    static func collection(of path: String) -> (collection: Collection, source: String)? {
        let parts = path.split(separator: "/").map { String($0).precomposedStringWithCanonicalMapping }
        guard let file = parts.last, file.hasSuffix(".json") else { return nil }
        for collection in collections {
            guard let index = parts.firstIndex(of: collection.folder), index < parts.count - 1 else { continue }
            guard file.hasPrefix(collection.filePrefix), !file.contains("author"), file != "intro.json",
                !file.contains("preface")
            else { return nil }
            return (collection, parts[index...].joined(separator: "/"))
        }
        return nil
    }

    /// 唐 before 宋 and small numbers before large ones, so that of two copies the older one stays.
    static func comesBefore(_ left: String, _ right: String) -> Bool {
        func key(_ path: String) -> (Int, Int, String) {
            guard let found = collection(of: path) else { return (Int.max, 0, path) }
            let rank = collections.firstIndex { $0.folder == found.collection.folder } ?? 0
            let number = path.split(whereSeparator: { !$0.isASCII || !$0.isNumber }).last.flatMap { Int($0) } ?? 0
            return (rank * 2 + (path.contains(".song.") ? 1 : 0), number, path)
        }
        return key(left) < key(right)
    }

    /// One record of any of the files; nothing is required, so that one odd record does not lose its file.
    struct Record: Decodable {
        var title: String?
        var author: String?
        var dynasty: String?
        var tune: String?
        var paragraphs: [String]?

        private enum Key: String, CodingKey {
            case title, author, dynasty, rhythmic, paragraphs, para, content
        }

        init(from decoder: any Decoder) {
            guard let fields = try? decoder.container(keyedBy: Key.self) else { return }
            title = try? fields.decodeIfPresent(String.self, forKey: .title)
            author = try? fields.decodeIfPresent(String.self, forKey: .author)
            dynasty = try? fields.decodeIfPresent(String.self, forKey: .dynasty)
            tune = try? fields.decodeIfPresent(String.self, forKey: .rhythmic)
            for key in [Key.paragraphs, .para, .content] where paragraphs == nil {
                paragraphs = try? fields.decodeIfPresent([String].self, forKey: key)
            }
        }
    }

    /// What one record gives: a poem, or the reason why none with what to call it in a report.
    enum Outcome {
        case poem(CorpusPoem)
        case dropped(DropReason, name: String)
    }

    /// The poems of one file, or nil where it is not a JSON list. `simplified` converts a batch of texts.
    static func outcomes(
        _ bytes: [UInt8], of collection: Collection, source: String, simplified: ([String]) throws -> [String]
    ) throws -> [Outcome]? {
        guard let records = try? JSONDecoder().decode([Record].self, from: Data(bytes)) else { return nil }
        // Texts first, then three fields for each record: one call into the converter for the whole file.
        var texts: [String] = []
        for record in records {
            texts += [
                record.paragraphs?.joined(separator: "\n") ?? "", record.title ?? "", record.author ?? "",
                record.tune ?? "",
            ]
        }
        let converted = try simplified(texts)
        return records.enumerated().map { index, record in
            let fields = Array(converted[(index * 4)..<(index * 4 + 4)])
            let (text, title, author, tune) = (fields[0], plainTitle(fields[1]), plain(fields[2]), fields[3])
            let name = [author, title.isEmpty ? tune : title].filter { !$0.isEmpty }.joined(separator: "《") + "》"
            guard record.paragraphs != nil else { return .dropped(.unparseable, name: name) }
            let (kind, tuneName) = kindAndTune(collection, tune: tune, title: title)
            switch PoemCleaner.clean([text], as: kind) {
            case .failure(let dropped): return .dropped(dropped.reason, name: name)
            case .success(let clean):
                return .poem(
                    CorpusPoem(
                        form: clean.form, tune: tuneName, title: title.isEmpty ? tuneName ?? "" : title, author: author,
                        dynasty: dynasty(of: record, in: collection, source: source, author: author),
                        lines: clean.lines, ends: clean.ends, source: source))
            }
        }
    }

    /// 纳兰性德's file mixes ci, whose titles are 词牌·题, with shi.
    private static func kindAndTune(
        _ collection: Collection, tune: String, title: String
    ) -> (kind: PoemCleaner.Kind, tune: String?) {
        guard case .free("词") = collection.kind else { return (collection.kind, nil) }
        var tune = tune
        if tune.isEmpty {
            guard let dot = title.firstIndex(of: "·") else { return (.shi, nil) }
            tune = String(title[..<dot])
        }
        // 望江南・忆江南: the name used, then the usual one.
        if let usual = tune.split(separator: "・").last { tune = String(usual) }
        if let note = tune.firstIndex(where: { "（(".contains($0) }) { tune = String(tune[..<note]) }
        tune = tune.trimmingCharacters(in: .whitespaces)
        let isName = !tune.isEmpty && tune != "失调名" && tune.unicodeScalars.allSatisfy(PoemCleaner.isHan)
        return (collection.kind, isName ? tune : nil)
    }

    private static func dynasty(
        of record: Record, in collection: Collection, source: String, author: String
    ) -> String {
        switch collection.folder {
        case "全唐诗": source.contains(".song.") ? "宋" : "唐"
        case "楚辞": ["屈原", "宋玉", "景差"].contains(author) ? "先秦" : "汉"
        default: collection.dynasty
        }
    }

    /// A title without its notes in brackets; with them where there is nothing else or they do not match.
    private static func plainTitle(_ text: String) -> String {
        let title = plain(PoemCleaner.withoutNotes(text)?.text ?? text)
        return title.isEmpty ? plain(text) : title
    }

    /// A title or a name on one line.
    private static func plain(_ text: String) -> String {
        text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
}
