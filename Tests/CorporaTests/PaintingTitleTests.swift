import Testing
import TihuaCorpora

@Suite struct PaintingTitleTests {
    @Test(arguments: [
        ("《吴中十景图》明 李流芳 金笺本墨笔 纵27.7厘米 横34.1厘米 上海博物馆藏", "李流芳", "吴中十景"),
        ("山水册（十二页）1693年_23.5x34cm-9", "戴本孝", "山水"), ("石鲁_雄秀之风_154×80cm_1974年", "石鲁", "雄秀之风"),
        ("仿古山水十二开-6", "杨晋", "山水"), ("唐韩干猿马　轴", "", "猿马"), ("瓯香馆写生册 枇杷", "恽寿平", "枇杷"),
        ("连山行忽开", "李照东", "连山行忽开"), ("荷花-3", "韩天衡", "荷花"), ("竹", "孙克弘", "竹"),
        ("荷花（未完", "", "荷花"),
    ])
    func subjectIsWhatIsPainted(title: String, painter: String, subject: String) {
        #expect(PaintingTitle.subject(title, painter: painter) == subject)
    }

    @Test(arguments: ["", "四条屏-1", "书画07-N", "1998年", "《》", "纸本设色", "（全部）"])
    func titleWithoutSubjectSaysNothing(title: String) {
        #expect(PaintingTitle.subject(title, painter: "陈半丁") == nil)
    }

    @Test func captionSaysThatItIsPainted() {
        #expect(PaintingTitle.caption("秋山") == "画着秋山的国画")
    }
}
