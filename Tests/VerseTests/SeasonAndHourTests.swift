import Testing
import TihuaVerse

@Suite struct SeasonAndHourTests {
    @Test func aSeasonClashesWithEachOtherOneAndAnHourWithEachOther() {
        #expect(SeasonAndHour.clash("春草", "秋色") && SeasonAndHour.clash("晓风", "暮云") && SeasonAndHour.clash("夜雨", "昼眠"))
        #expect(!SeasonAndHour.clash("春草", "春风") && !SeasonAndHour.clash("春草", "夜雨") && !SeasonAndHour.clash("山", "水"))
        for (a, b) in [("春", "冬"), ("晚", "晨")] {
            #expect(SeasonAndHour.others(than: Character(a)).contains(Character(b)))
            #expect(SeasonAndHour.others(than: Character(b)).contains(Character(a)))
        }
    }
}
