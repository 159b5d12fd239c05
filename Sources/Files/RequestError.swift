/// An error that may be the fault of the request: a form that does not exist, a number out of its range, a device that
/// the machine does not have.
///
/// A command-line tool answers such an error with the exit status of a usage error, a server with status 400; other
/// errors are those of files, weights and machines.
public protocol RequestError: Error {
    /// Whether another request could succeed where this one cannot.
    var isRequestFault: Bool { get }
}
