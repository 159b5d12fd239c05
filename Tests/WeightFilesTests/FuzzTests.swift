import Foundation
import Testing

@testable import WeightFiles

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
        var generator = SeededGenerator(state: UInt64(whole.count))
        var read = 0
        var refused = 0
        for _ in 0..<500 {
            var damaged = whole
            for _ in 0..<Int.random(in: 1...3, using: &generator) { damage(&damaged, using: &generator) }
            do {
                try Self.read(damaged)
                read += 1
            } catch is WeightFileError {
                refused += 1
            }
        }
        // Both happen: damage in the elements goes unseen, damage in a header does not.
        #expect(refused > 50 && read + refused == 500, "\(read) read, \(refused) refused")
    }

    private func damage(_ content: inout [UInt8], using generator: inout SeededGenerator) {
        guard !content.isEmpty else { return }
        let place = Int.random(in: content.indices, using: &generator)
        switch Int.random(in: 0..<8, using: &generator) {
        case 0: content[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 1: content[place] = .random(in: 0...255, using: &generator)
        case 2: content[place] = [0, 1, 0x7f, 0x80, 0xff, 0x28, 0x52, 0x74].randomElement(using: &generator) ?? 0
        case 3: content.removeLast(content.count - place)
        case 4: content.removeSubrange(place..<min(content.count, place + .random(in: 1...8, using: &generator)))
        case 5:
            let more = (0..<Int.random(in: 1...8, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            content.insert(contentsOf: more, at: place)
        case 6:
            let width = [2, 4, 8].randomElement(using: &generator) ?? 2
            let byte: UInt8 = [0, 0xff].randomElement(using: &generator) ?? 0
            for index in place..<min(content.count, place + width) { content[index] = byte }
        default:
            // Another number where there is a number: the lies that a parser believes.
            guard let digit = content[place...].firstIndex(where: { (0x30...0x39).contains($0) }) else { return }
            content[digit] = .random(in: 0x30...0x39, using: &generator)
        }
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
        for _ in 0..<4000 {
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
