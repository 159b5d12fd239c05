public import Foundation

/// JSON with `null` for `NaN`, `Infinity` and `-Infinity`, which Python's json writes and JSON does not have: a setting
/// that is no number is as if it were left out. Whatever else is no JSON stays so.
public func withoutPythonNumbers(_ json: some Sequence<UInt8>) -> Data {
    let words = ["-Infinity", "Infinity", "NaN"].map { Array($0.utf8) }
    let bytes = Array(json)
    guard bytes.contains(UInt8(ascii: "N")) || bytes.contains(UInt8(ascii: "I")) else { return Data(bytes) }
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    var isString = false
    var place = 0
    while place < bytes.count {
        let byte = bytes[place]
        if isString, byte == UInt8(ascii: "\\"), place + 1 < bytes.count {
            result += bytes[place...place + 1]
            place += 2
            continue
        }
        if byte == UInt8(ascii: "\"") { isString.toggle() }
        if !isString, let word = words.first(where: { bytes[place...].starts(with: $0) }) {
            result += Array("null".utf8)
            place += word.count
            continue
        }
        result.append(byte)
        place += 1
    }
    return Data(result)
}
