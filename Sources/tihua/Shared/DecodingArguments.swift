import ArgumentParser
import TihuaGeneration

/// How tokens are drawn. What is not named is the command's own.
struct SamplingArguments: ParsableArguments {
    @Option(help: "Higher is bolder; 0 takes the most probable token every time.")
    var temperature: Double?

    @Option(help: "Draw from the N most probable tokens; 0 draws from all.")
    var topK: Int?

    @Option(help: "Draw from the most probable tokens that together have this probability.")
    var topP: Double?

    @Option(help: "A number; the same one gives the same texts.")
    var seed: UInt64?

    /// - Parameter standard: what is not named
    func value(_ standard: Sampling = Sampling()) -> Sampling {
        Sampling(
            temperature: temperature ?? standard.temperature, topK: topK ?? standard.topK, topP: topP ?? standard.topP)
    }
}

/// How a language model writes where no metre decides.
struct DecodingArguments: ParsableArguments {
    @Flag(help: "Take the most probable token every time.")
    var greedy = false

    @Option(help: "Search with N beams.")
    var beams: Int?

    @Option(
        help: "Length penalty of beams: 0 ranks by probability, 1 by its mean over tokens; higher favours longer texts."
    )
    var lengthPenalty: Double?

    @Option(help: "Contrastive search with this penalty for repetition, 0 to 1; it tries --top-k tokens, 4 by default.")
    var contrastive: Double?

    @OptionGroup var sampling: SamplingArguments

    @Option(help: "Above 1, it makes tokens less probable that were used before.")
    var repetitionPenalty = 1.0

    @Option(name: .customLong("no-repeat-ngram"), help: "No sequence of N tokens comes twice; 0 allows repetition.")
    private var namedNGram: Int?

    // Earlier spellings of tihua caption.

    @Option(name: .customLong("no-repeat"), help: .hidden)
    private var formerNGram: Int?

    @Option(name: .customLong("alpha"), help: .hidden)
    private var formerPenalty: Double?

    private enum Search: String, ExpressibleByArgument {
        case auto, greedy, beam, sample, contrastive
    }

    @Option(name: .customLong("decode"), help: .hidden)
    private var formerSearch = Search.auto

    /// No sequence of so many tokens comes twice; 0 allows all.
    var noRepeatNGram: Int { namedNGram ?? formerNGram ?? 0 }

    /// The search that the options name.
    ///
    /// - Parameters:
    ///   - standard: how tokens are drawn where the options say nothing
    ///   - other: the search where the options name none
    /// - Throws: `ValidationError` for options of two searches.
    func method(sampling standard: Sampling, otherwise other: Decoding.Method) throws -> Decoding.Method {
        let penalty = contrastive ?? formerPenalty
        let (beam, search) = (BeamSearch(), ContrastiveSearch())
        let drawn = Decoding.Method.sampling(sampling.value(standard))
        let wide = Decoding.Method.beam(
            BeamSearch(width: beams ?? beam.width, lengthPenalty: lengthPenalty ?? beam.lengthPenalty))
        let contrast = Decoding.Method.contrastive(
            ContrastiveSearch(candidates: sampling.topK ?? search.candidates, penalty: penalty ?? search.penalty))
        switch formerSearch {
        case .greedy: return .greedy
        case .beam: return wide
        case .sample: return drawn
        case .contrastive: return contrast
        case .auto: break
        }
        let isDrawn = sampling.temperature != nil || sampling.topP != nil || (sampling.topK != nil && penalty == nil)
        let named = [(greedy, .greedy), (beams != nil, wide), (penalty != nil, contrast), (isDrawn, drawn)]
            .filter(\.0).map(\.1)
        guard named.count <= 1 else {
            throw ValidationError(
                "--greedy, --beams, --contrastive and --temperature, --top-k or --top-p exclude each other")
        }
        let method = named.first ?? other
        guard lengthPenalty != nil else { return method }
        guard case .beam = method else { throw ValidationError("--length-penalty is for --beams") }
        return wide
    }
}
