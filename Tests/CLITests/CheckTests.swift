import Foundation
import Testing

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
}
