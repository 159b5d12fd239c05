import Foundation
import Testing
import TihuaPackSupport

/// Numbers on the command line at and beyond their ends: an answer or one line, never a trap, never a hang.
@Suite struct NumberTests {
    private static let whole = ["9223372036854775807", "-9223372036854775808", "9223372036854775808", "-1", "0"]
    private static let real = ["1e308", "-1e308", "5e-324", "nan", "inf", "1e999"]

    struct Case: Sendable, CustomTestStringConvertible {
        let command: [String]
        let option: String
        let isWhole: Bool

        var testDescription: String { (command.prefix(2) + [option]).joined(separator: " ") }
    }

    static let cases: [Case] = {
        var cases: [Case] = []
        func add(_ command: [String], whole: [String], real: [String] = []) {
            cases += whole.map { Case(command: command, option: $0, isWhole: true) }
            cases += real.map { Case(command: command, option: $0, isWhole: false) }
        }
        add(
            ["poem", "PICTURE", "--pack", "PACK", "--n", "1", "--candidates", "2"],
            whole: ["--n", "--candidates", "--seed", "--threads"])
        add(["keywords", "PICTURE", "--pack", "PACK"], whole: ["--n", "--threads"])
        add(
            ["lm", "--model", "POET", "--ids", "2", "--generate", "2", "--temperature", "1"],
            whole: ["--generate", "--top-k", "--count", "--min-tokens", "--no-repeat-ngram", "--seed", "--threads"],
            real: ["--temperature", "--top-p", "--repetition-penalty"])
        add(
            ["lm", "--model", "POET", "--ids", "2", "--generate", "2"], whole: ["--beams", "--ids"],
            real: ["--length-penalty", "--contrastive"])
        add(["data", "captions", "CAPTIONS", "--out", "OUT"], whole: ["--hold-out"])
        add(["data", "lines", "CORPUS", "--out", "OUT"], whole: [], real: ["--rate"])
        add(
            [
                "train", "poet", "--corpus", "CORPUS", "--config", "RECIPE", "--quiet", "--device", "cpu", "--out",
                "OUT",
            ],
            whole: ["--seed", "--threads"], real: ["--learning-rate"])
        return cases
    }()

    @Test(arguments: cases)
    func theEndsOfARangeAreNoTrap(_ number: Case) throws {
        let pack = try TinyPack()
        func write(_ text: String, _ name: String) throws -> String {
            let url = pack.folder.appending(path: name)
            try Data(text.utf8).write(to: url)
            return url.path
        }
        let poems = ["山水云月风", "花雪江天日", "春秋夜人心", "归去来见无"].joined(separator: "|")
        let places = [
            "PICTURE": try pack.picture().path, "PACK": pack.folder.path, "POET": pack.poet.path,
            "CAPTIONS": try write("a\t一只猫\nb\t两只狗\n", "captions.tsv"),
            "CORPUS": try write("{\"content\":\"\(poems)\",\"keywords\":\"山水\"}\n", "corpus.json"),
            "RECIPE": try write(
                """
                {"training": {"steps": 1, "warmup": 0, "precision": "float32"},
                 "poet": {"hiddenSize": 16, "layerCount": 1, "headCount": 2, "positionCount": 96, "minimumCharacterCount": 0, "holdOut": 0}}
                """, "recipe.json"),
        ]
        for (index, value) in (number.isWhole ? Self.whole : Self.real).enumerated() {
            var arguments = number.command.map {
                places[$0] ?? ($0 == "OUT" ? pack.folder.appending(path: "out\(index)").path : $0)
            }
            if let old = arguments.firstIndex(of: number.option) { arguments.removeSubrange(old...old + 1) }
            arguments.append("\(number.option)=\(value)")
            let run = try Run(arguments)
            #expect([0, 1, 2].contains(run.status), "\(value): \(run.status) \(run.errors.suffix(400))")
            if run.status == 1 { #expect(run.isOneLine, "\(value): \(run.errors)") }
            if run.status != 0 { #expect(run.errors.hasPrefix("Error: "), "\(value): \(run.errors)") }
        }
    }
}
