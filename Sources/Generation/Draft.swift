import TihuaProsody
import TihuaVerse

/// A poem under way: where it stands in its metre, what it has used, and its own random numbers.
///
/// It is a value, so that a line that is refused can be written again from a copy.
struct Draft {
    let plan: PoemPlan
    var metre: MetreState
    var lines: [String] = []
    /// The line under way.
    var characters: [Character] = []
    var tokens: [Int32] = []
    /// Which of these tokens the tune repeats, so that they are not chosen by the model.
    var repeats: [Bool] = []
    var random: SplitMix64
    /// The natural logarithm of the model's own probability of every token after the prompt but those that the tune
    /// repeats.
    var logProbability = 0.0
    var tokenCount = 0
    /// How many characters of this line were drawn, rather than given by the plan.
    var drawnCount = 0
    /// False once nothing can follow.
    var isAlive = true

    private var uses: [Int32: Int] = [:]
    private var followers: [Int32: Set<Int32>] = [:]
    /// Characters of another season or hour than the keywords and the poem have named.
    private var untimely: Set<Character> = []

    /// The penalty with which a character is drawn only where no other is admitted.
    private static let never: Float = -1e4
    /// The penalty for a pair of characters that the poem already has.
    private static let repeatedPair: Float = -6
    /// The penalty for a character that the poem already has; also for one twice in a row (叠字), which the model writes
    /// more often than poets do.
    private static let repeatedCharacter: Float = -2.5
    /// The penalty for a character of another season or hour; no more than for a repetition, since a poet may mean it.
    private static let untimelyCharacter: Float = -2.5
    /// How often a poem may have a character before `never` applies.
    private static let mostUses = 2

    init(_ plan: PoemPlan) {
        self.plan = plan
        metre = MetreState(plan.constraint)
        random = SplitMix64(seed: plan.seed)
        for character in plan.prompt.keywords.joined() { untimely.formUnion(SeasonAndHour.others(than: character)) }
    }

    /// Whether the prompt has the two characters in a word.
    func isAsked(_ pair: String) -> Bool { plan.prompt.keywords.contains { $0.contains(pair) } }

    /// What is added to the scores of some tokens, to discourage repetition and a second season or hour.
    func penalties(_ format: PoetFormat, excluded: Set<Character>) -> [Int32: Float] {
        var result: [Int32: Float] = [:]
        for character in untimely {
            if let token = format.id(of: character) { result[token] = Self.untimelyCharacter }
        }
        for (token, count) in uses {
            result[token] = count >= Self.mostUses ? Self.never : Self.repeatedCharacter
        }
        if let last = tokens.last, let known = followers[last] {
            for token in known where token != last { result[token] = min(result[token] ?? 0, Self.repeatedPair) }
        }
        for character in excluded {
            if let token = format.id(of: character) { result[token] = -.infinity }
        }
        return result
    }

    /// Writes a character, if the metre admits it.
    mutating func append(_ character: Character, token: Int32, isRepeat: Bool = false) -> Bool {
        guard metre.append(character) else { return false }
        if let last = tokens.last { followers[last, default: []].insert(token) }
        uses[token, default: 0] += 1
        untimely.formUnion(SeasonAndHour.others(than: character))
        characters.append(character)
        tokens.append(token)
        repeats.append(isRepeat)
        return true
    }

    mutating func finishLine() {
        lines.append(String(characters))
        characters = []
        tokens = []
        repeats = []
        drawnCount = 0
    }
}
