public import Foundation
import Synchronization
public import TihuaTorch
import TihuaWeightFiles

extension TrainingOptions {
    /// The element type of the activations and of Muon's orthogonalisation.
    public enum Precision: String, Codable, Sendable, CaseIterable {
        /// bfloat16 where the device multiplies it in hardware, else float32.
        case auto
        case float32, bfloat16

        /// The type that this comes to on `device`.
        public func type(on device: Device) -> DType {
            switch self {
            case .auto: Self.best(on: device).precision == .bfloat16 ? .bfloat16 : .float32
            case .float32: .float32
            case .bfloat16: .bfloat16
            }
        }

        /// What `auto` comes to on `device`, and why. A processor says what it has, so that equal seeds give equal
        /// runs; a GPU is measured, where the two speeds are several times apart.
        static func best(on device: Device) -> (precision: Precision, reason: String) {
            switch device {
            case .cpu:
                guard let units = Runtime.bfloat16Units else {
                    return (.float32, "this processor has no units for bfloat16")
                }
                return (.bfloat16, "this processor multiplies it by \(units)")
            case .cuda:
                let ratio = MatrixSpeed.measure(.bfloat16, on: device) / MatrixSpeed.measure(.float32, on: device)
                let speed = String(format: "bfloat16 is multiplied %.1f times as fast as float32 there", ratio)
                return (ratio > 1.2 ? .bfloat16 : .float32, speed)
            }
        }
    }

    /// These options with the precision that `auto` comes to: of the run that is continued, whatever the machine; else
    /// the best one of `device`.
    ///
    /// - Parameter folder: of a run that is continued, if there is one
    public func resolvingPrecision(on device: Device, continuing folder: URL? = nil) -> TrainingOptions {
        guard precision == .auto else { return self }
        var options = self
        options.precision =
            folder.flatMap { RunCheckpoint(folder: $0).options?.precision } ?? Precision.best(on: device).precision
        return options
    }

    /// The precision in words, with the reason, for the log.
    func precisionNote(on device: Device) -> String {
        let best = Precision.best(on: device)
        if precision == best.precision { return "\(precision.rawValue) (\(best.reason))" }
        return "\(precision.rawValue) (as set, or as the run began; by itself it would be \(best.precision.rawValue):"
            + " \(best.reason))"
    }
}

/// The speed of a device's matrix product, against which a run's own speed is reported.
enum MatrixSpeed {
    private struct Setting: Hashable {
        let dtype: DType
        let device: Device
        let threads: Int
    }
    private static let measured = Mutex<[Setting: Double]>([:])

    /// Multiplications and additions per second of square matrices, once a process: a quarter of a second.
    static func measure(_ dtype: DType, on device: Device) -> Double {
        let setting = Setting(dtype: dtype, device: device, threads: Runtime.threadCount)
        if let known = measured.withLock({ $0[setting] }) { return known }
        let speed = withoutGradients { run(dtype, on: device) }
        measured.withLock { $0[setting] = speed }
        return speed
    }

    private static func run(_ dtype: DType, on device: Device) -> Double {
        let generator = Generator(seed: 0, device: device)
        let start = ContinuousClock.now
        func elapsed(since start: ContinuousClock.Instant) -> Double { (ContinuousClock.now - start) / .seconds(1) }
        var best = 0.0
        // Only the largest keeps a GPU busy; on a slow processor the smallest is enough.
        for size in device == .cpu ? [512, 1024] : [1024, 4096, 8192] {
            let a = Tensor.randn([size, size], generator: generator, device: device).to(dtype)
            _ = a.matmul(a)
            Runtime.synchronize(device)
            var seconds = Double.infinity
            for _ in 0..<8 where seconds == .infinity || elapsed(since: start) < 0.25 {
                let before = ContinuousClock.now
                _ = a.matmul(a)
                Runtime.synchronize(device)
                seconds = min(seconds, elapsed(since: before))
            }
            best = max(best, 2 * Double(size * size * size) / seconds)
            // The next size takes eight times as long and more.
            guard elapsed(since: start) + 20 * seconds < 0.3 else { break }
        }
        return best
    }
}
