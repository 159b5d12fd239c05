import ArgumentParser
import Foundation
import Tihua
import TihuaCorpora
import TihuaDataFiles
import TihuaModels
import TihuaTokenizers
import TihuaTorch
import TihuaTraining

/// `tihua train clip`: a picture tower and a text tower with a joint embedding.
struct TrainClipCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clip", abstract: "Train a two-tower model on pictures and what is said of them.",
        discussion: """
            A shard is a tar archive of pictures (KEY.jpg). What is said of them comes from files of captions \
            (id.jpg#zhc#0 text), or, where keys begin with a label, from a table of captions for labels \
            (LABEL<TAB>CAPTION). A folder that has a folder of pictures for each label serves too; without a table, \
            its labels are put into templates. The soft labels of a teacher (safetensors: class, prob_u8) may go with \
            a shard. With repeat=N its pictures come N times in an epoch.

            With --imagery and --bank the towers also learn which words of the bank a picture shows, by rules over its \
            labels and captions (batchWords in the recipe).

              tihua train clip --config Recipes/clip-mini.json --out runs/clip \\
                --shard photos.tar,captions=photos.tsv,teacher=photos.safetensors \\
                --shard intel-train.tar,labels=Recipes/labels/intel.tsv \\
                --validation flickr8k-val.tar,captions=flickr8kzhc.caption.txt \\
                --pairs ccpm/train.jsonl --texts Weights/mini/imagery.tsv \\
                --imagery Recipes/labels/imagery.tsv --bank Weights/mini/imagery.tsv
            """)

    @Option(
        name: .long,
        help: """
            SHARD[,captions=FILE]...[,labels=FILE][,teacher=FILE][,encoding=NAME][,repeat=N][,views=N][,holdout=N]\
            [,unlabelled]
            """)
    var shard: [String]

    @Option(name: .long, help: "A shard to measure on, never trained on.")
    var validation: [String] = []

    @Option(name: .long, help: "CCPM JSON lines: pairs of texts that mean the same.", completion: .file())
    var pairs: [String] = []

    @Option(name: .long, help: "Further texts whose characters the vocabulary must hold.", completion: .file())
    var texts: [String] = []

    @Option(
        name: .long, help: "Rules that say which pictures show a word: WORD<TAB>LABELS<TAB>CAPTION PATTERNS.",
        completion: .file())
    var imagery: String?

    @Option(name: .long, help: "The bank whose descriptions stand for the words of --imagery.", completion: .file())
    var bank: String?

    @Option(
        name: .long, help: "Start from the two-tower model of an earlier run, with its vocabulary.",
        completion: .directory)
    var from: String?

    @Option(
        name: .long,
        help: "First weights of the picture tower: an EfficientNet-Lite with its classes (.pth or folder).",
        completion: .file())
    var pictureWeights: String?

    @Option(
        name: .long, help: "First weights of the text tower: a universal sentence encoder with its sp.model.",
        completion: .directory)
    var textWeights: String?

    @Option(
        name: .long,
        help: "Names of the picture tower's 1,000 classes, INDEX<TAB>NAME: what it knows is taught by name.",
        completion: .file())
    var classes: String?

    @Option(name: .long, help: "Where decoded pictures, features and vectors are kept.", completion: .directory)
    var cache = "runs/pictures"

    @OptionGroup var run: RunArguments

    func validate() throws {
        guard (pictureWeights == nil) == (textWeights == nil) else {
            throw ValidationError("--picture-weights and --text-weights go together: one for each tower.")
        }
        guard classes == nil || pictureWeights != nil else {
            throw ValidationError("--classes names the classes of --picture-weights; give them too.")
        }
        guard (imagery == nil) == (bank == nil) else {
            throw ValidationError("--imagery and --bank go together: the rules and the descriptions of the words.")
        }
    }

    func run() async throws {
        let file = try run.recipe()
        let given = try run.options(file)
        let options = try file.section("clip", or: ClipOptions())
        try options.validate()
        let (device, training) = try run.prepare(given)
        let report = run.note
        func open(_ specification: String) throws -> PictureSet {
            try PictureSet(
                Self.source(specification), side: options.decodedSize, cache: URL(filePath: cache), report: report)
        }
        let sets = try shard.map(open)
        let held = try validation.map(open)
        var textPairs: [TextPair] = []
        for file in pairs {
            textPairs += try MatchingItem.read(URL(filePath: file)).map { TextPair($0.translation, $0.line) }
        }
        var lessons: ImageryLessons?
        if let imagery, let bank {
            let described = try ImageryBank(contentsOf: URL(filePath: bank)).entries.map {
                (word: $0.word, texts: ImageryBank.prompts(for: $0))
            }
            lessons = try ImageryLessons(
                rules: ImageryRules(contentsOf: URL(filePath: imagery)), bank: described)
            guard options.batchWords > 0 else {
                throw ValidationError("--imagery: the recipe has batchWords 0; set how many words a batch is asked for")
            }
        }
        let extra = try texts.map { try readText(URL(filePath: $0)) }
        let folder = try from.map { try ModelFolder(at: URL(filePath: $0)) }
        let first = try firstWeights(file)
        let vocabulary =
            try first != nil
            ? []
            : folder.map { try vocabularyTokens(at: $0.url.appending(path: "vocab.txt")) }
                ?? ClipVocabulary.tokens(
                    captions: sets.flatMap { $0.items.flatMap(\.captions) }
                        + textPairs.flatMap { [$0.first, $0.second] },
                    always: extra)
        let task = try ClipTask(
            sets: sets, validationSets: held, pairs: textPairs, vocabulary: vocabulary, options: options,
            training: training, imagery: lessons, device: device, continuing: folder, first: first, report: report)
        let counts = task.counts
        report(
            "\(counts.training) pictures to train on, \(counts.validation) held out"
                + (first == nil ? ", \(vocabulary.count) tokens" : ""))
        try run.train(task, training)
    }

    private func firstWeights(_ recipe: RecipeFile) throws -> FirstWeights? {
        guard let pictureWeights, let textWeights else { return nil }
        var first = FirstWeights(
            vision: URL(filePath: pictureWeights), text: URL(filePath: textWeights), cache: URL(filePath: cache))
        first.options = try recipe.section("dual", or: first.options)
        try first.options.validate()
        if let classes { first.classNames = try ClassNames.read(URL(filePath: classes)) }
        return first
    }

    /// What `SHARD[,captions=FILE]...[,labels=FILE][,teacher=FILE][,encoding=NAME][,repeat=N]` names.
    ///
    /// - Throws: `ValidationError`.
    static func source(_ specification: String) throws -> PictureSet.Source {
        let expected =
            "captions=FILE, labels=FILE, teacher=FILE, encoding=NAME, repeat=N, views=N, holdout=N or unlabelled"
        let parts = specification.split(separator: ",").map(String.init)
        guard let first = parts.first else { throw ValidationError("--shard needs the path of a tar archive") }
        var source = PictureSet.Source(shard: URL(filePath: first))
        for part in parts.dropFirst() {
            if part == "unlabelled" {
                source.isUnlabelled = true
                continue
            }
            let pair = part.split(separator: "=", maxSplits: 1).map(String.init)
            guard pair.count == 2 else {
                throw ValidationError("\(part): expected \(expected)")
            }
            func number(_ range: ClosedRange<Int>) throws -> Int {
                guard let count = Int(pair[1]), range.contains(count) else {
                    throw ValidationError("\(part): expected a number of \(range.lowerBound) to \(range.upperBound)")
                }
                return count
            }
            switch pair[0] {
            case "captions": source.captions.append(URL(filePath: pair[1]))
            case "labels": source.labels = URL(filePath: pair[1])
            case "teacher": source.teacher = URL(filePath: pair[1])
            case "encoding":
                guard let encoding = TextEncoding(named: pair[1]) else {
                    let known = TextEncoding.allCases.map(\.rawValue).joined(separator: ", ")
                    throw ValidationError("\(part): expected one of \(known)")
                }
                source.encoding = encoding
            case "repeat": source.repeats = try number(1...1000)
            case "views": source.views = try number(1...64)
            case "holdout": source.holdOut = try number(0...1_000_000)
            default: throw ValidationError("\(pair[0]): expected \(expected)")
            }
        }
        return source
    }
}
