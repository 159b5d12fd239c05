import Foundation
import Testing
import TihuaVerse

@Suite struct OverusedPairsTests {
    @Test func stockIsWhatIsWrittenClearlyMoreOftenThanRead() throws {
        // 不知 30 times against 5; 春山 against as many; 何处 too seldom to count; 秋水 only twice as often as what was read.
        let written = Array(repeating: "不知春山", count: 30) + Array(repeating: "何处", count: 11)
        let read = Array(repeating: "不知", count: 5) + Array(repeating: "知春山", count: 30)
        let stock = OverusedPairs(written: written, read: read)
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
        let stock = OverusedPairs(
            written: Array(repeating: "不知何处", count: 90), read: Array(repeating: "不知", count: 12))
        try stock.text.write(to: file, atomically: true, encoding: .utf8)
        let read = try OverusedPairs(contentsOf: file)
        #expect(read.excess.keys == stock.excess.keys && read.text == stock.text && stock.text.hasPrefix("何处\t"))
        for damage in ["不知\t", "不知 1\n", "不\t1\n", "不知\tnan\n", "不知\t-1\n", "何处\t1\n不知何\t1\n"] {
            try damage.write(to: file, atomically: true, encoding: .utf8)
            let line = damage.hasPrefix("何处") ? 2 : 1
            #expect(throws: VerseError.overusedPairs(path: file.path, line: line)) {
                try OverusedPairs(contentsOf: file)
            }
        }
    }
}
