import Foundation
import Testing
import TihuaGeneration
import TihuaModels
import TihuaProsody
import TihuaTorch
import TihuaVerse

@Suite struct PoemScorerTests {
    private func scorer(_ poet: TinyPoet) throws -> PoemScorer {
        try PoemScorer(poet.model, vocabulary: PoetVocabulary(tokens: poet.vocabulary))
    }

    /// The probabilities of the token after each of `ids`, `[T][V]`.
    private func probabilities(_ ids: [Int32], _ poet: TinyPoet) -> [[Float]] {
        withoutGradients {
            let scores = poet.model.logits(poet.model.hidden(Tensor.ids(ids, [1, ids.count])))  // [1, T, V]
            let values = scores.softmax(2).floats
            let width = values.count / ids.count
            return ids.indices.map { Array(values[$0 * width..<($0 + 1) * width]) }
        }
    }

    @Test func scoresOfWrittenPoemsAreTheWriters() throws {
        let poet = try TinyPoet()
        let plans = try [Form.qijue, .wulv, .wujue, .qijue].enumerated().map {
            try poet.plan($1, keywords: $0 == 0 ? [] : ["江", "舟"], seed: UInt64($0))
        }
        let written = try poet.writer().write(plans)
        #expect(written.count == plans.count)
        let scores = try scorer(poet).logProbabilities(
            of: written.map { .init(prompt: plans[$0.plan].prompt, lines: $0.lines) })
        for (poem, values) in zip(written, scores) {
            #expect(values.count == poem.tokenCount && values.allSatisfy { $0 < 0 })
            #expect(abs(values.reduce(0, +) - poem.logProbability) < 2e-3 * abs(poem.logProbability))
        }
    }

    @Test func formMayBeLeftOut() throws {
        let poet = try TinyPoet()
        let vocabulary = try PoetVocabulary(tokens: poet.vocabulary)
        let prompt = PoemPrompt(form: .wujue, keywords: ["江"])
        let lines = ["江江江江江"]
        let ids = try vocabulary.encode(prompt).filter { $0 != vocabulary.id(of: PoetVocabulary.token(of: .wujue)) }
        let text = vocabulary.encode(lines: lines)
        let expected = probabilities(ids + text, poet)
        let found = try scorer(poet).logProbabilities(of: [.init(prompt: prompt, namesForm: false, lines: lines)])[0]
        for (offset, token) in text.enumerated() {
            let value = Double(expected[ids.count - 1 + offset][Int(token)])
            #expect(abs(found[offset] - log(value)) < 1e-4)
        }
        #expect(try scorer(poet).logProbabilities(of: [.init(prompt: prompt, lines: lines)])[0] != found)
    }

    @Test("what is removed is what the rules do not admit", arguments: ["五绝", "七绝", "浣溪沙"])
    func removedMass(name: String) throws {
        let form = try Form(named: name)
        let poet = try TinyPoet()
        let group = form.kind == .ci ? "第七部平声" : "七阳"
        let rhyme = try form.defaultBook.group(named: group, for: form)
        let plans = try (0..<3).map { try poet.plan(form, tones: .strict, rhyme: rhyme, seed: UInt64($0)) }
        let written = try poet.writer().write(plans)
        try #require(written.count == 3)
        let found = try scorer(poet).removedMass(
            of: written.map { (.init(prompt: plans[$0.plan].prompt, lines: $0.lines), plans[$0.plan].constraint) })
        let vocabulary = try PoetVocabulary(tokens: poet.vocabulary)
        for (poem, slots) in zip(written, found) {
            let slots = try #require(slots)
            let plan = plans[poem.plan]
            let prompt = try vocabulary.encode(plan.prompt)
            let expected = probabilities(prompt + vocabulary.encode(lines: poem.lines), poet)
            var state = MetreState(plan.constraint)
            var (place, slot) = (prompt.count - 1, 0)
            for line in poem.lines {
                for character in line {
                    let rule = state.rule
                    let admitted = poet.vocabulary.indices.reduce(0.0) { sum, token in
                        guard let character = vocabulary.character(of: Int32(token)),
                            rule.admits(character, in: form.defaultBook)
                        else { return sum }
                        return sum + Double(expected[place][token])
                    }
                    #expect(abs(slots[slot].removed - (1 - admitted)) < 1e-4)
                    state.append(character)
                    (place, slot) = (place + 1, slot + 1)
                }
                place += 1
            }
            #expect(slots.count == form.characterCount)
            #expect(slots.count { $0.kind == .rhyme } == form.rhymingLines.count)
        }
    }

    @Test func poemsOutsideTheMetreHaveNoSlots() throws {
        let poet = try TinyPoet()
        let plan = try poet.plan(.wujue, tones: .strict)
        let written = try #require(try poet.writer().write([plan]).first)
        let broken = [["江江江江江"], ["江江江江江", "江江江江江", "江江江江江", "江江江江江"]]
        let texts = (broken + [written.lines]).map { PoemScorer.Text(prompt: plan.prompt, lines: $0) }
        let found = try scorer(poet).removedMass(of: texts.map { ($0, plan.constraint) })
        #expect(found.map { $0 == nil } == [true, true, false])
    }

    @Test func textsThatAreTooLongAreRefused() throws {
        let poet = try TinyPoet()
        let text = PoemScorer.Text(prompt: PoemPrompt(form: .wujue), lines: [String(repeating: "江", count: 300)])
        #expect(throws: GenerationError.tooLong(tokens: 303, positions: 192)) {
            try scorer(poet).logProbabilities(of: [text])
        }
        #expect(try scorer(poet).logProbabilities(of: []).isEmpty)
    }
}

@Suite struct FreeWriterTests {
    /// Each has room by itself; in one batch the long prompt would push the long poem over the end.
    @Test func longPromptsAndLongPoemsGoApart() throws {
        let poet = try TinyPoet()
        let plans = [
            try poet.plan(.wujue, theme: String(repeating: "江", count: 80)),
            try poet.plan(Form(named: "沁园春"), seed: 2), try poet.plan(.wujue, seed: 3),
        ]
        let writer = FreeWriter(poet.model, format: poet.format)
        let together = try writer.write(plans)
        #expect(together == (try plans.map { try writer.write([$0])[0] }))
    }

    @Test func greedyWritingTakesTheLikeliestToken() throws {
        let poet = try TinyPoet()
        let plan = try poet.plan(.wujue)
        let lines = try FreeWriter(poet.model, format: poet.format).write([plan], sampling: .greedy)[0]
        var ids = try poet.format.prompt(plan.prompt)
        var expected = [""]
        for _ in 0..<(plan.constraint.form.characterCount + plan.constraint.form.lineCount + 16) {
            let next = withoutGradients {
                let scores = poet.model.logits(poet.model.hidden(Tensor.ids(ids, [1, ids.count])))
                return Int32(scores.selected(1, ids.count - 1).argmax(-1).array(of: Int64.self)[0])
            }
            if next == poet.format.end { break }
            let token = poet.vocabulary[Int(next)]
            if next == poet.format.lineBoundary {
                expected.append("")
            } else {
                expected[expected.count - 1] += token.count == 1 ? token : "□"
            }
            ids.append(next)
        }
        #expect(lines == expected)
    }

    @Test func poemsDoNotDependOnTheirBatch() throws {
        let poet = try TinyPoet()
        let plans = try [Form.qijue, .wujue, .wulv].enumerated().map {
            try poet.plan($1, keywords: $0 == 1 ? [] : ["江", "舟"], seed: 3 + UInt64($0))
        }
        let writer = FreeWriter(poet.model, format: poet.format)
        let together = try writer.write(plans)
        #expect(try plans.map { try writer.write([$0])[0] } == together)
        #expect(Set(together.map { $0.joined() }).count == 3)
    }
}
