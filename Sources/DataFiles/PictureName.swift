/// Names of picture files, and the keys that are made of them.
public enum PictureName {
    /// Endings that make a file a picture, in lower case. Of pictures that differ in nothing else the first of these is
    /// taken.
    public static let endings = ["jpg", "jpeg", "jfif", "png", "webp", "avif", "heic", "heif", "tif", "tiff", "gif"]

    /// The key of a picture: its name without the ending, as `text(_:)` writes it; other names stay whole.
    public static func key(of name: String) -> String {
        let name = text(name.utf8)
        let stem = split(Array(name.utf8))?.stem
        return stem.map { String(decoding: $0, as: UTF8.self) } ?? name
    }

    /// A name of a picture without its ending, and the place of the ending among `endings`; nil for other names.
    static func split(_ name: [UInt8]) -> (stem: [UInt8], rank: Int)? {
        guard let dot = name.lastIndex(of: UInt8(ascii: ".")) else { return nil }
        let ending = String(decoding: name[(dot + 1)...], as: UTF8.self).lowercased()
        return endings.firstIndex(of: ending).map { (Array(name[..<dot]), $0) }
    }

    /// The bytes of a name as text that can stand in a line or a column.
    ///
    /// Control characters become `\x0A`, and so do all bytes above ASCII in a part of a path that is not UTF-8, as in
    /// names of a zip archive from Windows. The backslashes of such a part are doubled, so that two names never become
    /// one.
    public static func text(_ name: some Collection<UInt8>) -> String {
        func isControl(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.generalCategory == .control }
        func escaped(_ bytes: some Sequence<UInt8>) -> String {
            bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined()
        }
        return name.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { part -> String in
            guard let text = String(validating: part, as: UTF8.self) else {
                return part.map { byte in
                    let scalar = Unicode.Scalar(byte)
                    return byte == 0x5C ? "\\\\" : byte < 0x80 && !isControl(scalar) ? String(scalar) : escaped([byte])
                }.joined()
            }
            guard text.unicodeScalars.contains(where: isControl) else { return text }
            return text.unicodeScalars.map { scalar in
                scalar == "\\" ? "\\\\" : isControl(scalar) ? escaped(UTF8.encode(scalar) ?? .init()) : String(scalar)
            }.joined()
        }.joined(separator: "/")
    }

    /// Leaves of pictures with one key the one whose ending comes first in `endings`.
    ///
    /// - Parameter laterWins: of two files of one name the later one counts, as where an archive is unpacked
    /// - Returns: the pictures in their order, and what a person should know
    static func withoutTwins<Element>(
        _ found: [Element], in input: String, laterWins: Bool = false, name: (Element) -> String,
        key: (Element) -> String, rank: (Element) -> Int
    ) -> (kept: [Element], note: String?) {
        var places: [String: Int] = [:]
        var twins: (count: Int, example: String) = (0, "")
        for (place, element) in found.enumerated() {
            guard let other = places[key(element)] else {
                places[key(element)] = place
                continue
            }
            let isBetter = (rank(element), laterWins ? 0 : 1) < (rank(found[other]), laterWins ? 1 : 0)
            let (taken, left) = isBetter ? (element, found[other]) : (found[other], element)
            if isBetter { places[key(element)] = place }
            twins.count += 1
            if twins.count == 1 { twins.example = "\(name(left)) beside \(name(taken))" }
        }
        guard twins.count > 0 else { return (found, nil) }
        let kept = Set(places.values)
        return (
            found.indices.filter(kept.contains).map { found[$0] },
            """
            \(input): left out \(twins.count) that \(twins.count == 1 ? "has" : "have") the name of another picture, such as \
            \(twins.example) (the order is \(endings.joined(separator: ", ")))
            """
        )
    }
}
