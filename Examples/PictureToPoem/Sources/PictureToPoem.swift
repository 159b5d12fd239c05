// A picture to poems, by the library alone: swift run picture-to-poem photo.jpg
import Foundation
import Tihua
import TihuaPictures

@main
struct PictureToPoem {
    static func main() async throws {
        guard let path = CommandLine.arguments.dropFirst().first else {
            print("usage: picture-to-poem PICTURE")
            exit(2)
        }
        let engine = try Engine(pack: Pack(folder: PackLocator().locate()))
        let result = try await engine.poems(for: [Picture(contentsOf: path)])
        print("keywords:", result.keywords.map(\.word).joined(separator: " "))
        for poem in result.poems {
            print(poem.lines.joined(separator: "，") + "。", String(format: "(%.2f)", poem.scores.total))
        }
    }
}
