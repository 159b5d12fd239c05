import CTorch

/// An error of libtorch, or of a file that holds tensors.
public enum TorchError: Error, Equatable, Sendable, CustomStringConvertible {
    /// libtorch refused an operation; its own one-line message.
    case operation(String)
    /// The element type of a file has no counterpart here.
    case unsupportedElementType(name: String, type: String)
    /// No such device on this machine.
    case noDevice(String)

    /// What happened and what to do, in one line.
    public var description: String {
        switch self {
        case .operation(let message): message
        case .unsupportedElementType(let name, let type):
            "tensor \(name) has element type \(type), which is not supported"
        case .noDevice(let name): "there is no device \(name) on this machine; use --device cpu"
        }
    }
}

/// Turns the status of a C function into an error. The message is thread-local, so it is read at once.
func check(_ status: ct_status) throws(TorchError) {
    guard status != 0 else { return }
    throw .operation(firstLine(of: String(cString: ct_last_error())))
}

/// For operators, which do not throw: a wrong shape here is an error of the program, and says so.
func must(_ status: ct_status, _ function: StaticString) {
    guard status != 0 else { return }
    // Not preconditionFailure, which says nothing in a release build.
    fatalError("\(function): \(firstLine(of: String(cString: ct_last_error())))")
}

private func firstLine(of message: String) -> String {
    String(message.prefix { $0 != "\n" })
}
