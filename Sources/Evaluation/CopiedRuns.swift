/// The longest run of tokens that a text has in common with a large corpus, exactly.
///
/// A suffix automaton (Blumer et al. 1985) of the few texts; the corpus runs through it once and is not kept, so that
/// memory depends on the texts alone.
public struct CopiedRuns {
    private struct State {
        var length: Int32
        var link: Int32 = -1
        var next: [UInt16: Int32] = [:]
        /// The longest suffix of this state's strings, as far as the corpus has shown.
        var seen: Int32 = 0
    }

    private var states = [State(length: 0)]
    private let texts: [[UInt16]]

    /// Takes the texts whose runs are looked for.
    public init(texts: [[UInt16]]) {
        self.texts = texts
        for text in texts {
            var last: Int32 = 0
            for token in text { last = extend(last, token) }
        }
    }

    /// Adds a token behind the string of state `last`.
    private mutating func extend(_ last: Int32, _ token: UInt16) -> Int32 {
        if let known = states[Int(last)].next[token] {
            if states[Int(known)].length == states[Int(last)].length + 1 { return known }
            return split(known, from: last, token)
        }
        let state = Int32(states.count)
        states.append(State(length: states[Int(last)].length + 1))
        var place = last
        while place >= 0, states[Int(place)].next[token] == nil {
            states[Int(place)].next[token] = state
            place = states[Int(place)].link
        }
        guard place >= 0, let known = states[Int(place)].next[token] else {
            states[Int(state)].link = 0
            return state
        }
        let isNext = states[Int(known)].length == states[Int(place)].length + 1
        states[Int(state)].link = isNext ? known : split(known, from: place, token)
        return state
    }

    /// A state for the strings of `known` that are no longer than those of `place` and one token.
    private mutating func split(_ known: Int32, from place: Int32, _ token: UInt16) -> Int32 {
        let clone = Int32(states.count)
        states.append(
            State(
                length: states[Int(place)].length + 1, link: states[Int(known)].link, next: states[Int(known)].next))
        states[Int(known)].link = clone
        var place = place
        while place >= 0, states[Int(place)].next[token] == known {
            states[Int(place)].next[token] = clone
            place = states[Int(place)].link
        }
        return clone
    }

    /// Looks for the texts' runs in one text of the corpus.
    public mutating func scan(_ text: some Sequence<UInt16>) {
        var state = 0
        var length: Int32 = 0
        for token in text {
            while state != 0, states[state].next[token] == nil {
                state = Int(states[state].link)
                length = states[state].length
            }
            guard let next = states[state].next[token] else {
                length = 0
                continue
            }
            state = Int(next)
            length += 1
            if length > states[state].seen { states[state].seen = length }
        }
    }

    /// The longest run of each text that the scanned corpus holds, in tokens.
    public func longest() -> [Int] {
        // What is seen at a state is seen at all of its suffixes.
        var seen = states.map(\.seen)
        for index in states.indices.sorted(by: { states[$0].length > states[$1].length }) where seen[index] > 0 {
            let link = Int(states[index].link)
            if link > 0 { seen[link] = states[link].length }
        }
        return texts.map { text in
            var (state, best) = (0, Int32(0))
            for token in text {
                guard let next = states[state].next[token] else { break }
                state = Int(next)
                var place = state
                while place > 0, seen[place] == 0 { place = Int(states[place].link) }
                if place > 0 { best = max(best, seen[place]) }
            }
            return Int(best)
        }
    }
}
