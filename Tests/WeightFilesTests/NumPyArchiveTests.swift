import Foundation
import Testing

@testable import TihuaWeightFiles

@Suite struct NumPyArchiveTests {
    @Test(arguments: ["arrays.npz", "arrays.stored.npz"])
    func readsWhatNumPyWrites(_ name: String) throws {
        let found = try NumPyArchive(contentsOf: weightFixture(name))
        let expected = try SafetensorsFile(contentsOf: weightFixture("arrays.expected.safetensors"))
        #expect(Set(found.tensors.map(\.name)) == Set(expected.tensors.map(\.name)))
        for tensor in found.tensors {
            let twin = try #require(expected[tensor.name])
            #expect(tensor.shape == twin.shape && tensor.elementType == twin.elementType, "\(tensor.name)")
            #expect(tensor.contiguousBytes() == twin.contiguousBytes(), "\(tensor.name)")
        }
        // As any other file of weights.
        let checkpoint = try Checkpoint.open(weightFixture(name))
        #expect(checkpoint.tensors.map(\.name) == found.tensors.map(\.name))
    }

    /// Files that are refused, with the words that the error must say.
    @Test(arguments: [
        ("npz.objects.npz", "'|O'"), ("npz.fields.npz", "structured"), ("npz.bigendian.npz", "'>f4'"),
        ("npz.lying.npz", "[4, 9]"), ("npz.huge.npz", "bytes follow"), ("npz.code.npz", "a header that is none"),
        ("npz.other.npz", "NAME/data.pkl"), ("npz.noarray.npz", "no header"), ("npz.bomb.npz", "does not unpack"),
        ("npz.limit.npz", "beyond the limit"),
    ])
    func refusesWhatIsNoPlainArray(_ name: String, _ words: String) throws {
        let error = try #require(failure { _ = try Checkpoint.open(weightFixture(name)) })
        #expect(error.description.contains(words), "\(error)")
        #expect(!error.description.contains("\n"))
    }

    @Test(arguments: ["arrays.npz", "arrays.stored.npz"])
    func everyTruncationIsAnError(_ name: String) throws {
        let whole = try bytes(weightFixture(name))
        for count in stride(from: 0, to: whole.count, by: 7) {
            #expect(throws: WeightFileError.self, "\(count)") {
                _ = try NumPyArchive(MappedFile(copying: Array(whole.prefix(count)), path: "cut"))
            }
        }
    }

    @Test(arguments: ["arrays.npz", "arrays.stored.npz"])
    func damageIsAnErrorOrReadsWithinItsBounds(_ name: String) throws {
        let whole = try bytes(weightFixture(name))
        var state: UInt64 = 7
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        var refused = 0
        for _ in 0..<400 {
            var damaged = whole
            for _ in 0...random(4) { damaged[random(damaged.count)] = UInt8(random(256)) }
            do {
                for tensor in try NumPyArchive(MappedFile(copying: damaged, path: "a")).tensors {
                    _ = tensor.contiguousBytes()
                }
            } catch {
                refused += 1
            }
        }
        #expect(refused > 100)
    }
}
