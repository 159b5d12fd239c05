import Foundation
import Testing

@testable import TihuaWeightFiles

@Suite struct TorchArchiveTests {
    /// Every file of `torch.save` against its twin, which Python wrote contiguously.
    @Test(arguments: [
        ("types.pt", "types"), ("types.legacy.pt", "types"), ("views.pt", "views"), ("views.legacy.pt", "views"),
        ("parameters.pt", "parameters"), ("parameters.legacy.pt", "parameters"),
        ("checkpoint.pt", "checkpoint"), ("checkpoint.legacy.pt", "checkpoint"),
        ("checkpoint.protocol3.pt", "checkpoint"), ("checkpoint.protocol4.pt", "checkpoint"),
        ("checkpoint.protocol5.pt", "checkpoint"),
        ("handmade.pt", "handmade"), ("handmade.legacy.pt", "handmade.legacy"),
    ])
    func readsTheTensorsThatPythonSaved(_ name: String, _ twin: String) throws {
        let tensors = try TorchArchive(contentsOf: weightFixture(name)).tensors()
        let expected = try SafetensorsFile(contentsOf: weightFixture("\(twin).expected.safetensors"))
        #expect(Set(tensors.map(\.name)) == Set(expected.tensors.map(\.name)))
        #expect(tensors.count == expected.tensors.count)
        for tensor in tensors {
            let other = try #require(expected[tensor.name])
            #expect(tensor.elementType == other.elementType, "\(tensor.name)")
            #expect(tensor.shape == other.shape, "\(tensor.name)")
            #expect(tensor.contiguousBytes() == other.contiguousBytes(), "\(tensor.name)")
        }
    }

    @Test func viewsKeepStridesAndShareTheirStorage() throws {
        let archive = try TorchArchive(contentsOf: weightFixture("views.pt"))
        let tensors = try archive.tensors()
        let byName = Dictionary(uniqueKeysWithValues: tensors.map { ($0.name, $0) })
        let base = try #require(byName["base"])
        let transposed = try #require(byName["transposed"])
        #expect(base.isContiguous && base.isAligned)
        #expect(transposed.shape == [5, 4, 6] && transposed.strides == [1, 30, 5] && !transposed.isContiguous)
        #expect(byName["expanded"]?.strides == [0, 0, 1])
        let address = { (view: TensorView?) in view?.withUnsafeBytes { $0.baseAddress } }
        #expect(address(base) == address(transposed) && address(base) == address(byName["tied"]))
        #expect(address(byName["element"]) == address(base)?.advanced(by: 144))
        // The reach of a view ends with its last element.
        let reach = { (view: TensorView?) in view?.withUnsafeBytes { $0.count } }
        #expect(reach(byName["row"]) == 20)
        #expect(reach(byName["column"]) == 364)
    }

    @Test(arguments: ["checkpoint.pt", "checkpoint.legacy.pt", "checkpoint.protocol4.pt"])
    func exposesEverythingElseAsATree(_ name: String) throws {
        let root = try TorchArchive(contentsOf: weightFixture(name)).root
        func text(_ value: PickleValue?) -> String { value.map { "\($0)" } ?? "nil" }
        #expect(text(root["epoch"]) == text(.integer(3)))
        #expect(text(root["best"]) == text(.number(0.25)))
        #expect(text(root["name"]) == text(.string("题画")))
        #expect(text(root["negative"]) == text(.integer(-70000)))
        #expect(text(root["wide"]) == text(.integer(-(1 << 40))))
        #expect(text(root["large"]) == text(.bigInteger([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])))
        #expect(text(root["flag"]) == text(.bool(true)))
        #expect(text(root["nothing"]) == text(PickleValue.none))
        #expect(text(root["shape"]) == text(.tuple([.integer(2), .integer(3)])))
        #expect(text(root["dtype"]) == text(.constant("torch.bfloat16")))
        #expect(text(root["device"]) == text(.constant("torch.device('cpu')")))
        #expect(text(root["bytes"]) == text(.bytes([0, 255])))
        #expect(text(root["set"]) == text(.set([.integer(1)])))
        let nested = PickleValue.list([.integer(1), .list([.integer(2), .tuple([.integer(3), .string("四")])])])
        #expect(text(root["list"]) == text(nested))
        guard case .dictionary(let states)? = root["optimizer"]?["state"], case .integer(0)? = states.first?.key else {
            Issue.record("no optimiser state")
            return
        }
        #expect(states.first?.value["exp_avg"]?.isTensor == true)
        #expect(root["absent"] == nil && root["epoch"]?["x"] == nil)
    }

    @Test func aBareTensorIsAValueAndNotADictionary() throws {
        let archive = try TorchArchive(contentsOf: weightFixture("tensor.pt"))
        guard case .tensor(let view) = archive.root else {
            Issue.record("no tensor")
            return
        }
        #expect(view.shape == [2, 3] && view.floats() == [0, 1, 2, 3, 4, 5])
        #expect(failure { _ = try archive.tensors() }?.description.contains("without a dictionary of tensors") == true)
    }

    /// Files that are refused, with the words that the error must say.
    @Test(arguments: [
        ("evil.system2.pt", "'posix.system'"), ("evil.system4.pt", "'posix.system'"),
        ("evil.eval2.pt", "'__builtin__.eval'"), ("evil.eval4.pt", "'builtins.eval'"),
        ("evil.getattr2.pt", "'__builtin__.getattr'"), ("evil.getattr4.pt", "'builtins.getattr'"),
        ("evil.import2.pt", "'__builtin__.__import__'"), ("evil.import4.pt", "'builtins.__import__'"),
        ("evil.partial2.pt", "'functools.partial'"), ("evil.partial4.pt", "'functools.partial'"),
        ("evil.legacy.pt", "'posix.system'"), ("evil.plain.pt", "'posix.system'"),
        ("compressed.pt", "compressed"), ("bigendian.pt", "big-endian"), ("traversal.pt", "'../../pwned'"),
        ("shortstorage.pt", "tensor 'w' claims 6 elements, the file has 20 bytes"),
        ("script.pt", "TorchScript"), ("module.pt", "'torch.nn.modules.linear.Linear'"),
        ("notensors.pt", "'epoch'"), ("types.json", "neither a ZIP archive nor a pickle"),
    ])
    func refusesAndRunsNothing(_ name: String, _ words: String) throws {
        let error = try #require(failure { _ = try TorchArchive(contentsOf: weightFixture(name)).tensors() })
        #expect(error.description.contains(words), "\(error)")
        #expect(!FileManager.default.fileExists(atPath: "pwned"))
    }

    @Test(arguments: ["small.pt", "small.legacy.pt"])
    func everyTruncationIsAnError(_ name: String) throws {
        let whole = try bytes(weightFixture(name))
        for count in 0..<whole.count {
            #expect(throws: WeightFileError.self, "\(count)") {
                _ = try TorchArchive(MappedFile(copying: Array(whole.prefix(count)), path: "cut")).tensors()
            }
        }
    }

    // MARK: Pickles that are built here

    /// A file of the legacy layout around a pickle: one storage "s" of `count` float32 zeros.
    static func legacy(_ program: [UInt8], count: Int = 6) throws -> MappedFile {
        func number(_ value: Int) -> [UInt8] { withUnsafeBytes(of: value.littleEndian, Array.init) }
        var content: [UInt8] = [
            0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e,
            0x80, 2, 0x4d, 0xe9, 0x03, 0x2e, 0x80, 2, 0x7d,
        ]
        content += text("little_endian") + [0x88, 0x73, 0x2e]
        // The storage is mentioned and dropped, so that every program may use it or not.
        content += [0x80, 2] + storage(count: count) + [0x30]
        content += program
        content += [0x80, 2, 0x5d] + text("s") + [0x61, 0x2e]
        content += number(count) + [UInt8](repeating: 0, count: count * 4)
        return try MappedFile(copying: content, path: "built")
    }

    private static func text(_ string: String) -> [UInt8] {
        [0x58] + withUnsafeBytes(of: UInt32(string.utf8.count).littleEndian, Array.init) + Array(string.utf8)
    }

    private static func integer(_ value: Int) -> [UInt8] {
        [0x8a, 8] + withUnsafeBytes(of: value.littleEndian, Array.init)
    }

    private static func global(_ module: String, _ name: String) -> [UInt8] { Array("c\(module)\n\(name)\n".utf8) }

    /// The persistent id of the storage "s".
    static func storage(count: Int = 6) -> [UInt8] {
        let words = text("storage") + global("torch", "FloatStorage") + text("s") + text("cpu")
        return [0x28] + words + integer(count) + [0x4e, 0x74, 0x51]
    }

    /// `{"w": _rebuild_tensor_v2(storage s of `count`, offset, shape, strides, False, {})}`
    static func tensor(offset: Int, shape: [Int], strides: [Int], count: Int = 6) -> [UInt8] {
        func tuple(_ values: [Int]) -> [UInt8] { [0x28] + values.flatMap(integer) + [0x74] }
        var program: [UInt8] = [0x80, 2, 0x7d]
        program += text("w") + global("torch._utils", "_rebuild_tensor_v2") + [0x28]
        program += storage(count: count)
        program += integer(offset) + tuple(shape) + tuple(strides)
        return program + [0x89, 0x7d, 0x74, 0x52, 0x73, 0x2e]
    }

    static let inside: [(offset: Int, shape: [Int], strides: [Int])] = [
        (offset: 0, shape: [2, 3], strides: [3, 1]), (offset: 5, shape: [], strides: []),
        (offset: 0, shape: [3, 2], strides: [1, 3]), (offset: 1, shape: [1, 5], strides: [Int.max, 1]),
        (offset: 0, shape: [0, 1 << 40], strides: [Int.max, Int.max]), (offset: Int.max, shape: [0], strides: [1]),
        (offset: 2, shape: [100, 2], strides: [0, 1]),
    ]

    @Test(arguments: inside)
    func readsATensorInsideItsStorage(_ offset: Int, _ shape: [Int], _ strides: [Int]) throws {
        let file = try Self.legacy(Self.tensor(offset: offset, shape: shape, strides: strides))
        let view = try #require(try TorchArchive(file).tensors().first)
        #expect(view.name == "w" && view.shape == shape)
        #expect(view.contiguousBytes() == [UInt8](repeating: 0, count: shape.reduce(4, *)))
    }

    static let beyond: [(offset: Int, shape: [Int], strides: [Int], count: Int)] = [
        (offset: 1, shape: [2, 3], strides: [3, 1], count: 6), (offset: 6, shape: [], strides: [], count: 6),
        (offset: -1, shape: [2], strides: [1], count: 6), (offset: 0, shape: [2], strides: [-1], count: 6),
        (offset: 0, shape: [2], strides: [1, 1], count: 6), (offset: 0, shape: [7], strides: [1], count: 6),
        (offset: 0, shape: [3], strides: [Int.max / 2], count: 6),
        (offset: Int.max, shape: [1], strides: [1], count: 6),
        (offset: 0, shape: [Int.max, 2], strides: [0, 0], count: 6),
        (offset: 0, shape: [1 << 40], strides: [0], count: 6),
        (offset: 0, shape: [2], strides: [1], count: 7), (offset: 0, shape: [2], strides: [1], count: Int.max),
        (offset: 0, shape: [2], strides: [1], count: -1),
        (offset: 0, shape: [Int](repeating: 1, count: 65), strides: [Int](repeating: 1, count: 65), count: 6),
    ]

    @Test(arguments: beyond)
    func refusesATensorThatReachesBeyondItsStorage(
        _ offset: Int, _ shape: [Int], _ strides: [Int], _ count: Int
    ) throws {
        let file = try Self.legacy(Self.tensor(offset: offset, shape: shape, strides: strides, count: count))
        #expect(throws: WeightFileError.self) { try TorchArchive(file).tensors() }
    }

    private static let deep: [UInt8] = [0x80, 2, 0x29] + [UInt8](repeating: 0x85, count: 1_000_000) + [0x2e]
    private static let doubling: [UInt8] = {
        var program: [UInt8] = [0x80, 2, 0x4e]
        for _ in 0..<40 { program += [0x32, 0x86] }
        return program + [0x2e]
    }()
    private static let copying: [UInt8] = {
        var program: [UInt8] = [0x80, 2, 0x28] + [UInt8](repeating: 0x4e, count: 100_000) + [0x6c, 0x71, 0, 0x30]
        for _ in 0..<1000 { program += global("__builtin__", "set") + [0x68, 0, 0x85, 0x52] }
        return program + [0x2e]
    }()
    private static let instance: [UInt8] = [0x80, 2, 0x28] + Array("iposix\nsystem\n.".utf8)
    private static let endless: [UInt8] = [0x80, 2, 0x63] + [UInt8](repeating: 0x61, count: 2000)
    private static let savedModule: [UInt8] = [0x80, 2] + text("module") + [0x85, 0x51, 0x2e]
    private static let bareClass: [UInt8] = [0x80, 2] + global("torch", "FloatStorage") + [0x2e]

    /// Programs that would eat the stack, the memory or the time of a careless reader.
    static let harmful: [Refused] = [
        Refused("nested a million deep", deep, "nesting"),
        Refused("a list in itself", [0x80, 2, 0x5d, 0x71, 0, 0x68, 0, 0x61, 0x2e], "nesting"),
        Refused("doubled forty times", doubling, "number of values"),
        Refused("one long list copied again and again", copying, "copies"),
        Refused("a string of four gigabytes", [0x80, 2, 0x58, 0xff, 0xff, 0xff, 0xff, 0x2e], "ends at byte"),
        Refused("a string of 2⁶³ bytes", [0x80, 4, 0x8d, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x2e], "beyond any file"),
        Refused("bytes of negative length", [0x80, 2, 0x54, 0xff, 0xff, 0xff, 0xff, 0x2e], "ends at byte"),
        Refused("an integer of negative length", [0x80, 2, 0x8b, 0xff, 0xff, 0xff, 0xff, 0x2e], "ends at byte"),
        Refused("a pop from nothing", [0x80, 2, 0x30, 0x2e], "stack is empty"),
        Refused("a pop below a mark", [0x80, 2, 0x4e, 0x28, 0x30, 0x2e], "stack is empty"),
        Refused("no mark", [0x80, 2, 0x74, 0x2e], "a mark is missing"),
        Refused("nothing remembered", [0x80, 2, 0x68, 7, 0x2e], "remembered as 7"),
        Refused("values left over", [0x80, 2, 0x4e, 0x4e, 0x2e], "left over"),
        Refused("a key without a value", [0x80, 2, 0x7d, 0x28, 0x4e, 0x75, 0x2e], "without a value"),
        Refused("items for a tuple", [0x80, 2, 0x29, 0x4e, 0x61, 0x2e], "list that is none"),
        Refused("an extension code", [0x80, 2, 0x82, 1, 0x2e], "0x82"),
        Refused("an instance", instance, "0x69"),
        Refused("a global that never ends", endless, "does not end"),
        Refused("a call of a string", [0x80, 2, 0x4e, 0x29, 0x52, 0x2e], "no function"),
        Refused("a saved module", savedModule, "whole saved module"),
        Refused("protocol 0", [0x80, 0, 0x4e, 0x2e], "protocol 0"),
        Refused("a class as a value", bareClass, "a class"),
    ]

    @Test(arguments: harmful)
    func refusesAProgramThatDoesHarm(_ program: Refused) throws {
        let file = try Self.legacy(program.content)
        let error = try #require(failure { _ = try TorchArchive(file) })
        let text = error.description
        #expect(text.contains(program.words))
    }

    @Test func aLaterKeyTakesThePlaceOfAnEarlierOne() throws {
        var program: [UInt8] = [0x80, 2, 0x7d, 0x28]
        for (key, value) in [("a", 1), ("b", 2), ("a", 3)] as [(String, UInt8)] {
            program += Self.text(key) + [0x4b, value]
        }
        program += [0x75, 0x2e]
        guard case .dictionary(let entries) = try TorchArchive(Self.legacy(program)).root else {
            Issue.record("no dictionary")
            return
        }
        #expect(entries.count == 2)
        guard case .integer(3) = entries[0].value else {
            Issue.record("the first value stayed")
            return
        }
    }
}

extension PickleValue {
    fileprivate var isTensor: Bool {
        if case .tensor = self { true } else { false }
    }
}
