public import TihuaGeneration

extension SplitMix64 {
    /// A stream of its own for each combination of numbers, so that a batch does not depend on the ones before it.
    public init(_ numbers: UInt64...) {
        var state: UInt64 = 0
        for number in numbers {
            state = Self.mix(state &+ 0x9E37_79B9_7F4A_7C15) ^ Self.mix(number &+ 0xD1B5_4A32_D192_ED03)
        }
        self.init(seed: state)
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
