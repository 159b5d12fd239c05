import CTihuaTorch
public import TihuaFiles

/// An error of libtorch, or of a file that holds tensors.
public enum TorchError: RequestError, Equatable, Sendable, CustomStringConvertible {
    /// libtorch refused an operation; its own one-line message.
    case operation(String)
    /// The element type of a file has no counterpart here.
    case unsupportedElementType(name: String, type: String)
    /// No such device on this machine.
    case noDevice(String)
    /// There was no memory for an operation; what libtorch says of it.
    case outOfMemory(String)
    /// The system gives no further thread.
    case noThread(String)

    /// Whether a device was asked for that is not there.
    public var isRequestFault: Bool { if case .noDevice = self { true } else { false } }

    /// What happened and what to do, in one line.
    public var description: String {
        switch self {
        case .operation(let message): message
        case .unsupportedElementType(let name, let type):
            "tensor \(name) has element type \(type), which is not supported"
        case .outOfMemory(let message):
            "out of memory (\(message)); end other programs, raise the limit, or ask for less at a time"
        case .noThread(let name):
            "the system gives no thread for \(name); raise the limit on processes or memory (ulimit -u, -v)"
        case .noDevice(let name): "there is no device \(name) on this machine; compute on the CPU"
        }
    }
}

/// Turns the status of a C function into an error. The message is thread-local, so it is read at once.
func check(_ status: ct_status) throws(TorchError) {
    guard status != CT_OK else { return }
    throw error(status)
}

private func error(_ status: ct_status) -> TorchError {
    let message = firstLine(of: String(cString: ct_last_error()))
    return status == CT_NO_MEMORY ? .outOfMemory(message) : .operation(message)
}

/// For operators, which do not throw: a wrong shape here is an error of the program, and says so. Memory that runs out
/// is met by the reserve first (`Runtime.reserveMemory`).
func must(_ status: ct_status, _ function: StaticString) {
    guard status != CT_OK else { return }
    let error = error(status)
    if case .outOfMemory = error { Runtime.fail("\(error)") }
    Runtime.fail("\(function): \(error)")
}

private func firstLine(of message: String) -> String {
    String(message.prefix { $0 != "\n" })
}
