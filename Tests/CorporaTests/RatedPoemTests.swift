import Foundation
import Testing
import TihuaCorpora
import TihuaDataFiles
import TihuaTestSupport

@Suite struct RatedPoemTests {
    private func read(_ text: String) throws -> [RatedPoem] {
        let file = FileManager.default.temporaryDirectory.appending(path: "rated-\(UUID().uuidString).json")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(text.utf8).write(to: file)
        return try RatedPoem.read(file)
    }

    @Test func linesAndMarks() throws {
        let found = try read("{\"poem\": \"春眠不觉晓|处处闻啼鸟\", \"fluency\": 4.5, \"overall score\": 5}\n\n")
        #expect(found == [RatedPoem(lines: ["春眠不觉晓", "处处闻啼鸟"], marks: ["fluency": 4.5, "overall score": 5])])
    }

    @Test(
        "a bad line is named",
        arguments: [
            "{\"poem\": \"山\", \"fluency\": 1}\n{\"fluency\": 1}", "{\"poem\": \"山\", \"fluency\": 1}\n[]",
            "{\"poem\": \"山\", \"fluency\": 1}\n{\"poem\": \"水\"}",
            "{\"poem\": \"山\", \"fluency\": 1}\n{\"poem\": \"水\", \"beauty\": 1}",
        ])
    func badLine(text: String) {
        #expect {
            try read(text)
        } throws: { error in
            guard case DataFileError.badLine(_, 2, _)? = error as? DataFileError else { return false }
            return true
        }
        #expect(throws: DataFileError.self) { try read("\n") }
    }

    @Test(.enabled(if: SharedData.root != nil)) func theUpstreamFileLoads() throws {
        let root = try #require(SharedData.root)
        let poems = try RatedPoem.read(root.appending(path: "text/pqed/PQED_V0.1.json"))
        #expect(poems.count == 173 && poems.allSatisfy { $0.lines.count == 4 && $0.marks.count == 4 })
    }
}
