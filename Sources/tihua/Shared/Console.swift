import ArgumentParser
import Foundation
import TihuaFiles

/// Where the tool prints: results on standard output, everything else on standard error. What could steer a terminal is
/// escaped in both.
enum Console {
    /// Standard output could not be written, for instance because the disk is full or the stream is closed.
    struct OutputError: Error, CustomStringConvertible {
        let reason: String
        var description: String { "standard output: cannot write: \(reason)" }
    }

    /// Keeps files that are opened later from getting the number of a standard stream that was closed (`>&-`): what is
    /// printed would land in them. Writing to standard output then fails, as it should.
    static func claimStandardStreams() {
        for (stream, mode) in [(STDIN_FILENO, O_RDONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_WRONLY)]
        where fcntl(stream, F_GETFD) < 0 {
            // The lowest free number is this one, since the streams are claimed in their order.
            _ = open("/dev/null", mode)
        }
    }

    /// Writes a result, one or several lines, and a line feed to standard output, at once.
    ///
    /// - Throws: `OutputError`.
    static func print(_ text: String = "") throws(OutputError) {
        try write(Array((printableLines(text) + "\n").utf8), to: STDOUT_FILENO)
    }

    /// Writes a remark to standard error; a failure is ignored.
    static func note(_ text: String) {
        try? write(Array((printableLines(text) + "\n").utf8), to: STDERR_FILENO)
    }

    /// Writes what went wrong as one line to standard error.
    static func complain(_ error: any Error, hint: String = "") {
        let line = (describe(error) + hint).split(whereSeparator: \.isNewline).joined(separator: " ")
        note("Error: \(printable(line))")
    }

    /// Shows a line on the terminal that the next one replaces, and nil removes; nothing where standard error is no
    /// terminal.
    static func progress(_ text: String?) {
        guard isatty(STDERR_FILENO) == 1 else { return }
        try? write(Array("\r\u{1B}[K\(printable(text ?? ""))".utf8), to: STDERR_FILENO)
    }

    private static func write(_ bytes: [UInt8], to stream: Int32) throws(OutputError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(stream, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EAGAIN {
                // Another process has made the stream non-blocking.
                var wait = pollfd(fd: stream, events: Int16(POLLOUT), revents: 0)
                poll(&wait, 1, -1)
                continue
            }
            guard count > 0 else { throw OutputError(reason: String(cString: strerror(errno))) }
            rest = rest.dropFirst(count)
        }
    }
}

/// The line on the terminal that says what a command does now; nothing where it is to be quiet.
struct ProgressLine: Sendable {
    let isQuiet: Bool

    /// Shows a text in place of the one before; nil shows none.
    func callAsFunction(_ text: String?) {
        if !isQuiet { Console.progress(text) }
    }
}

/// Errors of a command that goes on with the rest of its input.
final class Failures {
    private(set) var hasAny = false

    /// Writes an error to standard error.
    func report(_ error: any Error) {
        Console.progress(nil)
        Console.complain(error)
        hasAny = true
    }

    /// Ends the command with status 1 if there was an error.
    func end() throws { if hasAny { throw ExitCode(1) } }
}
