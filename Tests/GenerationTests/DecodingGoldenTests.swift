import Foundation
import Testing
import TihuaModels
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaGeneration

/// What transformers' `generate` wrote, by `Scripts/make_generation_fixtures.py`.
private struct Goldens: Decodable {
    struct Settings: Decodable {
        var num_beams: Int?
        var length_penalty: Double?
        var early_stopping: Early?
        var top_k: Int?
        var penalty_alpha: Double?
        var repetition_penalty: Double?
        var no_repeat_ngram_size: Int?
        var min_new_tokens: Int?
        var suppress_tokens: [Int32]?
        var eos: [Int32]?
    }
    struct Text: Decodable {
        let ids: [Int32]
        let score: Double
    }
    struct Case: Decodable {
        let model: String
        let settings: Settings
        let texts: [[Text]]
    }
    /// true, false or "never".
    enum Early: Decodable {
        case flag(Bool), word(String)

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            self = try (try? .flag(value.decode(Bool.self))) ?? .word(value.decode(String.self))
        }

        var ending: BeamSearch.Ending {
            switch self {
            case .flag(let isFirst): isFirst ? .first : .likely
            case .word: .certain
            }
        }
    }

    let maximum: Int
    let prompts: [[Int32]]
    let cases: [Case]

    init() throws {
        self = try JSONDecoder().decode(
            Goldens.self, from: Data(contentsOf: fixture("Generation/decoding.json")))
    }

    func decoding(_ settings: Settings) -> Decoding {
        let rules = TokenRules(
            stop: settings.eos ?? [1], suppressed: settings.suppress_tokens ?? [],
            minimumLength: settings.min_new_tokens ?? 0, maximumLength: maximum,
            repetitionPenalty: settings.repetition_penalty ?? 1, noRepeatNGram: settings.no_repeat_ngram_size ?? 0)
        if let width = settings.num_beams {
            let search = BeamSearch(
                width: width, lengthPenalty: settings.length_penalty ?? 1,
                ending: settings.early_stopping?.ending ?? .likely)
            return Decoding(.beam(search), count: width, rules: rules)
        }
        if let alpha = settings.penalty_alpha, let tried = settings.top_k {
            return Decoding(.contrastive(ContrastiveSearch(candidates: tried, penalty: alpha)), rules: rules)
        }
        return .greedy(rules: rules)
    }
}

@Suite struct DecodingGoldenTests {
    @Test(arguments: ["gpt2", "gpt2-prefix", "t5_relu", "t5_gated"], [true, false])
    func textsAreThoseOfTransformers(name: String, together: Bool) throws {
        let goldens = try Goldens()
        let cases = goldens.cases.filter { $0.model == name }
        #expect(cases.count > 30)
        let tiny = try TinyModel(name)
        for golden in cases {
            let prompts = (name == "gpt2" ? goldens.prompts : [[], []]).map { TextPrompt(ids: $0) }
            let decoding = goldens.decoding(golden.settings)
            let texts =
                together
                ? try tiny.generator().generate(prompts, decoding)
                : try prompts.indices.flatMap { index in
                    try tiny.generator(only: index).generate([prompts[index]], decoding)
                }
            #expect(texts.count == golden.texts.count)
            for (found, expected) in zip(texts, golden.texts) {
                #expect(found.count == expected.count)
                for (text, expected) in zip(found, expected) {
                    #expect(text.ids + (text.stop.map { [$0] } ?? []) == expected.ids, "\(golden.settings)")
                    #expect(abs(text.score - expected.score) < 1e-4, "\(text.score) \(golden.settings)")
                }
            }
        }
    }
}
