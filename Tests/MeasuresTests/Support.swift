import Foundation
import TihuaCorpora
import TihuaGeneration
import TihuaModels
import TihuaNN
import TihuaProsody
import TihuaTorch
import TihuaTraining
import TihuaVerse

/// A poet of a few layers and a corpus of regular poems in its characters.
struct Poet {
    let store: ParameterStore
    let model: GPT2
    let vocabulary: PoetVocabulary

    init(seed: UInt64 = 5) throws {
        Runtime.threadCount = 1
        var known: Set<Character> = []
        let characters = [RhymeBook.pingshui, .cilin].flatMap(\.groups).flatMap { $0.members.prefix(24) }
            .filter { known.insert($0).inserted }
        vocabulary = PoetVocabulary(characters: characters)
        store = ParameterStore(seed: seed)
        let shape = GPT2Configuration(
            vocabularySize: vocabulary.count, hiddenSize: 16, layerCount: 1, headCount: 2, positionCount: 192)
        model = GPT2(shape, at: store.root)
    }

    /// Sets all weights to 0, so that every token is equally probable.
    func flattened() -> Poet {
        withoutGradients { for entry in store.entries { entry.tensor.multiply_(0) } }
        return self
    }

    /// Regular poems of 五绝 and 七绝 in 七阳, half of each.
    func corpus(_ count: Int) throws -> [CorpusPoem] {
        var random = SplitMix64(seed: 11)
        let characters = vocabulary.characters.sorted()
        return try (0..<count).map { index in
            let form = index % 2 == 0 ? Form.wujue : .qijue
            let constraint = try MetreConstraint(
                form: form, tones: .strict, book: form.defaultBook,
                rhymeGroup: try form.defaultBook.group(named: "七阳", for: form), vocabulary: Set(characters))
            var state = MetreState(constraint)
            var text: [Character] = []
            while !state.isComplete {
                let character = characters[Int(random.next() % UInt64(characters.count))]
                if state.append(character) { text.append(character) }
            }
            let size = form.lineLengths[0]
            let lines = (0..<4).map { String(text[$0 * size..<($0 + 1) * size]) }
            return CorpusPoem(
                form: form.name, lines: lines, keywords: [String(lines[0].prefix(2)), String(lines[2].suffix(2))])
        }
    }

    /// The poems as examples, all of them to train on.
    func examples(_ poems: [CorpusPoem]) -> [PoemExample] {
        var options = PoetOptions()
        options.holdOut = 0
        return PoemDataset(poems: poems, words: [], vocabulary: vocabulary, options: options.dataset).training
    }
}

/// Calls `body` with a new folder, which is removed afterwards.
func withFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: "tihua-measures-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder)
}
