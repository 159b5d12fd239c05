import Foundation
import Testing
import TihuaGeneration

@Suite struct StockPairsTests {
    @Test func stockIsWhatIsWrittenClearlyMoreOftenThanRead() throws {
        // 不知 30 times against 5; 春山 against as many; 何处 too seldom to count; 秋水 only twice as often as what was read.
        let written = Array(repeating: "不知春山", count: 30) + Array(repeating: "何处", count: 11)
        let read = Array(repeating: "不知", count: 5) + Array(repeating: "知春山", count: 30)
        let stock = StockPairs(written: written, read: read)
        #expect(Set(stock.excess.keys) == ["不知"])
        #expect(abs(try #require(stock.excess["不知"]) - (log(30.0 / 8) - 0.4)) < 1e-12)
        #expect(abs(stock.excess(in: ["不知山", "春不知"]) - 2 * (log(30.0 / 8) - 0.4)) < 1e-12)
        // Pairs do not reach from line to line.
        #expect(stock.excess(in: ["春不", "知山"]) == 0)
    }

    @Test func theFileIsReadAsItIsWritten() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "tihua-stock-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "stock.tsv")
        let stock = StockPairs(
            written: Array(repeating: "不知何处", count: 90), read: Array(repeating: "不知", count: 12))
        try stock.text.write(to: file, atomically: true, encoding: .utf8)
        let read = try StockPairs(contentsOf: file)
        #expect(read.excess.keys == stock.excess.keys && read.text == stock.text && stock.text.hasPrefix("何处\t"))
        for damage in ["不知\t", "不知 1\n", "不\t1\n", "不知\tnan\n", "不知\t-1\n", "何处\t1\n不知何\t1\n"] {
            try damage.write(to: file, atomically: true, encoding: .utf8)
            let line = damage.hasPrefix("何处") ? 2 : 1
            #expect(throws: GenerationError.stockPairs(path: file.path, line: line)) {
                try StockPairs(contentsOf: file)
            }
        }
    }

    /// What is stock is written less often, except where the prompt asks for it.
    @Test func aWriterHoldsItsStockBack() throws {
        let poet = try TinyPoet()
        let plans = try (0..<16).map { try poet.plan(seed: UInt64($0)) }
        let plain = try poet.writer().write(plans)
        func counts(_ poems: [WrittenPoem]) -> [String: Int] {
            var counts: [String: Int] = [:]
            for line in poems.flatMap(\.lines) {
                for pair in zip(line, line.dropFirst()) { counts[String([pair.0, pair.1]), default: 0] += 1 }
            }
            return counts
        }
        let before = counts(plain)
        let writer = try poet.writer()
        writer.stock = StockPairs(written: [String](), read: [])
        #expect(try writer.write(plans) == plain)

        let often = before.filter { $0.value >= 3 }.keys.sorted()
        let written = often.flatMap { Array(repeating: $0, count: 100_000) }
        writer.stock = StockPairs(written: written, read: [])
        let after = counts(try writer.write(plans))
        let (many, few) = (
            often.reduce(0) { $0 + before[$1, default: 0] }, often.reduce(0) { $0 + after[$1, default: 0] }
        )
        #expect(!often.isEmpty && few < many / 2, "\(often.count) pairs, \(many) before, \(few) after")
        let asked = try (0..<16).map { try poet.plan(keywords: Array(often.prefix(1)), seed: UInt64($0)) }
        writer.stock = StockPairs(written: often.prefix(1).flatMap { Array(repeating: $0, count: 100_000) }, read: [])
        #expect(try writer.write(asked) == poet.writer().write(asked))
    }
}
