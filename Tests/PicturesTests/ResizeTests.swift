import Foundation
import Testing
import TihuaPictures
import TihuaTestSupport

@Suite struct ResizeTests {
    @Test func aMirroredPictureExchangesLeftAndRight() throws {
        let picture = try Picture(width: 3, height: 2, bytes: (0..<18).map { UInt8($0) })
        let mirrored = picture.mirrored()
        #expect(mirrored.bytes == [6, 7, 8, 3, 4, 5, 0, 1, 2, 15, 16, 17, 12, 13, 14, 9, 10, 11])
        #expect(mirrored.mirrored() == picture)
    }

    @Test(arguments: [
        "gradient.224x224", "gradient.32x32", "gradient.97x10", "gradient.13x61", "gradient.1x1", "noise.32x32",
        "noise.31x17", "noise.65x47", "noise.64x12", "strokes.224x224", "strokes.56x56", "strokes.119x91",
        "strokes.7x200", "scene.96x96", "scene.224x224", "scene.50x133",
    ])
    func resizesBitForBitLikePillow(_ name: String) throws {
        let parts = name.split(separator: ".")
        let size = parts[1].split(separator: "x").compactMap { Int($0) }
        let resized = try picture("\(parts[0]).png").resized(width: size[0], height: size[1])
        #expect(resized == (try picture("\(name).png")))
    }

    @Test(arguments: ["noise.31x17", "strokes.56x56", "scene.96x96", "gradient.97x10"])
    func bilinearIsPillowsToo(_ name: String) throws {
        let parts = name.split(separator: ".")
        let size = parts[1].split(separator: "x").compactMap { Int($0) }
        let resized = try picture("\(parts[0]).png").resized(width: size[0], height: size[1], filter: .bilinear)
        #expect(resized == (try picture("\(name).bilinear.png")))
        #expect(resized != (try picture("\(name).png")))
    }

    @Test(arguments: ["scene.crop-64", "gradient.crop-32", "strokes.crop-75", "tall.crop-45"])
    func cropsTheMiddleLikeCLIP(_ name: String) throws {
        let parts = name.split(separator: ".")
        let size = try #require(Int(parts[1].dropFirst("crop-".count)))
        #expect(try picture("\(parts[0]).png").squared(size, fit: .centreCrop) == picture("\(name).png"))
    }

    @Test func cropsAPanoramaWithoutUnrollingIt() throws {
        let line = try Picture(width: 2_000_000, height: 1, bytes: [UInt8](repeating: 9, count: 6_000_000))
        let square = line.squared(64, fit: .centreCrop)
        #expect(square.bytes == [UInt8](repeating: 9, count: 64 * 64 * 3))
    }

    @Test func normalisesByChannel() throws {
        let flat = try Picture(width: 2, height: 1, bytes: [255, 0, 51, 255, 0, 51])
        let mean: [Float] = [0.5, 0.25, 0]
        let planes = flat.pixels(size: 2, mean: mean, deviation: [0.5, 0.5, 0.1])
        #expect(planes.count == 12)
        #expect(planes[0..<4].allSatisfy { $0 == 1 })
        #expect(planes[4..<8].allSatisfy { $0 == -0.5 })
        #expect(planes[8..<12].allSatisfy { abs($0 - 2) < 1e-6 })
    }

    @Test func refusesAWrongNumberOfPixels() {
        #expect(throws: PictureError.pixelCount(width: 2, height: 2, count: 11)) {
            try Picture(width: 2, height: 2, bytes: [UInt8](repeating: 0, count: 11))
        }
        #expect(throws: PictureError.pixelCount(width: 0, height: 2, count: 0)) {
            try Picture(width: 0, height: 2, bytes: [])
        }
        #expect(throws: PictureError.pixelCount(width: .max, height: 2, count: 0)) {
            try Picture(width: .max, height: 2, bytes: [])
        }
    }

    /// Older versions order the two passes differently; see `Picture.resized`.
    static let hasPillow13: Bool = {
        let version = run(["python3", "-c", "import PIL; print(PIL.__version__)"])
        return (version.split(separator: ".").first.flatMap { Int($0) } ?? 0) >= 13
    }()

    @Test(
        .enabled(if: SharedData.root != nil, "needs ../shared/data"),
        .enabled(if: hasPillow13, "needs python3 with Pillow 13 or later"))
    func agreesWithPillowOnRealPictures() throws {
        let data = try #require(SharedData.root)
        let count = ProcessInfo.processInfo.environment["TIHUA_PARITY_PICTURES"] ?? "24"
        try withFolder { folder in
            let script = SharedData.packageRoot.appending(path: "Scripts/make_picture_parity.py").path
            let written = try #require(Int(run(["python3", script, data.path, count, folder.path])))
            #expect(written >= 8)
            var decodeDifference = 0
            var resizeDifference = 0
            for number in 0..<written {
                let ours = try Picture(contentsOf: folder.appending(path: "\(number).jpg").path)
                let full = [UInt8](try Data(contentsOf: folder.appending(path: "\(number).full.rgb")))
                let square = [UInt8](try Data(contentsOf: folder.appending(path: "\(number).224.rgb")))
                let theirs = try Picture(width: ours.width, height: ours.height, bytes: full)
                decodeDifference = max(decodeDifference, largestDifference(ours, theirs))
                let expected = try Picture(width: 224, height: 224, bytes: square)
                resizeDifference = max(resizeDifference, largestDifference(ours.squared(224), expected))
            }
            print(
                "\(written) real pictures: decoded within \(decodeDifference)/255 of Pillow,",
                "decoded and resized within \(resizeDifference)/255")
            #expect(resizeDifference <= 2)
        }
    }
}

/// What a command prints on stdout, without blanks at the ends; empty if it fails.
private func run(_ arguments: [String]) -> String {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return "" }
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { return "" }
    return String(decoding: output, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
}
