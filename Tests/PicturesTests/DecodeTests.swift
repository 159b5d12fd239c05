import CTihuaVips
import Foundation
import Testing

@testable import TihuaPictures

@Suite struct DecodeTests {
    struct Case: CustomTestStringConvertible {
        let file: String
        var expected = "quarters.png"
        var tolerance = 0
        var testDescription: String { file }
    }

    @Test(arguments: [
        Case(file: "quarters.png"), Case(file: "quarters.webp"), Case(file: "quarters.tif"),
        Case(file: "palette.png"), Case(file: "frames.gif", tolerance: 1), Case(file: "profile.png"),
        Case(file: "rgb16.png"), Case(file: "grey16.png", expected: "grey.png"),
        Case(file: "quarters.jpg", tolerance: 3), Case(file: "progressive.jpg", tolerance: 3),
        Case(file: "alpha.png", expected: "alpha-on-white.png", tolerance: 1),
        Case(file: "alpha.webp", expected: "alpha-on-white.png", tolerance: 1),
        Case(file: "rgba16.png", expected: "alpha-on-white.png", tolerance: 1),
    ])
    func decodesLikePillow(_ item: Case) throws {
        #expect(largestDifference(try picture(item.file), try picture(item.expected)) <= item.tolerance)
    }

    @Test(arguments: 2...8) func appliesOrientation(_ orientation: Int) throws {
        #expect(largestDifference(try picture("orientation-\(orientation).jpg"), try picture("quarters.png")) <= 3)
    }

    @Test(arguments: ["quarters.avif", "quarters.heic"]) func decodesHEIFWhereLibvipsCan(_ file: String) throws {
        try LibVips.start()
        if cvips_can_read(CVIPS_HEIF) == 1 {
            #expect(largestDifference(try picture(file), try picture("quarters.png")) <= 12)
        } else {
            #expect(throws: PictureError.self) { try picture(file) }
        }
    }

    @Test func decodesCMYKToNearbyColours() throws {
        // Through the generic profile red stays red, though paler than the naive formula of Pillow says.
        let cmyk = try picture("cmyk.jpg")
        func pixel(_ x: Int, _ y: Int) -> [Int] { (0..<3).map { Int(cmyk.bytes[(y * cmyk.width + x) * 3 + $0]) } }
        let (red, green, blue, yellow) = (pixel(10, 7), pixel(36, 7), pixel(10, 24), pixel(36, 24))
        #expect(red[0] > red[1] + 60 && red[0] > red[2] + 60)
        #expect(green[1] > green[0] + 60 && green[1] > green[2] + 15)
        #expect(blue[2] > blue[0] + 40 && blue[2] > blue[1] + 40)
        #expect(yellow[0] > yellow[2] + 60 && yellow[1] > yellow[2] + 60)
    }

    @Test func laysTransparencyOnWhite() throws {
        let palette = try picture("palette-alpha.png")
        #expect(palette.bytes.prefix(3) == [255, 255, 255])
        let grey = try picture("grey-alpha.png")
        let opaque = try picture("grey.png")
        #expect(grey.bytes[0] == opaque.bytes[0])
        #expect(grey.bytes[47 * 3] > opaque.bytes[47 * 3])
    }

    @Test func keepsAProfileThroughWriting() throws {
        let original = try picture("profile.png")
        #expect(original.profile?.isEmpty == false)
        #expect(try picture("quarters.png").profile == nil)
        for format in [PictureFormat.png, .jpeg, .webp] {
            #expect(try Picture(encoded: original.encoded(as: format)).profile == original.profile)
        }
    }

    @Test func readsBytesAsItReadsFiles() throws {
        #expect(try Picture(encoded: fixtureBytes("quarters.jpg")) == picture("quarters.jpg"))
    }

    @Test func givesTheSamePixelsFromManyTasks() async throws {
        let files = ["quarters.jpg", "orientation-6.jpg", "scene.png", "alpha.webp", "cmyk.jpg", "frames.gif"]
        let alone = try files.map { try picture($0) }
        let together = try await withThrowingTaskGroup(of: (Int, Picture).self) { group in
            for round in 0..<60 {
                let index = round % files.count
                group.addTask { (index, try picture(files[index])) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(together.count == 60)
        #expect(together.allSatisfy { $0.1 == alone[$0.0] })
    }
}

@Suite struct DecodeErrorTests {
    @Test(arguments: ["quarters.png", "quarters.jpg", "quarters.webp", "quarters.tif", "frames.gif", "quarters.avif"])
    func refusesTruncatedPictures(_ file: String) throws {
        try LibVips.start()
        if file.hasSuffix("avif") && cvips_can_read(CVIPS_HEIF) == 0 { return }
        let whole = try fixtureBytes(file)
        // The last tenth of the GIF is its second frame, which is not read.
        for share in file.hasSuffix("gif") ? [0.3, 0.6] : [0.3, 0.6, 0.9] {
            let cut = Array(whole.prefix(Int(Double(whole.count) * share)))
            #expect(throws: PictureError.self, "\(file) cut to \(share)") { try Picture(encoded: cut, name: file) }
        }
    }

    @Test(arguments: ["quarters.png", "scene.png", "quarters.jpg", "quarters.webp", "quarters.tif", "frames.gif"])
    func neverTrapsOnDamagedPictures(_ file: String) throws {
        let whole = try fixtureBytes(file)
        var state: UInt64 = 7
        for _ in 0..<60 {
            var bytes = whole
            for _ in 0..<4 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes[Int(state >> 33) % bytes.count] = UInt8(truncatingIfNeeded: state >> 24)
            }
            do {
                let read = try Picture(encoded: bytes, limits: PictureLimits(pixels: 1_000_000))
                #expect(read.bytes.count == read.width * read.height * 3)
            } catch let error as PictureError {
                #expect(!error.description.contains("\n"))
            }
        }
    }

    @Test func holdsNoMemoryAfterwards() async throws {
        for file in ["quarters.jpg", "orientation-5.jpg", "cmyk.jpg", "alpha.png", "frames.gif", "profile.png"] {
            let whole = try fixtureBytes(file)
            _ = try Picture(encoded: whole)
            #expect(throws: PictureError.self) { try Picture(encoded: Array(whole.prefix(whole.count / 3))) }
        }
        // Other tests decode at the same time, and their memory is counted too; a leak would never go away.
        let deadline = ContinuousClock.now + .seconds(60)
        while cvips_live_bytes() > 0, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(5)) }
        #expect(cvips_live_bytes() == 0)
    }

    @Test func refusesWhatIsNoPicture() throws {
        let refused: [(String, PictureError)] = [
            ("", .empty(name: "x")),
            ("bare poem", .notAPicture(name: "x")),
            ("%PDF-1.7\n", .refusedFormat(name: "x", format: "PDF")),
            ("<?xml version=\"1.0\"?><svg width=\"9\"/>", .refusedFormat(name: "x", format: "SVG")),
            ("\0\0\0\u{18}ftypisom....", .refusedFormat(name: "x", format: "a film")),
        ]
        for (text, error) in refused {
            #expect(throws: error) { try Picture(encoded: Array(text.utf8), name: "x") }
        }
        #expect(throws: PictureError.refusedFormat(name: "x", format: "BMP")) {
            try Picture(encoded: fixtureBytes("quarters.bmp"), name: "x")
        }
    }

    @Test func checksTheSizeBeforeDecoding() throws {
        #expect(throws: PictureError.tooManyPixels(name: "x", width: 30000, height: 30000, limit: 100_000_000)) {
            try Picture(encoded: fixtureBytes("huge.png"), name: "x")
        }
        #expect(throws: PictureError.tooManyPixels(name: "x", width: 9000, height: 9000, limit: 1_000_000)) {
            try Picture(encoded: fixtureBytes("bomb.png"), name: "x", limits: PictureLimits(pixels: 1_000_000))
        }
        #expect(throws: PictureError.noPixels(name: "x", width: 0, height: 0)) {
            try Picture(encoded: fixtureBytes("zero.png"), name: "x")
        }
        #expect(throws: PictureError.noPixels(name: "x", width: 0, height: 7)) {
            try Picture(encoded: Array("GIF89a\0\0\u{7}\0\0\0\0;".utf8), name: "x")
        }
        let bytes = try fixtureBytes("quarters.jpg")
        #expect(throws: PictureError.tooManyBytes(name: "x", bytes: bytes.count, limit: 100)) {
            try Picture(encoded: bytes, name: "x", limits: PictureLimits(bytes: 100))
        }
    }

    @Test func refusesPathsThatAreNoFiles() throws {
        try withFolder { folder in
            let missing = folder.appending(path: "none.jpg").path
            #expect(throws: PictureError.missing(path: missing)) { try Picture(contentsOf: missing) }
            #expect(throws: PictureError.missing(path: "")) { try Picture(contentsOf: "") }
            #expect(throws: PictureError.notAFile(path: folder.path, what: "a folder")) {
                try Picture(contentsOf: folder.path)
            }
            #expect(throws: PictureError.notAFile(path: "/dev/zero", what: "a device")) {
                try Picture(contentsOf: "/dev/zero")
            }
            let pipe = folder.appending(path: "pipe").path
            #expect(mkfifo(pipe, 0o600) == 0)
            #expect(throws: PictureError.notAFile(path: pipe, what: "a pipe")) { try Picture(contentsOf: pipe) }
            let large = folder.appending(path: "large.jpg").path
            #expect(FileManager.default.createFile(atPath: large, contents: Data(count: 2000)))
            #expect(throws: PictureError.tooManyBytes(path: large, 2000, 1000)) {
                try Picture(contentsOf: large, limits: PictureLimits(bytes: 1000))
            }
            let empty = folder.appending(path: "empty.jpg").path
            #expect(FileManager.default.createFile(atPath: empty, contents: Data()))
            #expect(throws: PictureError.empty(name: empty)) { try Picture(contentsOf: empty) }
        }
    }

    @Test func saysThatAFileMayNotBeRead() throws {
        try withFolder { folder in
            let path = folder.appending(path: "secret.png").path
            try Data(fixtureBytes("quarters.png")).write(to: URL(filePath: path))
            #expect(chmod(path, 0) == 0)
            // Root reads everything, so this thread's file access becomes that of nobody for a moment.
            setFileUser(65534)
            defer { setFileUser(geteuid()) }
            #expect(throws: PictureError.unreadable(path: path, reason: "Permission denied")) {
                try Picture(contentsOf: path)
            }
        }
    }

    @Test func describesEachErrorInOneLine() {
        let errors: [PictureError] = [
            .missing(path: "a\nb.jpg"), .notAFile(path: "d", what: "a folder"), .empty(name: ""),
            .tooManyPixels(name: "a b.png", width: 3, height: 4, limit: 5), .damaged(name: "a", format: "PNG"),
            .noFont(name: "None Such"), .noGlyph(character: "𠀀", font: "AR PL UKai CN"),
        ]
        for error in errors {
            #expect(!error.description.contains { $0.isNewline })
            #expect(error.description.count > 20)
        }
    }
}

extension PictureError {
    fileprivate static func tooManyBytes(path: String, _ bytes: Int, _ limit: Int) -> PictureError {
        .tooManyBytes(name: path, bytes: bytes, limit: limit)
    }
}

/// `setfsuid` of Linux, which Glibc's module leaves out: the user that file access of the calling thread is checked
/// for.
@_silgen_name("setfsuid") @discardableResult private func setFileUser(_ user: UInt32) -> Int32
