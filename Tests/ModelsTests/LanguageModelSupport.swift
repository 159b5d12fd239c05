import Foundation
import Testing
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaModels

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

extension Tensor {
    var ids: [Int] { array(of: Int64.self).map(Int.init) }
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
