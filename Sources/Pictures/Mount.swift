/// A picture mounted on paper with a space above it for a poem (诗塘).
enum Mount {
    /// The mounted picture, and the poem's place above it. The space is as high as the poem needs.
    static func make(
        for layouts: [PoemLayout], around picture: Picture, smallestEm: Double
    ) -> (Picture, Placement) {
        let short = Double(min(picture.width, picture.height))
        let border = max(8, Int((0.05 * short).rounded()))
        let gap = max(8, Int((0.045 * short).rounded()))
        let inside = Double(picture.width) * 0.92
        // The lowest block that fits across, at the largest size; a poem too long for that grows downwards.
        var chosen = layouts[0]
        var em = smallestEm
        var bestCost = Double.infinity
        for layout in layouts {
            let fitting = min(0.042 * Double(picture.width * picture.height).squareRoot(), inside / layout.width)
            let size = max(fitting, smallestEm)
            let overflow = max(0, layout.width * size - inside)
            let tall = layout.height * size / Double(picture.height)
            let cost = overflow + tall + 0.15 * layout.raggedness - size / smallestEm * 0.4
            if cost < bestCost { (bestCost, chosen, em) = (cost, layout, size) }
        }
        let blockWidth = chosen.width * em
        let blockHeight = chosen.height * em
        let pad = em * 1.3
        let space = Int((blockHeight + 2 * pad).rounded())
        let width = max(picture.width, Int((blockWidth + 2 * pad).rounded())) + 2 * border
        let height = border + space + gap + picture.height + border

        var bytes = paper(width: width, height: height)
        let left = (width - picture.width) / 2
        let top = border + space + gap
        for y in 0..<picture.height {
            let to = ((top + y) * width + left) * 3
            let from = y * picture.width * 3
            bytes.replaceSubrange(to..<to + picture.width * 3, with: picture.bytes[from..<from + picture.width * 3])
        }
        let line = max(1, Int(short / 500))
        outline(
            &bytes, width: width,
            Rectangle(
                x: left - 2 * line, y: top - 2 * line, width: picture.width + 4 * line,
                height: picture.height + 4 * line),
            line)
        outline(
            &bytes, width: width,
            Rectangle(
                x: border - 2 * line, y: border - 2 * line, width: width - 2 * border + 4 * line,
                height: space + 4 * line
            ),
            line)
        let mounted = Picture(unchecked: bytes, width: width, height: height, profile: picture.profile)
        // In the middle of the space, where a poem without a picture beneath it belongs.
        let x = (Double(width) - blockWidth) / 2
        return (mounted, Placement(layout: chosen, em: em, x: x, y: Double(border) + pad, cost: 0))
    }

    /// Warm paper with fibres.
    private static func paper(width: Int, height: Int) -> [UInt8] {
        let tone = Grain(seed: 3)
        let fibre = Grain(seed: 5)
        let colours = [Colour.paper.red, Colour.paper.green, Colour.paper.blue]
        return [UInt8](unsafeUninitializedCapacity: width * height * 3) { bytes, count in
            for y in 0..<height {
                for x in 0..<width {
                    let shade = 2.2 * tone(Double(x) / 90, Double(y) / 90) + 1.6 * fibre(Double(x) / 14, Double(y) / 2)
                    for channel in 0..<3 {
                        bytes[(y * width + x) * 3 + channel] = UInt8(min(max(colours[channel] + shade, 0), 255))
                    }
                }
            }
            count = width * height * 3
        }
    }

    /// A thin line like the silk edge of a mount.
    private static func outline(_ bytes: inout [UInt8], width: Int, _ frame: Rectangle, _ line: Int) {
        for y in frame.y..<frame.y + frame.height {
            let onLine = y < frame.y + line || y >= frame.y + frame.height - line
            for x in frame.x..<frame.x + frame.width
            where onLine || x < frame.x + line || x >= frame.x + frame.width - line {
                let index = (y * width + x) * 3
                for (channel, ink) in [150, 132, 104].enumerated() {
                    bytes[index + channel] = blend(bytes[index + channel], Float(ink), 0.7)
                }
            }
        }
    }
}
