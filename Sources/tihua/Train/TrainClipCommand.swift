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

    @Option(name: .long, help: "SHARD[,captions=FILE]...[,labels=FILE][,teacher=FILE][,encoding=NAME][,repeat=N]")
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

    @Option(name: .long, help: "Where decoded pictures are kept.", completion: .directory)
    var cache = "runs/pictures"

    @OptionGroup var run: RunArguments

    func validate() throws {
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
        // An eighth more than what is looked at, for random cuts.
        let side = options.imageSize + options.imageSize / 8
        func open(_ specification: String) throws -> PictureSet {
            try PictureSet(Self.source(specification), side: side, cache: URL(filePath: cache), report: report)
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
        let vocabulary =
            try folder.map { try vocabularyTokens(at: $0.url.appending(path: "vocab.txt")) }
            ?? ClipVocabulary.tokens(
                captions: sets.flatMap { $0.items.flatMap(\.captions) } + textPairs.flatMap { [$0.first, $0.second] },
                always: extra)
        let task = try ClipTask(
            sets: sets, validationSets: held, pairs: textPairs, vocabulary: vocabulary, options: options,
            training: training, imagery: lessons, device: device, continuing: folder)
        let counts = task.counts
        report("\(counts.training) pictures to train on, \(counts.validation) held out, \(vocabulary.count) tokens")
        try run.train(task, training)
    }

    /// What `SHARD[,captions=FILE]...[,labels=FILE][,teacher=FILE][,encoding=NAME][,repeat=N]` names.
    ///
    /// - Throws: `ValidationError`.
    static func source(_ specification: String) throws -> PictureSet.Source {
        let expected = "captions=FILE, labels=FILE, teacher=FILE, encoding=NAME or repeat=N"
        let parts = specification.split(separator: ",").map(String.init)
        guard let first = parts.first else { throw ValidationError("--shard needs the path of a tar archive") }
        var source = PictureSet.Source(shard: URL(filePath: first))
        for part in parts.dropFirst() {
            let pair = part.split(separator: "=", maxSplits: 1).map(String.init)
            guard pair.count == 2 else {
                throw ValidationError("\(part): expected \(expected)")
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
            case "repeat":
                guard let count = Int(pair[1]), (1...1000).contains(count) else {
                    throw ValidationError("\(part): expected a number of 1 to 1000")
                }
                source.repeats = count
            default: throw ValidationError("\(pair[0]): expected \(expected)")
            }
        }
        return source
    }
}
