import Foundation
import Testing
import TihuaCorpora
import TihuaEvaluation
import TihuaGeneration
import TihuaModels
import TihuaNN
import TihuaProsody
import TihuaTorch
import TihuaTraining
import TihuaVerse

@testable import TihuaMeasures

@Suite struct PoetMeasuresTests {
    private func measures(
        _ poet: Poet, held: [CorpusPoem], known: [CorpusPoem]?, limit: Int? = nil, seed: UInt64 = 3,
        progress: @escaping (String) -> Void = { _ in }
    ) throws -> PoetMeasures {
        try PoetMeasures(
            model: poet.model, vocabulary: poet.vocabulary, device: .cpu, poems: poet.examples(held),
            known: known.map { .init(poems: poet.examples($0)) } ?? .init(lines: nil, endings: nil), limit: limit,
            keywordCount: 2, seed: seed, progress: progress)
    }

    /// A model without a preference needs log V nats for every token, whatever it is told.
    @Test func aPoetWithoutAPreferenceHasThePerplexityOfItsVocabulary() throws {
        let poet = try Poet().flattened()
        let poems = try poet.corpus(8)
        var heard: [String] = []
        let rows = try measures(poet, held: poems, known: nil) { heard.append($0) }.perplexities()
        #expect(rows.count == 7 && rows.allSatisfy { $0.model == "poet" && Set($0.forms.keys) == ["all", "五绝", "七绝"] })
        let nats = log(Double(poet.vocabulary.count))
        for forms in rows.map(\.forms) {
            #expect(forms["五绝"]?.characters == 4 * 20 && forms["七绝"]?.characters == 4 * 28 && forms["all"]?.poems == 8)
            for figures in forms.values {
                #expect(abs(figures.nats - nats) < 1e-4 && abs(figures.natsWithEnds - nats) < 1e-4)
            }
        }
        #expect(heard.contains { $0.hasSuffix("8/8 …") })
    }

    /// The 5-gram model that read the poems knows them; told where lines end, it knows them better.
    @Test func theFiveGramModelNeedsTheTrainingPoems() throws {
        let poet = try Poet()
        let poems = try poet.corpus(8)
        let measured = try measures(poet, held: poems, known: poems)
        var shown: [String] = []
        let rows = try measured.perplexities { shown.append($0.name) }
        #expect(shown == measured.perplexityNames && rows.map(\.model).suffix(2) == ["5-gram", "5-gram"])
        let nats = rows.map { $0.forms["all"]?.nats ?? 0 }
        #expect(nats[7] < nats[0] / 2 && nats[8] < nats[7])
        #expect(measured.knownPoemCount == 8)
        #expect(try measures(poet, held: poems, known: poet.corpus(16).suffix(8)).knownPoemCount == 0)
        #expect(try measures(poet, held: poems, known: nil).knownPoemCount == nil)
    }

    @Test func whatIsWrittenIsMeasuredBesideThePoemsOfPeople() throws {
        let poet = try Poet()
        let poems = try poet.corpus(12)
        let measured = try measures(poet, held: Array(poems.prefix(8)), known: Array(poems.suffix(4)))
        let written = try measured.write(4, tones: [.strict], sampling: Sampling(temperature: 1, topK: 0, topP: 1))
        #expect(written.map(\.report.name) == ["people", "poet, free", "poet, tones strict"])
        #expect(written.map(\.tones) == [nil, nil, .strict])
        // Equally many of each form, and the same prompts in every way of writing.
        #expect(written[0].poems.map(\.example.form.name).sorted() == ["七绝", "七绝", "五绝", "五绝"])
        #expect(written[1].poems.map(\.example.lines) == written[0].poems.map(\.lines))
        let people = written[0].report
        #expect(people.regularity?.regular == 1 && people.poemsWithCopiedLine == 0 && people.keywords?.poems == 1)
        #expect(written[2].report.regularity?.tone == 1 && written[2].report.regularity?.askedRhyme == 1)
        #expect((1...3).contains(try #require(people.longestCopiedRun)), "runs of other poems' characters are short")
        // With the poems themselves known, each of them is one copied run.
        let copied = try measures(poet, held: poems, known: poems).write(2, tones: [], sampling: Sampling())
        #expect(copied[0].report.poemsWithCopiedLine == 1 && copied[0].report.meanCopiedRun == 24)

        let removed = try measured.removedMass(written)
        #expect(removed.map(\.poems) == ["people", "people", "poet", "poet"])
        #expect(removed.map(\.rhymeInPrompt) == [true, false, true, false] && removed[0].poemCount == 8)
        #expect(removed.allSatisfy { $0.rhyme?.slots == $0.poemCount * 2 || $0.rhyme != nil })
        // A rhyme admits fewer characters than a tone does.
        for row in removed { #expect(try #require(row.rhyme).mean > #require(row.tone).mean) }
    }

    /// Items whose right line was read in the training do not count; equal scores choose no line.
    @Test func itemsThatWereReadDoNotCount() throws {
        let poet = try Poet()
        let poems = try poet.corpus(8).filter { $0.form == "五绝" }
        let lines = poems.map { $0.lines[1] }
        try withFolder { folder in
            let file = folder.appending(path: "ccpm.jsonl")
            let rows = lines.indices.map { index in
                let choices = (0..<4).map { lines[(index + $0) % 4] }.joined(separator: "\", \"")
                return #"{"translation": "月", "choices": ["\#(choices)"], "answer": 0}"#
            }
            try rows.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
            let items = try MatchingItem.read(file)
            let half = try measures(poet, held: [], known: Array(poems.prefix(2))).matching(items)
            #expect(half.items == 4 && half.all == nil && half.counted?.items == 2 && half.unseen == nil)
            #expect(half.counted?.ngram != nil)
            let none = try measures(poet, held: [], known: nil).matching(items)
            #expect(none.all?.items == 4 && none.counted == nil && none.all?.ngram == nil)
            #expect(try measures(poet, held: [], known: nil, limit: 3).matching(items).all?.items == 3)
            // The model that read one poem many times finds its line among the others.
            let read = try measures(poet, held: [], known: poems + poems)
            #expect(try read.matching(items).counted == nil)
        }
    }

    @Test func marksAreComparedWithTheProbabilityOfACharacter() throws {
        let poet = try Poet()
        let poems = try poet.corpus(6)
        try withFolder { folder in
            let file = folder.appending(path: "pqed.json")
            let rows = poems.enumerated().map {
                #"{"poem": "\#($1.lines.joined(separator: "|"))", "fluency": \#($0)}"#
            }
            try rows.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
            let rated = try RatedPoem.read(file)
            let report = try measures(poet, held: [], known: Array(poems.prefix(2))).ratings(rated)
            #expect(report.all.poems == 6 && report.unseen?.poems == 4)
            let correlation = try #require(report.all.poet["fluency"])
            #expect((-1...1).contains(correlation) && report.all.poet["mean"] == correlation)
            #expect(report.all.ngram?["fluency"] != nil)
            // Reversed marks reverse the order.
            let reversed = poems.enumerated().map {
                #"{"poem": "\#($1.lines.joined(separator: "|"))", "fluency": \#(6 - $0)}"#
            }
            try reversed.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
            let other = try measures(poet, held: [], known: nil).ratings(RatedPoem.read(file))
            #expect(abs(try #require(other.all.poet["fluency"]) + correlation) < 1e-9 && other.unseen == nil)
        }
    }

    @Test func aLimitDrawsByTheSeed() throws {
        let poet = try Poet()
        let poems = try poet.corpus(20)
        func drawn(_ seed: UInt64) throws -> [[String]] {
            try measures(poet, held: poems, known: nil, limit: 5, seed: seed).heldOut.map(\.lines)
        }
        #expect(try drawn(1).count == 5 && drawn(1) == drawn(1) && drawn(1) != drawn(2))
    }

    /// A poet that prefers the same characters everywhere is found to overdo pairs with them, and nothing else.
    @Test func aPoetsStockIsWhatItWritesTooOften() throws {
        let poet = try Poet(seed: 9)
        let examples = try poet.examples(poet.corpus(400))
        let survey = try #require(StockSurvey(examples, count: 300, longest: 28, seed: 4))
        #expect(survey.poems.count == 300 && Set(survey.poems.map(\.form)) == [.wujue, .qijue])
        let format = try PoetFormat(tokens: poet.vocabulary.tokens)
        let plans = survey.plans(writable: format.writable)
        #expect(plans.count == 300)
        for (poem, plan) in plans {
            #expect(plan.prompt.form == poem.form && plan.prompt.rhyme == poem.rhyme && poem.rhyme != nil)
            #expect(plan.prompt.keywords.allSatisfy(poem.keywords.contains))
        }
        #expect(Set(plans.map(\.plan.prompt.keywords.count)) == [0, 1, 2])
        func pairs() throws -> OverusedPairs { try survey.pairs(of: PoemWriter(poet.model, format: format)).pairs }
        #expect(try pairs().excess.isEmpty, "random weights repeat nothing twelve times")

        // With the embedding of one character as a large bias of the last norm, the scores of all characters are about
        // the same at every place, and the poet takes the best ones again and again.
        let table = try #require(poet.store["transformer.wte.weight"])
        let bias = try #require(poet.store["transformer.ln_f.bias"])
        let id = Int(try #require(poet.vocabulary.id(of: format.writable.sorted()[0])))
        let scores = withoutGradients {
            bias.add_(table.narrowed(0, id..<id + 1).squeezed(0) * 2000)
            return table.matmul(bias).floats
        }
        let favourites = Set(
            scores.indices.sorted { scores[$0] > scores[$1] }.map { poet.vocabulary.tokens[$0] }
                .filter { $0.count == 1 }.prefix(20).compactMap(\.first))
        let stock = try pairs()
        // The other character of a pair may be a rhyme, which is chosen among few.
        #expect(!stock.excess.isEmpty)
        #expect(stock.excess.keys.allSatisfy { !favourites.isDisjoint(with: $0) }, "\(stock.excess) \(favourites)")
        #expect(StockSurvey(survey.poems.filter { $0.form == .qijue }, count: 5, longest: 27, seed: 1) == nil)
    }
}
