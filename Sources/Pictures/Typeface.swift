import CVips

/// A drawn character: coverage 0...255, and where it lies in its square.
struct Glyph {
    let width: Int
    let height: Int
    let coverage: [UInt8]  // [height, width]
    /// The top left corner of the drawing, from the top left corner of the em square, in pixels.
    let left: Int
    let top: Int
}

/// An installed typeface that draws one Chinese character at a time, as vertical setting needs.
///
/// A character that it lacks is drawn by any other installed typeface that has it. Not thread-safe.
final class Typeface {
    /// The family name, as fontconfig spells it.
    let name: String
    private let face: cfont_face
    private var others: [Typeface] = []

    /// Faces of brush-written 楷书 first, then those that most systems have.
    static let preferred = [
        "AR PL UKai CN", "LXGW WenKai", "KaiTi", "STKaiti", "Noto Serif CJK SC", "AR PL UMing CN", "Noto Sans CJK SC",
    ]

    /// - Parameter family: The name of an installed family; nil takes the first of `preferred` that is there, else any
    ///   that has the character 山.
    /// - Throws: `PictureError.noFont`, `badFont`.
    convenience init(family: String?) throws {
        try self.init(Self.find(family: family))
    }

    private static func find(family: String?) throws -> (name: String, file: String, index: Int32) {
        if let family {
            guard !family.isEmpty, let found = find(family, character: nil) else {
                throw PictureError.noFont(name: family)
            }
            return found
        }
        for name in preferred {
            if let found = find(name, character: nil) { return found }
        }
        guard let found = find(nil, character: "山") else { throw PictureError.noFont(name: preferred[0]) }
        return found
    }

    private init(_ found: (name: String, file: String, index: Int32)) throws {
        guard let face = cfont_face_new(found.file, found.index) else {
            throw PictureError.badFont(name: found.name, file: found.file)
        }
        self.name = found.name
        self.face = face
    }

    deinit { cfont_face_free(face) }

    private static func find(
        _ family: String?, character: Unicode.Scalar?
    ) -> (name: String, file: String, index: Int32)? {
        var name = [CChar](repeating: 0, count: 512)
        var file = [CChar](repeating: 0, count: 4096)
        var index: Int32 = 0
        let (nameCapacity, fileCapacity) = (name.count, file.count)
        guard cfont_find(family, character?.value ?? 0, &name, nameCapacity, &file, fileCapacity, &index) == 1
        else { return nil }
        return (text(name), text(file), index)
    }

    private static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Draws a character.
    ///
    /// - Parameters:
    ///   - size: The em in pixels, 1...4096.
    ///   - weight: Pixels by which strokes are made wider.
    /// - Throws: `PictureError.noGlyph` if no installed typeface has it.
    func draw(_ character: Character, size: Double, weight: Double) throws -> Glyph {
        let missing = PictureError.noGlyph(character: String(character), font: name)
        guard let scalar = character.unicodeScalars.first else { throw missing }
        guard cfont_face_has(face, scalar.value) == 1 else {
            return try other(with: scalar, orThrow: missing).draw(character, size: size, weight: weight)
        }
        var glyph = cfont_glyph()
        guard cfont_face_draw(face, scalar.value, Float(size), Float(weight), &glyph) == 0 else { throw missing }
        defer { cfont_glyph_free(&glyph) }
        let (width, height) = (Int(glyph.width), Int(glyph.height))
        let coverage = glyph.coverage.map { [UInt8](UnsafeBufferPointer(start: $0, count: width * height)) } ?? []
        // Latin letters are narrower than the square: set in its middle.
        let indent = (size - Double(glyph.advance)) / 2
        let ascent = Double(cfont_face_ascent(face)) * size
        return Glyph(
            width: width, height: height, coverage: coverage,
            left: Int((Double(glyph.left) + indent).rounded()), top: Int((ascent - Double(glyph.top)).rounded()))
    }

    private func other(with scalar: Unicode.Scalar, orThrow missing: PictureError) throws -> Typeface {
        if let known = others.first(where: { cfont_face_has($0.face, scalar.value) == 1 }) { return known }
        guard let found = Self.find(nil, character: scalar), let typeface = try? Typeface(found),
            cfont_face_has(typeface.face, scalar.value) == 1
        else { throw missing }
        others.append(typeface)
        return typeface
    }
}
