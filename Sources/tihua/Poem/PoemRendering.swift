import ArgumentParser
import Foundation
import Tihua
import TihuaFiles
import TihuaPictures
import TihuaProsody

/// How the best poem is set on its picture.
struct RenderArguments: ParsableArguments {
    @Option(
        help: """
            Set the best poem on the picture: a .png, .jpg or .webp file, or a folder, as for several pictures. In a \
            folder each picture gets NAME.png; a name that an earlier one has, or any file beside the pictures \
            themselves, becomes NAME-2.png, NAME-3.png. Other files that are there are replaced, the pictures given \
            never.
            """,
        completion: .file())
    var render: String?

    @Option(help: "A title, set small in the first column.")
    var title: String?

    @Option(help: "Who wrote it, and when; set small below the last column.")
    var signature: String?

    @Option(help: "One to nine characters of a red seal; an empty text sets none.")
    var seal = "题画"

    @Option(help: "The name of an installed typeface; by default AR PL UKai, or what is nearest to it.")
    var font: String?

    /// Where pictures go, nil where none is asked for.
    ///
    /// - Parameter isSeveral: whether several poems may come, each on a picture of its own
    /// - Throws: `ValidationError` for a file where a folder is needed, an ending that is no picture format, a picture
    ///   that would be overwritten, or a typeface that is not there, before any work is done.
    func target(for inputs: [PictureInput], isSeveral: Bool) throws -> RenderTarget? {
        guard let render else { return nil }
        let renderer = PoemRenderer(options: PoemOptions(font: font))
        _ = try renderer.fontName()
        var isFolder: ObjCBool = false
        let isThere = FileManager.default.fileExists(atPath: render, isDirectory: &isFolder)
        if isSeveral, !isFolder.boolValue {
            let isFormat = (try? PictureFormat(outputPath: render)) != nil
            guard !isThere, !isFormat else {
                throw ValidationError("--render \(render) is one file; several pictures need a folder, so name one")
            }
        }
        if isSeveral || isFolder.boolValue || render.hasSuffix("/") {
            return RenderTarget(arguments: self, folder: render, files: Self.files(for: inputs, in: render), renderer)
        }
        _ = try PictureFormat(outputPath: render)
        try PictureInput.protect(inputs, from: render, "--render")
        return RenderTarget(arguments: self, folder: nil, files: [render], renderer)
    }

    /// A file of its own for each picture; none of them is one of the pictures, or lies beside them already.
    private static func files(for inputs: [PictureInput], in folder: String) -> [String] {
        let originals = Set(inputs.compactMap(\.identity))
        let isHome = FileIdentity(folder).map(Set(inputs.flatMap(\.homes)).contains) ?? false
        func isTaken(_ file: String) -> Bool {
            var status = stat()
            guard lstat(file, &status) == 0 else { return false }
            // Through a link a picture could be overwritten, or two results land in one file.
            let isLink = status.st_mode & S_IFMT == S_IFLNK
            return isHome || isLink || FileIdentity(file).map(originals.contains) ?? false
        }
        var counts: [String: Int] = [:]
        // In lower case, since some file systems do not distinguish it.
        var used: Set<String> = []
        return inputs.map { input in
            let last = URL(filePath: input.name).lastPathComponent
            let base = input.isNamed ? URL(filePath: last).deletingPathExtension().lastPathComponent : last
            while true {
                let count = (counts[base] ?? 0) + 1
                counts[base] = count
                let file = URL(filePath: folder).appending(path: count == 1 ? "\(base).png" : "\(base)-\(count).png")
                    .path
                if !isTaken(file), used.insert(file.lowercased()).inserted { return file }
            }
        }
    }
}

/// Where pictures with poems go.
struct RenderTarget {
    private let arguments: RenderArguments
    private let folder: String?
    private let files: [String]
    private let renderer: PoemRenderer

    fileprivate init(arguments: RenderArguments, folder: String?, files: [String], _ renderer: PoemRenderer) {
        (self.arguments, self.folder, self.files, self.renderer) = (arguments, folder, files, renderer)
    }

    /// - Throws: `PictureError.noGlyph` for a character of the given texts, or of what is set beside the poem, that
    ///   no typeface has.
    func check(_ given: [String?]) throws {
        let texts = (given + [arguments.title, arguments.signature, arguments.seal]).compactMap { $0 }
        guard let character = try undrawable(texts.joined()).sorted().first else { return }
        throw PictureError.noGlyph(character: String(character), font: try renderer.fontName())
    }

    /// The characters of a text that no typeface has.
    func undrawable(_ text: String) throws -> Set<Character> { try renderer.undrawable(text) }

    /// Makes the folder, or sees that the file's folder can be written, so that this is known before the long work.
    ///
    /// - Throws: `PictureError.unwritable`.
    func prepare() throws {
        do {
            if let folder {
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            }
        } catch {
            throw PictureError.unwritable(path: folder ?? "", reason: error.localizedDescription)
        }
        let home = folder ?? URL(filePath: files[0]).deletingLastPathComponent().path
        guard access(home, W_OK) == 0 else {
            throw PictureError.unwritable(path: folder ?? files[0], reason: String(cString: strerror(errno)))
        }
    }

    /// Sets the poem on the picture that is at this place of the inputs.
    ///
    /// - Returns: the file that was written
    /// - Throws: `PictureError`.
    func write(_ poem: RankedPoem, on picture: Picture, at place: Int) throws -> String {
        let text = RenderedPoem(
            title: arguments.title, lines: try Form(named: poem.form).parted(poem.lines),
            signature: arguments.signature, seal: arguments.seal)
        try renderer.render(text, on: picture).write(to: files[place])
        return files[place]
    }
}
