public import TihuaFiles

/// What can go wrong with a picture, a typeface or the file of either; each description is one line for a person.
public enum PictureError: RequestError, Equatable, Sendable, CustomStringConvertible {
    /// Nothing is at the path.
    case missing(path: String)
    /// The path names a directory, a pipe or a device.
    case notAFile(path: String, what: String)
    /// The system would not let the file be read.
    case unreadable(path: String, reason: String)
    /// The file holds no bytes.
    case empty(name: String)
    /// The file is larger than `PictureLimits.bytes`.
    case tooManyBytes(name: String, bytes: Int, limit: Int)
    /// The bytes are no picture of any kind known here.
    case notAPicture(name: String)
    /// The bytes are of a kind that is known and not read, such as SVG, which may fetch other files.
    case refusedFormat(name: String, format: String)
    /// The format is allowed, but this libvips was built without it.
    case noLoader(name: String, format: String)
    /// The header says that the picture has no pixels.
    case noPixels(name: String, width: Int, height: Int)
    /// The header says that the picture is larger than `PictureLimits.pixels`.
    case tooManyPixels(name: String, width: Int, height: Int, limit: Int)
    /// The header says that the pixels take more than `PictureLimits.unpackedBytes`.
    case tooManyUnpackedBytes(name: String, bytes: Int, limit: Int)
    /// There was no memory to decode the picture, so that nothing is known of its data.
    case outOfMemory(name: String)
    /// The data is damaged or cut off.
    case damaged(name: String, format: String)
    /// Raw pixels whose number is not width x height x 3.
    case pixelCount(width: Int, height: Int, count: Int)
    /// libvips did not start.
    case noLibrary
    /// The ending of an output path names no format that is written.
    case unknownOutput(path: String)
    /// The picture could not be encoded, for instance because it is too large for the format.
    case notEncoded(format: String, width: Int, height: Int)
    /// The system would not let the file be written.
    case unwritable(path: String, reason: String)
    /// No installed typeface has the name.
    case noFont(name: String)
    /// A typeface file could not be used.
    case badFont(name: String, file: String)
    /// No installed typeface has the character.
    case noGlyph(character: String, font: String)
    /// A poem without a single character to set.
    case emptyPoem
    /// A poem too long to be set on one picture.
    case poemTooLong(characters: Int, limit: Int)

    /// Whether a file of an unknown format, a typeface or a character was asked for that cannot be had.
    public var isRequestFault: Bool {
        switch self {
        case .unknownOutput, .noFont, .noGlyph: true
        default: false
        }
    }

    /// One line: what happened, where, what to do.
    public var description: String {
        switch self {
        case .missing(let path):
            "\(quote(path)): no such file; check the path"
        case .notAFile(let path, let what):
            "\(quote(path)): this is \(what), not a picture file; name one file"
        case .unreadable(let path, let reason):
            "\(quote(path)): cannot be read (\(reason)); check its permissions"
        case .empty(let name):
            "\(quote(name)): the file is empty; a picture is needed"
        case .tooManyBytes(let name, let bytes, let limit):
            "\(quote(name)): \(bytes) bytes are more than the limit of \(limit); make a smaller copy"
        case .notAPicture(let name):
            "\(quote(name)): not a picture; JPEG, PNG, WebP, GIF, TIFF, HEIC and AVIF are read"
        case .refusedFormat(let name, let format):
            "\(quote(name)): \(format) is not read; save it as JPEG or PNG first"
        case .noLoader(let name, let format):
            "\(quote(name)): the installed libvips does not read \(format); save it as JPEG or PNG first"
        case .noPixels(let name, let width, let height):
            "\(quote(name)): the picture is \(width)x\(height), so it has no pixels; use another one"
        case .tooManyPixels(let name, let width, let height, let limit):
            "\(quote(name)): \(width)x\(height) is more than the limit of \(limit) pixels; make a smaller copy"
        case .tooManyUnpackedBytes(let name, let bytes, let limit):
            "\(quote(name)): its pixels take \(bytes) bytes, more than the limit of \(limit); "
                + "save it with 8 bits a channel"
        case .outOfMemory(let name):
            "\(quote(name)): out of memory while it was decoded; "
                + "end other programs, raise the limit, or make a smaller copy"
        case .damaged(let name, let format):
            "\(quote(name)): the \(format) data is damaged or cut off; get the file again"
        case .pixelCount(let width, let height, let count):
            "a \(width)x\(height) RGB picture does not have \(count) bytes; give width x height x 3, none of them 0"
        case .noLibrary:
            "libvips did not start; reinstall libvips42"
        case .unknownOutput(let path):
            "\(quote(path)): pictures are written as .png, .jpg, .jpeg or .webp; give the file such an ending"
        case .notEncoded(let format, let width, let height):
            "a \(width)x\(height) picture cannot be written as \(format); try PNG"
        case .unwritable(let path, let reason):
            "\(quote(path)): cannot be written (\(reason)); choose another place"
        case .noFont(let name):
            "no typeface is named \(quote(name)); `fc-list :lang=zh family` lists those installed"
        case .badFont(let name, let file):
            "the typeface \(quote(name)) in \(quote(file)) cannot be used; choose a scalable one"
        case .noGlyph(let character, let font):
            "neither \(quote(font)) nor any other typeface here has \(quote(character)); install fonts-noto-cjk"
        case .emptyPoem:
            "the poem has no characters to set; give at least one line"
        case .poemTooLong(let characters, let limit):
            "the poem has \(characters) characters, and at most \(limit) are set on a picture; shorten it"
        }
    }
}

/// A name as it is, or quoted where blanks or control characters would make the line hard to read.
func quote(_ name: String) -> String {
    let shown = printable(name)
    return shown != name || shown.isEmpty || shown.contains(where: \.isWhitespace) ? "\"\(shown)\"" : shown
}
