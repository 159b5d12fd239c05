import Foundation
import TihuaNN
import TihuaTorch
import TihuaVerse

// B pictures, S pixels of one side, E width of the embeddings, N texts.

/// A picture of a set, by its row in the set's pixels.
struct PictureRow {
    /// The place of the set among all sets.
    let place: Int
    let set: PictureSet
    let row: Int
}

/// The two towers that a `ClipTask` trains, and how pictures and texts reach them.
protocol TrainedTowers: AnyObject {
    /// The natural logarithm of the factor of the cosines. `[]`
    var logitScale: Tensor { get }
    /// The width of the embeddings (E).
    var width: Int { get }
    /// Random cuts of pictures, as they are learned from: float32 `[B, E]`, not normalised
    func images(_ pictures: [PictureRow], using random: inout SplitMix64) -> Tensor
    /// Whole pictures, as they are seen in use: float32 `[B, E]`, not normalised
    func images(whole pictures: [PictureRow]) -> Tensor
    /// Texts, float32 `[N, E]`, not normalised.
    ///
    /// - Parameter random: for dropout in training; nil otherwise
    func texts(_ texts: [String], using random: SplitMix64?) -> Tensor
    /// What the first picture tower's own classifier, before any training, takes pictures for: probabilities
    /// `[B, 1000]` of the classes of ImageNet; nil where it has none.
    func classes(_ pictures: [PictureRow]) -> Tensor?
    /// What is added to the loss for texts that move away from where they began; nil for nothing.
    ///
    /// - Parameter unit: the embeddings of `texts` at unit length, `[N, E]`
    func distance(_ unit: Tensor, of texts: [String]) -> Tensor?
    /// Multiplications of one forward pass.
    func multiplications(pictures: Int, texts: [String]) -> Double
    /// Whether a parameter keeps its value.
    func isFrozen(_ name: String) -> Bool
    /// Towers over the parameters of another store.
    func sharing(_ store: ParameterStore) -> Self
    /// Writes the folder of the model.
    func save(to folder: URL, _ store: ParameterStore, tensor: @escaping (String) -> Tensor?) throws
}

/// Pictures as a tower takes them: float32 `[B, 3, S, S]`
func pixels(
    _ pictures: [PictureRow], _ cuts: [PictureCut], size: Int, mean: [Float], deviation: [Float], device: Device
) -> Tensor {
    let area = 3 * size * size
    let values = [Float](unsafeUninitializedCapacity: pictures.count * area) { buffer, count in
        struct Shared: @unchecked Sendable {  // each iteration writes its own picture
            let values: UnsafeMutableBufferPointer<Float>
        }
        let shared = Shared(values: buffer)
        DispatchQueue.concurrentPerform(iterations: pictures.count) { index in
            let picture = pictures[index]
            cuts[index].copy(
                picture.set.pixels, row: picture.row, side: picture.set.side, size: size, mean: mean,
                deviation: deviation,
                to: UnsafeMutableBufferPointer(rebasing: shared.values[index * area..<(index + 1) * area]))
        }
        count = pictures.count * area
    }
    return Tensor(values, [pictures.count, 3, size, size]).to(nil, device).channelsLast()
}

extension TrainedTowers {
    /// The class that the first picture tower is at least half sure of, for each picture of a set; nil where it tells
    /// no classes.
    func sureClasses(of set: PictureSet, place: Int) -> [Int?]? {
        let rows = set.rows.map { PictureRow(place: place, set: set, row: $0) }
        var sure: [Int?] = []
        for range in ranges(of: rows.count, size: 512) {
            guard let probabilities = classes(Array(rows[range])) else { return nil }
            let (values, count) = (probabilities.floats, probabilities.size(1))
            for row in range.indices {
                let start = (row - range.lowerBound) * count
                sure.append((start..<start + count).firstIndex { values[$0] >= 0.5 }.map { $0 - start })
            }
        }
        return sure
    }
}
