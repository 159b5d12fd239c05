import Foundation
import Testing
import TihuaTestSupport

@testable import TihuaWeightFiles

/// Thousands of damaged files: each is read or refused, none traps. The bytes lie in heap blocks of exactly their size,
/// so AddressSanitizer sees a step beyond them.
@Suite struct FuzzTests {
    static let files = [
        "types.safetensors", "views.expected.safetensors", "small.pt", "small.legacy.pt", "types.legacy.pt", "views.pt",
        "views.legacy.pt", "checkpoint.legacy.pt", "checkpoint.protocol4.pt", "handmade.pt", "handmade.legacy.pt",
        "evil.system2.pt", "traversal.pt",
    ]

    /// Reads everything that a file offers.
    private static func read(_ content: [UInt8]) throws {
        let file = try MappedFile(copying: content, path: "fuzz")
        let isTorch = content.first == 0x80 || content.starts(with: TorchArchive.zipMagic)
        let tensors = isTorch ? try TorchArchive(file).tensors() : try SafetensorsFile(file).tensors
        for tensor in tensors where tensor.byteCount < 1 << 16 {
            #expect(tensor.contiguousBytes().count == tensor.byteCount)
            _ = tensor.floats()
        }
    }

    @Test(arguments: files)
    func damagedFilesAreReadOrRefused(_ name: String) throws {
        let whole = try bytes(weightFixture(name))
        var fuzz = Fuzz(seed: UInt64(whole.count))
        let count = Fuzz.count(500)
        var read = 0
        var refused = 0
        for _ in 0..<count {
            do {
                try Self.read(fuzz.damaged(whole))
                read += 1
            } catch is WeightFileError {
                refused += 1
            }
        }
        // Both happen: damage in the elements goes unseen, damage in a header does not.
        #expect(refused > count / 10 && read + refused == count, "\(read) read, \(refused) refused")
    }

    /// What random programs are made of: constants, names of the list, a good storage, single instructions.
    private static let pieces: [[UInt8]] = {
        var pieces: [[UInt8]] = [[0x4b, 0], [0x4b, 3], [0x4a, 0xff, 0xff, 0xff, 0xff]]
        pieces.append([0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 0x40])
        pieces.append([0x8c, 1, 0x73])
        pieces.append([0x8c, 7] + Array("storage".utf8))
        let names = [
            "collections\nOrderedDict", "__builtin__\nset", "_codecs\nencode", "torch\nSize", "torch\nFloatStorage",
            "torch\ndevice", "torch._utils\n_rebuild_tensor_v2", "torch._utils\n_rebuild_tensor_v3",
            "torch._utils\n_rebuild_parameter", "torch._tensor\n_rebuild_from_type_v2", "torch.nn.parameter\nParameter",
            "builtins\nbytearray", "torch\nint16",
        ]
        for name in names { pieces.append(Array("c\(name)\n".utf8)) }
        pieces.append(TorchArchiveTests.storage())
        pieces.append(Array(TorchArchiveTests.tensor(offset: 0, shape: [2], strides: [1]).dropFirst(2).dropLast()))
        for instruction in "NN]})(((0122ltdaesuRRRRbQ".utf8 { pieces.append([instruction]) }
        for instruction: UInt8 in [0x85, 0x86, 0x87, 0x81, 0x8f, 0x90, 0x91, 0x93, 0x94, 0x88] {
            pieces.append([instruction])
        }
        for key: UInt8 in 0..<4 { pieces += [[0x71, key], [0x68, key]] }
        return pieces
    }()

    /// Random programs of the pickle machine's own instructions.
    @Test func randomProgramsAreReadOrRefused() throws {
        let pieces = Self.pieces
        var generator = SeededGenerator(state: 11)
        var refused = 0
        var read = 0
        for _ in 0..<Fuzz.count(4000) {
            var program: [UInt8] = [0x80, 2]
            for _ in 0..<Int.random(in: 1...14, using: &generator) {
                program += pieces.randomElement(using: &generator) ?? []
            }
            do {
                _ = try TorchArchive(TorchArchiveTests.legacy(program + [0x2e]))
                read += 1
            } catch is WeightFileError {
                refused += 1
            }
        }
        #expect(read > 50 && refused > 500, "\(read) read, \(refused) refused")
    }
}
