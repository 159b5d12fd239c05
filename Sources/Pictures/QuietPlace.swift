/// Sums over rectangles of a small map in constant time.
private struct SummedArea {
    private let width: Int
    private let sums: [Double]  // [height + 1, width + 1]

    init(_ values: [Double], width: Int, height: Int) {
        self.width = width + 1
        var sums = [Double](repeating: 0, count: (width + 1) * (height + 1))
        for y in 0..<height {
            var row = 0.0
            for x in 0..<width {
                row += values[y * width + x]
                sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + row
            }
        }
        self.sums = sums
    }

    func mean(_ rectangle: Rectangle) -> Double {
        let (top, bottom) = (rectangle.y * width, (rectangle.y + rectangle.height) * width)
        let (left, right) = (rectangle.x, rectangle.x + rectangle.width)
        let sum = sums[bottom + right] - sums[top + right] - sums[bottom + left] + sums[top + left]
        return sum / Double(rectangle.width * rectangle.height)
    }
}

/// A rectangle of pixels.
struct Rectangle: Equatable {
    var x: Int
    var y: Int
    var width: Int
    var height: Int
}

/// Where a picture is quiet: little edge, little that stands out, even light.
struct QuietMap {
    /// Long side of the map; a picture's own grain vanishes at this size, its things do not.
    private static let side = 192

    let width: Int
    let height: Int
    private let edges: SummedArea
    private let details: SummedArea
    private let salience: SummedArea
    private let light: SummedArea
    private let lightSquared: SummedArea

    init(_ picture: Picture) {
        let scale = Double(Self.side) / Double(max(picture.width, picture.height))
        let width = max(8, Int(Double(picture.width) * scale))
        let height = max(8, Int(Double(picture.height) * scale))
        let small = picture.resized(width: width, height: height)
        let count = width * height
        let light = (0..<count).map { luminance(small.bytes, at: $0 * 3) }
        var edges = [Double](repeating: 0, count: count)
        for y in 0..<height {
            for x in 0..<width {
                let here = light[y * width + x]
                let across = abs(light[y * width + min(x + 1, width - 1)] - here)
                let down = abs(light[min(y + 1, height - 1) * width + x] - here)
                edges[y * width + x] = min((across + down) * 2.5, 1)
            }
        }
        // A bird or a star is few pixels, but nobody writes over it: each edge counts for all that is near it.
        let across = (0..<count).map { place in
            let x = place % width
            return (max(x - 2, 0)...min(x + 2, width - 1)).reduce(0.0) { max($0, edges[place - x + $1]) }
        }
        let details = (0..<count).map { place in
            let (x, y) = (place % width, place / width)
            return (max(y - 2, 0)...min(y + 2, height - 1)).reduce(0.0) { max($0, across[$1 * width + x]) }
        }
        // Salience as distance from the mean colour (Achanta et al. 2009, without the change of colour space).
        var mean = [0.0, 0.0, 0.0]
        for index in 0..<count * 3 { mean[index % 3] += Double(small.bytes[index]) / Double(count) }
        let salience = (0..<count).map { place in
            let far = (0..<3).reduce(0.0) { $0 + abs(Double(small.bytes[place * 3 + $1]) - mean[$1]) }
            return min(far / 384, 1)
        }
        self.width = width
        self.height = height
        self.edges = SummedArea(edges, width: width, height: height)
        self.details = SummedArea(details, width: width, height: height)
        self.salience = SummedArea(salience, width: width, height: height)
        self.light = SummedArea(light, width: width, height: height)
        lightSquared = SummedArea(light.map { $0 * $0 }, width: width, height: height)
    }

    /// How much a rectangle of the map would be disturbed by writing on it: 0 for plain paper or sky, about 1 for
    /// foliage. nil as soon as it is known to be more than `bound`.
    func unrest(_ rectangle: Rectangle, atMost bound: Double) -> Double? {
        let mean = light.mean(rectangle)
        let spread = max(lightSquared.mean(rectangle) - mean * mean, 0).squareRoot()
        let whole =
            0.7 * edges.mean(rectangle) + 0.45 * details.mean(rectangle) + 0.35 * salience.mean(rectangle) + 1.1
            * spread
        guard whole <= bound else { return nil }
        // One busy corner spoils a place that is quiet on average.
        var worst = 0.0
        let (columns, rows) = (min(4, rectangle.width), min(4, rectangle.height))
        for row in 0..<rows {
            for column in 0..<columns {
                let x = rectangle.width * column / columns
                let y = rectangle.height * row / rows
                let part = Rectangle(
                    x: rectangle.x + x, y: rectangle.y + y, width: rectangle.width * (column + 1) / columns - x,
                    height: rectangle.height * (row + 1) / rows - y)
                worst = max(worst, edges.mean(part))
            }
        }
        return whole + worst <= bound ? whole + worst : nil
    }
}

/// Luminance in 0...1 of an RGB pixel, with the weights of Rec. 709 on the stored values.
func luminance(_ bytes: [UInt8], at index: Int) -> Double {
    (0.2126 * Double(bytes[index]) + 0.7152 * Double(bytes[index + 1]) + 0.0722 * Double(bytes[index + 2])) / 255
}

/// A layout with its size and place on a picture.
struct Placement {
    let layout: PoemLayout
    /// Pixels of the poem's em.
    let em: Double
    /// The block's top left corner.
    let x: Double
    let y: Double
    /// The lower the better; above `PlaceSearch.limit` no place is good enough.
    let cost: Double
}

/// Looks for the place, the size and the arrangement of columns that disturb a picture least.
struct PlaceSearch {
    /// Above this cost a poem is mounted beside the picture instead of written on it.
    static let limit = 0.52
    /// The em as a share of the root of the picture's area, and the most usual one.
    private static let sizes = [0.052, 0.047, 0.043, 0.039, 0.035, 0.031, 0.028]
    private static let usualSize = 0.043
    /// Clear space to the border, as a share of the short side.
    private static let margin = 0.045

    static func best(of layouts: [PoemLayout], on picture: Picture, smallestEm: Double) -> Placement? {
        let map = QuietMap(picture)
        // Two scales: the map of a very long or very tall picture is wider or higher than its shape would have it.
        let across = Double(map.width) / Double(picture.width)
        let down = Double(map.height) / Double(picture.height)
        let root = Double(picture.width * picture.height).squareRoot()
        let margin = max(1, Int((Double(min(map.width, map.height)) * Self.margin).rounded()))
        var best: Placement?
        for (order, layout) in layouts.enumerated() {
            for size in sizes where size * root >= smallestEm {
                let em = size * root
                let pad = 0.6 * em
                let width = Int(((layout.width * em + 2 * pad) * across).rounded(.up))
                let height = Int(((layout.height * em + 2 * pad) * down).rounded(.up))
                guard width + 2 * margin <= map.width, height + 2 * margin <= map.height else { continue }
                // A poem that covers the picture is no inscription.
                let share = Double(width * height) / Double(map.width * map.height)
                guard share <= 0.3 else { continue }
                let taste =
                    0.012 * Double(order) + 0.06 * layout.raggedness + 0.5 * share + abs(size - usualSize) / usualSize
                    * 0.25
                for y in stride(from: margin, through: map.height - margin - height, by: 3) {
                    for x in stride(from: margin, through: map.width - margin - width, by: 3) {
                        let rectangle = Rectangle(x: x, y: y, width: width, height: height)
                        let known = taste + composition(rectangle, in: map)
                        let bound = (best?.cost ?? .infinity) - known
                        guard bound > 0, let unrest = map.unrest(rectangle, atMost: bound) else { continue }
                        best = Placement(
                            layout: layout, em: em, x: Double(x) / across + pad, y: Double(y) / down + pad,
                            cost: known + unrest)
                    }
                }
            }
        }
        return best
    }

    /// Painters write near an edge, in the upper part, more often on the right; never in the middle.
    private static func composition(_ rectangle: Rectangle, in map: QuietMap) -> Double {
        let (width, height) = (Double(map.width), Double(map.height))
        let left = Double(rectangle.x) / width
        let right = (width - Double(rectangle.x + rectangle.width)) / width
        let top = Double(rectangle.y) / height
        let bottom = (height - Double(rectangle.y + rectangle.height)) / height
        let offEdge = 0.45 * min(left, right) + 0.25 * min(top, bottom)
        return offEdge + (top > bottom ? 0.07 : 0) + (left < right ? 0.02 : 0)
    }
}
