import Testing
import TihuaVerse

@Suite struct SplitMix64Tests {
    @Test func splitMixGivesThePublishedNumbers() {
        // The first outputs for seed 1234567 of the reference implementation, prng.di.unimi.it/splitmix64.c.
        var random = SplitMix64(seed: 1_234_567)
        #expect(random.next() == 6_457_827_717_110_365_317)
        #expect(random.next() == 3_203_168_211_198_807_973)
    }
}
