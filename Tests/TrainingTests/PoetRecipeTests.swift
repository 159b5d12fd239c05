import Testing
import TihuaCorpora
import TihuaGeneration
import TihuaProsody
import TihuaTorch
import TihuaVerse

@testable import TihuaTraining

@Suite struct PoetRecipeTests {
    private static let lines = ["白日依山尽", "黄河入海流", "欲穷千里目", "更上一层楼"]
    private let example = PoemExample(
        form: .wujue, lines: Self.lines, rhyme: nil, keywords: ["白日", "黄河", "山"], theme: nil, descriptions: [])

    private func text(_ ids: [Int32], _ tokens: [String]) -> String { ids.map { tokens[Int($0)] }.joined() }

    private func image2poem(_ objective: Image2PoemOptions = .init(), dropout: Double = 0) throws -> Image2PoemTask {
        Runtime.threadCount = 1
        var options = toyPoetOptions()
        options.dropout = dropout
        options.holdOut = 0
        let poems =
            [CorpusPoem(form: "", lines: Self.lines, keywords: example.keywords)] + toyPoems(6)
            + toyPoems(6, syllables: 7)
        let dataset = PoemDataset(poems: poems, words: [], options: options.dataset)
        return try Image2PoemTask(dataset: dataset, options: options, objective: objective, training: toyRun())
    }

    // MARK: - Image2Poem, GPT2

    @Test func theTextIsImage2Poems() throws {
        let task = try image2poem()
        var random = SplitMix64(seed: 1)
        let row = task.encode(example, masking: 0, &random)
        let expected = "[CLS]关键词：白日黄河山[EOS]白日依山尽|黄河入海流|欲穷千里目|更上一层楼[SEP]"
        #expect(text(row.targets, task.format.tokens) == expected && row.inputs == row.targets)
        #expect(Array(task.format.tokens.prefix(6)) == ["[PAD]", "[UNK]", "[SEP]", "[CLS]", "[MASK]", "[EOS]"])
        #expect(text(Array(row.targets[row.poem...]), task.format.tokens).hasPrefix("白日依山尽|"))
        // Without masks the key loss looks at the bars alone.
        #expect(text(row.labels.filter { $0 != 0 }, task.format.tokens) == "|||")
    }

    @Test func theKeyLossLooksAtMaskedKeywordsInThePoem() throws {
        let task = try image2poem()
        var random = SplitMix64(seed: 1)
        let row = task.encode(example, masking: 1, &random)
        #expect(text(row.inputs, task.format.tokens).replacing("[MASK]", with: "") == "[CLS][EOS][SEP]")
        #expect(text(row.labels.filter { $0 != 0 }, task.format.tokens) == "白日山|黄河||")
        #expect(row.labels[..<row.poem].allSatisfy { $0 == 0 })
    }

    @Test func masksAreAShareOfTheCharactersAndDrawnAnewEachEpoch() throws {
        let task = try image2poem()
        var masked = 0
        var rows: Set<[Int32]> = []
        for epoch in 0..<200 {
            var random = SplitMix64(1, UInt64(epoch), 0)
            let row = task.encode(example, masking: 0.15, &random)
            masked += row.inputs.filter { $0 == task.format.mask }.count
            rows.insert(row.inputs)
        }
        // 32 characters each: the share is within four deviations of 15 %.
        let share = Double(masked) / (200 * 32)
        #expect(abs(share - 0.15) < 0.018, "\(share)")
        #expect(rows.count > 190)
    }

    @Test(arguments: [false, true])
    func theLossIsNineTenthsLanguageModelAndOneTenthKeyLoss(asPublished: Bool) throws {
        func loss(_ weight: Double) throws -> Double {
            var objective = Image2PoemOptions()
            objective.keywordWeight = weight
            objective.asPublished = asPublished
            return try image2poem(objective).loss(epoch: 0, batch: 0).loss.item
        }
        let (language, key, both) = (try loss(0), try loss(1), try loss(0.1))
        #expect(abs(both - (0.9 * language + 0.1 * key)) < 1e-4)
        #expect(abs(language - key) > 1e-4)
    }

    /// The padding of a batch of quatrains of two lengths counts as published, and not otherwise.
    @Test func paddingIsLearnedOnlyAsPublished() throws {
        var objective = Image2PoemOptions()
        let own = try image2poem(objective).loss(epoch: 0, batch: 0).units
        objective.asPublished = true
        let published = try image2poem(objective).loss(epoch: 0, batch: 0).units
        #expect(published > own)
    }

    /// Held-out quatrains of two lengths stand in one batch: the padding of the shorter ones counts in neither metric.
    @Test func heldOutQuatrainsOfTwoLengthsAreMeasured() throws {
        Runtime.threadCount = 1
        var options = toyPoetOptions()
        options.holdOut = 2
        let poems = toyPoems(12) + toyPoems(12, syllables: 7)
        let dataset = PoemDataset(poems: poems, words: [], options: options.dataset)
        #expect(Set(dataset.validation.map(\.form)) == [.wujue, .qijue])
        let task = try Image2PoemTask(dataset: dataset, options: options, objective: .init(), training: toyRun())
        let metrics = try withoutGradients { try task.validate() }
        #expect(metrics.map(\.name) == ["loss", "objective"])
        #expect(metrics.allSatisfy { $0.value.isFinite && $0.value > 0 })
    }

    // MARK: - T5

    private func pairs(_ writer: PoetFormat) throws -> [(input: String, output: String)] {
        try Self.lines.indices.map { line in
            var random = SplitMix64(seed: 1)
            let one = PoemExample(
                form: .wujue, lines: Self.lines, rhyme: nil, keywords: ["白日"], theme: nil, descriptions: [])
            let pair = try writer.pair(one, line: line, .all, &random)
            return (text(pair.input, writer.tokens), text(pair.output, writer.tokens))
        }
    }

    @Test func image2poemsPairsAreFourALine() throws {
        let pairs = try pairs(PoetFormat(image2poem: [example]))
        let start = "[CLS]关键词：白日[EOS]"
        #expect(
            pairs.map(\.input) == [
                start + "[EOS][SEP]", start + "白日依山尽[EOS][SEP]", start + "白日依山尽[EOS]黄河入海流[EOS][SEP]",
                start + "白日依山尽[EOS]黄河入海流[EOS]欲穷千里目[EOS][SEP]",
            ])
        #expect(pairs.map(\.output) == Self.lines.map { "[CLS]\($0)[EOS][SEP]" })
    }

    @Test func tihuasPairsCarryThePrompt() throws {
        let tokens = PoetVocabulary(characters: Array(Set(Self.lines.joined()))).tokens
        let pairs = try pairs(PoetFormat(tokens: tokens))
        let start = "[CLS][五绝]白日[SEP]"
        #expect(
            pairs.map(\.input) == [
                start, start + "白日依山尽[LINE]", start + "白日依山尽[LINE]黄河入海流[LINE]",
                start + "白日依山尽[LINE]黄河入海流[LINE]欲穷千里目[LINE]",
            ])
        #expect(pairs.map(\.output) == Self.lines.map { "\($0)[EOS]" })
    }

    /// What is trained is what `PoemWriter` asks for.
    @Test func trainingAndUseReadTheSame() throws {
        let characters = Array(Set(Self.lines.joined()))
        for writer in [
            try PoetFormat(tokens: PoetVocabulary(characters: characters).tokens), PoetFormat(image2poem: [example]),
        ] {
            let format = try PoetFormat(tokens: writer.tokens)
            let one = PoemExample(
                form: .wujue, lines: Self.lines, rhyme: nil, keywords: ["白日"], theme: nil, descriptions: [])
            for line in Self.lines.indices {
                var random = SplitMix64(seed: 1)
                let pair = try writer.pair(one, line: line, .all, &random)
                let asked = PoemPrompt(form: .wujue, keywords: ["白日"])
                #expect(try format.encoderInput(asked, lines: Array(Self.lines[..<line])) == pair.input)
                let decoder = format.decoderStart(writer.start)
                #expect(Array(([writer.start] + pair.output).prefix(decoder.count)) == decoder)
                #expect(pair.output.contains(format.lineEnd))
            }
        }
        let task = try image2poem()
        let format = try PoetFormat(tokens: task.format.tokens)
        var random = SplitMix64(seed: 1)
        let row = task.encode(example, masking: 0, &random)
        let asked = PoemPrompt(form: .wujue, keywords: example.keywords)
        #expect(try format.prompt(asked) == Array(row.targets[..<row.poem]))
        #expect(format.lineBoundary == row.labels.first { $0 != 0 } && format.end == row.targets.last)
    }

    // MARK: - Held-out poems

    private func split(_ poems: [CorpusPoem], holdOut: Int = 3) -> PoemDataset {
        var options = toyPoetOptions()
        options.holdOut = holdOut
        return PoemDataset(poems: poems, words: [], options: options.dataset)
    }

    @Test func aPoemThatStandsTwiceIsOnOneSide() {
        let poems = toyPoems(60)
        let data = split(poems + poems.reversed())
        let held = Set(data.validation.map(\.lines))
        #expect(data.validation.count == 2 * held.count && !held.isEmpty && !data.training.isEmpty)
        #expect(data.training.allSatisfy { !held.contains($0.lines) })
        #expect(data.training.count + data.validation.count == 120)
    }

    @Test func poemsLikeAHeldOutOneAreNotTrainedOn() throws {
        let poems = toyPoems(60)
        let held = try #require(split(poems).validation.first).lines
        let sameOpening = [held[0], "山水云月风", "花雪江天日", "春秋夜人心"]
        let sharedLine = ["山水云月风", "花雪江天日", held[3], "春秋夜人心"]
        for lines in [sameOpening, sharedLine] {
            let data = split(poems + [CorpusPoem(form: "", lines: lines)])
            // Held out by chance itself, or left out; never trained on.
            #expect(!data.training.contains { $0.lines == lines })
            #expect(data.validation.contains { $0.lines == held })
            #expect(data.validation.contains { $0.lines == lines } || data.dropped["too like a held-out poem"] == 1)
        }
    }

    @Test func withoutHoldingOutEverythingIsTrainedOn() {
        let data = split(toyPoems(20), holdOut: 0)
        #expect(data.training.count == 20 && data.validation.isEmpty && data.dropped.isEmpty)
    }

    @Test func aCorpusWithoutPoemsToTrainOnIsOneLine() throws {
        let data = split([CorpusPoem(form: "", lines: ["山水", "云"])])
        let error = #expect(throws: TrainingError.self) {
            try PoetTask(dataset: data, options: toyPoetOptions(), training: toyRun())
        }
        #expect(error?.description.contains("1 form without a metre") == true)
        #expect(throws: TrainingError.self) {
            try Image2PoemTask(dataset: data, options: toyPoetOptions(), objective: .init(), training: toyRun())
        }
        #expect(throws: TrainingError.self) {
            try T5PoetTask(
                dataset: data, options: toyPoetOptions(), shape: .init(), format: .image2poem(.init()),
                training: toyRun())
        }
    }
}
