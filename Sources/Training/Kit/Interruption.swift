import Dispatch
import Foundation
import Synchronization

/// Whether Ctrl-C, SIGTERM or the end of the terminal asks a run to stop, which it asks after every step. A second
/// Ctrl-C ends the process at once.
public final class Interruption: @unchecked Sendable {  // the sources are only kept alive
    private let count = Atomic<Int>(0)
    private let isTerminalGone = Atomic<Bool>(false)
    private let sources: [any DispatchSourceSignal]

    /// From here on SIGINT, SIGTERM and SIGHUP do not end the process by themselves. Where SIGHUP was ignored already
    /// (nohup), it stays so.
    public init() {
        let queue = DispatchQueue(label: "tihua.signals")
        var sources: [any DispatchSourceSignal] = []
        for number in [SIGINT, SIGTERM, SIGHUP] {
            var before = sigaction()
            sigaction(number, nil, &before)
            let isIgnored = unsafeBitCast(before.__sigaction_handler.sa_handler, to: Int.self) == 1
            if number == SIGHUP, isIgnored { continue }
            signal(number, SIG_IGN)
            sources.append(DispatchSource.makeSignalSource(signal: number, queue: queue))
        }
        self.sources = sources
        for source in sources {
            // Both the kernel and the shell may send SIGHUP when a terminal closes; that is no second Ctrl-C.
            let isTerminal = source.handle == UInt(SIGHUP)
            source.setEventHandler { [weak self] in
                guard let self else { return }
                let before = self.count.load(ordering: .relaxed)
                if !isTerminal, before > 0 { _exit(130) }
                self.count.store(isTerminal ? before : 1, ordering: .relaxed)
                if isTerminal { self.isTerminalGone.store(true, ordering: .relaxed) }
            }
            source.resume()
        }
    }

    /// Whether one of these signals has come.
    public var wasRequested: Bool {
        count.load(ordering: .relaxed) > 0 || isTerminalGone.load(ordering: .relaxed)
    }
}
