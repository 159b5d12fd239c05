/// The text as it may be shown to a person on one line: control characters, line and paragraph separators, and
/// characters that turn the direction of writing are escaped (`\u{1B}`), so that no name in a file can steer a
/// terminal.
///
/// Everything foreign goes through it before it is printed: paths, names of tensors, texts of files, arguments.
public func printable(_ text: String) -> String { escaped(text, keeping: []) }

/// As `printable`, for a text of several lines: line feeds and tabs stay.
public func printableLines(_ text: String) -> String { escaped(text, keeping: ["\n", "\t"]) }

/// As `printable`, for a line of JSON, in whose own notation (`\u009b`) the characters are escaped, so that it still
/// says the same.
public func printableJSON(_ text: String) -> String {
    escaped(text, keeping: []) { scalar in
        scalar.utf16.map { "\\u" + String(0x10000 + UInt32($0), radix: 16).dropFirst() }.joined()
    }
}

private func escaped(
    _ text: String, keeping kept: Set<Unicode.Scalar>,
    as escape: (Unicode.Scalar) -> String = { $0.escaped(asASCII: true) }
) -> String {
    guard text.utf8.contains(where: mayBeUnprintable) else { return text }
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
        if isUnprintable(scalar), !kept.contains(scalar) {
            result.append(contentsOf: escape(scalar).unicodeScalars)
        } else {
            result.append(scalar)
        }
    }
    return String(result)
}

/// A quick look at a byte of UTF-8: all that `isUnprintable` names begins with one of these.
private func mayBeUnprintable(_ byte: UInt8) -> Bool {
    byte < 0x20 || byte == 0x7F || byte == 0xC2 || byte == 0xD8 || byte == 0xDB || byte == 0xDC || byte == 0xE0
        || byte == 0xE1 || byte == 0xE2 || byte == 0xEF || byte == 0xF0 || byte == 0xF3
}

private func isUnprintable(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator: true
    // The joiners of emoji and of Indic scripts are harmless.
    case .format: scalar.value != 0x200C && scalar.value != 0x200D
    default: false
    }
}
