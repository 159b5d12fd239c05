import TihuaTorch
import TihuaWeightFiles

/// The classes of ImageNet that a teacher finds likeliest for each picture of a shard.
///
/// N pictures, K classes of each.
struct SoftLabels: Sendable {
    /// Classes that a teacher knows, the background (0) among them.
    static let classCount = 1001

    /// The classes, int16 `[N, K]`, in falling order of their probability.
    private let classes: TensorView
    /// The probabilities in 256ths, uint8 `[N, K]`.
    private let probabilities: TensorView
    /// Classes of each picture (K).
    private let width: Int

    /// Reads `class` and `prob_u8` of a file, or nil where they are not those of `count` pictures.
    init?(_ file: SafetensorsFile, count: Int) {
        guard let classes = file["class"], let probabilities = file["prob_u8"], classes.elementType == .int16,
            probabilities.elementType == .uint8, classes.shape.first == count, classes.shape == probabilities.shape,
            classes.shape.count == 2
        else { return nil }
        (self.classes, self.probabilities, width) = (classes, probabilities, classes.shape[1])
    }

    /// The class of ImageNet, 0 to 999, that the teacher is at least half sure of; nil without one.
    func sureClass(row: Int) -> Int? {
        guard width > 0, probabilities.withUnsafeBytes({ $0[row * width] }) >= 128 else { return nil }
        let label = label(row * width)
        return label > 0 ? label - 1 : nil
    }

    /// Writes the probabilities of a picture, which sum to 1, into those of all classes from `start` on.
    func copy(row: Int, to values: inout [Float], at start: Int) {
        let shares = probabilities.withUnsafeBytes { bytes in (0..<width).map { Float(bytes[row * width + $0]) } }
        let total = shares.reduce(0, +)
        for (rank, share) in shares.enumerated() where total > 0 {
            let label = label(row * width + rank)
            if (0..<Self.classCount).contains(label) { values[start + label] = share / total }
        }
    }

    private func label(_ index: Int) -> Int {
        classes.withUnsafeBytes { Int($0.loadUnaligned(fromByteOffset: 2 * index, as: Int16.self)) }
    }
}
