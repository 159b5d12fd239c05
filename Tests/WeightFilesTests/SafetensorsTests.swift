import Foundation
import Testing
import TihuaTestSupport

@testable import TihuaWeightFiles

@Suite struct SafetensorsTests {
    private struct Golden: Decodable {
        var dtype: String
        var shape: [Int]
        var hex: String
    }

    @Test func readsEveryElementTypeAsPythonWroteIt() throws {
        let file = try SafetensorsFile(contentsOf: weightFixture("types.safetensors"))
        let goldens = try JSONDecoder().decode(
            [String: Golden].self, from: Data(contentsOf: weightFixture("types.json")))
        #expect(Set(file.tensors.map(\.name)) == Set(goldens.keys))
        #expect(Set(file.tensors.map(\.elementType)) == Set(ElementType.allCases))
        #expect(file.metadata == ["format": "pt"])
        for (name, golden) in goldens {
            let tensor = try #require(file[name])
            #expect(tensor.elementType.rawValue == golden.dtype)
            #expect(tensor.shape == golden.shape)
            #expect(tensor.isContiguous && tensor.isAligned)
            let hex = tensor.contiguousBytes().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            #expect(hex == golden.hex, "\(name)")
        }
        #expect(file["missing"] == nil)
    }

    @Test func widensFloatsAndLeavesIntegersAlone() throws {
        let file = try SafetensorsFile(contentsOf: weightFixture("types.safetensors"))
        let wide = try #require(file["w.F64"]?.withUnsafeBytes { Array($0.bindMemory(to: Double.self)) })
        #expect(file["w.F64"]?.floats() == wide.map { Float($0) })
        let single = try #require(file["w.F32"]?.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) })
        #expect(file["w.F32"]?.floats() == single)
        let half = try #require(file["w.F16"]?.withUnsafeBytes { Array($0.bindMemory(to: Float16.self)) })
        #expect(file["w.F16"]?.floats() == half.map { Float($0) })
        let brain = try #require(file["w.BF16"]?.withUnsafeBytes { Array($0.bindMemory(to: UInt16.self)) })
        #expect(file["w.BF16"]?.floats()?.map { $0.bitPattern } == brain.map { UInt32($0) << 16 })
        #expect(file["w.I64"]?.floats() == nil)
    }

    @Test func aViewKeepsItsFileAlive() throws {
        let view = try withTemporaryFolder { folder in
            let url = folder.appending(path: "a.safetensors")
            let header = #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#
            try Data(safetensors(header, data: 0) + [7, 8, 9, 10]).write(to: url)
            return try #require(try SafetensorsFile(contentsOf: url)["a"])
        }
        #expect(view.contiguousBytes() == [7, 8, 9, 10])
    }

    static let valid = #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#

    /// Headers that lie, with the word that the error must say.
    static let lies: [Refused] = [
        Refused("length beyond the file", safetensors(valid, data: 8, length: 5000), "claims 5000 bytes"),
        Refused(
            "length beyond the limit", safetensors(valid, data: 8, length: 100_000_001), "beyond the limit of 100000000"
        ),
        Refused("length of 2⁶⁴-1", safetensors(valid, data: 8, length: .max), "beyond the limit"),
        Refused("length shorter than the header", safetensors(valid, data: 8, length: 20), "JSON"),
        Refused("only seven bytes", [1, 0, 0, 0, 0, 0, 0], "too few"),
        Refused("no header", safetensors("", data: 8), "does not start with '{'"),
        Refused("not an object", safetensors("[1]", data: 8), "does not start with '{'"),
        Refused("data cut short", safetensors(valid, data: 7), "at most 7 are free"),
        Refused("bytes behind the last tensor", safetensors(valid, data: 9), "1 bytes follow"),
        Refused("a gap before the first", one("[1,9]", data: 9), "bytes from 0"),
        Refused("offsets reversed", one("[8,0]", data: 8), "bytes from 0"),
        Refused("an offset of 2⁶³", one("[0,9223372036854775808]", data: 8), "too large"),
        Refused("a negative offset", one("[-8,0]", data: 8), "expected a whole number"),
        Refused("three offsets", one("[0,4,8]", data: 8), "two data_offsets"),
        Refused("shape larger than the bytes", one("[0,8]", shape: "[3]", data: 8), "does not take 8 bytes"),
        Refused("shape overflows", one("[0,8]", shape: "[4294967296,4294967296,4294967296]", data: 8), "does not take"),
        Refused("bytes overflow", one("[0,8]", shape: "[4611686018427387904]", data: 8), "does not take"),
        Refused("a fraction in the shape", one("[0,8]", shape: "[2.0]", data: 8), "expected a whole number"),
        Refused("unknown type", one("[0,8]", type: "F8_E4M3", data: 8), "'F8_E4M3'"),
        Refused("no shape", safetensors(#"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#, data: 8), "lacks"),
        Refused("metadata that is no text", safetensors(#"{"__metadata__":{"a":1}}"#, data: 0), "expected '\"'"),
        Refused("a name twice", pair("a", "[0,4]", "a", "[4,8]"), "stands twice"),
        Refused("a name twice, once escaped", pair("a", "[0,4]", "\\u0061", "[4,8]"), "stands twice"),
        Refused("overlap", pair("a", "[0,4]", "b", "[0,4]", data: 4), "bytes from 4"),
        Refused("a gap between", pair("a", "[0,4]", "b", "[5,9]", data: 9), "bytes from 4"),
        Refused("not UTF-8", [6, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x22, 0xff, 0x22, 0x3a, 0x7d], "not UTF-8"),
        Refused("half a surrogate pair", safetensors(#"{"\ud800":1}"#, data: 0), "surrogate"),
        Refused("text behind the header", safetensors(valid + "x", data: 8), "follows the end"),
        Refused("a control character in a name", safetensors("{\"a\u{1}\":1}", data: 0), "control"),
        Refused("a thousand levels", one("[0,8]", extra: ",\"x\":" + thousand, data: 8), "32 levels"),
    ]

    private static let thousand = String(repeating: "[", count: 1000)

    private static func one(
        _ offsets: String, shape: String = "[2]", type: String = "F32", extra: String = "", data: Int
    ) -> [UInt8] {
        safetensors(#"{"a":{"dtype":"\#(type)","shape":\#(shape),"data_offsets":\#(offsets)\#(extra)}}"#, data: data)
    }

    private static func pair(
        _ a: String, _ first: String, _ b: String, _ second: String, data: Int = 8, shape: String = "[1]"
    ) -> [UInt8] {
        func member(_ name: String, _ shape: String, _ offsets: String) -> String {
            #""\#(name)":{"dtype":"F32","shape":\#(shape),"data_offsets":\#(offsets)}"#
        }
        return safetensors("{\(member(a, shape, first)),\(member(b, "[1]", second))}", data: data)
    }

    @Test(arguments: lies)
    func refusesALie(_ lie: Refused) throws {
        let error = try #require(failure { _ = try SafetensorsFile(MappedFile(copying: lie.content, path: "lie")) })
        #expect(error.description.contains(lie.words), "\(error)")
        #expect(error.description.hasPrefix("lie: "))
    }

    static let allowed: [(String, [UInt8], Int)] = [
        ("no tensors", safetensors("{}", data: 0), 0),
        ("white space and escapes", safetensors(spaced, data: 1), 1),
        ("two tensors", pair("a", "[0,4]", "b", "[4,8]"), 2),
        ("an empty tensor before another", pair("a", "[0,0]", "b", "[0,4]", data: 4, shape: "[0]"), 2),
    ]
    private static let spaced = #"""
        { "a\n\u00e9\ud83d\ude00" : {"shape" : [ ], "dtype":"U8",
          "data_offsets":[0, 1], "more":[null,-1.5e3,{"x":true}]} }
        """#

    @Test(arguments: allowed)
    func readsWhatTheFormatAllows(_ name: String, _ content: [UInt8], _ count: Int) throws {
        let file = try SafetensorsFile(MappedFile(copying: content, path: name))
        #expect(file.tensors.count == count)
        #expect(count != 1 || file["a\né😀"]?.shape == [])
    }

    @Test func everyTruncationIsAnError() throws {
        let whole = try bytes(weightFixture("types.safetensors"))
        for count in 0..<whole.count {
            #expect(throws: WeightFileError.self) {
                _ = try SafetensorsFile(MappedFile(copying: Array(whole.prefix(count)), path: "cut"))
            }
        }
    }

    @Test(.enabled(if: SharedData.root != nil, "needs ../shared/data"))
    func readsTheTeacherFilesOfTheSharedData() throws {
        let folder = try #require(SharedData.root).appending(path: "teacher")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.hasSuffix(".safetensors") }
        #expect(!names.isEmpty)
        for name in names {
            let file = try SafetensorsFile(contentsOf: folder.appending(path: name))
            #expect(!file.tensors.isEmpty, "\(name)")
        }
    }
}
