import TihuaNN
import TihuaTorch

/// The names of the classes that a picture tower knew before it was joined to a text tower: pictures lie near the names
/// of what it takes them for, so that what no caption tells has a name too.
///
/// B pictures of a batch, K classes.
struct ClassLessons {
    /// The name of each class, in the order of the tower's classes.
    let names: [String]
    let weight: Double
    /// The logarithm of the factor of the cosines.
    private let scale: Tensor

    init(_ names: [String], weight: Double, at path: ParameterPath) {
        (self.names, self.weight) = (names, weight)
        scale = path.parameter("scale", [], .constant(3))
    }

    /// The cross entropy of cosines against what the tower takes the pictures for (Hinton et al. 2015, arXiv
    /// 1503.02531), in nats per picture, with its weight.
    ///
    /// - Parameters:
    ///   - cosines: `[B, K]`
    ///   - wanted: probabilities, `[B, K]`
    func loss(_ cosines: Tensor, _ wanted: Tensor) -> Tensor {
        -(wanted * (cosines * scale.exp()).logSoftmax(-1)).sum(1).mean() * weight
    }
}
