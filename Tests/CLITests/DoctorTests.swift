import Foundation
import Testing

@Suite struct DoctorTests {
    private struct Report: Decodable {
        struct Check: Decodable {
            let name: String
            let status: String
            let found: String
            let advice: String?
        }

        let ok: Bool
        let checks: [Check]
    }

    private func doctor(_ arguments: String...) throws -> (status: Int32, output: Data) {
        let run = try Run(["doctor"] + arguments)
        return (run.status, Data(run.output.utf8))
    }

    private func scratchPack() throws -> URL {
        let folder = try temporaryFolder()
        try Data("{}".utf8).write(to: folder.appending(path: "pack.json"))
        return folder
    }

    @Test func machineThatRunsTheTestsIsWell() throws {
        let pack = try scratchPack()
        defer { try? FileManager.default.removeItem(at: pack) }
        let (status, output) = try doctor("--json", "--pack", pack.path)
        let report = try JSONDecoder().decode(Report.self, from: output)
        #expect(report.checks.filter { $0.status == "missing" }.map(\.found) == [])
        #expect(report.ok && status == 0)
        let names = report.checks.map(\.name)
        for name in ["processor", "memory", "libtorch", "GPU", "libvips", "OpenCC", "typeface", "weights", "cache"] {
            #expect(names.contains(name), "no line about \(name)")
        }
    }

    @Test func missingPackIsNamedWithAdviceAndExitStatus1() throws {
        let (status, output) = try doctor("--json", "--pack", "/nowhere/at-all")
        let report = try JSONDecoder().decode(Report.self, from: output)
        let missing = report.checks.filter { $0.status == "missing" }
        #expect(status == 1 && !report.ok)
        #expect(missing.map(\.name) == ["weights"])
        #expect(missing.allSatisfy { $0.found.contains("/nowhere/at-all") && $0.advice != nil })
    }

    @Test func textHasOneLineForEachCheck() throws {
        let (status, output) = try doctor("--pack", "/nowhere/at-all")
        let text = String(decoding: output, as: UTF8.self)
        #expect(status == 1)
        #expect(text.contains("MISSING  weights") && text.contains("is missing."))
    }
}
