/// A bar chart of how often each of the numbers 0, 1, 2, … occurs.
public struct Histogram: Sendable {
    /// Above the bars.
    public var title: String
    /// Below the axis: what is counted.
    public var axis: String
    /// How often each number occurs.
    public var counts: [Int]

    /// The longest histogram that is drawn number by number; a longer one has bars for several numbers.
    private static let mostBars = 80

    /// A chart; counts below 0 are taken for 0.
    public init(title: String, axis: String, counts: [Int]) {
        self.title = title
        self.axis = axis
        self.counts = counts.map { max($0, 0) }
    }

    /// Draws the chart, 960x540 pixels.
    ///
    /// - Parameter font: the name of an installed family; nil takes what poems are set in
    /// - Throws: `PictureError` without a usable typeface.
    public func picture(font: String? = nil) throws -> Picture {
        let (width, height) = (960, 540)
        let frame = Rectangle(x: 80, y: 70, width: width - 110, height: height - 150)
        let paper = [UInt8](repeating: 255, count: width * height * 3)
        var canvas = Canvas(Picture(unchecked: paper, width: width, height: height, profile: nil))
        let typeface = try Typeface(family: font)
        let step = max(1, (counts.count + Self.mostBars - 1) / Self.mostBars)
        let bars = stride(from: 0, to: counts.count, by: step).map { start in
            counts[start..<min(start + step, counts.count)].reduce(0, +)
        }
        let most = max(bars.max() ?? 0, 1)

        let grid = Self.roundStep(most)
        for value in stride(from: 0, through: most, by: grid) {
            let y = frame.y + frame.height - value * frame.height / most
            canvas.fill(Rectangle(x: frame.x, y: y, width: frame.width, height: 1), value == 0 ? Self.ink : Self.line)
            try canvas.write("\(value)", typeface, size: 18, x: frame.x - 10, y: y - 11, anchor: 1)
        }
        let labelStep = max(1, Self.roundStep(max(1, bars.count * step), ticks: 12))
        for (index, count) in bars.enumerated() {
            let left = frame.x + index * frame.width / bars.count
            let right = frame.x + (index + 1) * frame.width / bars.count
            let tall = count * frame.height / most
            let bar = Rectangle(
                x: left + 1, y: frame.y + frame.height - tall, width: max(1, right - left - 2), height: tall)
            canvas.fill(bar, Self.blue)
            if index * step % labelStep < step {
                let label = "\(index * step)"
                try canvas.write(
                    label, typeface, size: 18, x: (left + right) / 2, y: frame.y + frame.height + 8, anchor: 0.5)
            }
        }
        try canvas.write(title, typeface, size: 24, x: width / 2, y: 22, anchor: 0.5)
        try canvas.write(axis, typeface, size: 20, x: width / 2, y: height - 40, anchor: 0.5)
        return canvas.picture
    }

    private static let ink = Colour(red: 40, green: 40, blue: 40)
    private static let line = Colour(red: 222, green: 222, blue: 222)
    private static let blue = Colour(red: 70, green: 110, blue: 160)

    /// 1, 2 or 5 times a power of ten, of which about `ticks` fit.
    private static func roundStep(_ most: Int, ticks: Int = 6) -> Int {
        var step = 1
        while true {
            for factor in [1, 2, 5] where step * factor * ticks >= most { return step * factor }
            step *= 10
        }
    }
}

extension Canvas {
    /// Fills a rectangle.
    fileprivate mutating func fill(_ frame: Rectangle, _ colour: Colour) {
        fill(Mask(full: frame), colour)
    }

    /// Writes a line; `anchor` 0, 0.5 and 1 put its beginning, middle and end at x. Y is its top.
    fileprivate mutating func write(
        _ text: String, _ typeface: Typeface, size: Double, x: Int, y: Int, anchor: Double
    ) throws {
        // A typeface draws into squares: Han characters fill them, others are set closer.
        func advance(_ character: Character) -> Double { character.isASCII ? size * 0.55 : size }
        let length = text.reduce(0) { $0 + advance($1) }
        var place = Double(x) - anchor * length
        var mask = Mask(
            frame: Rectangle(x: Int(place) - 4, y: y - 4, width: Int(length) + 8, height: Int(size * 1.4) + 8))
        for character in text {
            defer { place += advance(character) }
            guard !character.isWhitespace else { continue }
            let glyph = try typeface.draw(character, size: size, weight: 0)
            mask.add(glyph, left: Int((place + (advance(character) - size) / 2).rounded()), top: y, strength: 1)
        }
        fill(mask, Colour(red: 40, green: 40, blue: 40))
    }
}
