/// How well two lists of numbers agree in their order.
public enum Correlation {
    /// Spearman's rank correlation, equal values sharing the mean of their ranks; nil for fewer than two pairs, lists
    /// of different lengths, or a list of equal values.
    ///
    /// - Returns: -1 to 1
    public static func spearman(_ first: [Double], _ second: [Double]) -> Double? {
        guard first.count == second.count, first.count >= 2 else { return nil }
        return pearson(ranks(first), ranks(second))
    }

    private static func pearson(_ first: [Double], _ second: [Double]) -> Double? {
        let count = Double(first.count)
        let means = (first.reduce(0, +) / count, second.reduce(0, +) / count)
        var (products, squares) = (0.0, (0.0, 0.0))
        for (a, b) in zip(first, second) {
            products += (a - means.0) * (b - means.1)
            squares.0 += (a - means.0) * (a - means.0)
            squares.1 += (b - means.1) * (b - means.1)
        }
        let scale = (squares.0 * squares.1).squareRoot()
        return scale > 0 ? products / scale : nil
    }

    /// Ranks from 1; equal values share the mean of theirs.
    private static func ranks(_ values: [Double]) -> [Double] {
        let order = values.indices.sorted { values[$0] < values[$1] }
        var ranks = [Double](repeating: 0, count: values.count)
        var start = 0
        while start < order.count {
            let end = order[start...].firstIndex { values[$0] != values[order[start]] } ?? order.count
            for index in order[start..<end] { ranks[index] = Double(start + 1 + end) / 2 }
            start = end
        }
        return ranks
    }
}
