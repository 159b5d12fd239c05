import TihuaFiles
import TihuaPictures
import TihuaVerse

/// The views that one picture has, for those who learn from more than the picture as it is: 0 as it is, 1 mirrored, and
/// from 2 on cuts of 0.75 to 1 of each side, the odd ones mirrored.
enum PictureView {
    /// A view of a picture.
    ///
    /// - Parameter key: what the cut is drawn from, with the number
    static func view(_ number: Int, of picture: Picture, key: String) -> Picture {
        var picture = picture
        if number > 1 {
            var random = SplitMix64(stableHash(key), UInt64(number))
            func part(_ side: Int) -> Range<Int> {
                let length = max(1, Int(Double(side) * (0.75 + 0.25 * random.uniform())))
                let start = Int(Double(side - length) * random.uniform())
                return start..<start + length
            }
            let (columns, rows) = (part(picture.width), part(picture.height))
            picture = picture.cropped(
                x: columns.lowerBound, y: rows.lowerBound, width: columns.count, height: rows.count)
        }
        return number % 2 == 1 ? picture.mirrored() : picture
    }
}
