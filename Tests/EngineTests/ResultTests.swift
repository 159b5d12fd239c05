import Foundation
import Testing
import TihuaFiles
import TihuaGeneration
import TihuaPictures
import TihuaProsody
import TihuaTorch
import TihuaVerse

@testable import Tihua

/// The JSON of results, which the tool prints and a server sends.
@Suite struct ResultTests {
    private func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    private func decoded<Value: Decodable>(_ text: String, as type: Value.Type = Value.self) throws -> Value {
        try JSONDecoder().decode(Value.self, from: Data(text.utf8))
    }

    @Test func resultsAreOneObjectWithTheirPictures() throws {
        let words = [Keyword(word: "明月", category: "天象", score: 0.5)]
        let scores = PoemScores(
            picture: 0.25, imagery: 1, fluency: -2, tone: 1, coverage: 0.5, repetition: 0, novelty: 1)
        let poem = RankedPoem(
            form: "五绝", rhyme: "七阳", rhymes: ["七阳"], lines: ["一", "二"], breaks: [], scores: scores)
        let poems = Named(PoemResult(keywords: words, caption: nil, poems: [poem], seed: 7), pictures: ["a.jpg"])
        let text = try json(poems)
        #expect(
            text == #"{"keywords":[{"score":0.5,"word":"明月"}],"picture":"a.jpg","poems":[{"breaks":[],"form":"五绝","#
                + #""lines":["一","二"],"rhyme":"七阳","rhymes":["七阳"],"scores":{"coverage":0.5,"fluency":-2,"imagery":1,"#
                + #""novelty":1,"picture":0.25,"repetition":0,"tone":1,"total":0}}],"seed":7}"#)
        let read = try decoded(text, as: Named<PoemResult>.self)
        #expect(read.pictures == ["a.jpg"] && read.result.poems == [poem] && read.result.seed == 7)
        #expect(read.result.keywords == [Keyword(word: "明月", category: "", score: 0.5)])

        let together = Named(PoemResult(keywords: [], caption: "山", poems: [], seed: 1), pictures: ["a", "b"])
        #expect(
            try json(together)
                == #"{"caption":"山","keywords":[],"picture":"a","pictures":["a","b"],"poems":[],"seed":1}"#)
        #expect(try decoded(json(together)) == together)

        let caption = Caption(text: "一只狗", logProbability: -1.5, similarity: nil, isFinished: true)
        let captions = Named(CaptionResult(captions: [caption], seed: 3), pictures: ["a"])
        #expect(
            try json(captions)
                == #"{"captions":[{"isFinished":true,"logProbability":-1.5,"text":"一只狗"}],"picture":"a","seed":3}"#)
        #expect(try decoded(json(captions)) == captions)
        #expect(
            try json(Named(KeywordResult(keywords: words), pictures: ["a"]))
                == #"{"keywords":[{"score":0.5,"word":"明月"}],"picture":"a"}"#)
    }

    @Test func aPoemIsPunctuatedByItsForm() throws {
        let scores = PoemScores(picture: 0, imagery: 0, fluency: 0, tone: 0, coverage: 0, repetition: 0, novelty: 0)
        func lines(_ form: String) -> [String] {
            RankedPoem(form: form, rhyme: "", rhymes: [], lines: ["一", "二", "三", "四"], breaks: [], scores: scores)
                .punctuatedLines
        }
        #expect(lines("五绝") == ["一，二。", "三，四。"] && lines("无此调") == ["一", "二", "三", "四"])
    }

    @Test func errorsKnowWhetherTheRequestIsAtFault() {
        let faults: [any RequestError] = [
            PipelineError.setting(name: "n", value: "0", range: "1"), PipelineError.text(name: "n", character: "x"),
            GenerationError.sampling(setting: "top-p", value: "2", range: "1"), TorchError.noDevice("cuda"),
            VerseError.unknownForm("x"), ProsodyError.emptyPoem, PictureError.noFont(name: "x"),
        ]
        let others: [any RequestError] = [
            PipelineError.noPicture, PipelineError.missingPart(pack: "mini", part: .clip),
            GenerationError.brokenModel, TorchError.noThread("x"), VerseError.missingToken("[KW]"),
            PictureError.empty(name: "x"),
        ]
        for error in faults { #expect(error.isRequestFault, "\(error)") }
        for error in others { #expect(!error.isRequestFault, "\(error)") }
    }

    @Test func whatWasNamedTakesThePlaceOfThePacksParts() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "tihua-overrides-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (clip, poet) = (folder.appending(path: "clip"), folder.appending(path: "poet"))
        func find(_ overrides: Pack.Overrides, _ needed: Set<Pack.Part>, pack: String? = nil) throws -> Pack {
            try Pack(
                PackLocator(pack: pack, environment: [:], executable: folder.appending(path: "tihua")), overrides,
                needing: needed)
        }
        // Without a pack, all that is needed must be named.
        #expect(throws: PackError.self) { try find(.init(clip: clip), [.clip, .poet]) }
        #expect(throws: PackError.self) { try find(.init(clip: clip), []) }
        #expect(throws: PackError.self) { try find(.init(clip: clip), [.clip], pack: folder.path) }
        let both = try find(.init(clip: clip, poet: poet), [.clip, .poet])
        #expect(both.clip == clip && both.poet == poet && both.name == "custom" && both.bank == nil)

        let weights = folder.appending(path: "Weights/mini")
        for part in ["clip", "poet", "prefix"] {
            try FileManager.default.createDirectory(
                at: weights.appending(path: part), withIntermediateDirectories: true)
        }
        for file in ["mean", "poet/lines.filter"] { try Data().write(to: weights.appending(path: file)) }
        try #"""
        {"name": "mini", "clip": "clip", "poet": "poet", "prefix": "prefix", "calibration": "mean",
         "lineFilter": "poet/lines.filter"}
        """#.write(to: weights.appending(path: "pack.json"), atomically: true, encoding: .utf8)
        let whole = try find(.init(), [])
        #expect(whole.prefix != nil && whole.calibration != nil && whole.lineFilter != nil)
        // What was measured or trained with other weights does not hold for these.
        let other = try find(.init(clip: clip), [.clip])
        #expect(other.clip == clip && other.poet == whole.poet && other.prefix == nil && other.calibration == nil)
        #expect(try find(.init(poet: poet, prefix: clip), []).prefix == clip)
        #expect(try find(.init(poet: poet), []).lineFilter == nil && other.lineFilter == whole.lineFilter)
    }
}
