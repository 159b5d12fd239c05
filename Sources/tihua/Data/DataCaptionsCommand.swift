import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaDataFiles

extension DataCommand {
    /// `tihua data captions`: caption files of any known form to one clean file.
    struct Captions: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "captions", abstract: "Make one clean file of captions for training.",
            discussion: """
                Reads lines ID#zhc#N TEXT (Flickr8k-CN, Flickr30k-CN), ID#N TEXT (COCO-CN) and ID<TAB>TEXT; tables \
                with a header such as image,caption (Kaggle's Flickr8k and Flickr30k); JSON of AI Challenger, COCO, \
                MUGE and Chinese-CLIP; and lines of tihua caption --json. Joins words that are segmented (一 只 狗) or \
                tagged (一:m 只:q 狗:n, or with /). Writes ID<TAB>TEXT in UTF-8.

                  tihua data captions flickr8kzhc.caption.txt --out captions.tsv --hold-out 20
                  tihua data captions flickr8kzhc.caption.txt --out train.tsv \\
                    --validation flickr8kval.txt
                  tihua data captions *.caption.txt --language zhc,zhb \\
                    --pictures flickr8k-train.tar --out train.tsv
                  tihua data captions caption_train_annotations_20170902.json --out aic.tsv
                  tihua data captions captions.csv --encoding gb18030 --out captions.tsv

                Held-out captions go to a second file, OUT with .val before its ending; all captions of a picture go \
                to the same file. Lines that cannot be used are named and left out; --strict stops at the first one.
                """)

        @Argument(help: "Files of captions.", completion: .file())
        var input: [String]

        @Option(help: "The file to write.", completion: .file(extensions: ["tsv"]))
        var out: String

        @Option(help: "Hold out one picture in N, chosen by a hash of its id.")
        var holdOut: Int?

        @Option(help: "Hold out the pictures of this list: one id a line.", completion: .file())
        var validation: String?

        @Option(help: "Keep these languages only, such as zhc or zhb,zhg.")
        var language: String?

        @Option(
            name: .customLong("pictures"), parsing: .singleValue,
            help:
                "A shard, a folder or a list of ids: captions of other pictures are left out. May stand several times.",
            completion: .file())
        var pictures: [String] = []

        @OptionGroup var texts: TextArguments

        @Flag(help: "Keep the captions as they are, with the spaces and tags of a segmented file.")
        var keepSpaces = false

        @Flag(help: "Stop at the first line that cannot be used, and write nothing.")
        var strict = false

        @Flag(help: "Print the counts as one JSON object.")
        var json = false

        @Flag(help: "Say nothing but errors.")
        var quiet = false

        func validate() throws {
            if holdOut != nil, validation != nil { throw ValidationError("give --hold-out or --validation, not both") }
            if let holdOut, holdOut < 2 { throw ValidationError("--hold-out is \(holdOut); give at least 2") }
        }

        func run() async throws {
            var importer = CaptionImporter()
            importer.languages = Set((language ?? "").split(separator: ",").map(String.init))
            importer.keepsSpaces = keepSpaces
            importer.encoding = texts.encoding
            if let holdOut { importer.heldOut = .oneIn(holdOut) }
            if let validation { importer.heldOut = .pictures(try ids(validation)) }
            if !pictures.isEmpty { importer.pictures = try pictures.reduce(into: []) { $0.formUnion(try keys($1)) } }
            let file = URL(filePath: out)
            let ending = file.pathExtension.isEmpty ? "" : ".\(file.pathExtension)"
            let heldOut = URL(filePath: out.dropLast(ending.count) + ".val" + ending)
            for (file, option) in [(file, "--out"), (heldOut, "--out, for what is held out,")] {
                try protect(input + pictures + [validation].compactMap { $0 }, from: file.path, option)
            }
            let report = try importer.run(
                from: input.map { URL(filePath: $0) }, to: file, validation: heldOut, isStrict: strict)
            for line in report.examples { Console.note(line.text) }
            if json { try Console.print(try jsonLine(Counts(report))) }
            guard !quiet, !json else { return }
            if report.faults > report.examples.count {
                Console.note("… and \(report.faults - report.examples.count) more")
            }
            for reason in CaptionImporter.Reason.allCases {
                if let count = report.dropped[reason] { Console.note("left out: \(count) \(reason.text)") }
            }
            if let count = report.picturesWithoutCaption, count > 0 {
                Console.note("\(count) pictures have no caption")
            }
            Console.note("\(report.training.captions) captions of \(report.training.pictures) pictures in \(out)")
            if report.validation.captions > 0 {
                let counts = report.validation
                Console.note("\(counts.captions) captions of \(counts.pictures) pictures in \(heldOut.relativePath)")
            }
        }

        /// The ids of a list.
        private func ids(_ path: String) throws -> Set<String> {
            Set(
                try TextFile.lines(of: URL(filePath: path), encoding: texts.encoding)
                    .map { PictureName.key(of: $0.trimmingCharacters(in: .whitespaces)) }.filter { !$0.isEmpty })
        }

        /// The keys of a shard, a folder, or a list of ids.
        private func keys(_ path: String) throws -> Set<String> {
            if path.hasSuffix(".txt") { return try ids(path) }
            let list = try PictureList([URL(filePath: path)])
            if !quiet { list.notes.forEach(Console.note) }
            return Set(list.entries.map(\.key))
        }

        /// What `--json` prints.
        private struct Counts: Encodable {
            let read: Int
            let training: CaptionImporter.Count
            let validation: CaptionImporter.Count
            let dropped: [String: Int]
            let faults: [String]

            init(_ report: CaptionImporter.Report) {
                (read, training, validation) = (report.read, report.training, report.validation)
                dropped = Dictionary(uniqueKeysWithValues: report.dropped.map { ($0.key.rawValue, $0.value) })
                faults = report.examples.map(\.text)
            }
        }
    }
}
