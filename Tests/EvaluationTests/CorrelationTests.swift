import Testing
import TihuaEvaluation

@Suite struct CorrelationTests {
    @Test("Spearman's correlation of ties, as scipy.stats.spearmanr has it")
    func spearman() throws {
        #expect(
            abs(try #require(Correlation.spearman([1, 2, 2, 4, 5], [2, 1, 3, 3, 9])) - 0.7631578947368421) < 1e-12)
        #expect(Correlation.spearman([1, 2, 3], [9, 5, 1]) == -1)
        #expect(Correlation.spearman([1, 1], [1, 2]) == nil)
        #expect(Correlation.spearman([1], [1]) == nil)
    }
}
