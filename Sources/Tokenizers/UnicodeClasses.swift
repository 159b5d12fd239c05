/// The character classes of BERT's basic tokenizer, defined as Python's `unicodedata` and `str.split` define them.
enum UnicodeClasses {
    /// Becomes a space: tab, line feed, carriage return, category Zs.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x20, 0x09, 0x0A, 0x0D: true
        case 0..<0x80: false
        default: scalar.properties.generalCategory == .spaceSeparator
        }
    }

    /// Where Python's `str.split()` cuts: `isSpace` and the line and paragraph separators. The control characters that
    /// it cuts at as well are gone by then.
    static func isSplit(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value == 0x2028 || scalar.value == 0x2029 || isSpace(scalar)
    }

    /// Whitespace as Python's `str.strip()` sees it.
    static func isPythonWhitespace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0D, 0x1C...0x20, 0x85: true
        case 0..<0x80: false
        default: isSplit(scalar)
        }
    }

    /// Removed: every category that begins with C, unassigned and private use included.
    static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09, 0x0A, 0x0D: return false
        case 0x20..<0x7F: return false
        default: break
        }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned: return true
        default: return false
        }
    }

    /// Category P, and every ASCII sign that is neither letter nor digit.
    static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 33...47, 58...64, 91...96, 123...126: return true
        case 0..<0x80, 0x4E00...0x9FFF: return false
        default: break
        }
        switch scalar.properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            return true
        default: return false
        }
    }

    /// The blocks that BERT takes for Chinese: CJK, Extensions A to E, both compatibility blocks. Extensions F and
    /// later are not among them, as in the reference.
    static func isHan(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
            0x2B820...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
            true
        default: false
        }
    }

    /// Scalars without upper and lower case, as far as they can be told quickly.
    static func isCaseless(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x41...0x5A: false
        case 0..<0x80, 0x2E80...0x9FFF, 0xFF01...0xFF20: true
        default: false
        }
    }

    /// Scalars that no Unicode normalisation form changes or joins with a neighbour: ASCII and the ideographs.
    static func isNormalisationInert(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x80 || (0x4E00...0x9FFF).contains(scalar.value) || (0xFF01...0xFF5E).contains(scalar.value)
            || (0x3001...0x3011).contains(scalar.value)
    }
}
