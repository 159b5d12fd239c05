import CTihuaVips

/// How large a picture may be, checked against the file and its header before any pixel is decoded.
public struct PictureLimits: Equatable, Sendable {
    /// Bytes of the file.
    public var bytes: Int
    /// Width x height.
    public var pixels: Int
    /// Bytes of the pixels as the file stores them, unpacked: what decoding works through.
    public var unpackedBytes: Int

    /// 64 MiB, 100 megapixels and 500 MB unpacked unless told otherwise.
    public init(bytes: Int = 64 << 20, pixels: Int = 100_000_000, unpackedBytes: Int = 500_000_000) {
        self.bytes = bytes
        self.pixels = pixels
        self.unpackedBytes = unpackedBytes
    }
}

/// A picture in memory: 8-bit RGB, upright, opaque.
public struct Picture: Equatable, Sendable {
    /// Pixels in a row, at least 1.
    public let width: Int
    /// Rows, at least 1.
    public let height: Int
    /// Red, green, blue of each pixel, row by row from the top left.
    public let bytes: [UInt8]  // [height, width, 3]
    /// The ICC profile of an RGB file, kept so that writing the picture keeps its colours; nil means sRGB.
    ///
    /// The pixels are as stored, because the encoders' own preprocessing (Pillow) does not look at profiles either.
    public var profile: [UInt8]?

    /// A picture from pixels that are already there.
    ///
    /// - Parameter bytes: Red, green, blue of each pixel, row by row: `[height, width, 3]`.
    /// - Throws: `PictureError.pixelCount`.
    public init(width: Int, height: Int, bytes: [UInt8], profile: [UInt8]? = nil) throws {
        let (area, overflow) = width.multipliedReportingOverflow(by: height)
        let (count, overflow3) = area.multipliedReportingOverflow(by: 3)
        guard width > 0, height > 0, !overflow, !overflow3, bytes.count == count else {
            throw PictureError.pixelCount(width: width, height: height, count: bytes.count)
        }
        self.init(unchecked: bytes, width: width, height: height, profile: profile)
    }

    /// For pixels whose number is right by construction.
    init(unchecked bytes: [UInt8], width: Int, height: Int, profile: [UInt8]?) {
        self.width = width
        self.height = height
        self.bytes = bytes
        self.profile = profile
    }

    /// Reads a picture file: JPEG, PNG, WebP, GIF (first frame), TIFF, HEIC, AVIF.
    ///
    /// The EXIF orientation is applied, CMYK becomes sRGB by its profile, 16 bits become 8, alpha lies on white. A
    /// directory, a pipe or a device is refused without being opened for reading.
    /// - Throws: `PictureError`.
    public init(contentsOf path: String, limits: PictureLimits = PictureLimits()) throws {
        try self.init(encoded: try readPictureFile(path, limit: limits.bytes), name: path, limits: limits)
    }

    /// Decodes the bytes of a picture file.
    ///
    /// - Parameter name: What errors call the picture.
    /// - Throws: `PictureError`.
    public init(encoded: [UInt8], name: String = "picture", limits: PictureLimits = PictureLimits()) throws {
        guard !encoded.isEmpty else { throw PictureError.empty(name: name) }
        guard encoded.count <= limits.bytes else {
            throw PictureError.tooManyBytes(name: name, bytes: encoded.count, limit: limits.bytes)
        }
        let format = try PictureFormat.recognise(encoded, name: name)
        try LibVips.start()
        guard cvips_can_read(format.code) == 1 else {
            throw PictureError.noLoader(name: name, format: format.rawValue)
        }
        // libpng and libnsgif call a size of zero damage, or invent another size.
        if let (width, height) = format.declaredSize(encoded), width == 0 || height == 0 {
            throw PictureError.noPixels(name: name, width: width, height: height)
        }
        self = try encoded.withUnsafeBytes { raw in
            guard let source = cvips_source_new(raw.baseAddress, raw.count, format.code) else {
                throw Self.failure(name, format, needed: Self.working)
            }
            defer { cvips_source_free(source) }
            return try Picture(source: source, format: format, name: name, limits: limits)
        }
    }

    private init(source: cvips_source, format: PictureFormat, name: String, limits: PictureLimits) throws {
        let storedWidth = Int(cvips_source_stored_width(source))
        let storedHeight = Int(cvips_source_stored_height(source))
        guard storedWidth > 0, storedHeight > 0 else {
            throw PictureError.noPixels(name: name, width: storedWidth, height: storedHeight)
        }
        guard storedWidth * storedHeight <= limits.pixels else {
            throw PictureError.tooManyPixels(
                name: name, width: storedWidth, height: storedHeight, limit: limits.pixels)
        }
        let unpacked = Int(clamping: cvips_source_stored_bytes(source))
        guard unpacked <= limits.unpackedBytes else {
            throw PictureError.tooManyUnpackedBytes(name: name, bytes: unpacked, limit: limits.unpackedBytes)
        }
        var width: Int32 = 0
        var height: Int32 = 0
        var profile: UnsafeRawPointer?
        var profileCount = 0
        // A picture that is turned is whole in memory, twice.
        let stored = storedWidth * storedHeight * 3
        guard cvips_source_prepare(source, &width, &height, &profile, &profileCount) == 0 else {
            throw Self.failure(name, format, needed: 2 * stored + Self.working)
        }
        let count = Int(width) * Int(height) * 3
        // An array that finds no memory ends the process.
        guard cvips_lacked_memory(count + Self.working) == 0 else { throw PictureError.outOfMemory(name: name) }
        let bytes = try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            guard cvips_source_decode(source, buffer.baseAddress, count) == 0 else {
                throw Self.failure(name, format, needed: Self.working)
            }
            filled = count
        }
        let profileBytes = profile.map { [UInt8](UnsafeRawBufferPointer(start: $0, count: profileCount)) }
        self.init(unchecked: bytes, width: Int(width), height: Int(height), profile: profileBytes)
    }

    /// Bytes that a library works in while it decodes.
    private static let working = 8 << 20

    /// Why a picture could not be decoded: for want of memory, or for its data.
    private static func failure(_ name: String, _ format: PictureFormat, needed: Int) -> PictureError {
        cvips_lacked_memory(needed) != 0
            ? .outOfMemory(name: name) : .damaged(name: name, format: format.rawValue)
    }

    /// Encodes the picture as JPEG, PNG or WebP.
    ///
    /// - Parameter quality: 1...100 for JPEG and WebP; values outside are clamped.
    /// - Throws: `PictureError.notEncoded` for the other formats and for pictures too large for the format.
    public func encoded(as format: PictureFormat, quality: Int = 92) throws -> [UInt8] {
        try LibVips.start()
        var count = 0
        let quality = Int32(min(max(quality, 1), 100))
        let profile = profile ?? []
        let encoded = bytes.withUnsafeBytes { pixels in
            profile.withUnsafeBytes { profile in
                cvips_encode(
                    pixels.baseAddress, Int32(clamping: width), Int32(clamping: height), format.code, quality,
                    profile.isEmpty ? nil : profile.baseAddress, profile.count, &count)
            }
        }
        guard let encoded else { throw PictureError.notEncoded(format: format.rawValue, width: width, height: height) }
        defer { cvips_bytes_free(encoded) }
        return [UInt8](UnsafeRawBufferPointer(start: encoded, count: count))
    }

    /// Writes the picture in the format that the ending of the path names, whole or not at all.
    ///
    /// - Throws: `PictureError.unknownOutput`, `notEncoded` or `unwritable`; then the path is as it was before.
    public func write(to path: String, quality: Int = 92) throws {
        try writePictureFile(try encoded(as: PictureFormat(outputPath: path), quality: quality), to: path)
    }
}

extension Picture: CustomStringConvertible {
    /// The size, such as `640x480 RGB picture`.
    public var description: String { "\(width)x\(height) RGB picture" }
}

enum LibVips {
    private static let started = cvips_start() == 0

    /// Starts libvips on the first call of the process.
    static func start() throws {
        guard started else { throw PictureError.noLibrary }
    }
}

extension PictureFormat {
    var code: cvips_format {
        switch self {
        case .jpeg: CVIPS_JPEG
        case .png: CVIPS_PNG
        case .webp: CVIPS_WEBP
        case .gif: CVIPS_GIF
        case .tiff: CVIPS_TIFF
        case .heif: CVIPS_HEIF
        }
    }

    /// Width and height at their fixed places in a PNG or GIF; nil for other formats and for headers cut off.
    func declaredSize(_ bytes: [UInt8]) -> (width: Int, height: Int)? {
        func number(_ offsets: [Int]) -> Int { offsets.reduce(0) { $0 << 8 | Int(bytes[$1]) } }
        switch self {
        case .png where bytes.count >= 24: return (number([16, 17, 18, 19]), number([20, 21, 22, 23]))
        case .gif where bytes.count >= 10: return (number([7, 6]), number([9, 8]))
        default: return nil
        }
    }
}
