import Testing
import TihuaModels
import TihuaNN
import TihuaProsody
import TihuaTestSupport
import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

@testable import TihuaGeneration

/// A small poet with random weights: every group of both books has some characters in its vocabulary.
struct TinyPoet {
    let store: ParameterStore
    let model: GPT2
    let format: PoetFormat
    /// The tokens by id.
    let vocabulary: [String]

    init(seed: UInt64 = 7, format kind: PoetFormat.Kind = .tihua, membersOfGroup: Int = 24) throws {
        var characters: [Character] = []
        var known: Set<Character> = []
        for group in [RhymeBook.pingshui, .cilin].flatMap(\.groups) {
            for character in group.members.prefix(membersOfGroup) where known.insert(character).inserted {
                characters.append(character)
            }
        }
        let tokens =
            switch kind {
            case .tihua: PoetVocabulary(characters: characters).tokens
            case .image2poem:
                ["[PAD]", "[UNK]", "[SEP]", "[CLS]", "[MASK]", "[EOS]", "|", "：", "关", "键", "词"]
                    + characters.filter { !"关键词".contains($0) }.map(String.init)
            }
        format = try PoetFormat(tokens: tokens)
        vocabulary = tokens
        let configuration = GPT2Configuration(
            vocabularySize: tokens.count, hiddenSize: 16, layerCount: 2, headCount: 2, positionCount: 192)
        store = ParameterStore(seed: seed)
        model = GPT2(configuration, at: store.root)
        // Scores of untrained weights are nearly equal; wider ones make the draws mean something.
        withoutGradients { store["transformer.wte.weight"]?.multiply_(20) }
    }

    /// An encoder-decoder of the same vocabulary.
    func lineModel(seed: UInt64 = 9) -> T5 {
        let store = ParameterStore(seed: seed)
        let configuration = T5Configuration(
            vocabularySize: format.tokenCount, hiddenSize: 16, layerCount: 2, headCount: 2, headSize: 8, innerSize: 32)
        let model = T5(configuration, at: store.root)
        return model
    }

    func writer(isKnown: @escaping (String) -> Bool = { _ in false }) throws -> PoemWriter {
        try PoemWriter(model, format: format, isKnown: isKnown)
    }

    func plan(
        _ form: Form = .qijue, tones: TonePolicy = .loose, rhyme: RhymeGroup? = nil, keywords: [String] = ["江", "舟"],
        acrostic: [Character] = [], first: String? = nil, theme: String? = nil, seed: UInt64 = 1
    ) throws -> PoemPlan {
        let constraint = try MetreConstraint(
            form: form, tones: tones, book: form.defaultBook, rhymeGroup: rhyme, acrostic: acrostic,
            fixedLines: first.map { [0: $0] } ?? [:], vocabulary: format.writable)
        return PoemPlan(
            prompt: PoemPrompt(form: form, rhyme: rhyme, keywords: keywords, theme: theme), constraint: constraint,
            seed: seed)
    }
}

/// The models of `Scripts/make_lm_fixtures.py` with two prompts beside tokens.
struct TinyModel {
    let source: TextSource

    /// - Parameter name: `gpt2`, `gpt2-prefix`, `t5_relu` or `t5_gated`
    init(_ name: String) throws {
        Runtime.threadCount = 1
        let folder = try ModelFolder(at: fixture("Models/\(name == "gpt2-prefix" ? "gpt2" : name)"))
        switch name {
        case "gpt2": source = TextSource(try GPT2.open(folder).model)
        case "gpt2-prefix":
            let file = try SafetensorsFile(contentsOf: fixture("Generation/decoding.safetensors"))
            let prefix = try Tensor.borrowing(#require(file["prefix"]))
            source = TextSource(try GPT2.open(folder).model, DecodingContext(prefix: prefix))
        default:
            let model = try T5.open(folder).model
            let file = try SafetensorsFile(contentsOf: fixture("Models/\(name).golden.safetensors"))
            let present = try Tensor.borrowing(#require(file["present"]))
            let ids = try Tensor.borrowing(#require(file["encoder_ids"]))
            source = TextSource(model, withoutGradients { model.context(model.embed(ids), mask: present) })
        }
    }

    /// - Parameter index: the only prompt, all if nil
    func generator(only index: Int? = nil, style: TextStyle? = nil, caching: Bool = true) -> TextGenerator {
        TextGenerator(index.map { source.prompts($0..<$0 + 1) } ?? source, style: style, caching: caching)
    }
}
