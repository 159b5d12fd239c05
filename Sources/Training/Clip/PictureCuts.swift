import TihuaVerse
import TihuaWeightFiles

/// A square of a picture, in its pixels, and what is done to its light before the picture tower learns from it.
struct PictureCut {
    /// The left edge.
    private let x: Float
    /// The upper edge.
    private let y: Float
    /// The side of the square.
    private let extent: Float
    private var isMirrored = false
    private var isGrey = false
    /// The factor of each colour.
    private var gains: [Float] = [1, 1, 1]
    /// What is added to each colour, on a scale of 0 to 1.
    private var lift: Float = 0

    /// The whole of a picture, as it is seen in use.
    ///
    /// - Parameter side: pixels of one side of the picture
    init(wholeOf side: Int) { (x, y, extent) = (0, 0, Float(side)) }

    /// A random cut of 0.65 to 1 of each side, half of them mirrored, one in ten grey, with a little change of light
    /// and colour.
    ///
    /// - Parameter side: pixels of one side of the picture
    init(of side: Int, using random: inout SplitMix64) {
        let side = Float(side)
        extent = side * Float.random(in: 0.65...1, using: &random)
        let gain = Float.random(in: 0.75...1.25, using: &random)
        x = Float.random(in: 0...(side - extent), using: &random)
        y = Float.random(in: 0...(side - extent), using: &random)
        isMirrored = Bool.random(using: &random)
        isGrey = Int.random(in: 0..<10, using: &random) == 0
        gains = (0..<3).map { _ in gain * Float.random(in: 0.92...1.08, using: &random) }
        lift = Float.random(in: -0.1...0.1, using: &random)
    }

    /// Writes the cut of a picture, resized bilinearly to `size`, as three planes of normalised values.
    ///
    /// - Parameters:
    ///   - pixels: uint8 `[N, 3, side, side]`
    ///   - row: the index of the picture in `pixels`
    ///   - mean: what is subtracted from each colour, of values from 0 to 1
    ///   - deviation: what each colour is then divided by
    ///   - values: of `3 * size * size` numbers
    func copy(
        _ pixels: TensorView, row: Int, side: Int, size: Int, mean: [Float], deviation: [Float],
        to values: UnsafeMutableBufferPointer<Float>
    ) {
        let columns = (0..<size).map { Tap(isMirrored ? size - 1 - $0 : $0, of: size, in: x, extent, side) }
        let rows = (0..<size).map { Tap($0, of: size, in: y, extent, side) }
        let plane = size * size
        pixels.withUnsafeBytes { bytes in
            let picture = row * 3 * side * side
            for channel in 0..<3 {
                let gain = gains[channel] / 255
                for (y, row) in rows.enumerated() {
                    let above = picture + (channel * side + row.first) * side
                    let below = picture + (channel * side + row.second) * side
                    let to = channel * plane + y * size
                    for (x, column) in columns.enumerated() {
                        let top =
                            Float(bytes[above + column.first]) * (1 - column.share)
                            + Float(bytes[above + column.second]) * column.share
                        let bottom =
                            Float(bytes[below + column.first]) * (1 - column.share)
                            + Float(bytes[below + column.second]) * column.share
                        let value = top + (bottom - top) * row.share
                        values[to + x] = min(1, max(0, value * gain + lift))
                    }
                }
            }
        }
        for place in 0..<plane {
            var colour = (values[place], values[place + plane], values[place + 2 * plane])
            if isGrey {
                let grey = 0.299 * colour.0 + 0.587 * colour.1 + 0.114 * colour.2
                colour = (grey, grey, grey)
            }
            values[place] = (colour.0 - mean[0]) / deviation[0]
            values[place + plane] = (colour.1 - mean[1]) / deviation[1]
            values[place + 2 * plane] = (colour.2 - mean[2]) / deviation[2]
        }
    }

    /// The two pixels of a row or column that a resized pixel lies between, and the share of the second.
    private struct Tap {
        let first: Int
        let second: Int
        let share: Float

        init(_ index: Int, of size: Int, in origin: Float, _ extent: Float, _ side: Int) {
            let place = min(Float(side - 1), max(0, origin + (Float(index) + 0.5) * extent / Float(size) - 0.5))
            first = Int(place)
            second = min(side - 1, first + 1)
            share = place - Float(first)
        }
    }
}
