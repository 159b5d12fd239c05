import TihuaProsody
import TihuaTorch
import TihuaVerse

/// The batches of an epoch, as indices of examples. They depend on the seed and the epoch alone; those of the epoch
/// that was asked for last are kept.
struct EpochBatches {
    private let seed: UInt64
    private let stream: UInt64
    private let draw: (inout SplitMix64) -> [[Int]]
    private var known: (epoch: Int, batches: [[Int]])?

    /// - Parameter stream: tells the random numbers of one recipe from those of the others
    init(seed: UInt64, stream: UInt64, draw: @escaping (inout SplitMix64) -> [[Int]]) {
        (self.seed, self.stream, self.draw) = (seed, stream, draw)
    }

    /// Batches of `size` examples in random order; the last one of an epoch may be smaller.
    init(shuffling count: Int, size: Int, seed: UInt64, stream: UInt64) {
        self.init(seed: seed, stream: stream) { random in
            let order = (0..<count).shuffled(using: &random)
            return ranges(of: count, size: max(1, size)).map { Array(order[$0]) }
        }
    }

    /// Poems in batches whose padded tokens stay within a budget. Those of about equal length stand together; within a
    /// length, and between batches, the order is random.
    ///
    /// - Parameters:
    ///   - prompt: the tokens that stand before a poem
    ///   - budget: the padded tokens of a batch
    init(of forms: [Form], prompt: Int, budget: Int, seed: UInt64) {
        let byLength = Dictionary(grouping: forms.indices) { forms[$0].characterCount }.sorted { $0.key < $1.key }
        self.init(seed: seed, stream: 0xBA7C) { random in
            var batches: [[Int]] = []
            var current: [Int] = []
            for index in byLength.flatMap({ $0.value.shuffled(using: &random) }) {
                let tokens = forms[index].characterCount + forms[index].lineCount + prompt
                if !current.isEmpty, (current.count + 1) * tokens > budget {
                    batches.append(current)
                    current = []
                }
                current.append(index)
            }
            if !current.isEmpty { batches.append(current) }
            batches.shuffle(using: &random)
            return batches
        }
    }

    subscript(epoch: Int) -> [[Int]] {
        mutating get {
            if let known, known.epoch == epoch { return known.batches }
            var random = SplitMix64(seed, UInt64(epoch), stream)
            let batches = draw(&random)
            known = (epoch, batches)
            return batches
        }
    }
}

/// The ranges of `size` places that `count` places are measured in; the last one may be smaller.
func ranges(of count: Int, size: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: size).map { $0..<min($0 + size, count) }
}

/// The mean loss over all that counts in `count` examples, which are measured `size` at a time.
///
/// - Parameter measure: the mean loss of some examples, and how much counts in them
func meanLoss(
    of count: Int, size: Int = 64, _ measure: (Range<Int>) throws -> (loss: Tensor, counted: Int)
) rethrows -> Double {
    var (sum, total) = (0.0, 0)
    for range in ranges(of: count, size: size) {
        let (loss, counted) = try measure(range)
        if counted > 0 { sum += loss.item * Double(counted) }
        total += counted
    }
    return sum / Double(max(1, total))
}
