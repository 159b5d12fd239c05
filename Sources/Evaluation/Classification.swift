/// How often the class with the highest score is the right one.
public struct Classification: Sendable, Equatable, Encodable {
    /// What became of the pictures of one class.
    public struct Class: Sendable, Equatable, Encodable {
        /// The class.
        public let label: String
        /// How many pictures it has.
        public let pictures: Int
        /// The share of them that got the right class, 0...1.
        public let accuracy: Double
    }

    /// Pictures of one class that got another.
    public struct Confusion: Sendable, Equatable, Encodable {
        /// What they are.
        public let label: String
        /// What they were taken for.
        public let takenFor: String
        /// How many they are.
        public let pictures: Int
    }

    /// How many pictures there are.
    public let pictures: Int
    /// The share whose right class has the highest score, 0...1.
    public let accuracy: Double
    /// The share whose right class is among the five highest; nil where there are no more than five.
    public let top5: Double?
    /// The classes that have pictures, in the order of `labels`.
    public let classes: [Class]
    /// The most frequent confusions, most frequent first.
    public let confusions: [Confusion]

    /// Measures a matrix of scores. A wrong class with an equal score stands before the right one.
    ///
    /// - Parameters:
    ///   - scores: `[truths.count, labels.count]`, row by row; higher is better
    ///   - truths: the right class of each picture, an index into `labels`; at least one
    ///   - labels: the classes
    ///   - confusionCount: how many confusions are kept
    public init(scores: [Float], truths: [Int], labels: [String], confusionCount: Int = 5) {
        precondition(
            !truths.isEmpty && scores.count == truths.count * labels.count
                && truths.allSatisfy(labels.indices.contains),
            "\(scores.count) scores of \(truths.count) pictures and \(labels.count) classes")
        struct Pair: Hashable {
            let truth: Int
            let answer: Int
        }
        var (totals, right) = ([Int](repeating: 0, count: labels.count), [Int](repeating: 0, count: labels.count))
        var amongFive = 0
        var confused: [Pair: Int] = [:]
        for (picture, truth) in truths.enumerated() {
            let row = scores[picture * labels.count..<(picture + 1) * labels.count]
            let own = row[row.startIndex + truth]
            let wrong = labels.indices.filter { $0 != truth && !(row[row.startIndex + $0] < own) }
            totals[truth] += 1
            if wrong.count < 5 { amongFive += 1 }
            if let answer = wrong.max(by: { row[row.startIndex + $0] < row[row.startIndex + $1] }) {
                confused[Pair(truth: truth, answer: answer), default: 0] += 1
            } else {
                right[truth] += 1
            }
        }
        pictures = truths.count
        accuracy = Double(right.reduce(0, +)) / Double(truths.count)
        top5 = labels.count > 5 ? Double(amongFive) / Double(truths.count) : nil
        classes = labels.indices.filter { totals[$0] > 0 }.map {
            Class(label: labels[$0], pictures: totals[$0], accuracy: Double(right[$0]) / Double(totals[$0]))
        }
        let ordered = confused.sorted {
            ($1.value, $0.key.truth, $0.key.answer) < ($0.value, $1.key.truth, $1.key.answer)
        }
        confusions = ordered.prefix(confusionCount).map {
            Confusion(label: labels[$0.key.truth], takenFor: labels[$0.key.answer], pictures: $0.value)
        }
    }
}
