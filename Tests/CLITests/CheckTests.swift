import Foundation
import Testing
import TihuaCorpora

@Suite struct CheckTests {
    private func check(
        _ arguments: String..., input: String = ""
    ) throws -> (status: Int32, output: String, error: String) {
        let run = try Run(["check"] + arguments, input: input)
        return (run.status, run.output, run.errors)
    }

    @Test func regularPoemExitsWith0AndFaultyOneWith1() throws {
        let regular = try check("白日依山尽，黄河入海流。欲穷千里目，更上一层楼。")
        #expect(regular.status == 0 && regular.output.contains("合律") && regular.error.isEmpty)
        let faulty = try check("--form", "wujue", "白日依山尽，黄河入海来。欲穷千里目，更上一层楼。")
        #expect(faulty.status == 1 && faulty.output.contains("出韵"))
    }

    @Test func traditionalTextFromStandardInputIsReadAsSimplified() throws {
        let (status, output, _) = try check(
            "--json", "--english", input: "渭城朝雨浥輕塵，客舍青青柳色新。\n勸君更盡一杯酒，西出陽關無故人。\n")
        struct Output: Decodable {
            struct Fault: Decodable {
                let kind: String
                let line: Int
            }
            let regular: Bool
            let form: String
            let guessed: Bool
            let faults: [Fault]
        }
        let report = try JSONDecoder().decode(Output.self, from: Data(output.utf8))
        #expect(status == 1 && !report.regular && report.form == "七绝" && report.guessed)
        #expect(report.faults.map(\.kind) == ["失粘"] && report.faults.map(\.line) == [3])
        #expect(output.split(separator: "\n").count == 1)
    }

    @Test func poemIsReadFromAFile() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "tihua-check-\(UUID().uuidString).txt")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data("床前明月光\n疑是地上霜\n举头望明月\n低头思故乡\n".utf8).write(to: file)
        let (status, output, _) = try check("--file", file.path)
        #expect(status == 0 && output.hasPrefix("五言古绝"))
        try Data([0xFF, 0xFE, 0x41]).write(to: file)
        let broken = try check("--file", file.path)
        #expect(broken.status == 1 && broken.error.contains("not UTF-8"))
    }

    @Test func aPoemWithItsTitleLostCharactersAndLicencesIsRegularWithRemarks() throws {
        let text = "登高\n唐·杜甫\n風急天高猿嘯哀，渚清沙白鳥飛迴。\n無邊落木蕭蕭下，不盡長□滾滾來。\n萬里悲秋常作客，百年多病獨登臺。\n艱難苦恨繁霜鬢，潦倒新停濁酒杯。\n"
        let run = try check("--form", "七律", input: text)
        #expect(run.status == 0 && run.error.isEmpty)
        let rows = run.output.split(separator: "\n").map(String.init)
        #expect(rows.first == "登高　唐　杜甫" && rows.last?.hasPrefix("合律") ?? false)
        #expect(rows.filter { $0.hasPrefix("按：") } == ["按：第1句第5字“猿”小拗：本宜仄，用平可不救", "按：第4句第4字“□”未收字：此字已佚，无从判断"])
        struct Output: Decodable {
            struct Remark: Decodable { let kind: String }
            let heading: [String]
            let regular: Bool
            let faults: [Remark]
            let remarks: [Remark]
        }
        let json = try check("--json", input: text)
        let report = try JSONDecoder().decode(Output.self, from: Data(json.output.utf8))
        #expect(json.status == 0 && report.regular && report.faults.isEmpty && report.heading == ["登高", "唐", "杜甫"])
        #expect(report.remarks.map(\.kind) == ["小拗", "未收字"])
        let strict = try check("--tones", "strict", input: text)
        #expect(strict.status == 1 && strict.output.contains("不合律：1处"))
        #expect(
            try check("--english", "--form", "七律", input: text).output.contains(
                "note: line 4, character 4 “□”: unknown"))
    }

    /// Two readings of this poem as a 律诗 cost the same; a dictionary's order decided, which differs from process to
    /// process.
    @Test func everyProcessFindsTheSameFaults() throws {
        let poem = "唐虞亦人耳，四海可高谢。哀哉斗升故，谄妄两凭架。心明物自宾，能整故能暇。会当弃人事，面壁度九夏。"
        let outputs = try (0..<8).map { _ in try check("--form", "五律", poem).output }
        #expect(Set(outputs).count == 1)
    }

    @Test func namesAreTakenInTraditionalCharacters() throws {
        let poem = "白日依山盡 黃河入海流 欲窮千里目 更上一層樓"
        for arguments in [["--form", "五絕"], ["--book", "平水韻"], ["--form", "五言絕句", "--book", "詞林正韻"]] {
            let run = try Run(["check"] + arguments + [poem])
            #expect(run.status == 0 && run.errors.isEmpty, "\(arguments): \(run.errors)")
        }
        let ci = try check("--form", "臨江仙", poem)
        #expect(ci.status == 1 && ci.output.hasPrefix("临江仙"))
    }

    @Test(
        arguments: [
            (["白日 abc"], Int32(1), "“a” at line 1, character 4"), (["白日😀"], 1, "“😀” at line 1, character 3"),
            ([""], 1, "no poem text"),
            (["--form", "七觉", "山"], 2, "nearest: 七绝 (qijue)"), (["--book", "xx", "山"], 2, "'xx' is invalid"),
            (["--file", "/nowhere/x"], 1, "/nowhere/x: no such file"), (["--file", "/"], 1, "/: this is a folder"),
            (["--file", "/x", "山"], 2, "not both"), (["山水"], 1, "no form has lines of 2"),
        ] as [([String], Int32, String)])
    func badInputGivesOneLineAndItsStatus(arguments: [String], status: Int32, message: String) throws {
        let process =
            try arguments.count == 1
            ? check(arguments[0])
            : arguments.count == 2
                ? check(arguments[0], arguments[1]) : check(arguments[0], arguments[1], arguments[2])
        #expect(process.status == status && process.output.isEmpty)
        #expect(process.error.contains(message) && process.error.split(separator: "\n").count == 1, "\(process.error)")
    }

    @Test func aCorpusIsSurveyedByFormFaultAndUnknownCharacter() throws {
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let corpus = folder.appending(path: "corpus.jsonl")
        let poems = [
            ("王之涣", ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"]),
            ("王之涣", ["黄河远上白云间", "一片孤城万仞山", "羌笛何须怨杨柳", "春风不度玉门关"]),
            ("某", ["白日依山尽", "黄囍入海流", "欲穷千里目", "更上高层楼"]),
        ].map { CorpusPoem(form: "", author: $0.0, lines: $0.1) }
        try Data(poems.map { try JSONEncoder().encode($0) }.joined(separator: [0x0A])).write(to: corpus)
        let table = try Run(["eval", "prosody", corpus.path])
        #expect(table.status == 0 && table.errors.isEmpty)
        let rows = table.output.split(separator: "\n").map(String.init)
        #expect(rows.contains("五绝\t2\t2\t1 (50.0%)\t1 (50.0%)") && rows.contains("七绝\t1\t1\t0 (0.0%)\t1 (100.0%)"))
        #expect(rows.contains("all\t3\t3\t1 (33.3%)\t2 (66.7%)") && rows.contains("三平尾\t1"))
        #expect(rows.contains("特拗\t1") && rows.last == "囍1")
        struct Report: Decodable {
            struct Count: Decodable { let shaped, regulated, strict, loose: Int }
            let total: Count
            let remarks: [String: Int]
        }
        let some = try Run(["eval", "prosody", corpus.path, "--author", "王之涣", "--sample", "1", "--json"])
        let report = try JSONDecoder().decode(Report.self, from: Data(some.output.utf8))
        #expect(report.total.shaped == 2 && report.total.loose == 2 && report.remarks == ["特拗": 1])
        let nobody = try Run(["eval", "prosody", corpus.path, "--author", "无名"])
        #expect(nobody.status == 1 && nobody.isOneLine && nobody.errors.contains("poems by 无名"))
        #expect(try Run(["eval", "prosody", corpus.path, "--sample", "-1"]).status == 2)
    }
}
