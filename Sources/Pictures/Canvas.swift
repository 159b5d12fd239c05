/// How much ink lies on each pixel of a rectangle, 0...1.
struct Mask {
    let frame: Rectangle
    private(set) var coverage: [Float]  // [frame.height, frame.width]

    init(frame: Rectangle) {
        self.frame = frame
        coverage = [Float](repeating: 0, count: frame.width * frame.height)
    }

    /// A rectangle full of ink.
    init(full frame: Rectangle) {
        self.frame = frame
        coverage = [Float](repeating: 1, count: frame.width * frame.height)
    }

    /// Adds a character whose top left corner lies at a place of the picture.
    mutating func add(_ glyph: Glyph, left: Int, top: Int, strength: Float) {
        for y in 0..<glyph.height {
            let toY = top + glyph.top + y - frame.y
            guard toY >= 0, toY < frame.height else { continue }
            for x in 0..<glyph.width {
                let toX = left + glyph.left + x - frame.x
                guard toX >= 0, toX < frame.width else { continue }
                let ink = Float(glyph.coverage[y * glyph.width + x]) / 255 * strength
                let index = toY * frame.width + toX
                coverage[index] = max(coverage[index], ink)
            }
        }
    }

    func scaled(_ factor: Float) -> Mask {
        var result = self
        for index in coverage.indices { result.coverage[index] = min(coverage[index] * factor, 1) }
        return result
    }

    /// A wide soft copy whose middle is nearly full: three box blurs, which come close to a Gaussian, then raised.
    func softened(radius: Double) -> Mask {
        let radius = max(1, Int(radius.rounded()))
        var result = self
        for _ in 0..<3 {
            result.blur(radius: radius, lines: frame.height, length: frame.width, lineStep: frame.width, step: 1)
            result.blur(radius: radius, lines: frame.width, length: frame.height, lineStep: 1, step: frame.width)
        }
        return result.scaled(3)
    }

    private mutating func blur(radius: Int, lines: Int, length: Int, lineStep: Int, step: Int) {
        var line = [Float](repeating: 0, count: length)
        let share = 1 / Float(2 * radius + 1)
        coverage.withUnsafeMutableBufferPointer { coverage in
            for start in 0..<lines {
                for index in 0..<length { line[index] = coverage[start * lineStep + index * step] }
                var sum = line.prefix(radius).reduce(0, +)
                for index in 0..<length {
                    if index + radius < length { sum += line[index + radius] }
                    coverage[start * lineStep + index * step] = max(sum, 0) * share
                    if index - radius >= 0 { sum -= line[index - radius] }
                }
            }
        }
    }
}

/// A picture that is drawn on.
struct Canvas {
    private let width: Int
    private let height: Int
    private var bytes: [UInt8]
    private let profile: [UInt8]?

    init(_ picture: Picture) {
        (width, height, bytes, profile) = (picture.width, picture.height, picture.bytes, picture.profile)
    }

    var picture: Picture { Picture(unchecked: bytes, width: width, height: height, profile: profile) }

    /// Calls body with the pixel's index in `bytes` and the ink on it, for each inked pixel of the mask.
    private func forEach(_ mask: Mask, _ body: (Int, Float) -> Void) {
        let frame = mask.frame
        for y in max(0, -frame.y)..<max(max(0, -frame.y), min(frame.height, height - frame.y)) {
            for x in max(0, -frame.x)..<max(max(0, -frame.x), min(frame.width, width - frame.x)) {
                let ink = mask.coverage[y * frame.width + x]
                if ink > 0 { body(((y + frame.y) * width + x + frame.x) * 3, ink) }
            }
        }
    }

    /// The luminance under a mask: its 8th, 50th and 92nd percentile, 0...1.
    func light(under mask: Mask) -> (darkest: Double, middle: Double, brightest: Double) {
        var histogram = [Int](repeating: 0, count: 256)
        var count = 0
        forEach(mask) { index, _ in
            histogram[Int(luminance(bytes, at: index) * 255)] += 1
            count += 1
        }
        func percentile(_ share: Double) -> Double {
            var below = 0
            for (level, number) in histogram.enumerated() {
                below += number
                if Double(below) >= share * Double(count) { return Double(level) / 255 }
            }
            return 1
        }
        return count == 0 ? (1, 1, 1) : (percentile(0.08), percentile(0.5), percentile(0.92))
    }

    /// The mean colour under a mask, moved most of the way towards another: a halo of the ground's own hue.
    func tint(under mask: Mask, towards goal: Colour) -> Colour {
        var sums = (0.0, 0.0, 0.0, 0.0)
        forEach(mask) { index, _ in
            sums.0 += Double(bytes[index])
            sums.1 += Double(bytes[index + 1])
            sums.2 += Double(bytes[index + 2])
            sums.3 += 1
        }
        guard sums.3 > 0 else { return goal }
        func mix(_ sum: Double, _ goal: Double) -> Double { sum / sums.3 * 0.25 + goal * 0.75 }
        return Colour(red: mix(sums.0, goal.red), green: mix(sums.1, goal.green), blue: mix(sums.2, goal.blue))
    }

    /// Lays a colour on the picture where the mask has ink.
    mutating func fill(_ mask: Mask, _ colour: Colour) {
        var bytes = bytes
        let ink = (Float(colour.red), Float(colour.green), Float(colour.blue))
        forEach(mask) { index, share in
            bytes[index] = blend(bytes[index], ink.0, share)
            bytes[index + 1] = blend(bytes[index + 1], ink.1, share)
            bytes[index + 2] = blend(bytes[index + 2], ink.2, share)
        }
        self.bytes = bytes
    }

    /// Presses a seal: paper under it, so that its characters stay light on a dark picture, then cinnabar.
    mutating func stamp(_ seal: Seal, left: Int, top: Int) {
        for y in 0..<seal.height where top + y >= 0 && top + y < height {
            for x in 0..<seal.width where left + x >= 0 && left + x < width {
                let index = ((top + y) * width + left + x) * 3
                let ink = seal.coverage[y * seal.width + x]
                let inset = min(x, y, seal.width - 1 - x, seal.height - 1 - y)
                // The paper stays inside the worn edge.
                let paper: Float = inset > seal.width / 16 ? 0.88 : 0
                for (channel, (red, white)) in zip(
                    [Seal.cinnabar.red, Seal.cinnabar.green, Seal.cinnabar.blue],
                    [Seal.paper.red, Seal.paper.green, Seal.paper.blue]
                ).enumerated() {
                    let ground = blend(bytes[index + channel], Float(white), paper)
                    bytes[index + channel] = blend(ground, Float(red), ink)
                }
            }
        }
    }
}

/// A value between a pixel's and an ink's.
func blend(_ ground: UInt8, _ ink: Float, _ share: Float) -> UInt8 {
    let value = Float(ground) + (ink - Float(ground)) * share
    return UInt8(min(max(value.rounded(), 0), 255))
}
