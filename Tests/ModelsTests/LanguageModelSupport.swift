import Foundation
import Testing
import TestSupport
import Torch
import WeightFiles

@testable import Models

/// What the Python reference computed for a fixture of `Scripts/make_lm_fixtures.py`.
struct Golden {
    private let file: SafetensorsFile

    init(_ name: String) throws {
        Runtime.threadCount = 1
        file = try SafetensorsFile(contentsOf: fixture("Models/\(name).golden.safetensors"))
    }

    subscript(name: String) -> Tensor {
        get throws { try Tensor.borrowing(#require(file[name], "no \(name)")) }
    }
}

func folder(_ name: String) throws -> ModelFolder { try ModelFolder(at: fixture("Models/\(name)")) }

/// Whole arrays, element by element: |a - b| <= absolute + relative |b|.
func expectClose(
    _ found: Tensor, _ expected: Tensor, relative: Double = 1e-4, absolute: Double = 1e-5,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(found.shape == expected.shape, sourceLocation: sourceLocation)
    guard found.shape == expected.shape else { return }
    let excess = (found - expected).abs() - (expected.abs() * relative + absolute)
    #expect(found.isFinite().to(.float32).mean().item == 1, "not finite", sourceLocation: sourceLocation)
    #expect(
        excess.max().item <= 0, "largest difference \((found - expected).abs().max().item)",
        sourceLocation: sourceLocation)
}

extension Tensor {
    var ids: [Int] { array(of: Int64.self).map(Int.init) }
}

func withTemporaryFolder(_ body: (URL) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "tihua-models-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder)
}

/// The description of what `body` throws, empty where it throws nothing.
func failure(_ body: () throws -> Void) -> String {
    do {
        try body()
        return ""
    } catch {
        return "\(error)"
    }
}

/// One line for a person.
func isOneLine(_ message: String) -> Bool { !message.isEmpty && !message.contains("\n") && message.count < 500 }
