/// The size of a seal in units of the poem's em.
struct SealSize: Equatable {
    let columns: Int
    let rows: Int
    let width: Double
    let height: Double

    /// Two characters stand one above the other, four in a square; nil for a seal without characters.
    init?(characters: Int) {
        guard characters > 0 else { return nil }
        rows = characters <= 2 ? characters : Int(Double(characters).squareRoot().rounded(.up))
        columns = (characters + rows - 1) / rows
        let cell = characters == 1 ? 1.05 : characters == 2 ? 0.86 : 0.74
        width = Double(columns) * cell + 0.22
        height = Double(rows) * cell + 0.22
    }
}

/// Smooth noise in -1...1 that depends only on the place and the seed.
struct Grain {
    let seed: UInt64

    func callAsFunction(_ x: Double, _ y: Double) -> Double {
        let (left, top) = (x.rounded(.down), y.rounded(.down))
        let (u, v) = (smooth(x - left), smooth(y - top))
        let (column, row) = (Int64(left), Int64(top))
        let upper = at(column, row) * (1 - u) + at(column + 1, row) * u
        let lower = at(column, row + 1) * (1 - u) + at(column + 1, row + 1) * u
        return upper * (1 - v) + lower * v
    }

    private func smooth(_ t: Double) -> Double { t * t * (3 - 2 * t) }

    /// SplitMix64 of the lattice point.
    func at(_ column: Int64, _ row: Int64) -> Double {
        var z =
            seed &+ UInt64(bitPattern: column) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(bitPattern: row)
            &* 0xD1B5_4A32_D192_ED03
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return Double(z ^ (z >> 31)) / Double(UInt64.max) * 2 - 1
    }
}

/// A white-character seal (白文印): cinnabar square with worn edges, the characters left out of it.
struct Seal {
    let width: Int
    let height: Int
    /// How much cinnabar lies on each pixel, 0...1.
    let coverage: [Float]  // [height, width]

    static let cinnabar = Colour(red: 172, green: 32, blue: 28)
    /// The paper that shows through the characters.
    static let paper = Colour(red: 250, green: 242, blue: 228)

    /// - Parameters:
    ///   - characters: Read downwards, columns right to left.
    ///   - em: Pixels of the poem's em.
    init(_ characters: [Character], size: SealSize, em: Double, typeface: Typeface) throws {
        width = max(1, Int((size.width * em).rounded()))
        height = max(1, Int((size.height * em).rounded()))
        let border = 0.11 * em
        let cellWidth = (Double(width) - 2 * border) / Double(size.columns)
        let cellHeight = (Double(height) - 2 * border) / Double(size.rows)
        let edge = Grain(seed: 41)
        let wear = Grain(seed: 97)
        var coverage = [Float](repeating: 0, count: width * height)
        let corner = 0.16 * em
        for y in 0..<height {
            for x in 0..<width {
                // Distance to the rounded square's edge, roughened along it.
                let (dx, dy) = (Double(min(x, width - 1 - x)) + 0.5, Double(min(y, height - 1 - y)) + 0.5)
                var inside = min(dx, dy)
                if dx < corner && dy < corner {
                    inside = corner - ((corner - dx) * (corner - dx) + (corner - dy) * (corner - dy)).squareRoot()
                }
                let (u, v) = (Double(x) / em, Double(y) / em)
                let rough = 0.022 * em * (1 + edge(u * 5, v * 5) + 0.35 * edge(u * 17, v * 17))
                let ink = 0.93 + 0.07 * wear(u * 7, v * 7) - max(0, wear(u * 19 + 50, v * 19) - 0.72) * 1.6
                coverage[y * width + x] = Float(min(max(inside - rough + 0.5, 0), 1) * min(max(ink, 0), 1))
            }
        }
        for (index, character) in characters.enumerated() {
            let (column, row) = (index / size.rows, index % size.rows)
            let drawn = min(cellWidth, cellHeight) * 0.98
            let glyph = try typeface.draw(character, size: drawn, weight: drawn * 0.035)
            let left = Double(width) - border - Double(column + 1) * cellWidth + (cellWidth - drawn) / 2
            let top = border + Double(row) * cellHeight + (cellHeight - drawn) / 2
            for y in 0..<glyph.height {
                for x in 0..<glyph.width {
                    let (toX, toY) = (Int(left.rounded()) + glyph.left + x, Int(top.rounded()) + glyph.top + y)
                    guard toX >= 0, toX < width, toY >= 0, toY < height else { continue }
                    coverage[toY * width + toX] *= 1 - Float(glyph.coverage[y * glyph.width + x]) / 255
                }
            }
        }
        self.coverage = coverage
    }
}
