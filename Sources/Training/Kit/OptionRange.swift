import Foundation
import TihuaTorch

/// A number of a recipe and its range, within which no sum or product of options overflows.
struct OptionRange: Sendable {
    let name: String
    let isWhole: Bool
    let range: ClosedRange<Double>
    private let isInside: Bool
    private let text: String
    private let expected: String

    /// A whole number; counts that nothing else limits go up to `countLimit`.
    init(_ name: String, _ value: Int, _ range: ClosedRange<Int>) {
        self.name = name
        self.range = Double(range.lowerBound)...Double(range.upperBound)
        isWhole = true
        isInside = range.contains(value)
        text = "\(value)"
        expected = "\(range.lowerBound) to \(range.upperBound)"
    }

    /// Any number.
    ///
    /// - Parameter expected: the range in words, where an end is not part of it
    init(_ name: String, _ value: Double, _ range: ClosedRange<Double>, _ expected: String? = nil) {
        self.name = name
        self.range = range
        isWhole = false
        isInside = range.contains(value)
        text = "\(value)"
        self.expected = expected ?? "\(range.lowerBound) to \(range.upperBound)"
    }

    /// The highest count of steps, poems, pictures and the like: a million times that still is a number.
    static let countLimit = 1 << 40

    /// A chance, 0 to 1.
    static func chance(_ name: String, _ value: Double) -> OptionRange { .init(name, value, 0...1) }

    /// The share of something that may not be all, 0 to below 1.
    static func share(_ name: String, _ value: Double) -> OptionRange {
        .init(name, value, 0...1.0.nextDown, "0 to below 1")
    }

    /// A weight in a sum, at least 0.
    static func weight(_ name: String, _ value: Double) -> OptionRange { .init(name, value, 0...1e9) }

    /// - Throws: `TrainingError.option` naming the first that is outside.
    static func check(_ ranges: [OptionRange]) throws(TrainingError) {
        for range in ranges where !range.isInside { throw .option(range.name, range.text, range.expected) }
    }
}

/// The options of one part of a recipe.
protocol RecipeOptions: Codable, Equatable, Sendable {
    init()
    /// Every option that is a number.
    var ranges: [OptionRange] { get }
    /// Checks the ranges, and what options are to each other.
    func validate() throws(TrainingError)
}

/// The memory of this machine.
enum Memory {
    /// Bytes; tests set less.
    @TaskLocal static var bytes = ProcessInfo.processInfo.physicalMemory
}

/// Checks, before memory is taken, that a model can be trained here: a number of it takes 16 bytes (itself, its
/// gradient, two moments), and 4 where it lives on an accelerator but is drawn first.
///
/// - Throws: `TrainingError.tooLarge`.
func checkSize(parameterCount: Double, device: Device) throws(TrainingError) {
    let needed = parameterCount * (device == .cpu ? 16 : 4)
    let memory = Double(Memory.bytes)
    guard needed <= memory else { throw .tooLarge(parameters: parameterCount, needed: needed, memory: memory) }
}
