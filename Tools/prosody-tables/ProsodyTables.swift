import ArgumentParser
import Foundation

/// Makes the tables of `Sources/Prosody` again from what is published. A tool for developing Tihua, no part of it.
@main
struct ProsodyTables: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prosody-tables", abstract: "Make the tables of tones, rhymes and tunes from the published ones.",
        discussion: """
            INPUT is a folder with Pingshui_Rhyme.json, Cilin_Rhyme.json, Xinyun_Rhyme.json, rhymebooks.json and \
            ci-meters.json. With --poems the tunes are made too: Tunes.swift and Prosody.docc/Tunes.md beside the \
            tables. They are counted with the tones of the tables that this program was built with.

              swift run prosody-tables prosody/ --poems chinese-poetry.tar.xz
            """)

    @Argument(help: "The folder of the tables.", completion: .directory)
    var input: String

    @Option(help: "The folder or archive of chinese-poetry that tunes are counted over.", completion: .file())
    var poems: String?

    @Option(help: "The Swift file to write.", completion: .file(extensions: ["swift"]))
    var out = "Sources/Prosody/Tables.swift"

    func run() throws {
        print(try ProsodyImporter.run(input: URL(filePath: input), output: URL(filePath: out)))
        guard let poems else { return }
        let folder = URL(filePath: out).deletingLastPathComponent()
        print(
            try TuneImporter.run(
                tables: URL(filePath: input), poems: URL(filePath: poems),
                output: folder.appending(path: "Tunes.swift"),
                article: folder.appending(path: "Prosody.docc/Tunes.md")))
    }
}
