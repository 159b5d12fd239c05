/// One to four tokens in a row; the places after the last are -1.
typealias NGram = SIMD4<Int32>

extension NGram {
    /// How many tokens it has, 1...4.
    var order: Int { self[1] < 0 ? 1 : self[2] < 0 ? 2 : self[3] < 0 ? 3 : 4 }

    /// The order of the tokens' numbers.
    func precedes(_ other: NGram) -> Bool {
        for place in 0..<4 where self[place] != other[place] { return self[place] < other[place] }
        return false
    }
}

/// How often each run of one to four tokens occurs.
func countNGrams(_ tokens: [Int32]) -> [NGram: Int] {
    var counts: [NGram: Int] = [:]
    counts.reserveCapacity(4 * tokens.count)
    for start in tokens.indices {
        var gram = NGram(repeating: -1)
        for place in 0..<min(4, tokens.count - start) {
            gram[place] = tokens[start + place]
            counts[gram, default: 0] += 1
        }
    }
    return counts
}

/// Numbers for tokens, so that what counts them need not be generic.
struct TokenNumbers<Token: Hashable & Sendable>: Sendable {
    private var numbers: [Token: Int32] = [:]

    /// The numbers of the tokens; new ones get the next.
    mutating func add(_ tokens: [Token]) -> [Int32] {
        tokens.map { token in
            if let number = numbers[token] { return number }
            let number = Int32(numbers.count)
            numbers[token] = number
            return number
        }
    }

    /// The numbers of the tokens; those that are not known are told apart, and forgotten again.
    func find(_ tokens: [Token]) -> [Int32] {
        var unknown: [Token: Int32] = [:]
        return tokens.map { token in
            if let number = numbers[token] ?? unknown[token] { return number }
            let number = Int32(numbers.count + unknown.count)
            unknown[token] = number
            return number
        }
    }
}
