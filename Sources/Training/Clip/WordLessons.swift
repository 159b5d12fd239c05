import TihuaCorpora
import TihuaNN
import TihuaTorch
import TihuaVerse

/// The words of an imagery bank that a batch is asked for, and which of its pictures show them.
///
/// B pictures of a batch, W words.
final class WordLessons: CustomStringConvertible {
    private let texts: [[String]]
    /// The words of each picture, by set and item.
    private let shown: [[[Int]]]
    /// The logarithm of the factor of the cosines, and what is added to them: a word is shown by few pictures.
    private let scale: Tensor
    private let bias: Tensor

    /// - Parameter sure: the class of ImageNet that a teacher is at least half sure of, for each item of each set
    init(_ lessons: ImageryLessons, sets: [PictureSet], sure: [[Int?]], at path: ParameterPath) {
        texts = lessons.texts
        shown = zip(sets, sure).map { set, sure in
            zip(set.items, sure).map { item, sure in
                lessons.rules.words(label: item.label, captions: item.captions, teacherClass: sure)
            }
        }
        scale = path.parameter("scale", [], .constant(3))
        bias = path.parameter("bias", [], .constant(-10))
    }

    init(sharing original: WordLessons, at path: ParameterPath) {
        texts = original.texts
        shown = original.shown
        scale = path.parameter("scale", [], .constant(0))
        bias = path.parameter("bias", [], .constant(0))
    }

    var description: String {
        texts.flatMap { $0 }.joined(separator: "|") + shown.map { "\($0)" }.joined(separator: "|")
    }

    /// Words for a batch, each with one of its texts: three quarters of them such as a picture of the batch shows, as
    /// far as there are so many.
    func chosen(
        _ places: [ClipTask.Place], count: Int, using random: inout SplitMix64
    ) -> [(word: Int, text: String)] {
        let present = Set(places.flatMap { shown[$0.set][$0.item] }).sorted().shuffled(using: &random)
        let drawn = present.prefix(max(1, 3 * count / 4))
        let others = texts.indices.shuffled(using: &random).filter { !drawn.contains($0) }
        return (drawn + others.prefix(count - drawn.count)).map { word in
            (word, texts[word].randomElement(using: &random) ?? "")
        }
    }

    /// The sigmoid loss (Zhai et al. 2023, SigLIP) for several right answers: each word is shown or not, whatever else
    /// is. In nats per picture.
    ///
    /// - Parameter cosines: `[B, W]`
    func loss(_ cosines: Tensor, _ places: [ClipTask.Place], _ words: [Int]) -> Tensor {
        var signs = [Float](repeating: -1, count: places.count * words.count)
        for (row, place) in places.enumerated() {
            let shown = Set(shown[place.set][place.item])
            for (column, word) in words.enumerated() where shown.contains(word) {
                signs[row * words.count + column] = 1
            }
        }
        let signed =
            (cosines * scale.exp() + bias) * Tensor(signs, [places.count, words.count]).to(nil, cosines.device)
        // log σ(x) = log softmax of x against 0, which does not overflow.
        let logs = Tensor.stacked([signed, signed * 0], 2).logSoftmax(2)  // [B, W, 2]
        return -logs.narrowed(2, 0..<1).sum() * (1 / Double(places.count))
    }
}
