/// A small, fast stream of random numbers for one candidate, so that what it writes does not depend on the others.
///
/// Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014).
public struct SplitMix64: RandomNumberGenerator, Sendable, Equatable {
    private var state: UInt64

    /// The stream of a seed.
    public init(seed: UInt64) { state = seed }

    /// A stream of its own for each combination of numbers, so that a batch does not depend on the ones before it.
    public init(_ numbers: UInt64...) {
        var state: UInt64 = 0
        for number in numbers {
            state = Self.mix(state &+ 0x9E37_79B9_7F4A_7C15) ^ Self.mix(number &+ 0xD1B5_4A32_D192_ED03)
        }
        self.init(seed: state)
    }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return Self.mix(state)
    }

    /// The first number of the stream.
    public var peek: UInt64 {
        var copy = self
        return copy.next()
    }

    /// Uniform in 0..<1.
    public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    private static func mix(_ value: UInt64) -> UInt64 {
        var bits = value
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return bits ^ (bits >> 31)
    }
}
