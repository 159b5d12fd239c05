import Testing
import TihuaProsody

@testable import TihuaEvaluation

@Suite struct ProsodySurveyTests {
    @Test func poemsAreCountedByFormAndFault() {
        var survey = ProsodySurvey()
        let poems = [
            // Regular by the textbook; with a licence (特拗); with a fault (三平尾); 古绝; no shi.
            "白日依山尽 黄河入海流 欲穷千里目 更上一层楼", "黄河远上白云间 一片孤城万仞山 羌笛何须怨杨柳 春风不度玉门关",
            "白日依山尽 黄河入海流 欲穷千里目 更上高层楼", "千山鸟飞绝 万径人踪灭 孤舟蓑笠翁 独钓寒江雪", "白日依山 黄囍",
        ]
        for poem in poems { survey.add(poem.split(separator: " ").map(String.init)) }
        #expect(survey.forms["五绝"] == ProsodySurvey.Count(shaped: 3, regulated: 2, strict: 1, loose: 1))
        #expect(survey.forms["七绝"] == ProsodySurvey.Count(shaped: 1, regulated: 1, strict: 0, loose: 1))
        #expect(survey.total == ProsodySurvey.Count(shaped: 4, regulated: 3, strict: 1, loose: 2))
        #expect(survey.faults == [.threeLevels: 1] && survey.remarks == [.special: 1])
        #expect(survey.examples == [.threeLevels: ["欲穷千里目，更上高层楼。第4句第3字“高”三平尾：句末三字皆平"]])
        #expect(survey.unknown == ["囍": 1] && survey.characterCount == 3 * 20 + 28 + 6)
    }

    @Test func whatIsRegulatedDoesNotHangOnTheRulesThatAreMeasured() {
        func isRegulated(_ poem: String) -> Bool {
            ProsodySurvey.isRegulated(poem.split(separator: " ").map(String.init))
        }
        // Any tones at the first and third places, and one even place in eight.
        #expect(isRegulated("白日依山尽 大河落海流 欲穷万里目 更上高层楼"))
        #expect(isRegulated("移舟泊烟渚 日暮客愁新 野旷天低树 江清月近人"))
        // Oblique rhymes, rhymes of two parts, two even places of eight, a broken link.
        #expect(!isRegulated("千山鸟飞绝 万径人踪灭 孤舟蓑笠翁 独钓寒江雪"))
        #expect(!isRegulated("白日依山尽 黄河入海流 欲穷千里目 更上一层山"))
        #expect(!isRegulated("白日山山尽 黄水入水流 欲日千日目 更山一山楼"))
        #expect(!isRegulated("白日依山尽 黄河入海流 万里无穷目 登临百尺楼"))
    }
}
