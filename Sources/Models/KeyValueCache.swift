public import TihuaTorch

/// The keys and values of the tokens seen so far, per layer, in memory that is allocated once; and, for a decoder that
/// attends to a memory besides its own tokens, the keys and values of that memory, projected once.
///
/// A decoder appends the keys and values of its new tokens and attends over everything that is stored. A prompt that
/// all candidates share may be run once with batch 1, and the cache `expand`ed to them.
public final class KeyValueCache {
    /// The most tokens that fit.
    public let capacity: Int
    private var layers: [Layer]
    private var memory: [Int: (keys: Tensor, values: Tensor)] = [:]  // by layer: [B, H, S, D]

    private struct Layer {
        var keys: Tensor?  // [B, H, capacity, D]
        var values: Tensor?  // [B, H, capacity, D]
        var length = 0
    }

    /// An empty cache for `layerCount` layers and up to `capacity` positions; the first tokens settle batch and width.
    public init(layerCount: Int, capacity: Int) {
        self.capacity = capacity
        layers = Array(repeating: Layer(), count: layerCount)
    }

    /// Tokens that every layer has stored.
    public var length: Int { layers.last?.length ?? 0 }

    /// Stores the keys and values of new tokens (`[B, H, T, D]`) and gives all that the layer holds (`[B, H, S, D]`),
    /// as views of its memory.
    ///
    /// - Precondition: `capacity` is not exceeded and the batch is that of the tokens before.
    public func append(layer index: Int, keys: Tensor, values: Tensor) -> (keys: Tensor, values: Tensor) {
        let shape = keys.shape
        let start = layers[index].length
        let end = start + shape[2]
        precondition(end <= capacity, "\(end) tokens do not fit into a cache of \(capacity)")
        let room = room(index, like: keys, shape)
        room.keys.narrowed(2, start..<end).copy_(keys)
        room.values.narrowed(2, start..<end).copy_(values)
        layers[index].length = end
        return (room.keys.narrowed(2, 0..<end), room.values.narrowed(2, 0..<end))
    }

    /// The keys and values of the memory, which `project` makes at the first call for a layer. `[B, H, S, D]` each
    func memory(
        layer index: Int, _ project: () -> (keys: Tensor, values: Tensor)
    ) -> (keys: Tensor, values: Tensor) {
        if let known = memory[index] { return known }
        let projected = project()
        memory[index] = projected
        return projected
    }

    private func room(_ index: Int, like tensor: Tensor, _ shape: [Int]) -> (keys: Tensor, values: Tensor) {
        if let keys = layers[index].keys, let values = layers[index].values { return (keys, values) }
        let room = [shape[0], shape[1], capacity, shape[3]]
        let keys = Tensor.empty(room, dtype: tensor.dtype, device: tensor.device)
        let values = Tensor.empty(room, dtype: tensor.dtype, device: tensor.device)
        layers[index].keys = keys
        layers[index].values = values
        return (keys, values)
    }

    /// Repeats a cache of batch 1 for `batch` candidates, which share the memory.
    public func expand(batch: Int) {
        func repeated(_ tensor: Tensor) -> Tensor { tensor.expanded(batch, -1, -1, -1) }
        memory = memory.mapValues { (repeated($0.keys), repeated($0.values)) }
        remake(repeated)
    }

    /// Puts at each place of the batch the cache of the row that `rows` (int64 `[N]`) names, as beam search needs.
    ///
    /// A batch that keeps its size keeps its storage.
    ///
    /// - Parameters:
    ///   - start: rows are equal up to this position, so that only what comes after moves
    ///   - keepingMemory: leaves the memory as it is, where the row that comes to a place has the same memory
    /// - Precondition: `start` is 0 where the size of the batch changes.
    public func reorder(by rows: Tensor, from start: Int = 0, keepingMemory: Bool = false) {
        if !keepingMemory {
            memory = memory.mapValues { ($0.keys.gatheringSlices(0, at: rows), $0.values.gatheringSlices(0, at: rows)) }
        }
        guard let batch = layers.first?.keys?.size(0) else { return }
        guard rows.size(0) == batch else {
            precondition(start == 0, "a batch of \(batch) becomes one of \(rows.size(0)), so every position moves")
            remake { $0.gatheringSlices(0, at: rows) }
            return
        }
        withoutGradients {
            for layer in layers {
                for room in [layer.keys, layer.values].compactMap(\.self) where start < layer.length {
                    let stored = room.narrowed(2, start..<layer.length)
                    stored.copy_(stored.gatheringSlices(0, at: rows))
                }
            }
        }
    }

    /// Forgets every token from `length` on. Longer than what is stored changes nothing.
    public func truncate(_ length: Int) {
        for index in layers.indices { layers[index].length = min(layers[index].length, max(0, length)) }
    }

    /// Allocates new storage, which holds what `body` makes of the part in use.
    private func remake(_ body: (Tensor) -> Tensor) {
        withoutGradients {
            for index in layers.indices {
                let stored = 0..<layers[index].length
                func moved(_ old: Tensor) -> Tensor {
                    let kept = body(old.narrowed(2, stored))
                    let shape = kept.shape
                    let new = Tensor.empty(
                        [shape[0], shape[1], capacity, shape[3]], dtype: old.dtype, device: old.device)
                    new.narrowed(2, stored).copy_(kept)
                    return new
                }
                layers[index].keys = layers[index].keys.map(moved)
                layers[index].values = layers[index].values.map(moved)
            }
        }
    }
}
