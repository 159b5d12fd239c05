import Foundation
import Testing
import Tihua
import TihuaCorpora
import TihuaDataFiles
import TihuaEvaluation

@testable import TihuaMeasures

/// Measures of what was written: captions, ways to a poem, the order of candidates.
@Suite struct ChoiceTests {
    private func captions(_ rows: [(String, String)]) throws -> [CaptionFile.Caption] {
        try withFolder { folder in
            let file = folder.appending(path: "captions.tsv")
            let text = rows.map { "\($0)\t\($1)\n" }.joined()
            try text.write(to: file, atomically: true, encoding: .utf8)
            return try CaptionFile(contentsOf: file).captions
        }
    }

    private static let names = (captions: "mine", references: "theirs")

    @Test func captionsFindTheirReferencesByPathOrName() throws {
        let found = try CaptionPairs(
            captions([("album/1", "一只狗"), ("2", "两只猫"), ("album/1", "狗在跑"), ("9", "山")]),
            references: ["1": ["狗"], "2": ["猫", "两只猫"], "3": ["水"]], names: Self.names)
        #expect(found.pictures == ["1", "2"] && found.captions == [["一只狗", "狗在跑"], ["两只猫"]])
        #expect(found.references == [["狗"], ["猫", "两只猫"]] && found.withoutReference == ["9"])
        #expect(found.withoutCaption == 1)
        #expect(found.firstOnly.captions == [["一只狗"], ["两只猫"]] && found.firstOnly.references == found.references)
        #expect(throws: EvaluationError.ambiguousName(file: "mine", first: "a/1", second: "b/1", image: "1")) {
            try CaptionPairs(
                captions([("a/1", "狗"), ("b/1", "猫")]), references: ["1": ["狗"]], names: Self.names)
        }
        #expect(throws: EvaluationError.nothingInCommon(captions: "mine", references: "theirs")) {
            try CaptionPairs(captions([("7", "狗")]), references: ["1": ["狗"]], names: Self.names)
        }
    }

    @Test func clipScoresAreMeansOverCaptions() throws {
        let pairs = try CaptionPairs(
            captions([("1", "狗"), ("1", "猫"), ("2", "山")]), references: ["1": ["水"], "2": ["山"]], names: Self.names)
        let texts: [String: [Float]] = ["狗": [1, 0], "猫": [0, 1], "山": [0.6, 0.8], "水": [1, 0]]
        let (score, reference) = pairs.clipScores(pictures: ["1": [1, 0], "2": [1, 0]], texts: texts)
        // Cosines 1, 0 and 0.6; the references' cosines with the captions are 1, 0 and 1.
        #expect(abs(score - 2.5 * (1 + 0 + 0.6) / 3) < 1e-6)
        let last = 2 * 1.5 * 1 / (1.5 + 1)
        #expect(abs(reference - (2 * 2.5 / 3.5 + 0 + last) / 3) < 1e-6)
    }

    @Test func selfBleuAloneUsesTheOtherCaptions() throws {
        let pairs = try CaptionPairs(
            captions([("1", "一只狗在跑"), ("1", "一只狗在跑"), ("2", "两只猫")]),
            references: ["1": ["一只狗在跑"], "2": ["狗"]], names: Self.names)
        let all = try CaptionMeasures(pairs, segmentation: .characters, tokens: "characters", firstOnly: false)
        let first = try CaptionMeasures(pairs, segmentation: .characters, tokens: "characters", firstOnly: true)
        #expect(all.evaluation.captions == 3 && first.evaluation.captions == 2)
        #expect(first.evaluation.selfBleu == nil && first.selfBleu == all.selfBleu && all.selfBleu != nil)
        let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(first)) as? [String: Any]
        #expect(object?["tokens"] as? String == "characters" && object?["bleu"] != nil && object?["clipScore"] == nil)
    }

    private func poem(_ lines: [String], picture: Double, fluency: Double = 0) throws -> RankedPoem {
        let scores =
            #"{"picture": \#(picture), "imagery": 0.5, "fluency": \#(fluency), "tone": 1, "coverage": 1, "#
            + #""repetition": 0, "novelty": 1, "total": 0}"#
        let verse = lines.joined(separator: #"", ""#)
        let text =
            #"{"form": "五绝", "rhyme": "", "rhymes": [], "breaks": [], "lines": ["\#(verse)"], "scores": \#(scores)}"#
        return try JSONDecoder().decode(RankedPoem.self, from: Data(text.utf8))
    }

    @Test func waysAreMeasuredByTheirBestPoems() throws {
        let poems = try [
            poem(["明月照我", "山山"], picture: 0.2), poem(["月明星稀"], picture: 0.4), poem(["江水"], picture: 0),
        ]
        let measures = RouteMeasures(
            .prefix, words: [["明月", "孤舟"], ["明月"], ["明月"]], poems: poems, fluency: -3)
        #expect(abs(measures.similarity - 0.2) < 1e-12 && measures.imagery == 0.5 && measures.fluency == -3)
        // 明月 stands in the first poem alone, its characters in the first two.
        #expect(abs(measures.words - 1.0 / 3) < 1e-12 && abs(measures.characters - 2.0 / 3) < 1e-12)
        // 明月 月照 照我 山山 月明 明星 星稀 江水: no pair twice.
        #expect(measures.distinct2 == 1 && measures.through == "prefix")
    }

    @Test func pairsAreDrawnReadAndMeasured() throws {
        let poems = try (0..<6).map { try poem(["第\($0)"], picture: Double($0), fluency: Double(-$0)) }
        let drawn = CandidatePair.drawn(4, from: poems, of: "a.jpg", number: 0, seed: 7)
        #expect(drawn.count == 4 && drawn.allSatisfy { $0.poems[0] != $0.poems[1] && $0.choice == nil })
        #expect(drawn == CandidatePair.drawn(4, from: poems, of: "a.jpg", number: 0, seed: 7))
        #expect(drawn != CandidatePair.drawn(4, from: poems, of: "a.jpg", number: 1, seed: 7))
        #expect(CandidatePair.drawn(4, from: Array(poems.prefix(1)), of: "a.jpg", number: 0, seed: 7).isEmpty)
        #expect(RankingMeasures(drawn) == nil)

        // A reader who always takes the poem that is more like the picture, and is undecided once.
        let terms = PoemRanking.Term.allCases
        let picture = try #require(terms.firstIndex(of: .picture))
        let read = drawn.enumerated().map { index, pair in
            var pair = pair
            pair.choice = index == 0 ? 0 : pair.terms[0][picture] > pair.terms[1][picture] ? 1 : 2
            return pair
        }
        try withFolder { folder in
            let file = folder.appending(path: "pairs.jsonl")
            func write(_ pairs: [CandidatePair], _ more: String = "") throws {
                let lines = try pairs.map { String(decoding: try JSONEncoder().encode($0), as: UTF8.self) }
                try (lines.joined(separator: "\n") + "\n" + more).write(to: file, atomically: true, encoding: .utf8)
            }
            try write(drawn)
            #expect(try String(contentsOf: file, encoding: .utf8).contains(#""choice":null"#))
            try write(read)
            #expect(try CandidatePair.read(file) == read)
            let found = try #require(RankingMeasures(read))
            #expect(found.choices == 3 && found.undecided == 1)
            // Fluency runs against the picture here; terms that are equal for all decide nothing.
            #expect(found.alone["picture"] == 1 && found.alone["fluency"] == 0 && found.alone["novelty"] == 0.5)
            #expect(try #require(found.weights["picture"]) > 0 && #require(found.weights["fluency"]) < 0)
            for (line, reason) in [
                ("{}", "not a pair of tihua eval ranking"),
                (#"{"picture": "a", "poems": [], "terms": [[1], [2]]}"#, "not a pair of tihua eval ranking"),
            ] {
                try write(read, line)
                #expect(throws: EvaluationError.badLine(file: file.path, line: 5, reason: reason)) {
                    try CandidatePair.read(file)
                }
            }
            var odd = read
            odd[2].choice = 3
            try write(odd)
            #expect(
                throws: EvaluationError.badLine(file: file.path, line: 3, reason: "choice is neither 0, 1 nor 2")
            ) { try CandidatePair.read(file) }
        }
    }
}
