/// Tokens that are cut out of a text before anything else happens to it, longest first, as `PreTrainedTokenizer` does.
struct AddedTokens: Sendable {
    enum Piece: Equatable {
        case text(String)
        case token(Int32)
    }

    private let tokens: [(bytes: [UInt8], id: Int32)]
    /// Whether some token begins with a byte, for all 256.
    private let firstBytes: [Bool]
    /// Whether the whitespace around a token belongs to the token.
    private let strips: Set<Int32>

    init(_ tokens: [(String, Int32)], stripping: Set<Int32> = []) {
        self.tokens = tokens.filter { !$0.0.isEmpty }.map { (Array($0.0.utf8), $0.1) }
            .sorted { $0.bytes.count > $1.bytes.count }
        var firstBytes = Array(repeating: false, count: 256)
        for token in self.tokens { firstBytes[Int(token.bytes[0])] = true }
        self.firstBytes = firstBytes
        strips = stripping
    }

    func split(_ text: String) -> [Piece] {
        if !text.isEmpty, !text.utf8.contains(where: isFirst) { return [.text(text)] }
        let bytes = Array(text.utf8)
        var pieces: [Piece] = []
        var start = 0
        var index = 0
        func close(at end: Int) {
            if end > start { pieces.append(.text(String(decoding: bytes[start..<end], as: UTF8.self))) }
        }
        while index < bytes.count {
            if isFirst(bytes[index]), let match = match(bytes, at: index) {
                close(at: index)
                pieces.append(.token(match.id))
                index += match.length
                start = index
            } else {
                index += 1
            }
        }
        close(at: bytes.count)
        return strips.isEmpty ? pieces : stripped(pieces)
    }

    /// Lower-cases every scalar on its own (as the reference does: no final sigma) and leaves the tokens as they are.
    func lowercased(_ text: String) -> String {
        if text.unicodeScalars.allSatisfy({ UnicodeClasses.isCaseless($0) }) { return text }
        var result = String.UnicodeScalarView()
        for piece in split(text) {
            switch piece {
            case .token(let id): result.append(contentsOf: spelling(of: id).unicodeScalars)
            case .text(let part):
                for scalar in part.unicodeScalars {
                    if (0x4E00...0x9FFF).contains(scalar.value) {
                        result.append(scalar)
                    } else {
                        result.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars)
                    }
                }
            }
        }
        return String(result)
    }

    private func isFirst(_ byte: UInt8) -> Bool { firstBytes[Int(byte)] }

    private func spelling(of id: Int32) -> String {
        tokens.first { $0.id == id }.map { String(decoding: $0.bytes, as: UTF8.self) } ?? ""
    }

    private func match(_ bytes: [UInt8], at index: Int) -> (id: Int32, length: Int)? {
        for token in tokens where bytes.count - index >= token.bytes.count {
            if bytes[index..<(index + token.bytes.count)].elementsEqual(token.bytes) {
                return (token.id, token.bytes.count)
            }
        }
        return nil
    }

    private func stripped(_ pieces: [Piece]) -> [Piece] {
        func strips(_ index: Int) -> Bool {
            guard pieces.indices.contains(index), case .token(let id) = pieces[index] else { return false }
            return self.strips.contains(id)
        }
        return pieces.indices.compactMap { index in
            guard case .text(let text) = pieces[index] else { return pieces[index] }
            var scalars = Substring(text).unicodeScalars
            if strips(index - 1) {
                while let first = scalars.first, UnicodeClasses.isPythonWhitespace(first) { scalars.removeFirst() }
            }
            if strips(index + 1) {
                while let last = scalars.last, UnicodeClasses.isPythonWhitespace(last) { scalars.removeLast() }
            }
            return scalars.isEmpty ? nil : .text(String(scalars))
        }
    }
}
