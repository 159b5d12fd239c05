import Dispatch
public import TihuaTorch

/// Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/): the matrices of the hidden layers step along the
/// orthogonalised mean gradient; embeddings, norms, biases and everything that is not a matrix go by AdamW.
///
/// Steps of matrices are scaled by 0.2 sqrt(max(rows, columns)) (Liu et al. 2025, "Muon is scalable for LLM training"),
/// so that one learning rate serves both parts.
public final class Muon: Optimizer {
    /// The decay of the mean gradient of the matrices, from which a step takes Nesterov's look ahead.
    public let momentum: Double
    private let adamW: AdamW
    private let matrices: [Matrix]
    /// Indices of `matrices` whose steps have one shape, rows at most columns; orthogonalised together, on a thread of
    /// their own.
    private let batches: [[Int]]
    private let isParallel: Bool
    /// The element type that the orthogonalisation computes in.
    public let computeType: DType

    private struct Matrix {
        let entry: ParameterStore.Entry
        let mean: Tensor
        /// Whether it has more rows than columns.
        let isTall: Bool
    }

    /// Makes the parameters leaves of autograd. `frozen` names are left alone.
    ///
    /// - Parameters:
    ///   - workers: threads that orthogonalise, at least 1
    ///   - computeType: the element type that they compute in; bfloat16 is enough, where the device multiplies it fast
    public init(
        _ store: ParameterStore, _ configuration: AdamW.Configuration = .init(), momentum: Double = 0.95,
        workers: Int = 1, computeType: DType = .bfloat16, frozen: (String) -> Bool = { _ in false }
    ) {
        self.momentum = momentum
        self.computeType = computeType
        func isMatrix(_ entry: ParameterStore.Entry) -> Bool { entry.group == .decayed && entry.tensor.rank == 2 }
        let names = Set(store.parameters.filter { isMatrix($0) && !frozen($0.name) }.map(\.name))
        adamW = AdamW(store, configuration) { names.contains($0) || frozen($0) }
        let matrices = store.parameters.filter { names.contains($0.name) }.map { entry in
            entry.tensor.requiresGradient = true
            return Matrix(
                entry: entry, mean: .zeros(entry.tensor.shape, dtype: entry.tensor.dtype, device: entry.tensor.device),
                isTall: entry.tensor.size(0) > entry.tensor.size(1))
        }
        self.matrices = matrices
        let shapes = Dictionary(grouping: matrices.indices) { matrices[$0].entry.tensor.shape.sorted() }
        batches = shapes.sorted { $0.key.lexicographicallyPrecedes($1.key) }.flatMap { _, indices in
            let share = (indices.count + workers - 1) / max(1, workers)
            return stride(from: 0, to: indices.count, by: max(1, share)).map {
                Array(indices[$0..<min($0 + share, indices.count)])
            }
        }
        isParallel = workers > 1
    }

    /// Steps taken.
    public var step: Int { adamW.step }

    /// The parameters that are moved.
    public var trained: [ParameterStore.Entry] { adamW.trained + matrices.map(\.entry) }

    /// `mean/NAME` of every matrix, and AdamW's moments of the rest.
    public var state: [(name: String, tensor: Tensor)] {
        adamW.state + matrices.map { ("mean/\($0.entry.name)", $0.mean) }
    }

    /// One step over every parameter that has a gradient, then clears the gradients.
    ///
    /// - Throws: `TorchError` if libtorch refuses the step.
    public func step(learningRate: Double) throws(TorchError) {
        // The batches have no matrix in common.
        nonisolated(unsafe) let optimizer = self
        @Sendable func run(_ index: Int) {
            withoutGradients { optimizer.step(optimizer.batches[index], learningRate: learningRate) }
        }
        if isParallel {
            DispatchQueue.concurrentPerform(iterations: batches.count, execute: run)
        } else {
            for index in batches.indices { run(index) }
        }
        try adamW.step(learningRate: learningRate)
        clearGradients()
    }

    private func step(_ batch: [Int], learningRate: Double) {
        let moved = batch.filter { matrices[$0].entry.tensor.gradient != nil }
        let directions = moved.compactMap { index -> Tensor? in
            let matrix = matrices[index]
            guard let gradient = matrix.entry.tensor.gradient else { return nil }
            matrix.mean.interpolate_(gradient, weight: 1 - momentum)
            // Nesterov: where the mean will be if this gradient comes again.
            let ahead = gradient * (1 - momentum) + matrix.mean * momentum
            return matrix.isTall ? ahead.transposed(0, 1) : ahead
        }
        guard let first = directions.first else { return }
        let columns = Double(first.size(1))
        let steps = Self.orthogonalized(.stacked(directions, 0), in: computeType)  // [N, R, C]
        for (place, index) in moved.enumerated() {
            let matrix = matrices[index]
            let step = steps.selected(0, place)
            let parameter = matrix.entry.tensor
            parameter.multiply_(1 - learningRate * adamW.configuration.weightDecay)
            parameter.add_(
                (matrix.isTall ? step.transposed(0, 1) : step).to(parameter.dtype),
                scale: -learningRate * 0.2 * columns.squareRoot())
        }
    }

    /// Matrices with the same singular vectors and singular values near 1 (0.7 to 1.2): five steps of a Newton-Schulz
    /// iteration whose coefficients are Jordan's.
    ///
    /// - Parameters:
    ///   - matrices: `[N, R, C]`, R at most C
    ///   - computeType: the element type of the iteration and of the result
    /// - Returns: `[N, R, C]`
    static func orthogonalized(_ matrices: Tensor, in computeType: DType) -> Tensor {
        let norm = matrices.reshaped(matrices.size(0), -1).norm(1, keep: true).unsqueezed(2)  // [N, 1, 1]
        var x = (matrices / (norm + 1e-7)).to(computeType)
        for _ in 0..<5 {
            let square = x.matmul(x.transposed(1, 2))  // [N, R, R]
            let polynomial = square * -4.7750 + square.matmul(square) * 2.0315
            x = x * 3.4445 + polynomial.matmul(x)
        }
        return x
    }

    /// Continues a run from the tensors of `state`.
    ///
    /// - Throws: what `stored` throws.
    public func restore(step: Int, _ stored: (String, Tensor) throws -> Tensor) throws {
        try adamW.restore(step: step, stored)
        try withoutGradients {
            for matrix in matrices { matrix.mean.copy_(try stored("mean/\(matrix.entry.name)", matrix.mean)) }
        }
    }
}
