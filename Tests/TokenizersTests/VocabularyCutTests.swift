import Foundation
import Testing
import TihuaTestSupport

@testable import TihuaTokenizers

@Suite struct VocabularyCutTests {
    private static let tiny = fixture("Models/sentences/sp.model")
    private static let published = ProcessInfo.processInfo.environment["TIHUA_SENTENCES"].map {
        URL(filePath: $0).appending(path: "sp.model")
    }

    private static let alphabets = [
        "一只狗在雪地里奔跑两个小孩子上放风筝春山如画水烟轻舟到岸边落日长河孤雁古道明月東無情萬龘靐々〇", "0123456789", "，。、！？（）「」“”—… ,.!?'-/%", " \u{3000}\t",
        "abcdefghijklmnopqrstuvwxyzTABCX", "ＡＢＣｘｙｚ０１２３（）！", "éèßüñÀ\u{301}", "の写真をメールで送りました", "산과강은아름답", "Поэтсмотрит",
        "😀☀\u{FE0F}→♥",
    ]

    /// Texts whose characters all stay are cut as before, with the pieces under their new ids; the test counts them,
    /// and looks at what is not in the scripts too.
    private func check(_ url: URL, _ scripts: Set<PieceScript>, texts: [String]) throws {
        let bytes = try readBytes(of: url)
        let cut = try VocabularyCut(of: bytes, to: scripts)
        let (whole, part) = try (
            UniversalSentenceTokenizer(model: bytes), UniversalSentenceTokenizer(model: cut.model)
        )
        let unigram = try Unigram(model: bytes, file: "sp.model")
        #expect(part.vocabularySize == cut.ids.count && cut.ids == cut.ids.sorted() && cut.ids.prefix(3) == [0, 1, 2])
        for (new, old) in cut.ids.enumerated() { #expect(part.piece(Int32(new)) == whole.piece(old)) }
        let new = Dictionary(uniqueKeysWithValues: cut.ids.enumerated().map { ($1, Int32($0)) })
        var (inside, outside) = (0, 0)
        for text in texts {
            let expected = whole.encode(text)
            let found = part.encode(text)
            if VocabularyCut.keeps(String(decoding: unigram.normalized(Array(text.utf8)), as: UTF8.self), scripts) {
                #expect(found == expected.map { new[$0] ?? -1 }, "\(text.debugDescription)")
                inside += 1
            } else {
                #expect(found.first == 1 && found.last == 2)
                outside += 1
            }
        }
        #expect(inside > texts.count / 10 && outside > texts.count / 10, "\(inside) \(outside)")
    }

    private func texts(_ count: Int) -> [String] {
        var fuzz = Fuzz(seed: 5)
        return (0..<count).map { _ in
            let alphabets = (0..<Int.random(in: 1...3, using: &fuzz)).map { _ in
                Array(Self.alphabets.randomElement(using: &fuzz) ?? "")
            }
            let characters = (0..<Int.random(in: 1...30, using: &fuzz)).compactMap { _ in
                alphabets.randomElement(using: &fuzz)?.randomElement(using: &fuzz)
            }
            return String(characters)
        }
    }

    @Test(
        arguments: [[.han], [.han, .letters], [.han, .latin], [.han, .latin, .accented], [.kana, .han]]
            as [[PieceScript]])
    func textsInTheScriptsAreCutAsBefore(scripts: [PieceScript]) throws {
        try check(Self.tiny, Set(scripts), texts: texts(3000))
    }

    @Test(
        .enabled(
            if: published != nil, "needs TIHUA_SENTENCES, a folder of Scripts/make_sentence_fixtures.py --full"),
        arguments: [[.han], [.han, .letters], [.han, .latin]] as [[PieceScript]])
    func publishedModelIsCutAsBefore(scripts: [PieceScript]) throws {
        let url = try #require(Self.published)
        let golden = url.deletingLastPathComponent().appending(path: "texts.txt")
        let more = (try? String(contentsOf: golden, encoding: .utf8))?.split(separator: "\n").map(String.init) ?? []
        try check(url, Set(scripts), texts: texts(20_000) + more)
    }

    @Test func piecesOfOtherScriptsGo() throws {
        let cut = try VocabularyCut(of: readBytes(of: Self.tiny), to: [.han, .latin])
        let part = try UniversalSentenceTokenizer(model: cut.model)
        for piece in ["▁reки", "の写真を", "メールを", "산", "и", "é"] { #expect(part.id(of: piece) == nil, "\(piece)") }
        for piece in ["雪地里", "恤店", "▁look", "2024", "(", "▁"] { #expect(part.id(of: piece) != nil, "\(piece)") }
        let letters = try UniversalSentenceTokenizer(
            model: VocabularyCut(of: readBytes(of: Self.tiny), to: [.han, .letters]).model)
        #expect(letters.id(of: "▁look") == nil && letters.id(of: "k") != nil && letters.id(of: "▁l") != nil)
        // What is gone is unknown, each character for itself.
        #expect(part.encode("山の嶺").filter { $0 == part.unknownID }.count == 2)
        #expect(part.encode("山嶺").filter { $0 == part.unknownID }.count == 1)
    }

    /// Cutting to nothing but punctuation leaves the special pieces and what unknown characters cost.
    @Test func theCostOfTheUnknownStays() throws {
        let bytes = try readBytes(of: Self.tiny)
        let model = try SentencePieceModel(bytes: bytes, file: "")
        let bare = try SentencePieceModel(bytes: VocabularyCut(of: bytes, to: []).model, file: "")
        func normal(_ model: SentencePieceModel) -> [Float] {
            model.kinds.indices.filter { model.kinds[$0] == .normal }.map { model.scores[$0] }
        }
        #expect(normal(bare).min() == normal(model).min() && normal(bare).max() == normal(model).max())
        #expect(bare.table.count < 60 && bare.charactersMap == model.charactersMap)
    }

    @Test func aCutOfACutIsTheSame() throws {
        let once = try VocabularyCut(of: readBytes(of: Self.tiny), to: [.han])
        let twice = try VocabularyCut(of: once.model, to: [.han, .latin])
        #expect(twice.model == once.model && twice.ids == once.ids.indices.map(Int32.init))
    }

    @Test func damagedModelsAreRefused() throws {
        let bytes = try readBytes(of: Self.tiny)
        #expect(throws: TokenizerError.self) { try VocabularyCut(of: [], to: [.han]) }
        #expect(throws: TokenizerError.self) { try VocabularyCut(of: Array(bytes.dropLast(3)), to: [.han]) }
        var fuzz = Fuzz(seed: 3)
        var refused = 0
        for _ in 0..<Fuzz.count(400) {
            do {
                _ = try VocabularyCut(of: fuzz.damaged(bytes), to: [.han])
            } catch is TokenizerError {
                refused += 1
            }
        }
        #expect(refused > 50)
    }
}
