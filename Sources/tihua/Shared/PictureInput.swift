import ArgumentParser
import Foundation
import TihuaDataFiles
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
    /// - Throws: `DataFileError` where nothing can be listed, and `failed` was not told why.
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
    /// - Throws: `DataFileError`, `PictureError`.
    func load() throws -> Picture { try Picture(encoded: Array(try list.bytes(of: entry)), name: name) }

    /// Decodes pictures in batches, on all processors, and hands on those that can be read.
    ///
    /// - Parameters:
    ///   - failures: is told of the others
    ///   - body: is given the pictures of a batch with their places among the inputs
    static func forEachBatch(
        of inputs: [PictureInput], size: Int, _ progress: ProgressLine, _ failures: Failures,
        _ body: ([(place: Int, picture: Picture)]) async throws -> Void
    ) async throws {
        defer { progress(nil) }
        for start in stride(from: 0, to: inputs.count, by: size) {
            progress("\(start)/\(inputs.count) …")
            let batch = start..<min(start + size, inputs.count)
            var loaded: [(place: Int, picture: Picture)] = []
            let results = await inputs[batch].concurrentMap { input in Result { try input.load() } }
            for (place, result) in zip(batch, results) {
                do { loaded.append((place, try result.get())) } catch { failures.report(error) }
            }
            try await body(loaded)
        }
    }

    /// Sees that an output is none of the pictures and not their archive; see `protect(_:from:_:)`.
    static func protect(_ inputs: [PictureInput], from output: String?, _ option: String) throws {
        try TihuaCLI.protect(inputs.map { ($0.entry.path, $0.identity) }, from: output, option)
    }
}
