import ArgumentParser
import TihuaGeneration

/// How a language model writes, where no metre decides.
struct DecodingArguments: ParsableArguments {
    @Flag(help: "Take the likeliest token each time instead of drawing one.")
    var greedy = false

    @Option(help: "Search with N beams instead of drawing tokens.")
    var beams: Int?

    @Option(
        help: "Length penalty of beams: 0 ranks by probability, 1 by its mean over tokens; higher favours longer texts."
    )
    var lengthPenalty: Double?

    @Option(help: "Contrastive search with this penalty for repetition, 0 to 1; it tries --top-k tokens, 4 by default.")
    var contrastive: Double?

    @Option(help: "Higher is bolder; 0 takes the likeliest token each time.")
    var temperature: Double?

    @Option(help: "Draw from the N likeliest tokens; 0 draws from all.")
    var topK: Int?

    @Option(help: "Draw from the likeliest tokens that together have this probability.")
    var topP: Double?

    @Option(name: .customLong("n"), help: "How many texts: samples, or the best beams.")
    var count = 1

    @Option(help: "The least number of tokens of a text.")
    var minTokens = 0

    @Option(help: "Above 1, it makes tokens less likely that were used before.")
    var repetitionPenalty = 1.0

    @Option(help: "No sequence of N tokens comes twice; 0 allows repetition.")
    var noRepeatNgram = 0

    @Option(help: "A number; the same one gives the same texts.")
    var seed: UInt64 = 0

    /// The search that the options name.
    ///
    /// - Parameters:
    ///   - stop: tokens that end a text
    ///   - suppressed: tokens that are never written
    ///   - maximumLength: in tokens
    ///   - sampling: what holds where the options say nothing
    /// - Throws: `ValidationError` for options of two searches, `GenerationError.sampling` for a value out of range.
    func decoding(
        stop: [Int32], suppressed: [Int32] = [], maximumLength: Int,
        sampling: Sampling = Sampling(temperature: 1, topK: 0, topP: 1)
    ) throws -> Decoding {
        let searches = [greedy, beams != nil, contrastive != nil, temperature != nil || topP != nil]
        guard searches.count(where: \.self) <= 1 else {
            throw ValidationError("--greedy, --beams, --contrastive and --temperature/--top-p exclude each other")
        }
        guard topK == nil || !(greedy || beams != nil) else {
            throw ValidationError("--top-k is for drawn tokens and for --contrastive")
        }
        guard lengthPenalty == nil || beams != nil else { throw ValidationError("--length-penalty is for --beams") }
        let method: Decoding.Method
        if greedy {
            method = .sampling(.greedy)
        } else if let beams {
            method = .beam(BeamSearch(width: beams, lengthPenalty: lengthPenalty ?? BeamSearch().lengthPenalty))
        } else if let contrastive {
            let standard = ContrastiveSearch()
            method = .contrastive(ContrastiveSearch(candidates: topK ?? standard.candidates, penalty: contrastive))
        } else {
            method = .sampling(
                Sampling(
                    temperature: temperature ?? sampling.temperature, topK: topK ?? sampling.topK,
                    topP: topP ?? sampling.topP))
        }
        let rules = TokenRules(
            stop: stop, suppressed: suppressed, minimumLength: minTokens, maximumLength: maximumLength,
            repetitionPenalty: repetitionPenalty, noRepeatNGram: noRepeatNgram)
        let decoding = Decoding(method, count: count, rules: rules)
        try decoding.validate()
        return decoding
    }
}
