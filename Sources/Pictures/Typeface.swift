import CTihuaVips

/// A drawn character: coverage 0...255, and where it lies in its square.
struct Glyph {
    let width: Int
    let height: Int
    let coverage: [UInt8]  // [height, width]
    /// The top left corner of the drawing, from the top left corner of the em square, in pixels.
    let left: Int
    let top: Int

    /// Both drawings in one, the darker wherever they overlap.
    func joined(with other: Glyph) -> Glyph {
        let (left, top) = (min(left, other.left), min(top, other.top))
        let width = max(self.left + width, other.left + other.width) - left
        let height = max(self.top + height, other.top + other.height) - top
        var coverage = [UInt8](repeating: 0, count: width * height)
        for glyph in [self, other] {
            for y in 0..<glyph.height {
                let row = (glyph.top - top + y) * width + glyph.left - left
                for x in 0..<glyph.width {
                    coverage[row + x] = max(coverage[row + x], glyph.coverage[y * glyph.width + x])
                }
            }
        }
        return Glyph(width: width, height: height, coverage: coverage, left: left, top: top)
    }
}

/// An installed typeface that draws one Chinese character at a time, as vertical setting needs.
///
/// A character that it lacks is drawn by any other installed typeface that has it. Not thread-safe.
final class Typeface {
    /// The family name, as fontconfig spells it.
    let name: String
    private let face: cfont_face
    private var others: [Typeface] = []
    /// What `canDraw` found out; asking for another typeface takes milliseconds.
    private var drawable: [Unicode.Scalar: Bool] = [:]

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

    /// Whether this typeface or another that is installed has the character.
    func canDraw(_ character: Character) -> Bool {
        guard let scalar = character.unicodeScalars.first else { return false }
        if let known = drawable[scalar] { return known }
        let can = cfont_face_has(face, scalar.value) == 1 || other(with: scalar) != nil
        drawable[scalar] = can
        return can
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
            guard let other = other(with: scalar) else { throw missing }
            return try other.draw(character, size: size, weight: weight)
        }
        if let parts = renewed(character) {
            let drawn = parts.compactMap { glyph($0.scalar, size: size, weight: weight, part: $0.part) }
            if drawn.count == parts.count { return drawn.dropFirst().reduce(drawn[0]) { $0.joined(with: $1) } }
        }
        guard let drawn = glyph(scalar, size: size, weight: weight) else { throw missing }
        return drawn
    }

    private func glyph(_ scalar: Unicode.Scalar, size: Double, weight: Double, part: cfont_part? = nil) -> Glyph? {
        var glyph = cfont_glyph()
        let status =
            if var part {
                cfont_face_draw(face, scalar.value, Float(size), Float(weight), &part, &glyph)
            } else {
                cfont_face_draw(face, scalar.value, Float(size), Float(weight), nil, &glyph)
            }
        guard status == 0 else { return nil }
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

    /// AR PL UKai draws these with 眞, the old form of 真, and 缜 with the new one. Each is put together from its own
    /// left part and the right part of 缜, wider for 真 itself, which has no left part.
    private func renewed(_ character: Character) -> [(scalar: Unicode.Scalar, part: cfont_part)]? {
        guard name.hasPrefix("AR PL UKai"), "真慎填嗔滇瞋稹槙".contains(character),
            let scalar = character.unicodeScalars.first
        else { return nil }
        let right: Unicode.Scalar = "缜"
        if character == "真" { return [(right, cfont_part(from: 0.32, to: 1, shift: -0.211, stretch: 1.25))] }
        return [
            (scalar, cfont_part(from: 0, to: 0.43, shift: 0, stretch: 1)),
            (right, cfont_part(from: 0.32, to: 1, shift: 0, stretch: 1)),
        ]
    }

    private func other(with scalar: Unicode.Scalar) -> Typeface? {
        if let known = others.first(where: { cfont_face_has($0.face, scalar.value) == 1 }) { return known }
        guard let found = Self.find(nil, character: scalar), let typeface = try? Typeface(found),
            cfont_face_has(typeface.face, scalar.value) == 1
        else { return nil }
        others.append(typeface)
        return typeface
    }
}
