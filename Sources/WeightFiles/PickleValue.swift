/// A value of a pickle: plain containers, scalars and tensors, nothing that runs.
public indirect enum PickleValue: Sendable {
    /// Python's `None`.
    case none
    /// A truth value.
    case bool(Bool)
    /// An integer of at most 64 bits.
    case integer(Int)
    /// A longer integer: two's complement, little-endian.
    case bigInteger([UInt8])
    /// A float.
    case number(Double)
    /// A `str`.
    case string(String)
    /// `bytes` or a `bytearray`.
    case bytes([UInt8])
    /// A list.
    case list([PickleValue])
    /// A tuple or a `torch.Size`.
    case tuple([PickleValue])
    /// A set or a frozenset.
    case set([PickleValue])
    /// A `dict` or an `OrderedDict`, in its order.
    case dictionary([Entry])
    /// A tensor or a parameter; its name is empty.
    case tensor(TensorView)
    /// A named constant of PyTorch, such as `torch.float32` or `torch.device('cpu')`.
    case constant(String)

    /// A key of a dictionary with its value.
    public struct Entry: Sendable {
        /// The key.
        public let key: PickleValue
        /// The value.
        public let value: PickleValue
    }

    /// The value of a string key of a dictionary; nil for another key or another kind of value.
    public subscript(key: String) -> PickleValue? {
        guard case .dictionary(let entries) = self else { return nil }
        for entry in entries {
            if case .string(key) = entry.key { return entry.value }
        }
        return nil
    }

    /// The tensors that stand directly in a dictionary under string keys, named by them; empty for other values.
    var namedTensors: [TensorView] {
        guard case .dictionary(let entries) = self else { return [] }
        return entries.compactMap { entry in
            guard case .string(let name) = entry.key, case .tensor(let view) = entry.value else { return nil }
            return view.renamed(name)
        }
    }
}
