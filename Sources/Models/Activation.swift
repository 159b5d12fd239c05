import TihuaNN
public import TihuaTorch

/// The nonlinearity between the two layers of a feed-forward block, by its name in `config.json`.
public enum Activation: String, Sendable, Codable, CaseIterable {
    case gelu
    /// GELU by its tanh approximation.
    case geluNew = "gelu_new"
    case relu
    /// The square of ReLU (So et al. 2021, "Primer"), which takes a third of GELU's time on processors.
    case reluSquared = "relu2"

    /// Element by element; any shape.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        switch self {
        case .gelu: x.gelu()
        case .geluNew: x.geluTanh()
        case .relu: x.relu()
        case .reluSquared: x.relu().square()
        }
    }
}

extension Conv1D {
    /// The layer and a nonlinearity behind it, in one pass where there is a kernel for both.
    func callAsFunction(_ x: Tensor, _ activation: Activation) -> Tensor {
        activation == .reluSquared ? reluSquared(x) : activation(self(x))
    }
}
