import ArgumentParser
import Foundation
import TihuaModels
import TihuaWeightFiles

/// `tihua models`: what lies in folders of weights.
struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "Look into models, average them, and cut vocabularies.",
        discussion: """
              tihua models inspect Weights/mini/poet
              tihua models average runs/clip/best runs/clip --out runs/clip-average
              tihua models cut sentence-encoder --out sentence-encoder-zh
            """, subcommands: [Inspect.self, Average.self, Cut.self])

    /// `tihua models inspect`: architecture, parameter count, tensors.
    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "inspect", abstract: "Show architecture, parameter count and tensors.",
            discussion: """
                PATH is a folder with config.json and weights, or a file of weights: safetensors, or what torch.save \
                wrote. Nothing in the file is run, and the weights are not loaded.

                  tihua models inspect Weights/mini/poet
                  tihua models inspect pytorch_model.bin --json
                """)

        @Argument(help: "A folder or a file of weights.", completion: .file())
        var path: String

        @Flag(name: .long, help: "Print one JSON object.")
        var json = false

        func run() throws {
            let inspection = try Inspection(URL(filePath: path))
            try Console.print(json ? try jsonLine(inspection) : inspection.summary)
        }
    }
}

/// What `tihua models inspect` prints.
private struct Inspection: Encodable {
    struct Tensor: Encodable {
        let name: String
        let shape: [Int]
        let dtype: String
    }

    /// nil for a file of weights without a configuration, or one that is not known.
    let architecture: String?
    /// Why there is no architecture.
    let note: String?
    /// Floating point numbers in the files; a tied head that is stored twice counts twice.
    let parameters: Int
    let bytes: Int
    let files: [String]
    let tokenizer: String?
    let tensors: [Tensor]

    init(_ url: URL) throws {
        let checkpoint = try Checkpoint.open(url)
        tensors = checkpoint.tensors.map { Tensor(name: $0.name, shape: $0.shape, dtype: $0.elementType.rawValue) }
        parameters = checkpoint.tensors.reduce(0) { sum, view in
            [.float32, .float16, .bfloat16, .float64].contains(view.elementType) ? sum &+ view.elementCount : sum
        }
        bytes = checkpoint.tensors.reduce(0) { $0 &+ $1.byteCount }
        files = checkpoint.files.map(\.lastPathComponent)
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder)
        guard isFolder.boolValue else {
            (architecture, tokenizer) = (nil, nil)
            note = "a file of weights alone; the architecture is in the config.json of its folder"
            return
        }
        do throws(ModelError) {
            let folder = try ModelFolder(at: url)
            architecture = folder.architecture.rawValue
            tokenizer = folder.tokenizerFile?.lastPathComponent
            note = nil
        } catch {
            (architecture, tokenizer) = (nil, nil)
            note = "\(error)"
        }
    }

    var summary: String {
        let width = tensors.map(\.name.count).max() ?? 0
        var lines = [
            "architecture  \(architecture ?? "unknown")", "parameters    \(parameters)", "bytes         \(bytes)",
            "files         \(files.joined(separator: ", "))", "tokenizer     \(tokenizer ?? "none")",
        ]
        if let note { lines.append("note          \(note)") }
        lines.append("tensors       \(tensors.count)")
        lines += tensors.map { tensor in
            let gap = String(repeating: " ", count: width - tensor.name.count)
            let type = tensor.dtype.padding(toLength: 4, withPad: " ", startingAt: 0)
            return "  \(tensor.name)\(gap)  \(type)  \(tensor.shape)"
        }
        return lines.joined(separator: "\n")
    }
}
