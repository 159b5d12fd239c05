import TihuaFiles

/// What can be wrong with a file of weights, or with writing one. Every description is one line for a person.
public enum WeightFileError: Error, Equatable, Sendable {
    /// There is nothing at the path.
    case missing(path: String)
    /// The path is a folder, a device or a pipe where a file is needed.
    case notAFile(path: String)
    /// The operating system refused; `operation` is the verb ("open", "write", …), `reason` its own words.
    case system(path: String, operation: String, reason: String)
    /// The file has no bytes.
    case empty(path: String)
    /// The file is not what its format says it is: truncated, damaged or made to mislead.
    case malformed(path: String, problem: String)
    /// The file is sound, and uses a part of the format that this reader does not read.
    case unsupported(path: String, feature: String, advice: String)
    /// A pickle asks for something that is not on the list of what weights need; nothing of it was run.
    case refusedGlobal(path: String, name: String)
    /// A limit that protects memory and stack was passed.
    case limit(path: String, what: String, limit: Int)
    /// A folder holds no weights; `looked` lists the names that would have been read.
    case noWeights(path: String, looked: [String])
    /// A folder holds several files of weights, and nothing says which one is meant.
    case ambiguous(path: String, candidates: [String])
    /// An index names a file or a tensor that is not there.
    case missingFromIndex(path: String, names: [String])
    /// A tensor is asked for that the file does not hold.
    case noTensor(path: String, name: String)
    /// Two tensors of a file would be one parameter of the model.
    case ambiguousNames(path: String, first: String, second: String, name: String)
    /// The values handed to a writer do not fit its format.
    case unwritable(path: String, problem: String)
}

extension WeightFileError: CustomStringConvertible {
    /// One line: what happened, where, what to do.
    public var description: String {
        switch self {
        case .missing(let path):
            "\(printable(path)): no such file; check the path"
        case .notAFile(let path):
            "\(printable(path)): not a regular file; give the path of the file itself"
        case .system(let path, let operation, let reason):
            "\(printable(path)): cannot \(operation): \(reason)"
        case .empty(let path):
            "\(printable(path)): the file is empty; fetch it again"
        case .malformed(let path, let problem):
            "\(printable(path)): damaged or not what it claims to be: \(problem); fetch or save it again"
        case .unsupported(let path, let feature, let advice):
            "\(printable(path)): \(feature) cannot be read here; \(advice)"
        case .refusedGlobal(let path, let name):
            "\(printable(path)): refused, the pickle asks for \(quoted(name)), which weights do not need (nothing was run); "
                + "in Python, save only the state_dict, or convert to safetensors"
        case .limit(let path, let what, let limit):
            "\(printable(path)): refused, \(what) is beyond the limit of \(limit)"
        case .noWeights(let path, let looked):
            "\(printable(path)): no weights in this folder; looked for \(looked.joined(separator: ", "))"
        case .ambiguous(let path, let candidates):
            "\(printable(path)): several files of weights (\(list(candidates))); give the path of the one that is meant"
        case .missingFromIndex(let path, let names):
            "\(printable(path)): the index names what is not there: \(list(names)); fetch the missing files"
        case .noTensor(let path, let name):
            "\(printable(path)): holds no tensor \(quoted(name))"
        case .ambiguousNames(let path, let first, let second, let name):
            "\(printable(path)): \(quoted(first)) and \(quoted(second)) are both \(quoted(name)) once the prefixes of a trainer "
                + "are cut; save one of the two models"
        case .unwritable(let path, let problem):
            "\(printable(path)): not written: \(problem)"
        }
    }
}

/// The first eight names, quoted, and how many more there are.
private func list(_ names: [String]) -> String {
    let shown = names.prefix(8).map(quoted).joined(separator: ", ")
    return names.count > 8 ? "\(shown) and \(names.count - 8) more" : shown
}

/// Text of a file in quotation marks, cut to 80 characters, so that a hostile name cannot break a message.
func quoted(_ text: String) -> String {
    let head = text.unicodeScalars.prefix(80)
    let cut = text.unicodeScalars.dropFirst(80).isEmpty ? "" : "…"
    return "'\(printable(String(String.UnicodeScalarView(head))))\(cut)'"
}
