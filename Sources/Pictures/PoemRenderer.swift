/// A poem as it is set on a picture.
public struct RenderedPoem: Equatable, Sendable {
    /// Set small in the first column; nil or blank sets none.
    public var title: String?
    /// Verses, with or without punctuation; an empty line separates the two halves of a ci.
    public var lines: [String]
    /// Set small below the last column: who wrote, when.
    public var signature: String?
    /// One to nine characters of a red seal; nil or blank draws none.
    public var seal: String?

    /// A poem of these parts.
    public init(title: String? = nil, lines: [String], signature: String? = nil, seal: String? = nil) {
        self.title = title
        self.lines = lines
        self.signature = signature
        self.seal = seal
    }
}

/// How a poem is set on a picture.
public struct PoemOptions: Equatable, Sendable {
    /// Where the poem goes.
    public enum Place: String, CaseIterable, Sendable {
        /// On the picture where it is quiet enough, else above it.
        case automatic
        /// On the picture, in its quietest place.
        case onPicture
        /// On paper above the picture, as the 诗塘 of a mounted painting.
        case mounted
    }

    /// The colour of the writing.
    public enum Ink: String, CaseIterable, Sendable {
        /// Whichever of the two stands out more.
        case automatic
        case dark
        case light
    }

    /// The name of an installed typeface family; nil takes AR PL UKai, or the nearest to it that is installed.
    public var font: String?
    /// On the picture or above it.
    public var place: Place
    /// The colour of the writing on a picture; on paper it is always dark.
    public var ink: Ink
    /// Smaller pictures are enlarged until their long side has so many pixels, at most 8192, for the characters' sake.
    public var minimumSide: Int

    /// Options; each has a value that suits most pictures.
    public init(font: String? = nil, place: Place = .automatic, ink: Ink = .automatic, minimumSide: Int = 1280) {
        self.font = font
        self.place = place
        self.ink = ink
        self.minimumSide = minimumSide
    }
}

struct Colour: Equatable {
    var red: Double
    var green: Double
    var blue: Double

    static let darkInk = Colour(red: 26, green: 22, blue: 20)
    static let lightInk = Colour(red: 250, green: 246, blue: 236)
    static let paper = Colour(red: 240, green: 232, blue: 214)
}

/// Writes poems on pictures in the manner of 题画诗: vertical columns from right to left, a title, a signature and a red
/// seal, where the picture is quiet.
public struct PoemRenderer: Sendable {
    /// More characters than the longest ci (240) with room to spare.
    public static let characterLimit = 600
    /// How poems are set.
    public let options: PoemOptions

    /// A renderer; it holds nothing but its options.
    public init(options: PoemOptions = PoemOptions()) {
        self.options = options
    }

    /// The typeface that will be used.
    ///
    /// - Throws: `PictureError.noFont` if the named one, or any that has Chinese, is missing.
    public func fontName() throws -> String { try Typeface(family: options.font).name }

    /// Those characters of a text that would be set and that no installed typeface has.
    ///
    /// - Throws: `PictureError.noFont`.
    public func undrawable(_ text: String) throws -> Set<Character> {
        let typeface = try Typeface(family: options.font)
        return Set(Clause.settable(text).filter { !typeface.canDraw($0) })
    }

    /// The picture with the poem on it, or with the poem on paper above it where no place is quiet enough.
    ///
    /// The same poem on the same picture gives the same pixels.
    /// - Throws: `PictureError.noFont`, `noGlyph`, `emptyPoem`, `poemTooLong`.
    public func render(_ poem: RenderedPoem, on picture: Picture) throws -> Picture {
        let count = Clause.split(poem.lines).reduce(0) { $0 + $1.characters.count }
        let extras = [poem.title, poem.signature].map { Clause.settable($0 ?? "").count }
        let sealCharacters = sealCharacters(poem)
        guard count > 0 else { throw PictureError.emptyPoem }
        guard count <= Self.characterLimit, extras.allSatisfy({ $0 <= 60 }), sealCharacters.count <= 9 else {
            let most = max(count, extras.max() ?? 0, sealCharacters.count)
            throw PictureError.poemTooLong(
                characters: most, limit: count > Self.characterLimit ? Self.characterLimit : 60)
        }
        let typeface = try Typeface(family: options.font)
        let sealSize = SealSize(characters: sealCharacters.count)
        let layouts = PoemLayout.candidates(for: poem, sealSize: sealSize)
        let ground = enlarged(picture)

        if options.place != .mounted {
            let found = PlaceSearch.best(of: layouts, on: ground, smallestEm: Self.smallestEm)
            if let found, options.place == .onPicture || found.cost <= PlaceSearch.limit {
                return try write(
                    found, seal: sealCharacters, size: sealSize, on: ground, with: typeface, ink: options.ink)
            }
        }
        let (mount, placement) = Mount.make(for: layouts, around: ground, smallestEm: Self.smallestEm)
        return try write(placement, seal: sealCharacters, size: sealSize, on: mount, with: typeface, ink: .dark)
    }

    /// Characters smaller than this are hard to read on a screen.
    private static let smallestEm = 24.0

    /// A name of three characters takes 印, so that the seal is square.
    private func sealCharacters(_ poem: RenderedPoem) -> [Character] {
        let characters = Clause.settable(poem.seal ?? "")
        return characters.count == 3 ? characters + ["印"] : characters
    }

    private func enlarged(_ picture: Picture) -> Picture {
        let long = max(picture.width, picture.height)
        let side = min(options.minimumSide, 8192)
        guard long < side else { return picture }
        let factor = Double(side) / Double(long)
        return picture.resized(
            width: max(1, Int((Double(picture.width) * factor).rounded())),
            height: max(1, Int((Double(picture.height) * factor).rounded())))
    }

    private func write(
        _ placement: Placement, seal sealCharacters: [Character], size sealSize: SealSize?, on ground: Picture,
        with typeface: Typeface, ink: PoemOptions.Ink
    ) throws -> Picture {
        var canvas = Canvas(ground)
        let (layout, em) = (placement.layout, placement.em)
        let right = placement.x + layout.width * em
        // Room for halo and overhanging strokes.
        let frame = Rectangle(
            x: Int(placement.x - em), y: Int(placement.y - em), width: Int((layout.width + 2) * em),
            height: Int((layout.height + 2) * em))
        var mask = Mask(frame: frame)
        let hand = Grain(seed: 7)
        for (index, placed) in layout.characters.enumerated() {
            // A hand does not repeat itself exactly.
            let unsteady = { (salt: Int64) in hand.at(Int64(index), salt) }
            let size = placed.size * em * (1 + 0.02 * unsteady(1))
            let glyph = try typeface.draw(placed.character, size: size, weight: 0.022 * em)
            let left = right - placed.x * em - size / 2 + 0.012 * em * unsteady(2)
            let top = placement.y + placed.y * em - size / 2 + 0.012 * em * unsteady(3)
            mask.add(
                glyph, left: Int(left.rounded()), top: Int(top.rounded()), strength: Float(0.95 + 0.05 * unsteady(4)))
        }
        let light = canvas.light(under: mask)
        let dark = ink == .automatic ? light.middle > 0.55 : ink == .dark
        // How far the ground under the writing comes near to the ink.
        let worst = dark ? light.darkest : 1 - light.brightest
        let halo = Float(min(max((0.62 - worst) * 1.6, 0), 0.8))
        if halo > 0 {
            canvas.fill(
                mask.softened(radius: em * 0.16).scaled(halo),
                dark
                    ? canvas.tint(under: mask, towards: .lightInk)
                    : canvas.tint(under: mask, towards: .darkInk))
        }
        canvas.fill(mask, dark ? .darkInk : .lightInk)
        if let place = layout.seal, let sealSize {
            let drawn = try Seal(sealCharacters, size: sealSize, em: em, typeface: typeface)
            let left = Int((right - place.x * em - Double(drawn.width) / 2).rounded())
            let top = Int((placement.y + place.y * em - Double(drawn.height) / 2).rounded())
            canvas.stamp(drawn, left: left, top: top)
        }
        return canvas.picture
    }
}
