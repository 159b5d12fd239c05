import Foundation
import TihuaPictures
import TihuaTestSupport

func picture(_ name: String) throws -> Picture { try Picture(contentsOf: fixture("Pictures/\(name)").path) }

func fixtureBytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: fixture("Pictures/\(name)")))
}

/// The largest difference of two pictures in any channel; 256 if their sizes differ.
func largestDifference(_ one: Picture, _ other: Picture) -> Int {
    guard one.width == other.width, one.height == other.height else { return 256 }
    return zip(one.bytes, other.bytes).reduce(0) { max($0, abs(Int($1.0) - Int($1.1))) }
}

/// A new empty folder that is removed when the body ends.
func withFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: "pictures-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder)
}
