/// A character in a block of columns, in units of the poem's em, from the block's top right corner.
struct PlacedCharacter: Equatable {
    let character: Character
    /// Centre, leftwards from the right edge.
    let x: Double
    /// Centre, downwards from the top edge.
    let y: Double
    /// Em of this character; the poem's own characters have 1.
    let size: Double
}

/// A poem set in vertical columns, right to left, without punctuation; lengths in units of the poem's em.
struct PoemLayout {
    let characters: [PlacedCharacter]
    /// Where the seal goes: its centre.
    let seal: (x: Double, y: Double)?
    let width: Double
    let height: Double
    /// The share of the last column that stays empty.
    let raggedness: Double

    /// Distance of two characters in a column, and of two columns.
    static let pitch = 1.14
    static let columnPitch = 1.5
    /// What stands for the punctuation between sentences.
    static let sentenceGap = 0.55
    private static let titleSize = 0.8
    private static let signatureSize = 0.66

    /// The ways to set a poem that are worth trying, the most usual first.
    ///
    /// Verse of equal lines takes one, two or four lines to a column; uneven clauses (词, 古风) run on through columns of
    /// several heights.
    static func candidates(for poem: RenderedPoem, sealSize: SealSize?) -> [PoemLayout] {
        let clauses = Clause.split(poem.lines)
        guard let first = clauses.first else { return [] }
        let even = clauses.allSatisfy { $0.characters.count == first.characters.count }
        var columnings: [[[Character?]]] = []
        if even && first.characters.count <= 9 && clauses.count <= 16 {
            for share in [1, 2, 4] where clauses.count % share == 0 && (share == 1 || clauses.count > share / 2) {
                columnings.append(
                    stride(from: 0, to: clauses.count, by: share).map { start in
                        Array(clauses[start..<start + share].map { $0.characters.map { $0 } }.joined(separator: [nil]))
                    })
            }
        } else {
            let count = clauses.reduce(0) { $0 + $1.characters.count }
            for height in [6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 22, 27, 33] where count >= height {
                columnings.append(run(clauses, height: height))
            }
            if columnings.isEmpty { columnings.append(run(clauses, height: count)) }
        }
        return columnings.map { PoemLayout(columns: $0, poem: poem, sealSize: sealSize) }
    }

    /// Clauses one after the other, broken wherever a column is full; nil is a gap.
    private static func run(_ clauses: [Clause], height: Int) -> [[Character?]] {
        var columns: [[Character?]] = [[]]
        var used = 0.0
        for clause in clauses {
            for character in clause.characters {
                if used + 1 > Double(height) {
                    columns.append([])
                    used = 0
                }
                columns[columns.count - 1].append(character)
                used += 1
            }
            if clause.endsStanza {
                columns.append([])
                used = 0
            } else if clause.endsSentence && used > 0 {
                columns[columns.count - 1].append(nil)
                used += sentenceGap
            }
        }
        return columns.compactMap { column in
            let trimmed = column.last == .some(nil) ? Array(column.dropLast()) : column
            return trimmed.isEmpty ? nil : trimmed
        }
    }

    private init(columns: [[Character?]], poem: RenderedPoem, sealSize: SealSize?) {
        var placed: [PlacedCharacter] = []
        var right = 0.0
        var height = 0.0

        func set(_ column: [Character?], size: Double, x: Double, from top: Double) -> Double {
            var y = top
            for slot in column {
                if let slot {
                    placed.append(PlacedCharacter(character: slot, x: x, y: y + size / 2, size: size))
                    y += Self.pitch * size
                } else {
                    y += Self.sentenceGap * size
                }
            }
            return y - (Self.pitch - 1) * size
        }

        let title = Clause.slots(poem.title ?? "")
        if !title.isEmpty {
            let size = Self.titleSize
            height = max(height, set(title, size: size, x: right + size / 2, from: 0))
            right += size + (Self.columnPitch - 1) * 1.2
        }
        for column in columns {
            height = max(height, set(column, size: 1, x: right + 0.5, from: 0))
            right += Self.columnPitch
        }
        right -= Self.columnPitch - 1

        let full = columns.map(\.count).max() ?? 1
        raggedness = 1 - Double(columns.last?.count ?? 0) / Double(max(full, 1))

        let signature = Clause.slots(poem.signature ?? "")
        var seal: (x: Double, y: Double)?
        let size = Self.signatureSize
        let signatureHeight = signature.reduce(0.0) { $0 + ($1 == nil ? Self.sentenceGap : Self.pitch) * size }
        let sealHeight = sealSize.map { $0.height + (signature.isEmpty ? 0 : 0.2) } ?? 0
        if signatureHeight + sealHeight > 0 {
            let width = max(signature.isEmpty ? 0 : size, sealSize?.width ?? 0)
            let middle = right + (Self.columnPitch - 1) * 0.8 + width / 2
            // The signature ends low, as it does on paintings; a seal closes it.
            height = max(height, signatureHeight + sealHeight)
            var y = height - signatureHeight - sealHeight
            if !signature.isEmpty { y = set(signature, size: size, x: middle, from: y) + (Self.pitch - 1) * size }
            if let sealSize { seal = (middle, height - sealSize.height / 2) }
            right = middle + width / 2
        }
        (characters, self.seal, width, self.height) = (placed, seal, right, height)
    }
}

/// A run of characters between two marks of punctuation.
struct Clause: Equatable {
    var characters: [Character]
    /// A full stop, or the end of a line without punctuation, follows.
    var endsSentence: Bool
    /// An empty line follows: 上阕 ends here.
    var endsStanza = false

    /// What is set of a text: letters, numerals, and □ for what is lost; no punctuation, no blanks.
    static func settable(_ text: String) -> [Character] {
        text.filter { $0.isLetter || $0.isNumber || $0 == "□" || isPictograph($0) }
    }

    /// A title or signature: its parts, between which a gap (nil) stands for a dot or a blank.
    static func slots(_ text: String) -> [Character?] {
        let parts = text.split { settable(String($0)).isEmpty }
        return Array(parts.map { settable(String($0)).map { $0 } }.joined(separator: [nil]))
    }

    // Emoji are no letters; they are kept here so that a missing glyph is an error and not a silent loss.
    private static func isPictograph(_ character: Character) -> Bool {
        character.unicodeScalars.contains { $0.properties.isEmojiPresentation }
    }

    static func split(_ lines: [String]) -> [Clause] {
        var clauses: [Clause] = []
        for line in lines.flatMap({ $0.split(omittingEmptySubsequences: false) { $0.isNewline } }) {
            let before = clauses.count
            var current: [Character] = []
            for character in line {
                let kept = settable(String(character))
                if !kept.isEmpty {
                    current += kept
                } else {
                    let ends = "。！？；.!?;".contains(character)
                    if !current.isEmpty { clauses.append(Clause(characters: current, endsSentence: ends)) }
                    current = []
                }
            }
            if !current.isEmpty { clauses.append(Clause(characters: current, endsSentence: true)) }
            if clauses.count == before, !clauses.isEmpty { clauses[clauses.count - 1].endsStanza = true }
        }
        return clauses
    }
}
