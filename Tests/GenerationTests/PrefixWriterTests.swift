import Testing
import TihuaModels
import TihuaProsody
import TihuaTorch
import TihuaVerse

@testable import TihuaGeneration

/// Poems behind a prefix, which stands where keywords would.
@Suite struct PrefixWriterTests {
    /// Embeddings of some tokens' own, or of none.
    private func prefix(_ poet: TinyPoet, of text: String) -> [Float] {
        withoutGradients { poet.model.embed(.ids(text.compactMap(poet.format.id(of:)), [text.count])).floats }
    }

    private func random(_ count: Int, seed: UInt64) -> [Float] {
        Tensor.randn([count * 16], generator: Generator(seed: seed)).floats
    }

    private func plan(
        _ poet: TinyPoet, _ form: Form = .qijue, prefix: [Float], rhyme: RhymeGroup? = nil, theme: String? = nil,
        seed: UInt64 = 1
    ) throws -> PoemPlan {
        var plan = try poet.plan(form, rhyme: rhyme, keywords: [], theme: theme, seed: seed)
        plan.prefix = prefix
        return plan
    }

    @Test(arguments: [PoetFormat.Kind.tihua, .image2poem])
    func aPrefixOfAWordsOwnEmbeddingsIsThatWord(kind: PoetFormat.Kind) throws {
        Runtime.threadCount = 1
        let poet = try TinyPoet(format: kind)
        let word = String(poet.format.writable.sorted().prefix(2))
        let named = try #require(try poet.writer().write([try poet.plan(keywords: [word], theme: "一山")]).first)
        let poem = try #require(
            try poet.writer().write([try plan(poet, prefix: prefix(poet, of: word), theme: "一山")]).first)
        #expect(poem.lines == named.lines)
        #expect(abs(poem.logProbability - named.logProbability) < 1e-3)
    }

    @Test func aPrefixChangesThePoemAndKeepsTheMetre() throws {
        let poet = try TinyPoet()
        let plans = try (0..<4).map { try plan(poet, prefix: random(3, seed: UInt64($0))) }
        let poems = try poet.writer().write(plans)
        #expect(Set(poems.map(\.lines)).count > 1)
        for poem in poems {
            #expect(try ProsodyChecker(tones: .loose).check(poem.lines, as: .qijue).faults.isEmpty)
        }
    }

    /// With and without a prefix, a rhyme, a theme, in two forms: each poem is what it is alone.
    @Test func poemDoesNotDependOnItsBatch() throws {
        let poet = try TinyPoet()
        let yang = try RhymeBook.pingshui.group(named: "七阳", for: .qijue)
        let shared = random(2, seed: 1)
        let plans = [
            try plan(poet, prefix: shared, seed: 1), try poet.plan(keywords: ["江"], seed: 2),
            try plan(poet, prefix: shared, rhyme: yang, seed: 3),
            try plan(poet, prefix: random(2, seed: 2), theme: "一舟", seed: 4),
            try plan(poet, .wujue, prefix: shared, seed: 5), try plan(poet, prefix: random(3, seed: 3), seed: 6),
            try plan(poet, prefix: shared, seed: 7),
        ]
        let together = try poet.writer().write(plans)
        #expect(together.map(\.plan) == Array(plans.indices))
        for (index, plan) in plans.enumerated() {
            let alone = try #require(try poet.writer().write([plan]).first)
            #expect(alone.lines == together[index].lines)
            #expect(abs(alone.logProbability - together[index].logProbability) < 1e-3)
        }
    }

    @Test(arguments: [true, false])
    func cacheChangesNothing(shared: Bool) throws {
        let poet = try TinyPoet()
        let plans = try (0..<3).map { index in
            try plan(
                poet, prefix: random(2, seed: shared ? 0 : UInt64(index)),
                theme: shared ? nil : String(repeating: "江", count: index + 1), seed: UInt64(index))
        }
        var verse = DecoderVerse(model: poet.model, format: poet.format, device: .cpu)
        let cached = try PoemWriter(verse, format: poet.format) { _ in false }.write(plans)
        verse.caching = false
        let uncached = try PoemWriter(verse, format: poet.format) { _ in false }.write(plans)
        #expect(cached.map(\.lines) == uncached.map(\.lines) && cached.count == 3)
        for (a, b) in zip(cached, uncached) { #expect(abs(a.logProbability - b.logProbability) < 1e-3) }
    }

    @Test func linesWrittenAnewKeepTheirPrefix() throws {
        let poet = try TinyPoet()
        let plans = try (0..<4).map { try plan(poet, .wujue, prefix: random(2, seed: UInt64($0))) }
        let known = Set(try poet.writer().write(plans).map { $0.lines[1] })
        let after = try poet.writer { known.contains($0) }.write(plans)
        #expect(after.count == 4 && after.allSatisfy { known.isDisjoint(with: $0.lines) })
        let alone = try poet.writer { known.contains($0) }.write([plans[2]])
        #expect(alone.first?.lines == after[2].lines)
    }

    @Test func prefixesThatDoNotFitAreErrorsOfOneLine() throws {
        let poet = try TinyPoet()
        let odd = try plan(poet, prefix: [1, 2, 3])
        let error = #expect(throws: GenerationError.prefixWidth(numbers: 3, width: 16)) {
            try poet.writer().write([odd])
        }
        #expect(error?.description.contains("16 wide") == true && error?.description.contains("\n") == false)
        let long = try plan(poet, prefix: random(190, seed: 1))
        #expect(throws: GenerationError.self) { try poet.writer().write([long]) }
        let good = try plan(poet, prefix: random(2, seed: 1))
        let refused = #expect(throws: GenerationError.noPrefix) {
            try PoemWriter(poet.lineModel(), format: poet.format).write([good])
        }
        #expect(refused?.description.contains("\n") == false)
    }
}
