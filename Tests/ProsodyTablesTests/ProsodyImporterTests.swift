import Foundation
import Testing
import TihuaProsody
import TihuaTestSupport
import TihuaTokenizers

@testable import prosody_tables

@Suite struct ProsodyImporterTests {
    private func scratch() throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appending(path: "tihua-prosody-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }

    @Test(.enabled(if: SharedData.root != nil, "needs ../shared/data"))
    func committedTablesAreWhatTheImporterWrites() throws {
        let root = try #require(SharedData.root)
        let folder = try scratch()
        defer { try? FileManager.default.removeItem(at: folder) }
        let output = folder.appending(path: "Tables.swift")
        let report = try ProsodyImporter.run(input: root.appending(path: "text/prosody"), output: output)
        #expect(report.groups == ["平水韵": 106, "词林正韵": 33, "中华新韵": 28])
        #expect(report.recoveredGroups == ["三讲"])
        let committed = SharedData.packageRoot.appending(path: "Sources/Prosody/Tables.swift")
        // Compared as a Bool: a difference would print both files.
        let isSame = try Data(contentsOf: output) == Data(contentsOf: committed)
        #expect(isSame, "run `swift run prosody-tables` and commit Sources/Prosody/Tables.swift")
    }

    @Test func missingAndBrokenTablesAreNamedAndNothingIsWritten() throws {
        let folder = try scratch()
        defer { try? FileManager.default.removeItem(at: folder) }
        let output = folder.appending(path: "Tables.swift")
        #expect { try ProsodyImporter.run(input: folder, output: output) } throws: {
            guard case .unreadable(file: "Pingshui_Rhyme.json", _)? = $0 as? ProsodyImportError else { return false }
            return !"\($0)".contains("\n")
        }
        try Data("[1".utf8).write(to: folder.appending(path: "Pingshui_Rhyme.json"))
        #expect(
            throws: ProsodyImportError.unexpected(file: "Pingshui_Rhyme.json", what: "not the JSON that is expected")
        ) { try ProsodyImporter.run(input: folder, output: output) }
        for name in ["Pingshui", "Cilin", "Xinyun"] {
            try Data("{}".utf8).write(to: folder.appending(path: "\(name)_Rhyme.json"))
        }
        try Data("{}".utf8).write(to: folder.appending(path: "rhymebooks.json"))
        #expect(throws: ProsodyImportError.unexpected(file: "Cilin_Rhyme.json", what: "第一部 has no 平声")) {
            try ProsodyImporter.run(input: folder, output: output)
        }
        #expect(!FileManager.default.fileExists(atPath: output.path))
    }
}

@Suite struct TraditionalNameTests {
    /// Names come in traditional characters too, and `Prosody` knows those of its own names without a converter.
    @Test func everyNameIsFoundInTraditionalCharacters() throws {
        for configuration in ["s2t", "s2tw", "s2hk"] {
            let converter = try ChineseConverter(configuration: configuration)
            for form in Form.all {
                for name in [form.name] + form.aliases {
                    let traditional = try converter.simplified(name)
                    #expect((try? Form(named: traditional))?.name == form.name, "\(traditional)")
                }
            }
            for book in RhymeBook.allCases {
                #expect(RhymeBook(named: try converter.simplified(book.rawValue)) == book)
                for group in book.groups {
                    let traditional = try converter.simplified(group.name)
                    #expect(book.groups(named: traditional) == [group], "\(traditional)")
                }
            }
        }
    }
}
