import Foundation
import TihuaCorpora
import TihuaEvaluation
import TihuaMeasures

/// The perplexities as a table whose rows come one by one.
struct PerplexityTable {
    private static let forms = [PoetForms.all] + PoetForms.names
    private static let columns = forms + ["all, with line ends"]
    private let width: Int

    /// - Parameter names: of the rows to come
    init(names: [String]) { width = (names + [Self.title]).map(\.count).max() ?? 0 }

    private static let title = "Perplexity per character"

    private func row(_ name: String, _ cells: [String]) -> String {
        cell(name, width, isLeading: true)
            + zip(Self.columns, cells).map { cell($1, max(10, $0.count + 2)) }.joined()
    }

    var head: String { row(Self.title, Self.columns) }

    func line(_ found: PerplexityRow) -> String {
        func text(_ value: Double?) -> String { value.map { String(format: "%.1f", $0) } ?? "-" }
        return row(
            found.name,
            Self.forms.map { text(found.forms[$0].map { exp($0.nats) }) }
                + [text(found.forms[PoetForms.all].map { exp($0.natsWithEnds) })])
    }

    /// How many characters the figures are of.
    func counts(_ rows: [PerplexityRow]) -> String {
        row("characters", Self.forms.map { name in rows.first?.forms[name].map { "\($0.characters)" } ?? "-" })
    }
}

extension PoetReport {
    /// The line before the tables.
    var head: String {
        var parts = ["seed \(seed)"]
        if let trainingPoems { parts.insert("\(trainingPoems) training poems", at: 0) }
        if let leftOut {
            let why = reasons(leftOut)
            if !why.isEmpty { parts.insert("left out: \(why.joined(separator: ", "))", at: 0) }
            if let knownPoems { parts.insert("\(knownPoems) with a line of the training", at: 0) }
            parts.insert("\(heldOutPoems) test poems", at: 0)
        } else if heldOutPoems > 0 {
            parts.insert("\(heldOutPoems) held-out poems", at: 0)
        }
        return "\(poet): " + parts.joined(separator: ", ")
    }

    var writingText: String {
        guard !writing.isEmpty else { return "" }
        let names: [(String, (WritingRow) -> String)] = [
            ("poems", { "\($0.written)/\($0.asked)" }),
            ("format", { Self.percent($0.regularity?.format) }),
            ("rhyme", { Self.percent($0.regularity?.rhyme) }),
            ("rhyme asked for", { Self.percent($0.regularity?.askedRhyme) }),
            ("tones, poems (strict)", { Self.percent($0.regularity?.tone) }),
            ("tones, characters (strict)", { Self.percent($0.regularity?.toneCharacters) }),
            ("fully regular (strict)", { Self.percent($0.regularity?.regular) }),
            ("fully regular (loose)", { Self.percent($0.regularity?.regularLoose) }),
            ("distinct-1", { Self.number($0.distinct1, 3) }),
            ("distinct-2", { Self.number($0.distinct2, 3) }),
            ("copied run, mean", { Self.number($0.meanCopiedRun, 2) }),
            ("copied run, longest", { $0.longestCopiedRun.map(String.init) ?? "-" }),
            ("poems with a copied line", { Self.percent($0.poemsWithCopiedLine) }),
            ("poems with a keyword", { Self.percent($0.keywords?.poems) }),
            ("keywords present", { Self.percent($0.keywords?.words) }),
        ]
        return Self.table(
            [["Writing for the prompts of the poems"] + writing.map(\.name)]
                + names.map { name, value in [name] + writing.map(value) })
    }

    var removedText: String {
        let head = ["Probability that strict tones remove", "all slots", "rhymes", "tones", "free", "poems"]
        let rows = removedMass.map { row in
            ["\(row.poems), rhyme \(row.rhymeInPrompt ? "in" : "not in") the prompt"]
                + [row.all, row.rhyme, row.tone, row.free].map { Self.percent($0?.mean) } + ["\(row.poemCount)"]
        }
        return rows.isEmpty ? "" : Self.table([head] + rows)
    }

    var matchingText: String {
        guard let matching else { return "" }
        func row(_ name: String, _ found: MatchingReport.Accuracies?) -> [String] {
            [name, found.map { "\($0.items)" } ?? "0"]
                + [found?.withSentence, found?.gain, found?.withoutSentence, found?.ngram].map(Self.percent)
        }
        let head = ["CCPM, of \(matching.items) items", "items", "with sentence", "by gain", "without", "5-gram"]
        // Where nobody can tell which lines were read in the training, none is called unseen.
        guard matching.all == nil else { return Self.table([head, row("all that can be read", matching.all)]) }
        return Self.table([
            head, row("right line in no training poem", matching.counted),
            row("no line in a training poem", matching.unseen),
        ])
    }

    var ratingsText: String {
        guard let ratings else { return "" }
        let marks = ratings.all.poet.keys.filter { $0 != "mean" }.sorted() + ["mean"]
        func row(_ name: String, _ values: [String: Double]) -> [String] {
            [name] + marks.map { Self.number(values[$0], 3) }
        }
        var rows = [["PQED, Spearman"] + marks, row("poet, \(ratings.all.poems) poems", ratings.all.poet)]
        if let ngram = ratings.all.ngram { rows.append(row("5-gram, \(ratings.all.poems) poems", ngram)) }
        if let unseen = ratings.unseen {
            rows.append(row("poet, \(unseen.poems) not trained on", unseen.poet))
            if let ngram = unseen.ngram { rows.append(row("5-gram, \(unseen.poems) not trained on", ngram)) }
        }
        return Self.table(rows)
    }

    private static func number(_ value: Double?, _ digits: Int) -> String {
        value.map { String(format: "%.\(digits)f", $0) } ?? "-"
    }

    private static func percent(_ value: Double?) -> String { value.map { String(format: "%.1f %%", 100 * $0) } ?? "-" }

    /// Rows of equal length as columns; the first stands left, the others right. Chinese characters are two columns
    /// wide.
    private static func table(_ rows: [[String]]) -> String {
        func width(_ text: String) -> Int {
            text.unicodeScalars.reduce(0) { $0 + ($1.properties.isIdeographic ? 2 : 1) }
        }
        let widths = (rows.first ?? []).indices.map { column in rows.map { width($0[column]) }.max() ?? 0 }
        return rows.map { row in
            row.enumerated().map { column, text in
                let fill = String(repeating: " ", count: widths[column] - width(text))
                return column == 0 ? text + fill : fill + text
            }.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}
