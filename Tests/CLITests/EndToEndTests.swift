import Foundation
import Testing
import TihuaDataFiles
import TihuaPackSupport
import TihuaProsody
import TihuaTestSupport

/// From a photo to poems, through the built tool.
@Suite struct EndToEndTests {
    private static let defaultPack = SharedData.packageRoot.appending(path: "Weights/mini/pack.json")

    /// A photo of the shared data where it is there, the painted sample where not.
    private func photo(in folder: URL) throws -> URL {
        guard let root = SharedData.root else { return SharedData.packageRoot.appending(path: "Samples/landscape.jpg") }
        let shard = try TarShard(contentsOf: root.appending(path: "images/flickr8k-val.tar"))
        let entry = try #require(shard.entries.first)
        let file = folder.appending(path: "photo.jpg")
        try shard.bytes(of: entry).write(to: file)
        return file
    }

    /// Runs `tihua poem`, and checks every poem's form, tones and rhyme.
    private func checkedPoems(_ arguments: [String], environment: [String: String]) throws -> PoemLine {
        let run = try Run(["poem"] + arguments + ["--tones", "strict", "--json"], environment: environment)
        try #require(run.status == 0 && run.errors.isEmpty, "\(run.status) \(run.errors)")
        let line = try #require(try PoemLine.all(run).first)
        #expect(line.picture == arguments[0] && !line.keywords.isEmpty)
        #expect(line.keywords.allSatisfy { (0...1).contains($0.score) })
        for poem in line.poems {
            let report = try ProsodyChecker(tones: .strict).check(poem.lines, as: Form(named: poem.form))
            #expect(report.isRegular, "\(poem.lines): \(report.faults.map { $0.message(in: .english) })")
            #expect(report.rhymeGroups.contains(poem.rhyme), "\(poem.rhyme) of \(poem.lines)")
            #expect(Set(poem.lines).count == poem.lines.count)
        }
        return line
    }

    @Test(
        .enabled(if: FileManager.default.fileExists(atPath: defaultPack.path), "needs Weights/mini/pack.json"),
        arguments: ["七绝", "五律"])
    func defaultPackWritesRegularPoemsAndRepeatsThemWithTheSeed(form: String) throws {
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        // No pack is named: it is found from the program's own place.
        let environment = ["TIHUA_PACK": "", "TIHUA_CACHE": folder.appending(path: "cache").path]
        let arguments = [try photo(in: folder).path, "--form", form, "--candidates", "12"]
        let first = try checkedPoems(arguments + ["--seed", "11"], environment: environment)
        #expect(first.poems.count == 3 && first.poems.allSatisfy { $0.form == form } && first.seed == 11)
        #expect(try checkedPoems(arguments + ["--seed", "11"], environment: environment).poems == first.poems)
        #expect(try checkedPoems(arguments + ["--seed", "12"], environment: environment).poems != first.poems)
    }

    @Test func randomWeightsWriteRegularPoemsToo() throws {
        let pack = try TinyPack()
        let environment = ["TIHUA_PACK": pack.folder.path, "TIHUA_CACHE": pack.folder.appending(path: "cache").path]
        let arguments = [try photo(in: pack.folder).path, "--n", "2", "--candidates", "4", "--seed", "3"]
        #expect(try checkedPoems(arguments, environment: environment).poems.count == 2)
    }
}
