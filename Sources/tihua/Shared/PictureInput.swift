import ArgumentParser
import Foundation
import TihuaCorpora
import TihuaFiles
import TihuaPictures

/// A picture that a command was given, by itself, in a folder or in a tar archive, under the name that is printed.
struct PictureInput: Sendable {
    private let list: PictureList
    private let entry: PictureList.Entry

    /// The path of a file; of a folder's or archive's pictures the key. No other picture of the command has it.
    var name: String { entry.key }
    /// Which of the paths it came with.
    var argument: Int { entry.input }
    /// Whether it was named itself, and not by its folder or archive.
    var isNamed: Bool { entry.isNamed }
    /// What tells its file, or its archive, from other files.
    var identity: FileIdentity? { entry.identity }
    /// The folders that its file, or its archive, lies in.
    var homes: [FileIdentity] { entry.homes }

    /// The help of a command's argument.
    static var help: ArgumentHelp { "Pictures, folders of pictures, tar archives." }
    /// The part of a command's discussion on its inputs.
    static let discussion = """
        Pictures are files (JPEG, PNG, WebP, GIF, TIFF, HEIC, AVIF), folders and tar archives. A file is named by its \
        path. A picture in a folder or an archive is named by its path inside, without the ending; where two would \
        have the same name, the path of the folder or archive comes first. A picture that cannot be read is reported, \
        the others still get their output, and the exit status is then 1.
        """

    /// The pictures of files, folders and archives, in the order given; none is decoded.
    ///
    /// - Parameter failed: is told of an input that cannot be used; the others are listed all the same
    /// - Throws: `CorporaError` where nothing can be listed, and `failed` was not told why.
    static func all(at paths: [String], quiet: Bool, failed: (any Error) -> Void) throws -> [PictureInput] {
        guard !paths.isEmpty else { return [] }
        var last: (any Error)?
        do {
            let list = try PictureList(paths.map { URL(filePath: $0) }, naming: .paths) {
                failed($0)
                last = $0
            }
            if !quiet { list.notes.forEach(Console.note) }
            return list.entries.map { PictureInput(list: list, entry: $0) }
        } catch {
            // Where all inputs failed, each was reported.
            if last == nil { throw error }
            return []
        }
    }

    /// The picture itself.
    ///
    /// - Throws: `CorporaError`, `PictureError`.
    func load() throws -> Picture { try Picture(encoded: Array(try list.bytes(of: entry)), name: name) }

    /// Decodes pictures on all processors.
    static func load(_ inputs: some Collection<PictureInput>) async -> [Result<Picture, any Error>] {
        await withTaskGroup(of: (Int, Result<Picture, any Error>).self) { group in
            for (index, input) in inputs.enumerated() { group.addTask { (index, Result { try input.load() }) } }
            var results: [Result<Picture, any Error>] = inputs.map { _ in .failure(CancellationError()) }
            for await (index, result) in group { results[index] = result }
            return results
        }
    }

    /// Sees that an output is none of the pictures and not their archive; see `protect(_:from:_:)`.
    static func protect(_ inputs: [PictureInput], from output: String?, _ option: String) throws {
        try TihuaCLI.protect(inputs.map { ($0.entry.path, $0.identity) }, from: output, option)
    }
}
