import ArgumentParser
import Foundation
import TihuaEncoders
import TihuaTokenizers

extension ModelsCommand {
    /// `tihua models cut`: a sentence encoder for texts in fewer scripts.
    struct Cut: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "cut", abstract: "Cut the vocabulary of a sentence encoder to some scripts.",
            discussion: """
                The new folder holds config.json, model.safetensors and \(UniversalSentenceTokenizer.fileName). Texts \
                in the scripts that stay are cut into the same pieces and get the same vectors as before; other \
                characters become unknown. Digits, punctuation, symbols and spaces stay in any case.

                  tihua models cut sentence-encoder --out sentence-encoder-zh
                  tihua models cut sentence-encoder --scripts han,letters --out small

                Scripts: han (Chinese), letters (A to Z where they stand alone, as in T恤), latin (A to Z in words), \
                accented (é, ß and others), kana.
                """)

        @Argument(
            help: "A universal sentence encoder: weights and \(UniversalSentenceTokenizer.fileName).",
            completion: .directory)
        var folder: URL

        @Option(help: "The scripts that stay, with commas between.")
        var scripts = "han,latin"

        @Option(name: .long, help: "The folder to write.", completion: .directory)
        var out: String

        private func kept() throws -> Set<PieceScript> {
            let known = PieceScript.allCases.map(\.rawValue).joined(separator: ", ")
            return Set(
                try scripts.split(separator: ",", omittingEmptySubsequences: false).map { name in
                    let name = name.trimmingCharacters(in: .whitespaces)
                    guard let script = PieceScript(rawValue: name) else {
                        throw ValidationError("--scripts: “\(name)” is none; known: \(known)")
                    }
                    return script
                })
        }

        func validate() throws { _ = try kept() }

        func run() throws {
            guard !FileManager.default.fileExists(atPath: out) else {
                throw ValidationError("\(out) is there already; name a new folder")
            }
            let (before, after) = try SentenceEncoder.cut(folder, to: kept(), writing: URL(filePath: out))
            Console.note("\(after) of \(before) pieces in \(out)")
        }
    }
}
