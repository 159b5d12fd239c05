public import TihuaDataFiles
import TihuaProsody

/// What a set of captions is like: lengths, vocabulary, how they begin, what stands twice, what looks wrong.
public struct CaptionStatistics: Sendable, Codable, Equatable {
    /// Something with how often it occurs.
    public struct Count: Sendable, Codable, Equatable {
        /// A token, tokens in a row, or a caption.
        public let text: String
        /// How often it occurs.
        public let count: Int
    }

    /// Lengths in tokens.
    public struct Lengths: Sendable, Codable, Equatable {
        /// The length of the shortest caption.
        public let minimum: Int
        /// The median length; the lower one of two.
        public let median: Int
        /// The mean length.
        public let mean: Double
        /// 95 % of the captions are at most so long.
        public let percentile95: Int
        /// The length of the longest caption.
        public let maximum: Int
        /// How many captions have each length, from 0 to the maximum.
        public let histogram: [Int]
    }

    /// Why a caption should be looked at.
    public enum Suspicion: String, Sendable, Codable, CaseIterable, CodingKeyRepresentable {
        /// Fewer than four tokens.
        case short
        /// More than forty tokens.
        case long
        /// Latin letters.
        case latin
        /// No Han character.
        case noHan
        /// One token four times in a row, or two or three tokens three times.
        case repeated
    }

    /// Captions that should be looked at for one reason.
    public struct Suspects: Sendable, Codable, Equatable {
        /// How many captions are suspicious for this reason.
        public internal(set) var count = 0
        /// The first three, `image<TAB>caption`.
        public internal(set) var examples: [String] = []
    }

    /// The number of captions.
    public let captions: Int
    /// The number of pictures.
    public let pictures: Int
    /// The fewest and the most captions of a picture.
    public let captionsPerPicture: [Int]
    /// The lengths of the captions, in tokens.
    public let lengths: Lengths
    /// Different tokens.
    public let vocabulary: Int
    /// Tokens that occur once.
    public let singletons: Int
    /// The share of captions whose first token begins with 一, 0...1.
    public let shareOpeningWithOne: Double
    /// The most frequent first tokens, at most ten.
    public let openings: [Count]
    /// The most frequent first two tokens, at most ten.
    public let pairOpenings: [Count]
    /// Captions whose text stands elsewhere too.
    public let duplicates: Int
    /// The texts that stand most often, at most ten; only those that stand twice.
    public let mostRepeated: [Count]
    /// What should be looked at.
    public let suspicious: [Suspicion: Suspects]

    /// Looks at captions.
    ///
    /// - Parameter tokens: splits a caption; lengths and openings are counted in what it gives
    public init(_ captions: [CaptionFile.Caption], tokens: (String) -> [String]) {
        var perPicture: [String: Int] = [:]
        var words: [String: Int] = [:]
        var first: [String: Int] = [:]
        var firstTwo: [String: Int] = [:]
        var texts: [String: Int] = [:]
        var lengths: [Int] = []
        var suspicious: [Suspicion: Suspects] = [:]
        var one = 0
        for caption in captions {
            let split = tokens(caption.text)
            perPicture[caption.image, default: 0] += 1
            for token in split { words[token, default: 0] += 1 }
            lengths.append(split.count)
            texts[caption.text, default: 0] += 1
            if let opening = split.first {
                first[opening, default: 0] += 1
                if opening.hasPrefix("一") { one += 1 }
                if split.count > 1 { firstTwo[split[0] + split[1], default: 0] += 1 }
            }
            for reason in Self.suspicions(caption.text, split) {
                suspicious[reason, default: Suspects()].count += 1
                if suspicious[reason, default: Suspects()].examples.count < 3 {
                    suspicious[reason]?.examples.append("\(caption.image)\t\(caption.text)")
                }
            }
        }
        self.captions = captions.count
        pictures = perPicture.count
        captionsPerPicture = [perPicture.values.min() ?? 0, perPicture.values.max() ?? 0]
        self.lengths = Lengths(lengths)
        vocabulary = words.count
        singletons = words.values.count { $0 == 1 }
        shareOpeningWithOne = captions.isEmpty ? 0 : Double(one) / Double(captions.count)
        openings = Self.top(first)
        pairOpenings = Self.top(firstTwo)
        let repeated = texts.filter { $0.value > 1 }
        duplicates = repeated.values.reduce(0, +)
        mostRepeated = Self.top(repeated)
        self.suspicious = suspicious
    }

    private static func top(_ counts: [String: Int]) -> [Count] {
        counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(10).map {
            Count(text: $0.key, count: $0.value)
        }
    }

    private static func suspicions(_ text: String, _ tokens: [String]) -> [Suspicion] {
        Suspicion.allCases.filter { reason in
            switch reason {
            case .short: tokens.count < 4
            case .long: tokens.count > 40
            case .latin: text.contains { $0.isLetter && $0.unicodeScalars.allSatisfy(\.properties.isCased) }
            case .noHan: !text.contains(where: \.isHan)
            case .repeated: repeats(tokens, 1, times: 4) || repeats(tokens, 2, times: 3) || repeats(tokens, 3, times: 3)
            }
        }
    }

    /// Whether a run of `length` tokens stands `times` times in a row.
    private static func repeats(_ tokens: [String], _ length: Int, times: Int) -> Bool {
        var same = 0
        for place in tokens.indices.dropFirst(length) {
            same = tokens[place] == tokens[place - length] ? same + 1 : 0
            if same == length * (times - 1) { return true }
        }
        return false
    }
}

extension CaptionStatistics.Lengths {
    fileprivate init(_ lengths: [Int]) {
        let sorted = lengths.sorted()
        minimum = sorted.first ?? 0
        maximum = sorted.last ?? 0
        median = sorted.isEmpty ? 0 : sorted[(sorted.count - 1) / 2]
        percentile95 = sorted.isEmpty ? 0 : sorted[(sorted.count * 95 + 99) / 100 - 1]
        mean = sorted.isEmpty ? 0 : Double(sorted.reduce(0, +)) / Double(sorted.count)
        var histogram = [Int](repeating: 0, count: maximum + 1)
        for length in lengths { histogram[length] += 1 }
        self.histogram = histogram
    }
}
