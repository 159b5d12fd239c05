import Foundation
import Testing
import TihuaCorpora
import TihuaDataFiles
import TihuaModels
import TihuaNN
import TihuaTorch
import TihuaVerse

@testable import TihuaTraining

@Suite struct ClipRecipeTests {
    private func task(in scratch: Scratch, _ change: (inout ClipOptions) -> Void = { _ in }) throws -> ClipTask {
        Runtime.threadCount = 1
        return try toyClipTask(in: scratch, toyRun(), change)
    }

    /// Rows 0 and 1 are of one group, rows 0 and 2 have one text: row 0 has three right answers, the others two.
    @Test func theLossIsTheCrossEntropyAgainstAllRightAnswers() throws {
        let task = try task(in: Scratch())
        let marked = task.positives(["x", "x", "y"], ["t", "u", "t"])
        #expect(marked.floats == [1, 1, 1, 1, 1, 0, 1, 0, 1])

        let a: [[Double]] = [[1, 0], [0.6, 0.8], [0, 1]]
        let b: [[Double]] = [[0.8, 0.6], [0, 1], [-0.6, 0.8]]
        let right = [[true, true, true], [true, true, false], [true, false, true]]
        let scale = 5.0
        let scores = a.map { row in b.map { scale * (row[0] * $0[0] + row[1] * $0[1]) } }
        func direction(_ score: (Int, Int) -> Double) -> Double {
            (0..<3).reduce(0) { sum, row in
                let total = (0..<3).reduce(0) { $0 + exp(score(row, $1)) }
                let answers = (0..<3).filter { right[row][$0] }
                return sum - answers.reduce(0) { $0 + log(exp(score(row, $1)) / total) } / Double(answers.count) / 3
            }
        }
        let wanted = 0.5 * (direction { scores[$0][$1] } + direction { scores[$1][$0] })
        let loss = task.contrast(
            Tensor(a.flatMap { $0 }, [3, 2]).to(.float32), Tensor(b.flatMap { $0 }, [3, 2]).to(.float32),
            Tensor([Float(scale)], []), marked)
        #expect(abs(loss.item - wanted) < 1e-5, "\(loss.item) \(wanted)")
    }

    @Test func equalTextsAreEncodedOnce() throws {
        let task = try task(in: Scratch())
        let (unique, rows) = task.deduplicated(["山", "水", "山", "云", "水"])
        #expect(unique == ["山", "水", "云"] && rows.array(of: Int64.self) == [0, 1, 0, 2, 1])
    }

    @Test func rowsWithoutATeacherHaveNoSoftLabels() throws {
        let task = try task(in: Scratch())
        let (taught, untaught) = (ClipTask.Place(set: 0, item: 0), ClipTask.Place(set: 1, item: 0))
        let labels = try #require(task.softLabels([untaught, taught]))
        let values = labels.floats
        #expect(values[..<1001].allSatisfy { $0 == 0 })
        #expect(values[1001 + 7] == 0.5 && values[1001 + 1000] == 0.5 && abs(values.reduce(0, +) - 1) < 1e-6)
        #expect(task.softLabels([untaught, untaught]) == nil)
    }

    @Test func heldOutPicturesAndValidationSetsAreNeverTrainedOn() throws {
        let task = try task(in: Scratch()) { $0.holdOut = 2 }
        let held = Set(task.validation)
        #expect(task.training.allSatisfy { !held.contains($0) && $0.set == 0 })
        #expect(task.validation.filter { $0.set == 1 }.count == 8)
        #expect(task.counts.training + task.validation.filter { $0.set == 0 }.count == 8)
        for epoch in 0..<20 {
            let drawn = task.batches[epoch].joined().map { task.training[$0] }
            #expect(Set(drawn) == Set(task.training) && drawn.count == task.training.count)
        }
    }

    /// The toy pictures grow brighter to the right and down: a cut that left its picture would break the order.
    @Test func augmentationStaysInsideThePicture() throws {
        let task = try task(in: Scratch())
        let size = 32
        var mirrored = 0
        for seed in 0..<12 {
            var random = SplitMix64(seed: UInt64(seed))
            let rows = task.training.map(task.row)
            let cuts = rows.map { PictureCut(of: $0.set.side, using: &random) }
            let values = pixels(
                rows, cuts, size: size, mean: [0.5, 0.5, 0.5], deviation: [0.5, 0.5, 0.5], device: .cpu
            ).contiguous().floats
            for picture in task.training.indices {
                for channel in 0..<3 {
                    let start = (picture * 3 + channel) * size * size
                    let isMirrored = values[start] > values[start + size - 1]
                    mirrored += isMirrored ? 1 : 0
                    var isOrdered = true
                    for y in 0..<size - 1 {
                        for x in 0..<size - 1 {
                            let place = start + y * size + x
                            let right = (values[place + 1] - values[place]) * (isMirrored ? -1 : 1)
                            let down = values[place + size] - values[place]
                            if right < -1e-5 || down < -1e-5 { isOrdered = false }
                        }
                    }
                    #expect(isOrdered, "picture \(picture), channel \(channel), seed \(seed)")
                }
            }
        }
        let pictures = 12 * task.training.count * 3
        #expect(mirrored > pictures / 4 && mirrored < 3 * pictures / 4)
    }

    /// As profilers count the towers of CLIP (open_clip, docs/model_profile.csv, halved). There the attention pool of
    /// RN50 projects all 50 queries; here it projects the one that is used.
    @Test func theOperationsAreThoseOfTheTowers() throws {
        var vision = VisionTransformerConfiguration()
        vision.patchSize = 16
        let base = ChineseCLIPConfiguration(
            text: BERTConfiguration(), vision: .transformer(vision), projectionSize: 512)
        #expect(abs(base.multiplicationsPerPicture / 17.58e9 - 1) < 0.02, "\(base.multiplicationsPerPicture)")
        let residual = ChineseCLIPConfiguration(
            text: BERTConfiguration(), vision: .resNet(CLIPResNetConfiguration()), projectionSize: 1024)
        let profiled = 6.11e9 - 49 * 2048 * (2048 + 1024)
        #expect(abs(residual.multiplicationsPerPicture / profiled - 1) < 0.01, "\(residual.multiplicationsPerPicture)")
        // Twelve layers of 12 C² for each token, and the attention between them.
        let text = base.multiplications(perTextOf: 50)
        #expect(text > 52 * 12 * 12 * 768 * 768 && text < 1.02 * 52 * 12 * 12 * 768 * 768)
        let task = try task(in: Scratch())
        #expect(try task.loss(epoch: 0, batch: 0).operations > 0)
    }

    @Test func aFolderOfLabelledFoldersServesAsAShard() throws {
        let scratch = try Scratch()
        _ = try ToyPictures(in: scratch)
        func open(_ folder: URL) throws -> PictureSet {
            try PictureSet(
                .init(shard: folder), side: ToyPictures.side, cache: scratch["folder-cache"], report: { _ in })
        }
        let set = try open(scratch["pictures/labelled"])
        // In the order of the paths; the toy pictures with even numbers are the warm ones.
        #expect(set.items.map(\.key) == [1, 3, 5, 7].map { "cold/\($0)" } + [0, 2, 4, 6].map { "warm/\($0)" })
        for item in set.items {
            let label = try #require(item.key.split(separator: "/").first.map(String.init))
            #expect(item.captions == CaptionedPictures.promptTemplates.map { $0.replacing("{}", with: label) })
            #expect(item.captions.contains("\(label)的照片") && item.captions.allSatisfy { !$0.contains("{}") })
            #expect(item.group == "labelled/\(label)")
        }

        // Pictures outside a folder have no label.
        let loose = scratch["pictures/captioned"]
        let error = #expect(throws: DataFileError.self) { try open(loose) }
        guard case .notCaptioned(let path, _) = error else {
            Issue.record("\(String(describing: error)) is not about the data")
            return
        }
        #expect(path == loose.path && error?.description.contains("no pictures in folders") == true)
    }

    @Test func tooFewPicturesAreOneLine() throws {
        let scratch = try Scratch()
        let pictures = try ToyPictures(in: scratch)
        let error = #expect(throws: TrainingError.self) {
            try ClipTask(
                sets: [], validationSets: [pictures.captioned], pairs: [],
                vocabulary: ClipVocabulary.tokens(captions: ["山"], always: []), options: toyClipOptions(),
                training: toyRun())
        }
        #expect(error?.description.contains("0 pictures to train on") == true)
    }

    /// Towers that have learned from small pictures go on with larger ones; the positions are resized, nothing else
    /// changes.
    @Test(arguments: [ClipOptions.Tower.resnet, .vit])
    func aTrainingGoesOnWithLargerPictures(tower: ClipOptions.Tower) throws {
        let scratch = try Scratch()
        let small = try task(in: scratch) { $0.tower = tower }
        let url = scratch["small-\(tower)"]
        try small.save(to: url) { _ in nil }
        let large = try toyClipTask(in: Scratch(), toyRun(), from: ModelFolder(at: url)) {
            $0.tower = tower
            $0.imageSize = 64
        }
        var resized: [String] = []
        for entry in small.store.entries {
            guard let other = large.store[entry.name] else { continue }
            if other.shape != entry.tensor.shape {
                resized.append(entry.name)
            } else if !entry.name.hasPrefix("classifier") && !entry.name.hasPrefix("words") {
                #expect(other.floats == entry.tensor.to(.bfloat16).to(.float32).floats, "\(entry.name)")
            }
        }
        #expect(resized.count == 1 && resized[0].contains("position"))
        #expect(try large.loss(epoch: 0, batch: 0).loss.item.isFinite)
        let other = #expect(throws: TrainingError.self) {
            try toyClipTask(in: Scratch(), toyRun(), from: ModelFolder(at: url)) {
                $0.tower = tower
                $0.projectionSize = 8
            }
        }
        #expect(other?.description.contains("sizes are not those") == true)
    }

    /// The words come of the labels, the captions that agree, and what the teacher is sure of.
    @Test func rulesSayWhichWordsAPictureShows() throws {
        let scratch = try Scratch()
        func rules(_ text: String) throws -> ImageryRules {
            try ImageryRules(contentsOf: scratch.write(text, to: "rules.tsv"))
        }
        let some = try rules(
            """
            # words
            黑犬\tkennel t:223\t黑狗|黑色/乌黑+狗+!白/棕

            雪地\t\t雪地|雪+地上
            沧海\tsea\t
            """)
        #expect(some.words == ["黑犬", "雪地", "沧海"])
        func shown(_ captions: [String], label: String? = nil, teacher: Int? = nil) -> [String] {
            some.words(label: label, captions: captions, teacherClass: teacher).map { some.words[$0] }
        }
        #expect(shown(["一只黑狗在跑", "乌黑的狗"]) == ["黑犬"])
        #expect(shown(["一只黑狗在跑", "一只动物"]) == [], "one caption of two is not enough")
        #expect(shown(["一只黑狗在跑"]) == ["黑犬"], "there is but one")
        #expect(shown(["黑色和白色的狗", "黑色的狗是棕的"]) == [])
        #expect(shown(["雪落在地上", "狗在雪地里", "一只黑狗", "黑狗"]) == ["黑犬", "雪地"])
        #expect(shown(["黑狗在雪地里", "黑狗"], label: "sea") == ["沧海"], "captions of a label are not its own")
        #expect(shown([], label: "kennel", teacher: 223) == ["黑犬"] && shown([], teacher: 223) == ["黑犬"])
        #expect(shown([], label: "SEA", teacher: 5) == [] && shown([""]) == [])

        let bad = [
            ("山\t水", "line 1"), ("# x\n\n山\tt:1000\t", "line 3"), ("山\t\t!水", "line 1"), ("山\t\t\n山\t\t", "line 2"),
            ("# nothing\n", "no rule"),
        ]
        for (text, expected) in bad {
            let error = #expect(throws: TrainingError.self) { try rules(text) }
            #expect(error?.description.contains(expected) == true, "\(String(describing: error))")
        }
        let unknown = #expect(throws: TrainingError.self) { try ImageryLessons(rules: some, bank: [("黑犬", ["狗"])]) }
        #expect(unknown?.description.contains("雪地") == true)
        #expect(try toyLessons(in: scratch).texts == [["红山"], ["蓝色的水", "水"], ["雪"], ["月"]])
    }

    /// With the words alone in the loss, what a picture shows comes nearer to it than what it does not.
    @Test func wordsAreLearned() throws {
        Runtime.threadCount = 1
        let scratch = try Scratch()
        var run = toyRun(steps: 60)
        run.learningRate = 1e-2
        run.averageDecay = 0
        run.validateEvery = 1000
        let task = try toyClipTask(in: scratch, run) {
            $0.batchPairs = 0
            $0.teacherWeight = 0
            $0.wordWeight = 10
        }
        func loss() throws -> Double { try withoutGradients { try task.loss(epoch: 0, batch: 0).loss.item } }
        let before = try loss()
        try train(task, run, in: scratch["run"])
        let after = try loss()
        #expect(after < before / 3, "\(before) \(after)")
    }

    @Test func unsureTeachersNameNoClass() throws {
        let scratch = try Scratch()
        let pictures = try ToyPictures(in: scratch)
        #expect(pictures.labelled.sureClasses().allSatisfy { $0 == nil }, "100 of 256 is less than half")
        #expect(pictures.captioned.sureClasses().count == pictures.captioned.items.count)
    }
}
