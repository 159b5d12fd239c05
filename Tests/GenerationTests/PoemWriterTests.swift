import Testing
import TihuaModels
import TihuaNN
import TihuaProsody
import TihuaTorch
import TihuaVerse

@testable import TihuaGeneration

@Suite struct PoemWriterTests {
    private static let forms = [
        "五绝", "七绝", "五律", "七律", "七言古绝", "如梦令", "浣溪沙", "清平乐", "菩萨蛮", "西江月", "忆秦娥", "调笑令",
    ]

    @Test(arguments: forms, TonePolicy.allCases)
    func everyPoemPassesTheChecker(form name: String, tones: TonePolicy) throws {
        let poet = try TinyPoet()
        let form = try Form(named: name)
        let plans = try (0..<4).map { try poet.plan(form, tones: tones, seed: UInt64($0)) }
        let poems = try poet.writer().write(plans, sampling: Sampling(topK: 0, topP: 1))
        #expect(poems.count == 4)
        for poem in poems {
            let report = try ProsodyChecker(tones: tones, book: form.defaultBook).check(poem.lines, as: form)
            #expect(report.faults.isEmpty, "\(poem.lines): \(report.faults.map { $0.message(in: .english) })")
            let long = poem.lines.filter { $0.count > 3 }
            #expect(Set(long).count == long.count)
            #expect(!poem.rhymeGroups.isEmpty)
        }
    }

    @Test func equalSeedsGiveEqualPoemsAndOthersDiffer() throws {
        let poet = try TinyPoet()
        let plans = try [3, 4].map { try poet.plan(seed: $0) }
        let first = try poet.writer().write(plans)
        #expect(try poet.writer().write(plans) == first)
        #expect(first[0].lines != first[1].lines)
    }

    @Test func aPoemIsToldOffForASecondSeasonOrHour() throws {
        let poet = try TinyPoet()
        let named = [Character("春"), "秋", "夜", "晓"].filter { poet.format.id(of: $0) != nil }
        try #require(named.count >= 2)
        for character in named {
            let rivals = SeasonAndHour.others(than: character).compactMap(poet.format.id)
            let penalties = Draft(try poet.plan(keywords: [String(character)])).penalties(poet.format, excluded: [])
            #expect(rivals.allSatisfy { (penalties[$0] ?? 0) < 0 } && penalties.count == rivals.count)
        }
        #expect(Draft(try poet.plan(keywords: ["江"])).penalties(poet.format, excluded: []).isEmpty)
    }

    /// The last lines of a long tune are written again although prompt, poem and once more the poem would not fit the
    /// model.
    @Test func aLateLineOfALongTuneIsWrittenAgain() throws {
        let poet = try TinyPoet()
        let plan = try poet.plan(Form(named: "沁园春"), seed: 5)
        let first = try #require(try poet.writer().write([plan]).first)
        let last = try #require(first.lines.last)
        let again = try #require(try poet.writer(isKnown: { $0 == last }).write([plan]).first)
        #expect(again.lines.dropLast() == first.lines.dropLast() && again.lines.last != last)
    }

    /// What no poet ends in is drawn only where little else can stand; with every ending known nothing changes.
    @Test func linesEndInWhatPoetsEndIn() throws {
        let poet = try TinyPoet()
        let plans = try (0..<12).map { try poet.plan(seed: UInt64($0)) }
        let plain = try poet.writer().write(plans)
        let writer = try poet.writer()
        writer.isEnding = { _ in true }
        #expect(try writer.write(plans) == plain)

        let last = { (poem: WrittenPoem) in poem.lines.map { $0.suffix(2) } }
        let isKnown = { (pair: String) in (pair.last?.unicodeScalars.first?.value ?? 0) % 3 == 0 }
        let share = { (poems: [WrittenPoem]) -> Double in
            let pairs = poems.flatMap(last)
            return Double(pairs.count { isKnown(String($0)) }) / Double(pairs.count)
        }
        writer.isEnding = isKnown
        let led = try writer.write(plans)
        #expect(led.count == plans.count && share(led) > share(plain) + 0.2, "\(share(plain)) \(share(led))")
    }

    @Test func poemDoesNotDependOnItsBatch() throws {
        let poet = try TinyPoet()
        // Prompts of different lengths, so that rows are padded; a form of another length besides.
        let plans = [
            try poet.plan(keywords: ["江"], seed: 1), try poet.plan(keywords: ["江", "舟", "风"], theme: "一舟", seed: 2),
            try poet.plan(.wujue, keywords: [], seed: 3), try poet.plan(rhyme: nil, keywords: ["山", "月"], seed: 4),
        ]
        let together = try poet.writer().write(plans)
        #expect(together.map(\.plan) == [0, 1, 2, 3])
        for (index, plan) in plans.enumerated() {
            let alone = try #require(try poet.writer().write([plan]).first)
            #expect(alone.lines == together[index].lines)
            #expect(abs(alone.logProbability - together[index].logProbability) < 1e-3)
        }
    }

    @Test(arguments: [true, false])
    func cacheChangesNothing(padded: Bool) throws {
        let poet = try TinyPoet()
        let plans = try (0..<3).map { index in
            try poet.plan(keywords: padded ? Array(repeating: "江", count: index + 1) : ["江"], seed: UInt64(index))
        }
        var verse = DecoderVerse(model: poet.model, format: poet.format, device: .cpu)
        let cached = try PoemWriter(verse, format: poet.format) { _ in false }.write(plans)
        verse.caching = false
        let uncached = try PoemWriter(verse, format: poet.format) { _ in false }.write(plans)
        #expect(cached.map(\.lines) == uncached.map(\.lines))
        for (a, b) in zip(cached, uncached) { #expect(abs(a.logProbability - b.logProbability) < 1e-3) }
    }

    @Test(arguments: [PoetFormat.Kind.tihua, .image2poem])
    func logProbabilityIsThatOfTheWholeText(kind: PoetFormat.Kind) throws {
        let poet = try TinyPoet(format: kind)
        #expect(poet.format.kind == kind)
        let plan = try poet.plan()
        let poem = try #require(try poet.writer().write([plan]).first)
        let prompt = try poet.format.prompt(plan.prompt)
        let text = poet.format.continuation(after: poem.lines).dropLast() + [poet.format.end]
        let ids = prompt + text
        #expect(poem.tokenCount == text.count)
        let logProbabilities = withoutGradients {
            poet.model.logits(poet.model.hidden(.ids(ids, [1, ids.count]))).selected(0, 0).logSoftmax(-1)
        }
        let width = logProbabilities.size(1)
        let values = logProbabilities.floats
        let expected = text.indices.reduce(0.0) { sum, index in
            sum + Double(values[(prompt.count + index - text.startIndex - 1) * width + Int(text[index])])
        }
        #expect(abs(poem.logProbability - expected) < 1e-3)
    }

    /// What the tune repeats is no choice of the model's, so a poem is not less likely for it.
    @Test func repeatedCharactersAreNotScored() throws {
        let poet = try TinyPoet()
        let plan = try poet.plan(Form(named: "忆秦娥"), seed: 5)
        let poem = try #require(try poet.writer().write([plan]).first)
        #expect(poem.lines[2] == poem.lines[1].suffix(3) && poem.lines[7] == poem.lines[6].suffix(3))
        let prompt = try poet.format.prompt(plan.prompt)
        let text = poet.format.continuation(after: poem.lines).dropLast() + [poet.format.end]
        let ids = prompt + text
        let logProbabilities = withoutGradients {
            poet.model.logits(poet.model.hidden(.ids(ids, [1, ids.count]))).selected(0, 0).logSoftmax(-1)
        }
        let width = logProbabilities.size(1)
        let values = logProbabilities.floats
        // 3 7 3 4 4 and a boundary after each: the third line's three characters are the tokens 12 to 14, the eighth's
        // 42 to 44.
        let repeated = [12, 13, 14, 42, 43, 44]
        let expected = text.indices.reduce(0.0) { sum, index in
            let place = index - text.startIndex
            guard !repeated.contains(place) else { return sum }
            return sum + Double(values[(prompt.count + place - 1) * width + Int(text[index])])
        }
        #expect(poem.tokenCount == text.count - repeated.count)
        #expect(abs(poem.logProbability - expected) < 1e-3)
    }

    /// 五律 and 生查子 have equal lines, but rhyme by different books.
    @Test func formsOfEqualLinesKeepTheirBooks() throws {
        let poet = try TinyPoet()
        let plans = try [Form.wulv, try Form(named: "生查子")].flatMap { form in
            try (0..<4).map { try poet.plan(form, seed: UInt64($0)) }
        }
        #expect(Set(plans.map(\.constraint.book)).count == 2)
        #expect(Set(plans.map(\.constraint.form.lineLengths)).count == 1)
        let together = try poet.writer().write(plans)
        let alone = try plans.map { try poet.writer().write([$0]).first?.lines }
        #expect(together.map(\.lines) == alone.compactMap { $0 })
    }

    @Test func knownLinesAreWrittenAnew() throws {
        let poet = try TinyPoet()
        let plans = try (0..<6).map { try poet.plan(.wujue, seed: UInt64($0)) }
        let before = try poet.writer().write(plans)
        let known = Set(before.flatMap { [$0.lines[0], $0.lines[2]] })
        let after = try poet.writer { known.contains($0) }.write(plans)
        #expect(after.count == 6)
        #expect(after.allSatisfy { known.isDisjoint(with: $0.lines) })
        // What is written anew is scored anew.
        let alone = try poet.writer { known.contains($0) }.write([plans[2]])
        #expect(alone.first?.lines == after[2].lines)
        #expect(abs((alone.first?.logProbability ?? 0) - after[2].logProbability) < 1e-3)
    }

    @Test func poemIsGivenUpWhereEveryLineIsKnown() throws {
        let poet = try TinyPoet()
        #expect(try poet.writer { _ in true }.write([try poet.plan()]).isEmpty)
    }

    @Test func noCharacterStandsMoreThanTwice() throws {
        let poet = try TinyPoet()
        let plans = try (0..<8).map { try poet.plan(.qilv, tones: .off, seed: UInt64($0)) }
        for poem in try poet.writer().write(plans, sampling: Sampling(temperature: 0.5)) {
            let counts = Dictionary(grouping: poem.lines.joined(), by: \.self).mapValues(\.count)
            #expect(counts.values.allSatisfy { $0 <= 2 })
        }
    }

    @Test func headsAndRhymeAndFirstLineAreKept() throws {
        let poet = try TinyPoet()
        let writer = try poet.writer()
        let heads = try writer.write([try poet.plan(acrostic: Array("春夏秋冬"))])
        #expect(heads.first?.lines.map { $0.first } == ["春", "夏", "秋", "冬"])
        let yang = try RhymeBook.pingshui.group(named: "七阳", for: .qijue)
        let rhymed = try #require(try writer.write([try poet.plan(rhyme: yang)]).first)
        #expect(rhymed.rhymeGroups[0].contains(yang.id))
        for line in [1, 3] {
            let rhyme = try #require(rhymed.lines[line].last)
            #expect(yang.members.contains(rhyme))
        }
        // A line that is known, and whose characters the poet may not know, is the asker's own wish.
        let line = "白日依山尽"
        let poem = try poet.writer { $0 == line }.write([try poet.plan(.wujue, first: line)])
        #expect(poem.first?.lines.first == line)
    }

    @Test func greedyWriterIsTheSameForEverySeed() throws {
        let poet = try TinyPoet()
        let poems = try poet.writer().write([try poet.plan(seed: 1), try poet.plan(seed: 2)], sampling: .greedy)
        #expect(poems.count == 2 && poems[0].lines == poems[1].lines)
    }

    @Test func promptThatIsTooLongIsAnError() throws {
        let poet = try TinyPoet()
        let plan = try poet.plan(theme: String(repeating: "江", count: 300))
        #expect(throws: GenerationError.self) { try poet.writer().write([plan]) }
    }

    @Test func damagedWeightsAreAnError() throws {
        let poet = try TinyPoet()
        poet.store["transformer.ln_f.bias"]?.fill_(.nan)
        #expect(throws: GenerationError.brokenModel) { try poet.writer().write([try poet.plan()]) }
    }

    @Test func sessionIsFreedWithItsCache() throws {
        let poet = try TinyPoet()
        weak var kept: AnyObject?
        do {
            kept = try DecoderVerse(model: poet.model, format: poet.format, device: .cpu)
                .session(for: [Draft(try poet.plan())], room: 20)
        }
        #expect(kept == nil)
    }

    @Test func vocabularyWithMoreTokensThanTheModelIsRefused() throws {
        let poet = try TinyPoet()
        let tokens = PoetVocabulary(
            characters: (0..<9000).compactMap { Unicode.Scalar(0x4E00 + $0).map(Character.init) })
        let format = try PoetFormat(tokens: tokens.tokens)
        #expect(throws: ModelError.self) { try PoemWriter(poet.model, format: format) }
    }

    /// What is stock is written less often, except where the prompt asks for it.
    @Test func aWriterHoldsItsStockBack() throws {
        let poet = try TinyPoet()
        let plans = try (0..<16).map { try poet.plan(seed: UInt64($0)) }
        let plain = try poet.writer().write(plans)
        func counts(_ poems: [WrittenPoem]) -> [String: Int] {
            var counts: [String: Int] = [:]
            for line in poems.flatMap(\.lines) {
                for pair in zip(line, line.dropFirst()) { counts[String([pair.0, pair.1]), default: 0] += 1 }
            }
            return counts
        }
        let before = counts(plain)
        let writer = try poet.writer()
        writer.stock = OverusedPairs(written: [String](), read: [])
        #expect(try writer.write(plans) == plain)

        let often = before.filter { $0.value >= 3 }.keys.sorted()
        let written = often.flatMap { Array(repeating: $0, count: 100_000) }
        writer.stock = OverusedPairs(written: written, read: [])
        let after = counts(try writer.write(plans))
        let (many, few) = (
            often.reduce(0) { $0 + before[$1, default: 0] }, often.reduce(0) { $0 + after[$1, default: 0] }
        )
        #expect(!often.isEmpty && few < many / 2, "\(often.count) pairs, \(many) before, \(few) after")
        let asked = try (0..<16).map { try poet.plan(keywords: Array(often.prefix(1)), seed: UInt64($0)) }
        writer.stock = OverusedPairs(
            written: often.prefix(1).flatMap { Array(repeating: $0, count: 100_000) }, read: [])
        #expect(try writer.write(asked) == poet.writer().write(asked))
    }
}

@Suite struct LineWriterTests {
    @Test(arguments: ["五绝", "七律", "如梦令"], [PoetFormat.Kind.tihua, .image2poem])
    func everyPoemPassesTheChecker(form name: String, kind: PoetFormat.Kind) throws {
        let poet = try TinyPoet(format: kind)
        let form = try Form(named: name)
        let plans = try (0..<3).map { try poet.plan(form, seed: UInt64($0)) }
        let poems = try PoemWriter(poet.lineModel(), format: poet.format).write(plans)
        #expect(poems.count == 3)
        for poem in poems {
            let report = try ProsodyChecker(tones: .loose, book: form.defaultBook).check(poem.lines, as: form)
            #expect(report.faults.isEmpty, "\(poem.lines)")
        }
    }

    @Test func poemDependsNeitherOnItsBatchNorOnTheCache() throws {
        let poet = try TinyPoet()
        let plans = [try poet.plan(keywords: ["江"], seed: 1), try poet.plan(keywords: ["江", "舟", "风"], seed: 2)]
        var verse = EncoderDecoderVerse(model: poet.lineModel(), format: poet.format, device: .cpu)
        let together = try PoemWriter(verse, format: poet.format) { _ in false }.write(plans)
        let alone = try PoemWriter(verse, format: poet.format) { _ in false }.write([plans[1]])
        verse.caching = false
        let uncached = try PoemWriter(verse, format: poet.format) { _ in false }.write(plans)
        #expect(together.map(\.lines) == uncached.map(\.lines))
        #expect(alone.first?.lines == together[1].lines)
        for (a, b) in zip(together, uncached) { #expect(abs(a.logProbability - b.logProbability) < 1e-3) }
    }

    @Test func knownLinesAreWrittenAnew() throws {
        let poet = try TinyPoet()
        let model = poet.lineModel()
        let plans = try (0..<4).map { try poet.plan(.wujue, seed: UInt64($0)) }
        let known = Set(try PoemWriter(model, format: poet.format).write(plans).map { $0.lines[1] })
        let after = try PoemWriter(model, format: poet.format) { known.contains($0) }.write(plans)
        #expect(after.count == 4 && after.allSatisfy { known.isDisjoint(with: $0.lines) })
    }
}
