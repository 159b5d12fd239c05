import Testing
import TihuaPictures

@Suite struct HistogramTests {
    /// Blue pixels of each column.
    private func bars(_ picture: Picture) -> [Int] {
        (0..<picture.width).map { x in
            (0..<picture.height).count { y in
                let pixel = Array(picture.bytes[((y * picture.width + x) * 3)...].prefix(3))
                return pixel == [70, 110, 160]
            }
        }
    }

    @Test("bars are as tall as what they count")
    func barsAreInProportion() throws {
        let picture = try Histogram(title: "长度", axis: "characters", counts: [0, 10, 40, 20]).picture()
        let columns = bars(picture)
        let width = picture.width - 110
        let heights = (0..<4).map { columns[80 + $0 * width / 4 + width / 8] }
        #expect(heights[0] == 0 && heights[2] > 300)
        // The lines of the grid lie under the bars, so heights are exact.
        #expect(abs(heights[2] - 4 * heights[1]) <= 4 && abs(heights[2] - 2 * heights[3]) <= 2)
    }

    @Test(
        "empty, negative and very long counts are drawn too",
        arguments: [[], [0], [-5, 3], Array(repeating: 2, count: 5000)])
    func oddCounts(counts: [Int]) throws {
        let picture = try Histogram(title: "t", axis: "a", counts: counts).picture()
        #expect(picture.width == 960 && picture.height == 540)
        let tallest = bars(picture).max() ?? 0
        #expect((tallest > 300) == counts.contains { $0 > 0 })
    }
}
