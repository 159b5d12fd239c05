import Foundation
import Testing
import TihuaCorpora
import TihuaEvaluation
import TihuaPackSupport
import TihuaTorch
import TihuaTraining

@testable import TihuaMeasures

@Suite struct CorpusMeasuresTests {
    @Test func aSurveyTakesSomePoemsOfEachAuthorSpreadOverAll() throws {
        let regular = ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"]
        try withFolder { folder in
            let file = folder.appending(path: "corpus.jsonl")
            func poem(_ author: String, _ lines: [String]) -> String {
                let lines = lines.joined(separator: #"", ""#)
                return #"{"form": "五绝", "lines": ["\#(lines)"], "source": "", "title": "", "author": "\#(author)", "#
                    + #""dynasty": ""}"#
            }
            let rows = (0..<6).map { _ in poem("王之涣", regular) } + [poem("李白", regular)]
            try rows.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
            func shaped(_ authors: Set<String>, _ sample: Int) throws -> Int {
                try ProsodySurvey(corpus: file, authors: authors, sample: sample).total.shaped
            }
            #expect(try shaped([], 0) == 7 && shaped(["王之涣"], 0) == 6 && shaped([], 2) == 3)
            #expect(throws: EvaluationError.nothingFound(file: file.path, expected: "poems by 杜甫")) {
                try shaped(["杜甫"], 0)
            }
            let report = ProsodySurveyReport(try ProsodySurvey(corpus: file), most: 3)
            #expect(report.total.regulated == 7 && report.total.strict == 7 && report.faults.isEmpty)
            #expect(report.characters == 7 * 20 && report.unknown.count <= 3)
        }
    }

    @Test func aCheckMustNameWhatIsThere() throws {
        let check = try ImageryCheck("cats\ta\t明月\t夕阳\ndogs\tb\t孤舟\n", file: "check.tsv")
        #expect(throws: Never.self) { try check.check(against: ["明月", "夕阳", "孤舟"], file: "check.tsv") }
        #expect(throws: EvaluationError.badLine(file: "check.tsv", line: 2, reason: "孤舟 is not in the bank")) {
            try check.check(against: ["明月", "夕阳"], file: "check.tsv")
        }
        try withFolder { folder in
            let reason = "\(folder.relativePath) holds no cats.tar"
            #expect(throws: EvaluationError.badLine(file: "check.tsv", line: 1, reason: reason)) {
                try check.pictures(in: folder, file: "check.tsv")
            }
        }
        let report = ImageryReport(check, said: [["明月", "夕阳"], ["垂柳"]], top: 2)
        #expect(report.pictures.map(\.expected) == [["明月"], []] && report.score.forbidden.map(\.word) == ["夕阳"])
    }

    /// Folders named by labels, with a picture that is none: it is named, and the others are measured.
    @Test func picturesAreClassifiedByTheCaptionsOfTheirLabels() throws {
        Runtime.threadCount = 1
        let pack = try TinyPack()
        let folder = pack.folder.appending(path: "shard")
        for (label, red) in [("warm", 200), ("cold", 10)] {
            let place = folder.appending(path: label)
            try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
            for index in 0..<3 {
                let picture = try pack.picture("p.png", red: UInt8(red + index))
                try FileManager.default.moveItem(at: picture, to: place.appending(path: "\(index).png"))
            }
        }
        try Data("no picture".utf8).write(to: folder.appending(path: "warm/9.png"))
        let labels = pack.folder.appending(path: "labels.tsv")
        try "warm\t夕阳\nwarm\t红花\ncold\t江水\n".write(to: labels, atomically: true, encoding: .utf8)
        var source = PictureSet.Source(shard: folder)
        source.labels = labels
        let shard = try source.described()
        var notes: [String] = []
        let measures = try TowerMeasures(folder: pack.clip, device: .cpu, note: { notes.append($0) })
        let found = try measures.classification(shard)
        #expect(found.pictures == 6 && found.classes.map(\.label) == ["cold", "warm"] && found.top5 == nil)
        #expect(found.classes.map(\.pictures) == [3, 3] && notes == ["1 pictures of shard cannot be read: warm/9"])
        #expect(throws: EvaluationError.self) { try measures.retrieval(shard) }
        #expect(throws: EvaluationError.self) { try measures.classification(shard, heldOut: 1_000_000_007) }

        // With captions of their own, pictures and captions look for each other.
        let captions = pack.folder.appending(path: "captions.tsv")
        try "warm/0\t夕阳\nwarm/1\t夕阳\ncold/0\t江水\n".write(to: captions, atomically: true, encoding: .utf8)
        source.labels = nil
        source.captions = [captions]
        let retrieval = try measures.retrieval(source.described())
        #expect(retrieval.pictures == 3 && retrieval.captions == 3)
        #expect(retrieval.pictureToCaption.recallAt5 == 1 && retrieval.captionToPicture.recallAt5 == 1)
        #expect(try measures.retrieval(source.described(), limit: 2).pictures == 2)

        // A sentence is the nearest to itself, wherever it stands, and not to another.
        func item(_ answer: Int) throws -> MatchingItem {
            let line = #"{"translation": "江水", "choices": ["夕阳", "江水", "红花", "山"], "answer": \#(answer)}"#
            return try JSONDecoder().decode(MatchingItem.self, from: Data(line.utf8))
        }
        #expect(try measures.matching([item(1), item(1), item(0)], of: "f") == .init(items: 3, accuracy: 2.0 / 3))
        #expect(throws: EvaluationError.self) { try measures.matching([], of: "f") }
    }
}
