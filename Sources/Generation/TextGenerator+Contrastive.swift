import TihuaModels
import TihuaTorch

extension TextGenerator {
    /// Contrastive search: each prompt has `candidates` rows, which are equal but for the token that is being tried.
    /// P prompts, K candidates, S positions.
    func contrast(
        _ session: TokenSession, _ search: ContrastiveSearch, _ rules: AppliedRules
    ) throws -> [[GeneratedText]] {
        let tried = min(search.candidates, source.model.vocabularySize)
        var texts = session.rows.map { _ in OpenText() }
        var live = Array(texts.indices)  // the text of each prompt
        var context = session.hidden.to(.float32).normalized()  // [P, S, C]
        var scores = session.next  // [P, V]
        session.reorder(by: live.flatMap { Array(repeating: $0, count: tried) })
        for length in 0..<rules.maximumLength {
            try Task.checkCancellation()
            try Runtime.checkMemory()
            let firstRows = live.indices.map { $0 * tried }
            let allowed = rules.applied(to: session, rows: firstRows, scores: scores, length: length)
            let best = allowed.softmax(1).topK(tried, 1)  // [P, K]
            let tokens = best.indices.reshaped(-1).array(of: Int64.self).map { Int32(truncatingIfNeeded: $0) }

            // Where the rows have padding, as they are before the tokens that are tried.
            let padding = session.present?.gatheringSlices(0, at: rowIDs(firstRows)).logicalNot()  // [P, S]
            session.append(tokens.map { [$0] })
            let hidden = session.hidden.to(.float32).reshaped(live.count, tried, -1).normalized()  // [P, K, C]
            var likeness = hidden.matmul(context.transposed(1, 2))  // [P, K, S]
            if let padding { likeness = likeness.filled(where: padding.unsqueezed(1), with: -.infinity) }
            // Forbidden tokens, probability 0, are no candidates.
            let merit = (best.values * (1 - search.penalty) - likeness.max(2) * search.penalty)
                .filled(where: best.values.equals(0), with: -.infinity)
            let choices = merit.argmax(1)  // [P]
            let chosen = best.indices.gathered(1, choices.unsqueezed(1)).squeezed(1)
            let drawn = try Self.values(of: chosen, scores: scores, allowed: allowed)
            for (place, index) in live.enumerated() where texts[index].isOpen {
                texts[index].take(drawn[place], stop: rules.stop)
            }

            let open = live.indices.filter { texts[live[$0]].isOpen }
            guard !open.isEmpty, length + 1 < rules.maximumLength else { break }
            let winners = zip(firstRows, choices.array(of: Int64.self)).map { $0 + Int($1) }
            context = .concatenated(
                [context, hidden.reshaped(live.count * tried, 1, -1).gatheringSlices(0, at: rowIDs(winners))], 1)
            scores = session.next.gatheringSlices(0, at: rowIDs(winners))
            let keeps = Self.isWorthDropping(open.count, of: live.count) ? open : Array(live.indices)
            // All rows of a prompt become the winner; they differ from it in the last position alone.
            session.reorder(
                by: keeps.flatMap { Array(repeating: winners[$0], count: tried) },
                from: keeps.count == live.count ? session.length - 1 : 0)
            if keeps.count < live.count {
                context = context.gatheringSlices(0, at: rowIDs(keeps))
                scores = scores.gatheringSlices(0, at: rowIDs(keeps))
                live = keeps.map { live[$0] }
            }
        }
        return texts.map { [$0.generated(stop: rules.stop)] }
    }

    private func rowIDs(_ rows: [Int]) -> Tensor { Tensor(rows.map(Int64.init)).to(nil, device) }
}
