import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaFiles
import TihuaTraining
import TihuaWeightFiles

extension DataCommand {
    /// `tihua data labels`: captions for pictures of which only a label is known.
    struct Labels: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "labels", abstract: "Make captions of labelled pictures for training captioners.",
            discussion: """
                The keys of a shard begin with a label, and a table (LABEL<TAB>CAPTION) says what may be said of each \
                label. Every picture gets one of the captions of its label, or as many as --each says. A hash of the \
                key chooses them, so that the same command writes the same file. Writes KEY<TAB>TEXT. One picture in \
                --held-out is left out, the same ones as in tihua train clip.

                  tihua data labels --shard intel-train.tar,labels=Recipes/labels/intel.tsv \\
                    --shard guohua-train.tar,labels=Recipes/labels/guohua.tsv \\
                    --out labelled.tsv
                  tihua train caption --captions flickr8kzhc.caption.txt \\
                    --captions labelled.tsv …
                """)

        @Option(name: .long, parsing: .singleValue, help: "SHARD,labels=FILE; may stand several times.")
        var shard: [String]

        @Option(help: "The file to write.", completion: .file(extensions: ["tsv"]))
        var out: String

        @Option(help: "How many captions each picture gets, at most as many as its label has.")
        var each = 1

        @Option(help: "Take at most so many pictures of each label of a shard, chosen by a hash of their keys; 0: all.")
        var most = 0

        @Option(help: "Leave out one picture in N; 0 leaves out none.")
        var heldOut = 20

        @Flag(help: "Say nothing but errors.")
        var quiet = false

        func validate() throws {
            guard !shard.isEmpty else { throw ValidationError("give --shard SHARD,labels=FILE") }
            guard (1...1000).contains(each) else { throw ValidationError("--each is \(each); give 1 to 1000") }
            guard most >= 0 else { throw ValidationError("--most is \(most); give 0 or more") }
            guard heldOut >= 0 else { throw ValidationError("--held-out is \(heldOut); give 0 or more") }
        }

        func run() async throws {
            let sources = try shard.map(TrainClipCommand.source)
            let named = sources.flatMap { [$0.shard] + $0.captions + [$0.labels, $0.teacher].compactMap { $0 } }
            try protect(named.map(\.path), from: out, "--out")
            var lines: [String] = []
            var (pictures, left) = (0, 0)
            for (specification, source) in zip(shard, sources) {
                guard source.labels != nil else {
                    throw ValidationError("\(specification): say where its captions are: SHARD,labels=FILE")
                }
                let shard = try source.described()
                if !quiet { shard.notes.forEach(Console.note) }
                let learned = shard.items.filter { !$0.isHeldOut(oneIn: heldOut) }
                left += shard.items.count - learned.count
                let chosen = most > 0 ? Self.chosen(learned, most) : nil
                for item in learned where chosen?.contains(item.key) ?? true {
                    pictures += 1
                    lines += item.drawnCaptions(each).map { "\(item.key)\t\($0)\n" }
                }
            }
            try AtomicFile.write(lines.joined().utf8, to: URL(filePath: out))
            guard !quiet else { return }
            Console.note("\(lines.count) captions of \(pictures) pictures in \(out); \(left) pictures held out")
        }

        /// The keys of at most `count` pictures of each label.
        private static func chosen(_ items: [CaptionedPictures.Item], _ count: Int) -> Set<String> {
            let byLabel = Dictionary(grouping: items, by: \.group).mapValues { items in
                items.map(\.key).sorted { (stableHash($0), $0) < (stableHash($1), $1) }.prefix(count)
            }
            return Set(byLabel.values.joined())
        }
    }
}
