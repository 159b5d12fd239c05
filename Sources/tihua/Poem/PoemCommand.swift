import ArgumentParser
import Foundation
import Tihua
import TihuaEncoders
import TihuaGeneration
import TihuaPictures
import TihuaProsody
import TihuaTorch

/// `tihua poem`: classical poems for pictures.
struct PoemCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "poem", abstract: "Write classical Chinese poems for pictures.",
        discussion: """
            EXAMPLES
              tihua poem photo.jpg
              tihua poem photo.jpg --form 五律 --n 1 --seed 7
              tihua poem photo.jpg --form qijue --rhyme 七阳 --tones strict
              tihua poem photo.jpg --acrostic 春夏秋冬 --theme 思念故乡
              tihua poem photo.jpg --form 浣溪沙 --keywords 小桥,流水
              tihua poem photo.jpg --through prefix
              tihua poem photo.jpg --render poem.png --title 江上 --signature 丙午秋日
              tihua poem album/ --render poems/
              tihua poem *.jpg --json | jq -r '.poems[0].lines | join("，")'

            \(PictureInput.discussion)

            意象 are the words that the picture calls up, and 画面 is what happens in it. 种子 is the seed: the same seed \
            gives the same poems on the same machine.

            \(samplingHelp)
            """)

    @Argument(help: PictureInput.help, completion: .file())
    var pictures: [String]

    @OptionGroup(title: "POEM") var poem: PoemArguments
    @OptionGroup(title: "SAMPLING") var sampling: SamplingArguments
    @OptionGroup(title: "PICTURE") var rendering: RenderArguments
    @OptionGroup(title: "WEIGHTS") var weights: PoetArguments

    @Flag(help: "One poem for all pictures together; 画面 and --render take the first of them.")
    var together = false

    @Flag(help: "Print one JSON object a line for each picture.")
    var json = false

    @Flag(help: "Print nothing but poems and errors.")
    var quiet = false

    /// Pictures that are embedded together for one poem.
    private static let batchSize = 32

    func run() async throws {
        var request = try poem.request(sampling)
        let failures = Failures()
        let inputs = try PictureInput.all(at: pictures, quiet: quiet, failed: failures.report)
        let isSeveral = !together && (pictures.count > 1 || inputs.contains { !$0.isNamed })
        let target = try rendering.target(for: inputs, isSeveral: isSeveral)
        let engine = try weights.makeEngine()
        if let target {
            // What is given must be drawable before any work is done; the rest is written in characters that are.
            try target.check([poem.acrostic, poem.firstLine])
            request.withheld = try target.undrawable(String(try await engine.writableCharacters()))
        }
        try await engine.check(request)
        guard !inputs.isEmpty else { throw ExitCode(1) }
        try target?.prepare()
        if together {
            try await writeTogether(inputs, engine, request, target, failures)
            return try failures.end()
        }
        for (place, input) in inputs.enumerated() {
            do {
                let heading = "\(input.name)  \(place + 1)/\(inputs.count)"
                progress("\(heading) …")
                defer { progress(nil) }
                let picture = try input.load()
                let result = try await engine.poems(for: [picture], request: request, progress: report(heading))
                progress(nil)
                try show(result, [input.name], isLast: place + 1 == inputs.count)
                try render(result, on: picture, at: place, target)
            } catch let error as Console.OutputError {
                throw error
            } catch {
                failures.report(error)
            }
        }
        try failures.end()
    }

    /// One poem for all pictures that can be read; only the first of them stays in memory.
    private func writeTogether(
        _ inputs: [PictureInput], _ engine: Engine, _ request: PoemRequest, _ target: RenderTarget?,
        _ failures: Failures
    ) async throws {
        var first: (picture: Picture, place: Int)?
        var names: [String] = []
        var features: [PictureFeatures] = []
        try await PictureInput.forEachBatch(of: inputs, size: Self.batchSize, progress, failures) { loaded in
            names += loaded.map { inputs[$0.place].name }
            if first == nil { first = loaded.first.map { ($0.picture, $0.place) } }
            // The grid of the first is kept, for its caption, and those of the others are not needed.
            let seen = try await engine.features(of: loaded.map(\.picture))
            features += seen.enumerated().map {
                PictureFeatures(embedding: $1.embedding, grid: features.isEmpty && $0 == 0 ? $1.grid : nil)
            }
        }
        defer { progress(nil) }
        guard let first else { return }
        let heading = "\(names.count) pictures"
        progress("\(heading) …")
        let result = try await engine.poems(forFeatures: features, request: request, progress: report(heading))
        progress(nil)
        try show(result, names, isLast: true)
        try render(result, on: first.picture, at: first.place, target)
    }

    private func render(_ result: PoemResult, on picture: Picture, at place: Int, _ target: RenderTarget?) throws {
        guard let target, let best = result.poems.first else { return }
        let file = try target.write(best, on: picture, at: place)
        if !quiet { Console.note(file) }
    }

    private func show(_ result: PoemResult, _ names: [String], isLast: Bool) throws {
        try Console.print(json ? jsonLine(Named(result, pictures: names)) : Self.text(result, names, quiet: quiet))
        if !json, !isLast { try Console.print() }
    }

    /// Poems as people read them.
    static func text(_ result: PoemResult, _ names: [String], quiet: Bool) -> String {
        var blocks: [String] = []
        if !quiet {
            // The caption is the first picture's.
            let caption = result.caption.map { "\n画面  \($0)" + (names.count > 1 ? "（第一幅）" : "") } ?? ""
            blocks.append(
                names.joined(separator: " ") + "\n意象  " + result.keywords.map(\.word).joined(separator: " ") + caption)
        }
        for poem in result.poems {
            let lines = poem.punctuatedLines.map { $0.isEmpty ? "" : "  \($0)" }
            let rhymes = poem.rhymes.reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
            blocks.append("  〔\(poem.form)·\(rhymes.joined(separator: "、"))〕\n" + lines.joined(separator: "\n"))
        }
        if !quiet { blocks.append("种子  \(result.seed)") }
        return blocks.joined(separator: "\n\n")
    }

    /// What the engine does, behind a heading, on the line that goes away again.
    private func report(_ heading: String) -> @Sendable (PoemEvent) -> Void {
        let progress = progress
        return { event in
            switch event {
            case .seen: progress("\(heading)  seen …")
            case .words(let words, _): progress("\(heading)  \(words.map(\.word).joined(separator: " ")) …")
            case .draft(let count, let total): progress("\(heading)  draft \(count) of \(total) …")
            case .done: progress(nil)
            }
        }
    }

    private var progress: ProgressLine { ProgressLine(isQuiet: quiet) }
}

/// What is drawn from where the options do not say it.
let samplingHelp = """
    Unless told otherwise, characters are drawn at temperature \(Sampling().temperature) from the \(Sampling().topK) \
    most probable ones, and of these from those that together have the probability \(Sampling().topP).
    """

/// What the poem shall be.
struct PoemArguments: ParsableArguments {
    @Option(help: "The form, in Chinese or pinyin: 五绝 七绝 五律 七律, 古体, a ci tune; several are separated by commas.")
    var form = "七绝"

    @Option(help: "How many poems to print.")
    var n = 3

    @Option(help: "How many poems to write; the best of them are printed.")
    var candidates = 50

    @Option(help: "The rhyme group, such as 七阳 or 第七部.")
    var rhyme: String?

    @Option(help: "Tones: strict (the textbook), loose (拗救 allowed) or off.")
    var tones = TonePolicy.loose

    @Option(help: "The rhyme book: 平水韵 (pingshui), 词林正韵 (cilin) or 中华新韵 (xinyun); each form has its own.")
    var book: RhymeBook?

    @Option(help: "The first character of each line (藏头).")
    var acrostic: String?

    @Option(help: "The first line.")
    var firstLine: String?

    @Option(help: "What the poem is about, in a Chinese sentence.")
    var theme: String?

    @Option(help: "Words to use instead of those that the picture calls up, separated by commas.")
    var keywords: String?

    @Option(
        help:
            "How the poet learns of the picture: keywords, prefix (a mapping network, without words), or both in turn.")
    var through = PoemRequest.Through.keywords

    /// - Throws: `ProsodyError.unknownForm`, `ValidationError` for an option that names nothing.
    func request(_ sampling: SamplingArguments) throws -> PoemRequest {
        for (option, text) in [("--form", form), ("--keywords", keywords), ("--acrostic", acrostic)]
        where text.map({ Self.list($0).isEmpty }) == true {
            throw ValidationError("\(option) names nothing; leave it out, or give it a value")
        }
        var request = PoemRequest()
        request.forms = try Self.list(form).map { try Form(named: $0) }
        request.count = n
        request.candidates = candidates
        request.rhyme = rhyme
        request.tones = tones
        request.book = book
        request.acrostic = acrostic ?? ""
        request.firstLine = firstLine
        request.theme = theme
        request.keywords = Self.list(keywords ?? "")
        request.through = through
        request.sampling = sampling.value()
        request.seed = sampling.seed ?? UInt64(UInt32.random(in: .min ... .max))
        return request
    }

    private static func list(_ text: String) -> [String] {
        text.split { ",，、 ".contains($0) }.map(String.init)
    }
}
