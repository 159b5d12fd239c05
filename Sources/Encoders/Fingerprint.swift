public import Foundation
package import TihuaWeightFiles

/// A 128-bit name for content, to find what was derived from it. Not for secrets: it withstands accident, not intent.
public struct Fingerprint {
    package init() {}

    private var a: UInt64 = 0x9E37_79B9_7F4A_7C15
    private var b: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private var count: UInt64 = 0

    package mutating func combine(_ bytes: UnsafeRawBufferPointer) {
        var offset = 0
        while offset + 8 <= bytes.count {
            mix(bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset += 8
        }
        var last: UInt64 = 0
        for (place, byte) in bytes[offset...].enumerated() { last |= UInt64(byte) << (8 * UInt64(place)) }
        mix(last)
        mix(UInt64(bytes.count))
    }

    package mutating func combine(_ text: String) {
        var text = text
        text.withUTF8 { combine(UnsafeRawBufferPointer($0)) }
    }

    /// A file by its length and up to 1,024 pages evenly spread over it: weights that are trained on differ in every
    /// page.
    package mutating func combine(sampling file: MappedFile) {
        let (page, pages) = (4096, 1024)
        file.withUnsafeBytes { bytes in
            mix(UInt64(bytes.count))
            let step = max(page, bytes.count / pages)
            for start in stride(from: 0, to: bytes.count, by: step) {
                combine(UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + page, bytes.count)]))
            }
        }
    }

    private mutating func mix(_ word: UInt64) {
        count &+= 1
        a = (a ^ word) &* 0xFF51_AFD7_ED55_8CCD
        a ^= a >> 32
        b = (b &+ word &+ count) &* 0xC4CE_B9FE_1A85_EC53
        b = (b << 29 | b >> 35) ^ a
    }

    package var hexadecimal: String {
        [a, b].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}

extension Fingerprint {
    /// A model's weights, vocabulary and configuration.
    package mutating func combine(model folder: URL) throws {
        for file in try Checkpoint.open(folder).files { combine(sampling: try MappedFile(contentsOf: file)) }
        for name in ["config.json", "vocab.txt", "sp.model"] {
            let file = folder.appending(path: name)
            if FileManager.default.fileExists(atPath: file.path) {
                combine(sampling: try MappedFile(contentsOf: file))
            }
        }
    }
}

/// Names the weights, the vocabulary and the configuration of a model, so that what was trained with it can tell it
/// from another.
///
/// - Throws: `WeightFileError`.
public func modelFingerprint(_ folder: URL) throws -> String {
    var fingerprint = Fingerprint()
    try fingerprint.combine(model: folder)
    return fingerprint.hexadecimal
}
