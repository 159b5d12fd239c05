import Foundation

/// How lightly a word may be said, by what a false one does to a poem.
enum WordClass: Int, CaseIterable {
    /// Sky, light, colour, season and place: something of the kind is in every picture.
    case scene
    /// Plants and things.
    case thing
    /// What somebody does.
    case act
    /// Beasts and birds.
    case animal
    /// A person of an age, a sex or a people.
    case person
    /// The medium of a painting.
    case medium

    /// The class of an entry; nil for one that is never said.
    init?(_ entry: Imagery) {
        switch entry.kind {
        case .mute: return nil
        case .person: self = .person
        case .medium: self = .medium
        case nil:
            switch entry.category {
            case "鸟兽": self = .animal
            case "人事": self = .act
            case "草木", "器物": self = .thing
            default: self = .scene
            }
        }
    }

    /// How probable a word must be to be said. A false beast or a false old man spoils a poem, a false 秋色 less.
    var bar: Double {
        switch self {
        case .scene, .thing, .act: 0.5
        case .animal, .medium: 0.6
        case .person: 0.7
        }
    }
}

/// How probable it is that a person who sees a picture accepts a word, by the word's cosine with the picture.
///
/// Words are learned by whether a picture shows them (`WordLessons`), so that cosines compare across words, and better
/// than deviations from each word's mean do: those make much of rare words. One logistic curve for each class (Platt
/// 1999) turns them into probabilities.
struct Sureness: Equatable {
    /// Slope and offset of each class's curve, in the order of `WordClass`.
    let curves: [(slope: Double, offset: Double)]

    static func == (left: Sureness, right: Sureness) -> Bool { left.values == right.values }

    /// As they are stored: slope and offset of one class after the other.
    var values: [Float] { curves.flatMap { [Float($0.slope), Float($0.offset)] } }

    init(curves: [(slope: Double, offset: Double)]) { self.curves = curves }

    /// - Parameter values: two for each class; nil for another number, or one that is not finite
    init?(values: [Float]) {
        guard values.count == 2 * WordClass.allCases.count, values.allSatisfy(\.isFinite) else { return nil }
        curves = stride(from: 0, to: values.count, by: 2).map { (Double(values[$0]), Double(values[$0 + 1])) }
    }

    func probability(of cosine: Float, _ wordClass: WordClass) -> Double {
        let curve = curves[wordClass.rawValue]
        return 1 / (1 + exp(-(curve.slope * Double(cosine) + curve.offset)))
    }

    /// The nearest entries of a picture that are fitted to: the far ones are all wrong, and thousands of them would
    /// decide the curve.
    private static let nearest = 64

    /// Fits the curves.
    ///
    /// - Parameters:
    ///   - cosines: for each picture those with the entries of the bank
    ///   - right: for each picture the words that a person accepts
    init(fitting cosines: [[Float]], right: [Set<String>], bank: ImageryBank) {
        let classes = bank.entries.map(WordClass.init)
        var seen: [[(cosine: Double, isRight: Bool)]] = WordClass.allCases.map { _ in [] }
        for (row, words) in zip(cosines, right) {
            let order = row.indices.filter { classes[$0] != nil }.sorted { (row[$0], $1) > (row[$1], $0) }
            for index in order.prefix(Self.nearest) {
                guard let kind = classes[index] else { continue }
                seen[kind.rawValue].append((Double(row[index]), words.contains(bank.entries[index].word)))
            }
        }
        curves = seen.map(Self.curve)
    }

    /// The likeliest curve by Newton's steps. Where nearer is not righter, or there is nothing to learn from, the
    /// share of right ones whatever the cosine.
    private static func curve(_ points: [(cosine: Double, isRight: Bool)]) -> (slope: Double, offset: Double) {
        let count = Double(points.count)
        let hits = Double(points.count(where: \.isRight))
        // One right and nine wrong more than there are: few examples make nothing sure.
        let share = (hits + 1) / (count + 10)
        let flat = (slope: 0.0, offset: log(share / (1 - share)))
        guard hits > 0, hits < count else { return flat }
        let mean = points.reduce(0) { $0 + $1.cosine } / count
        let deviation = (points.reduce(0) { $0 + ($1.cosine - mean) * ($1.cosine - mean) } / count).squareRoot()
        guard deviation > 1e-9 else { return flat }
        // Platt's targets: one more example of either kind, so that classes that a line parts have a curve too.
        let (yes, no) = ((hits + 1) / (hits + 2), 1 / (count - hits + 2))
        var (slope, offset) = (0.0, flat.offset)
        for _ in 0..<50 {
            var (gradient, hessian) = ((0.0, 0.0), (1e-9, 0.0, 1e-9))
            for point in points {
                let x = (point.cosine - mean) / deviation
                let p = 1 / (1 + exp(-(slope * x + offset)))
                let error = p - (point.isRight ? yes : no)
                gradient.0 += error * x
                gradient.1 += error
                let weight = p * (1 - p)
                hessian.0 += weight * x * x
                hessian.1 += weight * x
                hessian.2 += weight
            }
            let determinant = hessian.0 * hessian.2 - hessian.1 * hessian.1
            let step = (
                (hessian.2 * gradient.0 - hessian.1 * gradient.1) / determinant,
                (hessian.0 * gradient.1 - hessian.1 * gradient.0) / determinant
            )
            // A step too far would end where all probabilities are 0 or 1 and nothing bends.
            let length = max(1, (step.0 * step.0 + step.1 * step.1).squareRoot())
            slope -= step.0 / length
            offset -= step.1 / length
        }
        guard slope > 0, slope.isFinite, offset.isFinite else { return flat }
        return (slope / deviation, offset - slope * mean / deviation)
    }
}
