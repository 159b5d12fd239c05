import ArgumentParser
import Torch

/// Where and how a command computes.
struct ComputeOptions: ParsableArguments {
    enum Precision: String, ExpressibleByArgument, CaseIterable {
        case float32
        case bfloat16

        var dtype: DType {
            switch self {
            case .float32: .float32
            case .bfloat16: .bfloat16
            }
        }
    }

    @Option(help: "cpu, cuda, cuda:1, or auto: a GPU where there is one.")
    var device = "auto"

    @Option(help: "Threads of one operation; by default all cores.")
    var threads: Int?

    @Option(help: "Numbers of weights and activations: \(Precision.allCases.map(\.rawValue).joined(separator: ", ")).")
    var dtype: Precision = .float32

    func validate() throws {
        guard let threads else { return }
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
    }

    /// Sets the threads of the calling thread's operations and finds the device.
    ///
    /// - Throws: `TorchError.noDevice`.
    func prepare() throws(TorchError) -> Device {
        if let threads { Runtime.threadCount = threads }
        return try Device(named: device)
    }
}
