import Testing
import TihuaVerse

@Suite struct TextSelectionTests {
    @Test func equalTextsCountOnceAndLikeOnesStepBack() {
        let texts = ["一只狗在草地上", "一只狗在草地上", "一只狗在草地里", "两个孩子踢球", ""]
        let scores = [-1, -1, -1.05, -1.3, -9]
        #expect(selectDiverse(texts, scores: scores, count: 5).prefix(2) == [0, 3])
        #expect(selectDiverse(texts, scores: scores, count: 5).count == 4)
        #expect(selectDiverse(texts, scores: scores, count: 3, diversity: 0) == [0, 2, 3])
        #expect(selectDiverse(texts, scores: scores, count: 0).isEmpty)
        #expect(selectDiverse([], scores: [], count: 3).isEmpty)
    }
}
