import Foundation
import Testing

@testable import TihuaWeightFiles

@Suite struct MappedFileTests {
    @Test func givesTheBytesOfTheFile() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.bin")
            try Data([1, 2, 3]).write(to: url)
            let file = try MappedFile(contentsOf: url)
            #expect(file.count == 3)
            #expect(file.withUnsafeBytes { Array($0) } == [1, 2, 3])
        }
    }

    @Test func namesWhatIsWrongWithThePath() throws {
        try withTemporaryFolder { folder in
            let missing = folder.appending(path: "missing").path
            #expect(failure { _ = try MappedFile(path: missing) } == .missing(path: missing))
            #expect(failure { _ = try MappedFile(path: folder.path) } == .notAFile(path: folder.path))
            let empty = folder.appending(path: "empty").path
            #expect(FileManager.default.createFile(atPath: empty, contents: nil))
            #expect(failure { _ = try MappedFile(path: empty) } == .empty(path: empty))
            let pipe = folder.appending(path: "pipe").path
            #expect(mkfifo(pipe, 0o600) == 0)
            #expect(failure { _ = try MappedFile(path: pipe) } == .notAFile(path: pipe))
            #expect(failure { _ = try MappedFile(path: "/dev/null") } == .notAFile(path: "/dev/null"))
        }
    }

    @Test(.enabled(if: geteuid() != 0, "root may read everything"))
    func saysThatThereIsNoPermission() throws {
        try withTemporaryFolder { folder in
            let url = folder.appending(path: "secret")
            try Data([1]).write(to: url)
            chmod(url.path, 0)
            let expected = WeightFileError.system(path: url.path, operation: "open", reason: "Permission denied")
            #expect(failure { _ = try MappedFile(contentsOf: url) } == expected)
        }
    }

    @Test func descriptionsStayOnOneLine() {
        let hostile = "a\nb\u{2028}c\u{202e}\u{1b}[31m" + String(repeating: "x", count: 500)
        let errors: [WeightFileError] = [
            .missing(path: hostile), .refusedGlobal(path: "f", name: hostile), .noTensor(path: "f", name: hostile),
            .ambiguous(path: hostile, candidates: [String](repeating: hostile, count: 20)),
        ]
        for error in errors {
            let text = error.description
            #expect(!text.unicodeScalars.contains { ["\n", "\u{2028}", "\u{202e}", "\u{1b}"].contains($0) }, "\(text)")
        }
        #expect(WeightFileError.refusedGlobal(path: "f", name: hostile).description.count < 400)
    }
}
