public import TihuaGeneration

/// What captions are asked for.
public struct CaptionRequest: Sendable, Equatable {
    /// How many captions a picture gets, at most.
    public var count = 1
    /// How captions are found.
    public var method = Decoding.Method.beam(BeamSearch(width: 5))
    /// How many captions are sampled, of which the best are given; a beam search finds as many as it has beams, any
    /// other one.
    public var sampleCount = 10
    /// What every caption begins with; it goes on from there.
    public var prompt = ""
    /// Tokens of a caption, its end counted.
    public var maximumLength = 60
    /// No sequence of so many tokens comes twice; 0 allows all.
    public var noRepeatNGram = 0
    /// See `TokenRules.repetitionPenalty`.
    public var repetitionPenalty = 1.0
    /// Sentences whose manner the captions shall have.
    public var style: CaptionStyle?
    /// Whether candidates are ordered by likeness to the picture too, and by how unlike each other they are.
    public var reranks = true
    /// Equal seeds give equal captions, whatever other pictures are captioned with them.
    public var seed: UInt64 = 1

    /// One caption by beam search.
    public init() {}

    /// What ClipCap-Chinese does when it predicts: the samples of `Decoding.clipCapChinese`, as they come.
    public static let clipCapChinese: CaptionRequest = {
        let decoding = Decoding.clipCapChinese(stop: 0, unknown: nil)
        var request = CaptionRequest()
        request.count = decoding.count
        request.method = decoding.method
        request.sampleCount = decoding.count
        request.reranks = false
        request.maximumLength = decoding.rules.maximumLength
        return request
    }()

    /// - Throws: `PipelineError.setting` for a number out of range.
    public func validate() throws(PipelineError) {
        guard (1...1000).contains(count) else {
            throw .setting(name: "the number of captions", value: "\(count)", range: "1 to 1000")
        }
        let most = method.mostTexts ?? sampleCount
        guard method.mostTexts != nil || (1...1000).contains(sampleCount) else {
            throw .setting(name: "the number of candidates", value: "\(sampleCount)", range: "1 to 1000")
        }
        guard count <= most else {
            throw .setting(
                name: "the number of captions", value: "\(count)",
                range: "at most \(most), which is all that this way of decoding finds")
        }
        guard (2...10_000).contains(maximumLength) else {
            throw .setting(name: "the maximum length", value: "\(maximumLength)", range: "2 to 10000")
        }
        if let style {
            guard style.sentences.contains(where: { $0 != style.sentences.first }) else {
                throw .setting(
                    name: "the style", value: style.sentences.isEmpty ? "empty" : "one sentence only",
                    range: "many sentences")
            }
            let megabytes = style.sentences.reduce(0) { $0 + $1.utf8.count } >> 20
            guard megabytes < 32 else {
                throw .setting(name: "the style", value: "\(megabytes) MB of text", range: "less than 32 MB")
            }
            guard (0...1).contains(style.weight) else {
                throw .setting(name: "the weight of the style", value: "\(style.weight)", range: "0 to 1")
            }
        }
    }

    /// Candidates of a picture.
    var candidates: Int { method.mostTexts.map { reranks ? $0 : count } ?? sampleCount }
}

/// Sentences whose manner captions take on while they are written; nothing is trained.
public struct CaptionStyle: Sendable, Equatable {
    /// At least two different ones.
    public var sentences: [String]
    /// How much they count beside the captioner, 0 to 1; see `TextStyle`.
    public var weight: Double

    /// - Precondition: see `CaptionRequest.validate` for the ranges.
    public init(sentences: [String], weight: Double = 0.7) {
        self.sentences = sentences
        self.weight = weight
    }
}

/// A caption of a picture.
public struct Caption: Sendable, Equatable, Codable {
    /// What is said, the prompt included, without a full stop at the end.
    public let text: String
    /// The natural logarithm of its probability, the end included, the prompt not.
    public let logProbability: Double
    /// Its cosine with the picture in the space of the CLIP model; nil where nothing was compared.
    public let similarity: Double?
    /// Whether it came to its own end, rather than to the maximum length.
    public let isFinished: Bool
}
