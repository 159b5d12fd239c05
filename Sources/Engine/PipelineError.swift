public import TihuaFiles

/// What can be wrong with a bank of imagery, with the contents of a pack, or with a request.
public enum PipelineError: RequestError, Equatable, Sendable, CustomStringConvertible {
    /// The file cannot be read as text.
    case unreadable(path: String, reason: String)
    /// The bank has no entries.
    case emptyBank(path: String)
    /// A row of the bank with other columns than word, category, descriptions. Lines count from 1.
    case bankColumns(path: String, line: Int, found: Int)
    /// A row whose word is empty, too long or not Chinese, or that describes nothing.
    case bankEntry(path: String, line: Int, reason: String)
    /// The pack's manifest is no JSON object of the right kind, or names what is not there.
    case manifest(path: String, reason: String)
    /// The pack lacks a part that is needed for what is asked.
    case missingPart(pack: String, part: Pack.Part)
    /// A folder whose model is not one that the pack's place needs.
    case wrongModel(path: String, found: String, needed: String)
    /// Embeddings of another width than the captioner takes.
    case embeddingWidth(path: String, expected: Int, found: Int)
    /// Pictures without the grids that the captioner takes, or with other ones.
    case grid(path: String, expected: String, found: String)
    /// A CLIP model whose picture tower gives no grids.
    case noPlaces(path: String)
    /// A prefix that was trained with another model than the one beside it.
    case otherModel(path: String, model: String)
    /// Numbers of a request out of range.
    case setting(name: String, value: String, range: String)
    /// Text of a request that holds something other than Chinese characters.
    case text(name: String, character: Character)
    /// No picture.
    case noPicture
    /// Work that was begun, or is done, with something other than what is asked for now.
    case otherWork(path: String, reason: String)
    /// Work that another process is doing.
    case locked(path: String)

    /// Whether a text or a number of the request is at fault.
    public var isRequestFault: Bool {
        switch self {
        case .setting, .text: true
        default: false
        }
    }

    /// One line: what happened, where, what to do.
    public var description: String { printable(message) }

    private var message: String {
        switch self {
        case .unreadable(let path, let reason):
            "\(path): cannot be read (\(reason)); check the path and its permissions"
        case .emptyBank(let path): "\(path): no entries; write one word a line, or word, category and descriptions"
        case .bankColumns(let path, let line, let found):
            "\(path), line \(line): \(found) columns where 3 to 5 are needed: "
                + "word, category, descriptions, kind and group, with tabs between"
        case .bankEntry(let path, let line, let reason): "\(path), line \(line): \(reason)"
        case .manifest(let path, let reason): "\(path): \(reason)"
        case .missingPart(let pack, .prefix):
            "\(pack): this pack has no prefix for its poet; write through keywords, or name one"
        case .missingPart(let pack, let part): "\(pack): this pack has no \(part.rawValue); name one"
        case .wrongModel(let path, let found, let needed): "\(path): holds a \(found) model where \(needed) is needed"
        case .embeddingWidth(let path, let expected, let found):
            "\(path): takes embeddings of \(expected) numbers, but is given \(found); use the CLIP model that it was trained with"
        case .grid(let path, let expected, let found):
            "\(path): takes a grid of \(expected) beside the embedding of a picture, but is given \(found); "
                + "use the CLIP model that it was trained with, and embeddings that were made with grids"
        case .noPlaces(let path):
            "\(path): its picture tower does not tell what is where; take a model that does, or do without grids"
        case .otherModel(let path, let model):
            "\(path): was trained with another \(model) than this one; train it anew (tihua train prefix)"
        case .setting(let name, let value, let range): "\(name) is \(value); give \(range)"
        case .text(let name, let character):
            "\(name) holds “\(character)”, which is no Chinese character; write it in Chinese characters only"
        case .noPicture: "no picture is given; name at least one"
        case .otherWork(let path, let reason):
            "\(path): \(reason); delete it to begin anew, or name another output"
        case .locked(let path): "\(path): another process is writing there; wait for its end, or name another output"
        }
    }
}
