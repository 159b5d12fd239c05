import TihuaTorch

/// The ids of a batch, padded at the end to one length, and the places whose hidden states are asked for a token.
///
/// B sequences of T ids with N such places; C is the width of the model.
struct LearnedTokens {
    /// T.
    let width: Int
    /// Places of the batch with padding, B T.
    var paddedCount: Int { ids.count }
    /// Indices of the places that are asked, in `[B T]`.
    private(set) var places: [Int32] = []
    /// What each of them is asked for.
    private var targets: [Int32] = []
    private var ids: [Int32]
    private let device: Device

    /// Ids of which nothing is asked yet.
    init(_ rows: [[Int32]], padding: Int32, device: Device) {
        let width = rows.map(\.count).max() ?? 0
        ids = rows.flatMap { $0 + Array(repeating: padding, count: width - $0.count) }
        (self.width, self.device) = (width, device)
    }

    /// Sequences of which every token behind the first `read` is asked of the place before it.
    init(following sequences: [(ids: [Int32], read: Int)], padding: Int32, device: Device) {
        self.init(sequences.map { Array($0.ids.dropLast()) }, padding: padding, device: device)
        for (row, sequence) in sequences.enumerated() {
            for (column, id) in sequence.ids.enumerated().dropFirst(max(1, sequence.read)) {
                ask(row, column - 1, for: id)
            }
        }
    }

    /// Captions, each token of which is asked of its own place, except unknown ones. What is padded there is not read.
    init(captions: [[Int32]], unknown: Int32?, device: Device) {
        self.init(captions, padding: 0, device: device)
        for (row, caption) in captions.enumerated() {
            for (column, id) in caption.enumerated() where id != unknown { ask(row, column, for: id) }
        }
    }

    /// N.
    var count: Int { places.count }

    /// Asks the place `column` of sequence `row` for a token.
    mutating func ask(_ row: Int, _ column: Int, for id: Int32) {
        places.append(Int32(row * width + column))
        targets.append(id)
    }

    /// int64 `[B, T]`
    func inputs() -> Tensor { Tensor.ids(ids, [width > 0 ? ids.count / width : 0, width]).to(nil, device) }

    /// int64 `[N]`
    func wanted() -> Tensor { Tensor.ids(targets, [count]).to(nil, device) }

    /// The hidden states of the places that are asked: `[B, T, C]` -> `[N, C]`. Logits are expensive, since a
    /// vocabulary has thousands of tokens, so they are computed for these alone.
    func asked(_ hidden: Tensor) -> Tensor {
        hidden.reshaped(paddedCount, -1).gatheringSlices(0, at: Tensor.ids(places, [count]).to(nil, device))
    }

    /// The mean cross entropy over the places that are asked, in nats.
    ///
    /// - Parameters:
    ///   - hidden: `[B, T, C]`
    ///   - logits: `[N, C]` -> `[N, V]`
    func crossEntropy(_ hidden: Tensor, _ logits: (Tensor) -> Tensor) -> Tensor {
        Kernels.crossEntropy(logits(asked(hidden)), wanted())
    }
}
