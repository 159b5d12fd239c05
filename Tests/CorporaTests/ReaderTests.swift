import Foundation
import Testing
import TihuaCorpora
import TihuaDataFiles
import TihuaTestSupport
import TihuaTokenizers

@Suite struct ReaderTests {
    private func failure(_ body: () throws -> Void) -> String {
        do {
            try body()
            return ""
        } catch { return "\(error)" }
    }

    @Test func aCorpusReadsBack() throws {
        let scratch = try Scratch()
        let poems = [
            CorpusPoem(
                form: "词", tune: "忆江南", title: "a", author: "b", dynasty: "宋", lines: ["山一程", "水一程"], ends: "，。",
                source: "s"),
            CorpusPoem(form: "五绝", lines: ["a", "b", "c", "d"]),
        ]
        let text = try poems.map { String(decoding: try JSONEncoder().encode($0), as: UTF8.self) }.joined(
            separator: "\n")
        #expect(try PoemFile.read(scratch.write(text, to: "p.jsonl")) == poems)
        #expect(
            failure { _ = try PoemFile.read(scratch.write(text + "\n{\"lines\":5}\n", to: "q.jsonl")) }.contains(
                "line 3"))
        let wrong = text.replacing("，。", with: "，。。")
        #expect(failure { _ = try PoemFile.read(scratch.write(wrong, to: "r.jsonl")) }.contains("line 1"))
    }

    @Test func ccpcGivesKeywords() throws {
        let scratch = try Scratch()
        let line =
            #"{"dynasty": "Song", "author": "苏辙", "content": "林高日气薄|竹色净如水|寂历断人声|时有鸣禽起", "title": "t", "keywords": "竹色 人声"}"#
        let poem = try #require(try PoemFile.read(scratch.write(line, to: "c.json")).first)
        #expect(poem.form == "五言古绝" && poem.dynasty == "宋" && poem.keywords == ["竹色", "人声"] && poem.lines.count == 4)
        #expect(failure { _ = try PoemFile.read(scratch.write(line + "\n{}", to: "d.json")) }.contains("line 2"))
    }

    @Test(arguments: [
        "床前明月光，疑是地上霜。举头望明月，低头思故乡。\n春眠不觉晓|处处闻啼鸟|夜来风雨声|花落知多少\n",
        "床前明月光\n疑是地上霜\n举头望明月\n低头思故乡\n\n\n春眠不觉晓\n处处闻啼鸟\n夜来风雨声\n花落知多少",
        "床前明月光，疑是地上霜。\r\n举头望明月，低头思故乡。\r\n\r\n春眠不觉晓，处处闻啼鸟。\r\n夜来风雨声，花落知多少。",
        "\u{FEFF}床前明月光 疑是地上霜 举头望明月 低头思故乡\n\n春眠不覺曉 處處聞啼鳥 夜來風雨聲 花落知多少",
    ])
    func textIsAPoemALineOrABlock(text: String) throws {
        let scratch = try Scratch()
        let poems = try PoemFile.read(try scratch.write(text, to: "p.txt"), converter: try ChineseConverter())
        #expect(poems.map { $0.lines.joined() } == ["床前明月光疑是地上霜举头望明月低头思故乡", "春眠不觉晓处处闻啼鸟夜来风雨声花落知多少"])
        #expect(poems.map(\.form) == ["五言古绝", "五言古绝"])
    }

    @Test func badTextIsNamedByItsLine() throws {
        let scratch = try Scratch()
        let good = "床前明月光，疑是地上霜。举头望明月，低头思故乡。\n"
        #expect(
            failure { _ = try PoemFile.read(scratch.write(good + "\n" + "a，b，c，d😀\n", to: "a.txt")) }.contains("line 3")
        )
        #expect(
            failure { _ = try PoemFile.read(scratch.write(Data(good.utf8) + [0xFF, 0x0A], to: "b.txt")) }.contains(
                "line 2"))
        #expect(failure { _ = try PoemFile.read(scratch.write("", to: "c.txt")) }.contains("holds no poems"))
        #expect(failure { _ = try PoemFile.read(scratch.url) }.contains("folder"))
    }

    @Test func matchingItemsAreChecked() throws {
        let scratch = try Scratch()
        let line = #"{"translation": "清晨。", "choices": ["甲", "乙"], "answer": 1}"#
        #expect(try MatchingItem.read(scratch.write(line, to: "m.jsonl")).map(\.line) == ["乙"])
        let wrong = line.replacing(": 1}", with: ": 2}")
        #expect(
            failure { _ = try MatchingItem.read(scratch.write(line + "\n" + wrong, to: "n.jsonl")) }.contains("line 2"))
    }

    @Test func captionsAreReadByPicture() throws {
        let scratch = try Scratch()
        let text = "a.jpg#zhc#0 一只狗。\na.jpg#zhc#1 \t 狗在跑。\nCOCO_1#2\t两只鸟\n"
        let file = try CaptionFile(contentsOf: scratch.write(text, to: "c.txt"))
        #expect(file.textsByImage == ["a": ["一只狗。", "狗在跑。"], "COCO_1": ["两只鸟"]])
        #expect(file.captions.map(\.language) == ["zhc", "zhc", ""] && file.captions.map(\.number) == [0, 1, 2])
        for bad in ["a.jpg#zhc#x 狗", "a.jpg 狗", "a.jpg#zhc#0 ", "#zhc#0 狗"] {
            #expect(
                failure { _ = try CaptionFile(contentsOf: scratch.write(text + bad, to: "d.txt")) }.contains("line 4"))
        }
    }

    @Test(.enabled(if: SharedData.root != nil, "needs ../shared/data"))
    func theRealTextsAreRead() throws {
        let text = try #require(SharedData.root).appending(path: "text")
        // The form of each takes a debug build some milliseconds, so not all 7,979.
        struct Enough: Error {}
        var count = 0
        #expect(throws: Enough.self) {
            try PoemFile.forEach(in: text.appending(path: "ccpc/ccpc_valid_v1.0.json")) { poem, line in
                count += 1
                #expect(line == count && poem.lines.count == 4 && poem.keywords?.isEmpty == false)
                if count == 500 { throw Enough() }
            }
        }
        #expect(try MatchingItem.read(text.appending(path: "ccpm/train.jsonl")).count == 21778)
        let captions = try CaptionFile(contentsOf: text.appending(path: "flickr8kcn/flickr8kzhc.caption.txt"))
        #expect(captions.captions.count == 35455)
        #expect(
            try CaptionFile(contentsOf: text.appending(path: "coco-cn/coco-cn_ext.icap2020.txt")).captions.count == 4712
        )
    }
}
