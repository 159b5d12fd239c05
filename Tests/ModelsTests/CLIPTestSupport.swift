import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaModels

/// Inputs and outputs of the model in a fixture folder.
func goldens(_ name: String) throws -> (String) throws -> Tensor {
    let checkpoint = try Checkpoint.open(fixture("Models/\(name).golden.safetensors"))
    return { try Tensor.borrowing(checkpoint.tensor($0)).clone() }
}

/// Fails unless the tensors have one shape and every element is within `atol + rtol |expected|`.
func expectClose(
    _ found: Tensor, _ expected: Tensor, rtol: Float = 1e-4, atol: Float = 1e-5,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(found.shape == expected.shape, sourceLocation: sourceLocation)
    let pairs = zip(found.floats, expected.floats)
    let worst = pairs.map { abs($0 - $1) - rtol * abs($1) }.max() ?? .infinity
    #expect(worst <= atol, "off by \(worst) beyond the relative tolerance", sourceLocation: sourceLocation)
    #expect(found.floats.allSatisfy { $0.isFinite }, sourceLocation: sourceLocation)
}

/// A new folder for one test, removed with it.
func withTemporaryFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: "models-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder)
}

/// A tiny model of each kind of tower, for properties that need no file.
enum TinyCLIP: String, CaseIterable, Sendable {
    case transformer
    case resNet

    var configuration: ChineseCLIPConfiguration {
        var text = BERTConfiguration()
        text.vocabularySize = 50
        text.hiddenSize = 16
        text.layerCount = 2
        text.headCount = 2
        text.intermediateSize = 32
        text.positionCount = 16
        switch self {
        case .transformer:
            var vision = VisionTransformerConfiguration()
            vision.hiddenSize = 16
            vision.intermediateSize = 32
            vision.layerCount = 2
            vision.headCount = 2
            vision.imageSize = 16
            vision.patchSize = 4
            return ChineseCLIPConfiguration(text: text, vision: .transformer(vision), projectionSize: 8)
        case .resNet:
            var vision = CLIPResNetConfiguration()
            vision.layers = [1, 2, 1, 1]
            vision.width = 4
            vision.imageSize = 64
            return ChineseCLIPConfiguration(text: text, vision: .resNet(vision), projectionSize: 8)
        }
    }

    func make(seed: UInt64 = 1, computeType: DType = .float32) -> (model: ChineseCLIP, store: ParameterStore) {
        let store = ParameterStore(seed: seed)
        return (ChineseCLIP(configuration, computeType: computeType, at: store.root), store)
    }

    func pixels(_ count: Int, seed: UInt64 = 7) -> Tensor {
        .randn([count, 3, configuration.imageSize, configuration.imageSize], generator: Generator(seed: seed))
    }

    static var ids: Tensor { .ids([2, 7, 9, 30, 3, 2, 49, 3, 0, 0, 2, 11, 12, 3, 0], [3, 5]) }
}
