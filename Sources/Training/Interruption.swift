import Dispatch
import Foundation
import Synchronization

/// Ctrl-C and a polite kill, as a question that a run asks after every step. The second Ctrl-C ends the process at once.
public final class Interruption: @unchecked Sendable {  // the sources are only kept alive
    private let count = Atomic<Int>(0)
    private let sources: [any DispatchSourceSignal]

    /// From here on SIGINT and SIGTERM do not end the process by themselves.
    public init() {
        let queue = DispatchQueue(label: "tihua.signals")
        var sources: [any DispatchSourceSignal] = []
        for number in [SIGINT, SIGTERM] {
            signal(number, SIG_IGN)
            sources.append(DispatchSource.makeSignalSource(signal: number, queue: queue))
        }
        self.sources = sources
        for source in sources {
            source.setEventHandler { [weak self] in
                guard let self else { return }
                if self.count.add(1, ordering: .relaxed).newValue > 1 { _exit(130) }
            }
            source.resume()
        }
    }

    /// Whether SIGINT or SIGTERM has come.
    public var wasRequested: Bool { count.load(ordering: .relaxed) > 0 }
}
