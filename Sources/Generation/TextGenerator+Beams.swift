import Foundation
import TihuaTorch

/// A text under way, or a finished one.
private struct Beam {
    /// Its row in the session.
    var row: Int
    var tokens: [Int32] = []
    /// What the search adds up: log-probabilities under the rules.
    var sum = 0.0
    /// Log-probabilities of the model itself.
    var logProbability = 0.0
}

/// The search of one prompt.
private struct Search {
    var open: [Beam]
    /// The best so far, best first, at most as many as there are beams.
    var finished: [(beam: Beam, score: Double)] = []
}

extension TextGenerator {
    /// Beam search, step by step as `_beam_search` of transformers 5, but each prompt stops when its own search is
    /// over, and only open beams take rows of the batch.
    func beams(
        _ session: TokenSession, _ search: BeamSearch, count: Int, _ rules: AppliedRules
    ) throws -> [[GeneratedText]] {
        let width = search.width
        // Even if every beam's candidates include all stop tokens, enough are left to go on with.
        let kept = max(2, 1 + rules.stop.count) * width
        var searches = session.rows.indices.map { Search(open: [Beam(row: $0)]) }
        for length in 1...rules.maximumLength {
            try Task.checkCancellation()
            try Runtime.checkMemory()
            let candidates = try candidates(of: session, kept: kept, length: length - 1, rules)
            var order: [Int] = []
            var tokens: [[Int32]] = []
            for index in searches.indices where !searches[index].open.isEmpty {
                searches[index].advance(
                    candidates, kept: kept, search, maximumLength: rules.maximumLength, stop: rules.stop)
                for place in searches[index].open.indices {
                    order.append(searches[index].open[place].row)
                    tokens.append(searches[index].open[place].tokens.suffix(1))
                    searches[index].open[place].row = order.count - 1
                }
            }
            guard !order.isEmpty else { break }
            session.reorder(by: order)
            session.append(tokens)
        }
        return searches.map { search in
            search.finished.prefix(count).map { beam, score in
                GeneratedText(beam.tokens, stop: rules.stop, logProbability: beam.logProbability, score: score)
            }
        }
    }

    /// The best tokens of each row, best first, those that the rules forbid left out.
    private func candidates(
        of session: TokenSession, kept: Int, length: Int, _ rules: AppliedRules
    ) throws -> [[Candidate]] {
        let own = session.next.logSoftmax(1)  // [B, V]
        // transformers penalises log-probabilities here, and scores in the other searches.
        let ruled = rules.applied(to: session, scores: own, length: length)
        let best = ruled.topK(min(kept, ruled.size(1)), 1)  // [B, K]
        let width = best.indices.size(1)
        let (ids, values) = (best.indices.array(of: Int64.self), best.values.floats)
        let logProbabilities = own.gathered(1, best.indices).floats
        return try session.rows.indices.map { row in
            guard !values[row * width].isNaN else { throw GenerationError.brokenModel }
            return (row * width..<(row + 1) * width).prefix { values[$0] > -.infinity }.map {
                Candidate(
                    token: Int32(truncatingIfNeeded: ids[$0]), value: Double(values[$0]),
                    logProbability: Double(logProbabilities[$0]))
            }
        }
    }
}

/// A token that may come next in a row.
private struct Candidate {
    let token: Int32
    /// Its log-probability under the rules.
    let value: Double
    /// Its log-probability of the model.
    let logProbability: Double
}

extension Search {
    /// Lengthens the open beams by a token, and leaves none open where the search is over.
    ///
    /// - Parameters:
    ///   - candidates: those of each row of the session
    ///   - kept: how many candidates of all beams together count
    ///   - maximumLength: of a text
    mutating func advance(
        _ candidates: [[Candidate]], kept: Int, _ search: BeamSearch, maximumLength: Int, stop: [Int32]
    ) {
        let width = search.width
        var longer: [(parent: Int, candidate: Candidate, sum: Double)] = []
        for (parent, beam) in open.enumerated() {
            longer += candidates[beam.row].map { (parent, $0, beam.sum + $0.value) }
        }
        guard !longer.isEmpty else {
            finish(open, search)  // the rules forbid every token
            open = []
            return
        }
        let best = longer.indices.sorted { (longer[$0].sum, $1) > (longer[$1].sum, $0) }.prefix(kept).map { index in
            var beam = open[longer[index].parent]
            beam.tokens.append(longer[index].candidate.token)
            beam.sum = longer[index].sum
            beam.logProbability += longer[index].candidate.logProbability
            return beam
        }
        func stops(_ beam: Beam) -> Bool {
            beam.tokens.count == maximumLength || beam.tokens.last.map(stop.contains) ?? false
        }
        // Only those among the first `width` candidates finish; others that stop are dropped.
        finish(best.prefix(width).filter(stops), search)
        open = Array(best.lazy.filter { !stops($0) }.prefix(width))
        if !canImprove(search, maximumLength: maximumLength) { open = [] }
    }

    private mutating func finish(_ beams: [Beam], _ search: BeamSearch) {
        for beam in beams where !beam.tokens.isEmpty {
            let score = search.rank(beam.sum, length: beam.tokens.count)
            let place = finished.firstIndex { $0.score < score } ?? finished.count
            finished.insert((beam, score), at: place)
        }
        finished.removeLast(max(0, finished.count - search.width))
    }

    /// Whether an open beam may still come before a finished one.
    private func canImprove(_ search: BeamSearch, maximumLength: Int) -> Bool {
        guard let best = open.first else { return false }
        guard finished.count == search.width, let worst = finished.last?.score else { return true }
        switch search.ending {
        case .first: return false
        case .likely: return search.rank(best.sum, length: best.tokens.count) > worst
        case .certain:
            let length = search.lengthPenalty > 0 ? maximumLength : best.tokens.count
            return search.rank(best.sum, length: length) > worst
        }
    }
}
