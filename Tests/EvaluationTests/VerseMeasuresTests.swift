import Testing
import TihuaEvaluation
import TihuaProsody

@Suite struct VerseMeasuresTests {
    @Test func copiedRunsAreThoseOfBruteForce() {
        func brute(_ text: [UInt16], _ corpus: [[UInt16]]) -> Int {
            var best = 0
            for start in text.indices {
                for end in start..<text.count where end - start + 1 > best {
                    let run = Array(text[start...end])
                    let isThere = corpus.contains { other in
                        other.indices.contains { other[$0...].starts(with: run) }
                    }
                    if isThere { best = run.count }
                }
            }
            return best
        }
        var state: UInt64 = 5
        func text(_ length: Int) -> [UInt16] {
            (0..<length).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt16(state >> 33 & 3)
            }
        }
        for _ in 0..<40 {
            let texts = (0..<4).map { _ in text(12) }
            let corpus = (0..<3).map { _ in text(20) }
            var runs = CopiedRuns(texts: texts)
            for other in corpus { runs.scan(other) }
            #expect(runs.longest() == texts.map { brute($0, corpus) })
        }
    }

    @Test func copiedRunsOfRepeatedAndEmptyTexts() {
        var runs = CopiedRuns(texts: [[1, 1, 1, 2], [1, 1, 1, 2], [], [9]])
        runs.scan([5, 1, 1, 1])
        runs.scan([1, 2])
        #expect(runs.longest() == [3, 3, 0, 0])
    }

    @Test func regularityTellsFormRhymeAndTone() throws {
        let regular = ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"]
        let offRhyme = ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层山"]
        let offTone = ["白日依山尽", "黄河入海流", "欲穷千里目", "更山一层楼"]
        let short = ["白日依山尽", "黄河入海流", "欲穷千里目"]
        let broken = ["白日依山尽", "黄河入海□", "欲穷千里目", "更上一层楼"]
        let all = [regular, offRhyme, offTone, short, broken].map {
            VerseMeasures.Item(lines: $0, form: .wujue, rhyme: RhymeBook.pingshui.groups(named: "十一尤").first)
        }
        let found = try #require(VerseMeasures.regularity(of: all))
        #expect(found.format == 0.6 && found.rhyme == 0.4 && found.tone == 0.4)
        #expect(found.regular == 0.2 && found.regularLoose == 0.2)
        #expect(try #require(found.toneCharacters) > 0.9)
        #expect(found.askedRhyme == 0.4)
        #expect(VerseMeasures.regularity(of: []) == nil)
        let unasked = VerseMeasures.Item(lines: regular, form: .wujue, rhyme: nil)
        #expect(VerseMeasures.regularity(of: [unasked])?.askedRhyme == nil)
    }

    @Test func distinctCountsWithinLines() {
        #expect(VerseMeasures.distinct(1, in: [["山山水"], ["山"]]) == 0.5)
        #expect(VerseMeasures.distinct(2, in: [["山山水"], ["山"]]) == 1)
        #expect(VerseMeasures.distinct(2, in: [["山水", "山水"]]) == 0.5)
        #expect(VerseMeasures.distinct(2, in: [["山"]]) == nil)
    }

    @Test func coverageCountsPoemsAndWords() throws {
        let found = try #require(
            VerseMeasures.coverage(of: [
                (["孤舟", "明月"], ["孤舟蓑笠翁", "独钓寒江雪"]), (["远山"], ["远上寒山石径斜"]), ([], ["山"]),
            ]))
        #expect(found.poems == 0.5 && found.words == 1.0 / 3)
        #expect(VerseMeasures.coverage(of: []) == nil)
    }
}
