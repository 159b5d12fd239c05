import ArgumentParser
import Foundation
import Tihua
import TihuaDataFiles
import TihuaTraining

extension DataCommand {
    /// `tihua data embed`: pictures to one file of embeddings.
    struct Embed: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "embed", abstract: "Embed many pictures into one file, for training captioners.",
            discussion: """
                Pictures are folders, tar shards (KEY.jpg) and single files. The key of a picture is its path in the \
                folder or shard without the ending; two pictures of one key are an error. The file is safetensors with \
                keys and embeddings, float32 [N, E], as the model gives them, or of length 1 with --unit. With --grid \
                it also holds what the tower sees where, float16 [N, P, C], which captioners with places are trained \
                on; such a captioner overfits less when it sees further views of the pictures.

                  tihua data embed flickr8k-train.tar flickr8k-val.tar \\
                    --out flickr8k.safetensors
                  tihua data embed photos/ --clip chinese-clip-vit-base-patch16 \\
                    --out photos.safetensors
                  tihua data embed flickr8k-train.tar --grid --view 1 \\
                    --out mirrored.safetensors

                After an interrupt the same command continues, and gives the same bytes. Pictures that cannot be read \
                are listed and left out; the exit status is then 1.
                """)

        @Argument(help: "Folders, tar shards, pictures.", completion: .file())
        var pictures: [String]

        @Option(help: "The file to write.", completion: .file(extensions: ["safetensors"]))
        var out: String

        @Flag(help: "Scale each embedding to length 1.")
        var unit = false

        @Flag(help: "Keep what the picture tower sees at each place, beside the embeddings.")
        var grid = false

        @Option(
            help: """
                Embed another view of each picture: 1 mirrored; 2, 3, … a cut of 0.75 to 1 of each side, the odd ones \
                mirrored.
                """)
        var view = 0

        @Option(help: "Embed those pictures alone that these captions are of.", completion: .file())
        var captions: String?

        @OptionGroup(title: "WEIGHTS") var towers: TowerArguments

        @Flag(help: "Print one JSON object.")
        var json = false

        @Flag(help: "Say nothing but errors.")
        var quiet = false

        func validate() throws {
            guard (0...EmbeddingJob.lastView).contains(view) else {
                throw ValidationError("--view is \(view); give 0 to \(EmbeddingJob.lastView)")
            }
        }

        func run() async throws {
            let engine = try towers.makeEngine()
            var list = try PictureList(pictures.map { URL(filePath: $0) })
            if let captions {
                let named = try CaptionFile(contentsOf: URL(filePath: captions)).captions.map {
                    PictureName.key(of: $0.image)
                }
                list = list.restricted(to: Set(named))
                guard !list.entries.isEmpty else {
                    throw DataFileError.nothingFound(file: captions, expected: "caption of one of the pictures")
                }
            }
            if !quiet { list.notes.forEach(Console.note) }
            let job = EmbeddingJob(
                list, engine: engine, output: URL(filePath: out), isNormalized: unit, hasGrids: grid, view: view)
            let start = ContinuousClock.now
            let count = list.entries.count
            var first: Int?
            var rate = 0.0
            let interruption = Interruption()
            let progress = ProgressLine(isQuiet: quiet)
            let report = try await job.run(interrupted: { interruption.wasRequested }) { done in
                // The rate is that of this run: without earlier pictures, and without the first batch, which loads.
                let seconds = (ContinuousClock.now - start) / .seconds(1)
                if let first { rate = Double(done - first) / max(seconds, 0.001) } else { first = max(0, done - 32) }
                progress("\(done)/\(count) pictures, \(Int(rate))/s")
            }
            progress(nil)
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            for picture in report.bad.prefix(10) { Console.note("left out: \(picture.reason)") }
            if report.bad.count > 10 { Console.note("left out: \(report.bad.count - 10) more") }
            if report.isInterrupted {
                Console.note("interrupted; the same command continues")
                throw ExitCode(130)
            }
            let summary = Summary(
                pictures: report.pictures, embedded: report.pictures - report.bad.count, earlier: report.earlier,
                bad: report.bad.map { Summary.Bad(key: $0.key, reason: $0.reason) },
                width: try await engine.embeddingWidth, model: try await engine.fingerprint, seconds: seconds)
            if json {
                try Console.print(try jsonLine(summary))
            } else if !quiet {
                let earlier = report.earlier > 0 ? " (\(report.earlier) of them done before)" : ""
                let speed = Double(report.pictures - report.earlier) / max(seconds, 0.001)
                let time = String(format: "%.1f s, %.0f pictures/s", seconds, speed)
                Console.note("\(summary.embedded) of \(report.pictures) pictures\(earlier) in \(out), \(time)")
            }
            if !report.bad.isEmpty { throw ExitCode(1) }
        }

        /// What `--json` prints.
        private struct Summary: Encodable {
            struct Bad: Encodable {
                let key: String
                let reason: String
            }

            let pictures: Int
            let embedded: Int
            let earlier: Int
            let bad: [Bad]
            let width: Int
            let model: String
            let seconds: Double
        }
    }
}
