import CTihuaTorch

extension Tensor {
    /// Another shape with the same elements; one size may be -1.
    public func reshaped(_ shape: Int...) -> Tensor { reshaped(shape) }
    /// Another shape with the same elements; one size may be -1.
    public func reshaped(_ shape: [Int]) -> Tensor {
        .make { out in withShape(shape) { ct_reshape(handle, $0, $1, out) } }
    }

    /// Repeats dimensions of size 1 without a copy; -1 keeps a size.
    public func expanded(_ shape: Int...) -> Tensor {
        .make { out in withShape(shape) { ct_expand(handle, $0, $1, out) } }
    }

    /// The dimensions in another order, sharing storage.
    public func permuted(_ dimensions: Int...) -> Tensor {
        .make { out in withShape(dimensions) { ct_permute(handle, $0, $1, out) } }
    }

    /// A copy with the order along the dimensions reversed.
    public func flipped(_ dimensions: Int...) -> Tensor {
        .make { out in withShape(dimensions) { ct_flip(handle, $0, $1, out) } }
    }

    /// Two dimensions exchanged, sharing storage.
    public func transposed(_ first: Int, _ second: Int) -> Tensor {
        .make { ct_transpose(handle, Int64(first), Int64(second), $0) }
    }

    /// A dimension of size 1 more.
    public func unsqueezed(_ dimension: Int) -> Tensor { .make { ct_unsqueeze(handle, Int64(dimension), $0) } }
    /// Without a dimension of size 1; itself where its size is another.
    public func squeezed(_ dimension: Int) -> Tensor { .make { ct_squeeze(handle, Int64(dimension), $0) } }

    /// `range` along one dimension, sharing storage.
    public func narrowed(_ dimension: Int, _ range: Range<Int>) -> Tensor {
        .make { ct_narrow(handle, Int64(dimension), Int64(range.lowerBound), Int64(range.count), $0) }
    }

    /// One index of a dimension, which disappears.
    public func selected(_ dimension: Int, _ index: Int) -> Tensor {
        .make { ct_select(handle, Int64(dimension), Int64(index), $0) }
    }

    /// `parts` equal pieces along a dimension, sharing storage; a remainder is left out.
    public func chunked(_ parts: Int, _ dimension: Int) -> [Tensor] {
        let length = size(dimension) / parts
        return (0..<parts).map { narrowed(dimension, $0 * length..<($0 + 1) * length) }
    }

    /// One after the other along a dimension that all have.
    public static func concatenated(_ tensors: [Tensor], _ dimension: Int) -> Tensor {
        make { out in withHandles(tensors) { ct_cat($0, $1, Int64(dimension), out) } }
    }

    /// Equal shapes along a new dimension.
    public static func stacked(_ tensors: [Tensor], _ dimension: Int) -> Tensor {
        make { out in withHandles(tensors) { ct_stack($0, $1, Int64(dimension), out) } }
    }

    /// The slices of a dimension at `indices` (int64 `[N]`).
    public func gatheringSlices(_ dimension: Int, at indices: Tensor) -> Tensor {
        .make { ct_index_select(handle, Int64(dimension), indices.handle, $0) }
    }

    /// `self[mask]` for a bool mask over the leading dimensions, or rows at int64 indices.
    public func indexed(by index: Tensor) -> Tensor { .make { ct_index(handle, index.handle, $0) } }

    /// PyTorch's `gather`: one element for each index along a dimension.
    public func gathered(_ dimension: Int, _ index: Tensor) -> Tensor {
        .make { ct_gather(handle, Int64(dimension), index.handle, $0) }
    }

    /// PyTorch's `scatter`, out of place.
    public func scattered(_ dimension: Int, _ index: Tensor, _ source: Tensor) -> Tensor {
        .make { ct_scatter(handle, Int64(dimension), index.handle, source.handle, $0) }
    }

    /// 0 above a diagonal of the last two dimensions.
    public func lowerTriangle(_ diagonal: Int = 0) -> Tensor { .make { ct_tril(handle, Int64(diagonal), $0) } }
    /// 0 below a diagonal of the last two dimensions.
    public func upperTriangle(_ diagonal: Int = 0) -> Tensor { .make { ct_triu(handle, Int64(diagonal), $0) } }

    /// Each slice `repeats` times in a row.
    public func repeatedInterleaved(_ repeats: Int, _ dimension: Int) -> Tensor {
        .make { ct_repeat_interleave(handle, Int64(repeats), Int64(dimension), $0) }
    }
}
