/// How a picture becomes a square for an image encoder.
public enum PictureFit: String, Sendable {
    /// Both sides are scaled to the square, whatever the aspect: Chinese-CLIP.
    case squash
    /// The short side is scaled to the square and the middle is kept: CLIP.
    case centreCrop
}

/// The filter that a picture is resized with, named and numbered as in Pillow; both are antialiased.
public enum PictureFilter: Int, Sendable {
    /// A triangle over two pixels of the smaller picture.
    case bilinear = 2
    /// Cubic with a = -0.5 over four: CLIP and Chinese-CLIP.
    case bicubic = 3

    /// Where the filter ends, in pixels of the smaller picture.
    fileprivate var support: Double { self == .bilinear ? 1 : 2 }

    /// The weight of a pixel at this distance.
    fileprivate func weight(_ distance: Double) -> Double {
        let x = abs(distance)
        switch self {
        case .bilinear: return max(0, 1 - x)
        case .bicubic:
            let a = -0.5
            if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
            if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
            return 0
        }
    }
}

extension Picture {
    /// The mean of each channel that CLIP and Chinese-CLIP subtract, for pixels in 0...1.
    public static let clipMean: [Float] = [0.48145466, 0.4578275, 0.40821073]
    /// The deviation of each channel that CLIP and Chinese-CLIP divide by.
    public static let clipDeviation: [Float] = [0.26862954, 0.26130258, 0.27577711]

    /// The picture scaled to a size by one of Pillow's antialiased filters, bit for bit.
    ///
    /// Two passes in 8-bit fixed point, as in `ImagingResample` of Pillow 13 (`libImaging/Resample.c`); the order of
    /// the passes is that of Pillow 13, which older versions, always horizontal first, differ from by a few of 255
    /// levels where a picture becomes much lower and not narrower.
    /// - Precondition: Both sides are at least 1.
    public func resized(width newWidth: Int, height newHeight: Int, filter: PictureFilter = .bicubic) -> Picture {
        precondition(newWidth > 0 && newHeight > 0, "cannot resize a picture to \(newWidth)x\(newHeight)")
        return resampled(to: (newWidth, newHeight), keeping: (0..<newWidth, 0..<newHeight), filter)
    }

    /// The part `kept` of the picture scaled to `size`; nothing outside of it is computed, however long the picture is.
    private func resampled(
        to size: (width: Int, height: Int), keeping kept: (columns: Range<Int>, rows: Range<Int>),
        _ filter: PictureFilter
    ) -> Picture {
        let columns = ResampleTable(filter, from: width, to: size.width, keeping: kept.columns)
        let rows = ResampleTable(filter, from: height, to: size.height, keeping: kept.rows)
        let (newWidth, newHeight) = (kept.columns.count, kept.rows.count)
        var scaled = bytes
        if height > size.height && height - size.height > 2 * (width - size.width) {
            if let rows { scaled = rows.resampleColumns(scaled, rowLength: width * 3) }  // [newHeight, width, 3]
            if let columns { scaled = columns.resampleRows(scaled, rowCount: newHeight) }
        } else {
            if let columns { scaled = columns.resampleRows(scaled, rowCount: height) }  // [height, newWidth, 3]
            if let rows { scaled = rows.resampleColumns(scaled, rowLength: newWidth * 3) }
        }
        return Picture(unchecked: scaled, width: newWidth, height: newHeight, profile: profile)
    }

    /// The picture as a square of `size` x `size` pixels.
    ///
    /// The centre crop rounds as the preprocessing of CLIP does (torchvision `Resize`, then `CenterCrop`).
    /// - Precondition: `size` is at least 1.
    public func squared(_ size: Int, fit: PictureFit = .squash, filter: PictureFilter = .bicubic) -> Picture {
        switch fit {
        case .squash:
            return resized(width: size, height: size, filter: filter)
        case .centreCrop:
            let tall = height > width
            let long = Int(Double(size) * Double(max(width, height)) / Double(min(width, height)))
            let start = Int((Double(long - size) / 2).rounded(.toNearestOrEven))
            let short = (0..<size, size)
            let cut = (start..<start + size, long)
            let (columns, rows) = tall ? (short, cut) : (cut, short)
            return resampled(to: (columns.1, rows.1), keeping: (columns.0, rows.0), filter)
        }
    }

    /// The part of the picture that lies in a rectangle.
    ///
    /// - Precondition: The rectangle lies within the picture and is not empty.
    public func cropped(x: Int, y: Int, width newWidth: Int, height newHeight: Int) -> Picture {
        precondition(
            x >= 0 && y >= 0 && newWidth > 0 && newHeight > 0 && x + newWidth <= width && y + newHeight <= height,
            "cannot cut \(newWidth)x\(newHeight) at (\(x), \(y)) out of \(width)x\(height)")
        var part = [UInt8]()
        part.reserveCapacity(newWidth * newHeight * 3)
        for row in y..<y + newHeight {
            let start = (row * width + x) * 3
            part.append(contentsOf: bytes[start..<start + newWidth * 3])
        }
        return Picture(unchecked: part, width: newWidth, height: newHeight, profile: profile)
    }

    /// The picture as a mirror shows it, left and right exchanged.
    public func mirrored() -> Picture {
        var turned = bytes
        for row in 0..<height {
            for column in 0..<width {
                let (from, to) = ((row * width + column) * 3, (row * width + width - 1 - column) * 3)
                for channel in 0..<3 { turned[to + channel] = bytes[from + channel] }
            }
        }
        return Picture(unchecked: turned, width: width, height: height, profile: profile)
    }

    /// The input of an image encoder: resized, divided by 255, normalised by channel.
    ///
    /// - Parameters:
    ///   - size: Side of the square, at least 1.
    ///   - mean: Three values for pixels in 0...1.
    ///   - deviation: Three values, none of them 0.
    /// - Returns: `[3, size, size]`, red plane first.
    public func pixels(
        size: Int, fit: PictureFit = .squash, filter: PictureFilter = .bicubic, mean: [Float] = clipMean,
        deviation: [Float] = clipDeviation
    ) -> [Float] {
        precondition(mean.count == 3 && deviation.count == 3, "mean and deviation have three values each")
        let square = squared(size, fit: fit, filter: filter)
        let area = size * size
        let tables = (0..<3).map { channel in
            (0..<256).map { (Float($0) / 255 - mean[channel]) / deviation[channel] }
        }
        return [Float](unsafeUninitializedCapacity: 3 * area) { planes, filled in
            square.bytes.withUnsafeBufferPointer { source in
                for channel in 0..<3 {
                    tables[channel].withUnsafeBufferPointer { table in
                        for index in 0..<area {
                            planes[channel * area + index] = table[Int(source[index * 3 + channel])]
                        }
                    }
                }
            }
            filled = 3 * area
        }
    }
}

/// The taps of a filter for each output place along one axis, in fixed point.
private struct ResampleTable {
    /// 32 bits less the 8 of a pixel and 2 for the overshoot of the filter.
    static let precision: Int32 = 32 - 8 - 2
    let count: Int
    let tapCount: Int
    let starts: [Int]  // [count]
    let lengths: [Int]  // [count]
    let taps: [Int32]  // [count, tapCount]

    /// nil where the pass would change nothing.
    init?(_ filter: PictureFilter, from size: Int, to newSize: Int, keeping kept: Range<Int>) {
        guard newSize != size || kept != 0..<newSize else { return nil }
        let scale = Double(size) / Double(newSize)
        let filterScale = max(scale, 1)
        let support = filter.support * filterScale
        let tapCount = Int(support.rounded(.up)) * 2 + 1
        var starts = [Int](repeating: 0, count: kept.count)
        var lengths = starts
        var taps = [Int32](repeating: 0, count: kept.count * tapCount)
        var weights = [Double](repeating: 0, count: tapCount)
        for place in 0..<kept.count {
            let centre = (Double(kept.lowerBound + place) + 0.5) * scale
            let start = max(Int(centre - support + 0.5), 0)
            let length = min(Int(centre + support + 0.5), size) - start
            var sum = 0.0
            for tap in 0..<length {
                weights[tap] = filter.weight((Double(tap + start) - centre + 0.5) * (1 / filterScale))
                sum += weights[tap]
            }
            for tap in 0..<length {
                let weight = sum == 0 ? weights[tap] : weights[tap] / sum
                let fixed = weight * Double(1 << Self.precision)
                taps[place * tapCount + tap] = Int32(fixed < 0 ? fixed - 0.5 : fixed + 0.5)
            }
            starts[place] = start
            lengths[place] = length
        }
        (count, self.tapCount, self.starts, self.lengths, self.taps) = (kept.count, tapCount, starts, lengths, taps)
    }

    /// `[rowCount, from, 3]` to `[rowCount, count, 3]`.
    func resampleRows(_ source: [UInt8], rowCount: Int) -> [UInt8] {
        let rowLength = source.count / rowCount
        let newLength = count * 3
        return [UInt8](unsafeUninitializedCapacity: rowCount * newLength) { output, filled in
            // A fourth lane, never read, lets one vector hold a pixel.
            let row = UnsafeMutableBufferPointer<SIMD4<Int32>>.allocate(capacity: rowLength / 3)
            defer { row.deallocate() }
            source.withUnsafeBufferPointer { source in
                taps.withUnsafeBufferPointer { taps in
                    for y in 0..<rowCount {
                        let line = y * rowLength
                        for x in 0..<row.count {
                            let at = line + x * 3
                            row[x] = SIMD4(Int32(source[at]), Int32(source[at + 1]), Int32(source[at + 2]), 0)
                        }
                        for place in 0..<count {
                            var sum = SIMD4<Int32>(repeating: 1 << (Self.precision - 1))
                            let start = starts[place]
                            let first = place * tapCount
                            for tap in 0..<lengths[place] {
                                sum &+= row[start + tap] &* SIMD4(repeating: taps[first + tap])
                            }
                            sum &>>= SIMD4(repeating: Self.precision)
                            sum.clamp(lowerBound: SIMD4(repeating: 0), upperBound: SIMD4(repeating: 255))
                            let at = y * newLength + place * 3
                            output[at] = UInt8(truncatingIfNeeded: sum[0])
                            output[at + 1] = UInt8(truncatingIfNeeded: sum[1])
                            output[at + 2] = UInt8(truncatingIfNeeded: sum[2])
                        }
                    }
                }
            }
            filled = rowCount * newLength
        }
    }

    /// `[from, rowLength]` to `[count, rowLength]`.
    func resampleColumns(_ source: [UInt8], rowLength: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count * rowLength) { output, filled in
            let sums = UnsafeMutableBufferPointer<Int32>.allocate(capacity: rowLength)
            defer { sums.deallocate() }
            source.withUnsafeBufferPointer { source in
                taps.withUnsafeBufferPointer { taps in
                    for place in 0..<count {
                        sums.update(repeating: 1 << (Self.precision - 1))
                        for tap in 0..<lengths[place] {
                            let weight = taps[place * tapCount + tap]
                            let line = (starts[place] + tap) * rowLength
                            for x in 0..<rowLength {
                                sums[x] &+= Int32(truncatingIfNeeded: source[line + x]) &* weight
                            }
                        }
                        let line = place * rowLength
                        for x in 0..<rowLength {
                            output[line + x] = UInt8(
                                truncatingIfNeeded: min(max(sums[x] &>> Self.precision, 0), 255))
                        }
                    }
                }
            }
            filled = count * rowLength
        }
    }
}
