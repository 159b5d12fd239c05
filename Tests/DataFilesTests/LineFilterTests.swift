import Foundation
import Testing
import TihuaDataFiles
import TihuaTestSupport

@Suite struct LineFilterTests {
    private static let lines = (0..<20_000).map { "第\($0)句山水" }

    @Test func endingsAreWhatLinesOftenEndIn() throws {
        let lines = ["春风花草香", "野草香", "百草香", "小院花草香", "满园花草香", "千山鸟飞绝", "鸟飞绝"]
        let twice = LineFilter(endingsOf: lines, minimum: 2)
        // A line of three characters is a phrase and does not count.
        #expect(twice.count == 1 && twice.contains("草香") && !twice.contains("飞绝"))
        let once = LineFilter(endingsOf: lines, minimum: 1)
        #expect(once.count == 2 && once.contains("飞绝"))
        #expect(LineFilter(endingsOf: [String]()).count == 0)
    }

    @Test func everyLineIsFoundAndFewOthers() {
        let filter = LineFilter(lines: Self.lines + Self.lines.prefix(500))
        #expect(filter.count == 20_000)
        #expect(Self.lines.allSatisfy(filter.contains))
        let mistaken = (0..<50_000).count { filter.contains("另\($0)句山水") }
        #expect(filter.falsePositiveRate < 0.0025)
        // 125 are expected at the most; five standard deviations more never come.
        #expect(mistaken < 190, "\(mistaken) of 50,000")
        #expect(filter.byteCount < 20_000 * 14 / 8)
    }

    @Test(arguments: [0.0005, 0.004, 0.05]) func theRateIsAsAsked(rate: Double) {
        let filter = LineFilter(lines: Self.lines, falsePositiveRate: rate)
        #expect(Self.lines.allSatisfy(filter.contains))
        #expect(abs(filter.falsePositiveRate - rate) < rate * 0.15)
        let mistaken = Double((0..<50_000).count { filter.contains("另\($0)句山水") })
        let expected = rate * 50_000
        #expect(abs(mistaken - expected) < 5 * expected.squareRoot() + expected * 0.15)
    }

    @Test func anEmptyFilterKnowsNothing() {
        let filter = LineFilter(lines: [])
        #expect(!filter.contains("") && !filter.contains("山水") && filter.count == 0)
    }

    @Test func aFilterReadsBackAndDamageIsSeen() throws {
        let scratch = try Scratch()
        let url = scratch.url.appending(path: "lines.bloom")
        let filter = LineFilter(lines: Self.lines)
        try filter.write(to: url)
        #expect(try LineFilter(contentsOf: url) == filter)
        let bytes = try Data(contentsOf: url)
        for length in [0, 7, 31, 39, 47, bytes.count - 1] {
            let cut = try scratch.write(bytes.prefix(length), to: "cut")
            #expect(throws: DataFileError.self) { try LineFilter(contentsOf: cut) }
        }
        for position in [3, 9, 17, 25, 33, bytes.count / 2] {
            var damaged = bytes
            damaged[position] ^= 0x80
            let file = try scratch.write(damaged, to: "damaged")
            #expect(throws: DataFileError.self) { try LineFilter(contentsOf: file) }
        }
        #expect(throws: (any Error).self) { try filter.write(to: URL(filePath: "/nonexistent/x")) }
    }
}
