import Foundation
import TihuaFiles
import TihuaModels
import TihuaNN
import TihuaTorch

/// Writes the folder of a model: `config.json`, the weights in bfloat16 and, where there are tokens, `vocab.txt`.
///
/// - Parameters:
///   - files: further files to copy in
///   - tensor: what to save for a parameter; the parameter itself where it is nil
/// - Throws: `FileError`.
func saveModel(
    _ configuration: some Encodable, _ store: ParameterStore, tokens: [String]? = nil, copying files: [URL] = [],
    to folder: URL,
    tensor: @escaping (String) -> Tensor?
) throws {
    if let tokens {
        try AtomicFile.makeFolder(at: folder)
        try AtomicFile.write((tokens.joined(separator: "\n") + "\n").utf8, to: folder.appending(path: "vocab.txt"))
    }
    try ModelFolder.save(configuration: configuration, store: store, dtype: .bfloat16, copying: files, to: folder) {
        tensor($0.name) ?? $0.tensor
    }
}

/// Options as text, the same for equal options.
func describe(_ options: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return (try? encoder.encode(options)).map { String(decoding: $0, as: UTF8.self) } ?? ""
}
