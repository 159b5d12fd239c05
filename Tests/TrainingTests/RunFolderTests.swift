import Foundation
import Testing
import TihuaCorpora
import TihuaFiles
import TihuaNN
import TihuaWeightFiles

@testable import TihuaTraining

/// The folder of a run: one process in it, nothing of killed ones, and a log that is whole or says so.
@Suite struct RunFolderTests {
    private func task(_ run: TrainingOptions = toyRun()) throws -> PoetTask {
        try PoetTask(
            dataset: PoemDataset(poems: toyPoems(48), words: [], options: toyPoetOptions().dataset),
            options: toyPoetOptions(),
            training: run)
    }

    @Test func oneRunAtATimeHoldsIt() throws {
        let scratch = try Scratch()
        let first = try Trainer(task(), options: toyRun(), folder: scratch["run"], resume: false, quiet: true)
        for resume in [false, true] {
            #expect(throws: TrainingError.folderLocked(scratch["run"].path)) {
                try Trainer(task(), options: toyRun(), folder: scratch["run"], resume: resume, quiet: true)
            }
        }
        try first.run()
        #expect(!"\(TrainingError.folderLocked("a"))".contains("\n"))
    }

    @Test func aLockEndsWithItsOwner() throws {
        let scratch = try Scratch()
        do {
            let lock = try FolderLock(folder: scratch.url)
            #expect(lock != nil)
            #expect(try FolderLock(folder: scratch.url) == nil)
            withExtendedLifetime(lock) {}
        }
        #expect(try FolderLock(folder: scratch.url) != nil)
        #expect(throws: FileError.self) { try FolderLock(folder: URL(filePath: "/nowhere")) }
    }

    @Test func whatAKillLeftIsRemovedAndNothingElse() throws {
        let scratch = try Scratch()
        let folder = scratch["run"]
        try FileManager.default.createDirectory(
            at: folder.appending(path: "best/.deep.partial-9"), withIntermediateDirectories: true)
        try FileManager.default.createDirectory(
            at: folder.appending(path: ".best.partial-4294967295/x"), withIntermediateDirectories: true)
        let ours = [".checkpoint.safetensors.partial-12", "best/.model.safetensors.partial-7", ".run.json.partial-0"]
        let others = [
            "notes.partial-5", ".x.partial-abc", ".partial-5", ".y.partial-", ".z.partial-4294967296", ".w.partial-007",
            ".mine", "best/.v.partial-1x",
        ]
        for name in ours + others { try Data().write(to: folder.appending(path: name)) }
        try train(task(), toyRun(), in: folder, resume: true)
        func isThere(_ name: String) -> Bool {
            FileManager.default.fileExists(atPath: folder.appending(path: name).path)
        }
        #expect(!(ours + [".best.partial-4294967295", "best/.deep.partial-9"]).contains(where: isThere))
        #expect(others.allSatisfy(isThere))
    }

    @Test func aLogOnAFullDiskEndsTheRun() throws {
        let scratch = try Scratch()
        try FileManager.default.createDirectory(at: scratch["run"], withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: scratch["run"].appending(path: "log.txt").path, withDestinationPath: "/dev/full")
        let error = #expect(throws: FileError.self) { try train(task(), toyRun(), in: scratch["run"]) }
        let message = error?.description ?? ""
        #expect(message.contains("log.txt") && message.contains("No space left"), "\(message)")
    }

    /// The options in a checkpoint lack what was added since; the run goes on with the defaults of these.
    @Test func aCheckpointOfAnOlderVersionIsContinued() throws {
        let scratch = try Scratch()
        var run = toyRun()
        run.checkpointEvery = 2
        try train(task(run), run, in: scratch["run"], interruptedAt: 2)
        let url = scratch["run"].appending(path: "checkpoint.safetensors")
        let file = try SafetensorsFile(contentsOf: url)
        var metadata = file.metadata
        let stored = try #require(metadata["options"])
        metadata["options"] = stored.replacing(#""workers":1,"#, with: "").replacing(#","workers":1"#, with: "")
        #expect(metadata["options"] != stored)
        try SafetensorsWriter.write(file.tensors.map(SafetensorsWriter.Source.init), metadata: metadata, to: url)
        #expect(try train(task(run), run, in: scratch["run"], resume: true) == .finished)
    }

    /// A damaged checkpoint may say anything of how far the run is.
    @Test(arguments: [
        #""step":9223372036854775807"#, #""batch":9223372036854775807"#, #""epoch":-1"#,
        #""staleValidations":9223372036854775807"#, #""step":-5"#,
    ])
    func aCheckpointWithImpossibleCountsIsRefused(_ part: String) throws {
        let scratch = try Scratch()
        var run = toyRun()
        run.checkpointEvery = 2
        try train(task(run), run, in: scratch["run"], interruptedAt: 2)
        let url = scratch["run"].appending(path: "checkpoint.safetensors")
        let file = try SafetensorsFile(contentsOf: url)
        var metadata = file.metadata
        let key = part.prefix { $0 != ":" }
        let fields = (metadata["progress"] ?? "").dropFirst().dropLast().split(separator: ",").map {
            $0.hasPrefix(key) ? part : String($0)
        }
        metadata["progress"] = "{\(fields.joined(separator: ","))}"
        try SafetensorsWriter.write(file.tensors.map(SafetensorsWriter.Source.init), metadata: metadata, to: url)
        let error = #expect(throws: TrainingError.self) { try train(task(run), run, in: scratch["run"], resume: true) }
        #expect(error?.description.contains("cannot be continued") == true, "\(String(describing: error))")
    }
}
