/// The picture formats that are read; `jpeg`, `png` and `webp` are also written.
public enum PictureFormat: String, CaseIterable, Sendable {
    case jpeg = "JPEG"
    case png = "PNG"
    case webp = "WebP"
    case gif = "GIF"
    case tiff = "TIFF"
    case heif = "HEIC or AVIF"

    /// The format that the ending of an output path asks for.
    ///
    /// - Throws: `PictureError.unknownOutput`.
    public init(outputPath path: String) throws {
        let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
        switch name.split(separator: ".", omittingEmptySubsequences: false).dropFirst().last?.lowercased() {
        case "png": self = .png
        case "jpg", "jpeg": self = .jpeg
        case "webp": self = .webp
        default: throw PictureError.unknownOutput(path: path)
        }
    }

    /// The allowed format whose first bytes these are. libvips never sees anything else, so that no loader runs that
    /// executes (PDF, ImageMagick) or fetches (SVG) what a picture names.
    ///
    /// - Throws: `PictureError.refusedFormat` for a kind that is recognised only to say so, else `notAPicture`.
    static func recognise(_ bytes: [UInt8], name: String) throws -> PictureFormat {
        func has(_ signature: [UInt8], at offset: Int = 0) -> Bool {
            bytes.dropFirst(offset).starts(with: signature)
        }
        func has(_ signature: String, at offset: Int = 0) -> Bool { has(Array(signature.utf8), at: offset) }

        if has([0xFF, 0xD8, 0xFF]) { return .jpeg }
        if has([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) { return .png }
        if has("RIFF") && has("WEBP", at: 8) { return .webp }
        if has("GIF87a") || has("GIF89a") { return .gif }
        if [[0x49, 0x49, 0x2A, 0], [0x4D, 0x4D, 0, 0x2A], [0x49, 0x49, 0x2B, 0], [0x4D, 0x4D, 0, 0x2B]]
            .contains(where: { has($0) })
        {
            return .tiff
        }
        if has("ftyp", at: 4) {
            let brands = ["heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1", "avif", "avis"]
            if brands.contains(where: { has($0, at: 8) }) { return .heif }
            throw PictureError.refusedFormat(name: name, format: "a film")
        }

        if has("%PDF") { throw PictureError.refusedFormat(name: name, format: "PDF") }
        if has("BM") && has([0, 0, 0, 0], at: 6) { throw PictureError.refusedFormat(name: name, format: "BMP") }
        if has([0xFF, 0x0A]) || has("JXL ", at: 4) {
            throw PictureError.refusedFormat(name: name, format: "JPEG XL")
        }
        if has("jP  ", at: 4) || has([0xFF, 0x4F, 0xFF, 0x51]) {
            throw PictureError.refusedFormat(name: name, format: "JPEG 2000")
        }
        if has("8BPS") { throw PictureError.refusedFormat(name: name, format: "Photoshop") }
        let start = String(decoding: bytes.prefix(1024), as: UTF8.self)
        if start.contains("<svg") { throw PictureError.refusedFormat(name: name, format: "SVG") }
        throw PictureError.notAPicture(name: name)
    }
}
