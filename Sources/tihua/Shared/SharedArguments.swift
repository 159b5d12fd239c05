public import ArgumentParser
import Foundation
import Tihua
public import TihuaDataFiles
import TihuaFiles
import TihuaGeneration
import TihuaPictures
public import TihuaProsody
import TihuaTorch

/// Where a command computes, and on how many threads.
struct DeviceOptions: ParsableArguments {
    @Option(help: "cpu, cuda, cuda:1, or auto: a GPU where there is one.")
    var device = "auto"

    @Option(help: "How many threads an operation uses; by default one for each core.")
    var threads: Int?

    func validate() throws {
        guard let threads else { return }
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
    }

    /// - Throws: `TorchError.noDevice` for a device that is not there.
    func find() throws -> Device { try Device(named: device) }

    /// Sets the threads of the calling thread's operations and finds the device.
    ///
    /// - Throws: `TorchError.noDevice` for a device that is not there.
    func prepare() throws -> Device {
        if let threads { Runtime.threadCount = threads }
        return try find()
    }
}

/// How texts that a person wrote are read.
struct TextArguments: ParsableArguments {
    @Option(
        help: """
            How the texts are written: \(TextEncoding.allCases.map(\.rawValue).joined(separator: ", ")). By default \
            UTF-8, or UTF-16 where a file begins with its mark.
            """)
    var encoding: TextEncoding?
}

extension TextEncoding: ExpressibleByArgument {
    /// By any of its names, such as gbk.
    public init?(argument: String) { self.init(named: argument) }
}

/// Where and how a command computes with one model.
struct ComputeOptions: ParsableArguments {
    enum Precision: String, ExpressibleByArgument, CaseIterable {
        case float32
        case bfloat16

        var dtype: DType {
            switch self {
            case .float32: .float32
            case .bfloat16: .bfloat16
            }
        }
    }

    @OptionGroup var place: DeviceOptions

    @Option(help: "The type of weights and activations: \(Precision.allCases.map(\.rawValue).joined(separator: ", ")).")
    var dtype: Precision = .float32
}

extension TonePolicy: ExpressibleByArgument {}

extension PoemRequest.Through: ExpressibleByArgument {}

extension RhymeBook: ExpressibleByArgument {
    /// By the Chinese name or the pinyin.
    public init?(argument: String) { self.init(named: argument) }
}

/// Sees that an output is none of the inputs, by whatever path or link, before any work is done.
///
/// - Parameter option: how the output was named, for the message
/// - Throws: `ValidationError`.
func protect(_ inputs: [(path: String, identity: FileIdentity?)], from output: String?, _ option: String) throws {
    guard let output, let file = FileIdentity(output), let input = inputs.first(where: { $0.identity == file }) else {
        return
    }
    throw ValidationError(
        "\(option) \(printable(output)) is an input, \(printable(input.path)), which would be lost; name another file")
}

/// As above, for inputs that are files.
func protect(_ inputs: [String], from output: String?, _ option: String) throws {
    try protect(inputs.map { ($0, FileIdentity($0)) }, from: output, option)
}

/// One line of JSON.
func jsonLine(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return printableJSON(String(decoding: try encoder.encode(value), as: UTF8.self))
}
