/// A form of verse: 近体 (绝句, 律诗), 古体, or a ci tune (词牌).
public struct Form: Sendable, Hashable, CustomStringConvertible {
    /// The families, which differ in what they demand.
    public enum Kind: String, Sendable, Codable {
        /// 绝句 and 律诗: tones, 粘对, one level rhyme.
        case regulated
        /// 古体: line lengths and a rhyme, level or oblique, at the even lines; no tones.
        case ancient
        /// A tune: the tones and rhymes of its pattern.
        case ci
    }

    /// The usual name: `七绝`, `五言古绝`, `蝶恋花`.
    public let name: String
    /// The name in pinyin without tone marks, ü as v: `qijue`, `wulv`, `dielianhua`.
    public let pinyin: String
    /// Other names, Chinese and pinyin.
    public let aliases: [String]
    /// The family of the form.
    public let kind: Kind
    /// Characters per line.
    public let lineLengths: [Int]

    /// The lines, from 0, that begin another part (阕) of a ci; a blank line stands before each.
    public let breaks: [Int]
    /// How many poems of the tune there are in 宋词 and how many the pattern fits, where that was counted.
    public let attestation: Attestation?

    /// The pattern of a ci tune, one demand per slot; empty for the other kinds.
    let pattern: [Demand]
    /// What the tune repeats.
    let repeats: [Repeat]

    /// How well a tune's pattern describes the poems that were written to it.
    public struct Attestation: Sendable, Hashable {
        /// Poems of the tune, whatever their pattern, in the 宋词 of the chinese-poetry collection.
        public let poems: Int
        /// Those that have the form's number of characters.
        public let sameLength: Int
        /// Those in which `ProsodyChecker` finds no fault.
        public let fitting: Int
    }

    /// The tune (词牌) of a ci: the name, up to the dot of a 别体 (临江仙 of 临江仙·五十八字); nil for the other kinds.
    public var tune: String? { kind == .ci ? String(name.prefix { $0 != "·" }) : nil }

    /// The number of lines.
    public var lineCount: Int { lineLengths.count }
    /// The characters of all lines.
    public var characterCount: Int { lineLengths.reduce(0, +) }
    /// The name.
    public var description: String { name }

    /// The book that the form is judged by unless another is named: 词林正韵 for ci, 平水韵 for the rest.
    public var defaultBook: RhymeBook { kind == .ci ? .cilin : .pingshui }

    /// The tones of the form's rhymes; where they change, of the first.
    public var rhymeTones: ToneSet { metre(.off).rhymes.first?.tones ?? [] }

    /// The lines that must rhyme, from 0; in 近体 the first line may rhyme besides.
    public var rhymingLines: [Int] {
        guard kind == .ci else { return Array(stride(from: 1, to: lineCount, by: 2)) }
        var end = 0
        return lineLengths.indices.filter {
            end += lineLengths[$0]
            return pattern[end - 1].isRhyme
        }
    }

    /// Lines of the form without the characters that its tune makes them repeat: what a poet chose.
    public func withoutRepeats(_ lines: [String]) -> [String] {
        guard !repeats.isEmpty, lines.map(\.count) == lineLengths else { return lines }
        let sources = metre(.off).sources
        var slot = 0
        return lines.map { line in
            String(
                line.filter { _ in
                    slot += 1
                    return sources[slot - 1] == nil
                })
        }.filter { !$0.isEmpty }
    }

    /// The lines in their parts (阕), with an empty line between two, as people write a ci; other forms as they are.
    public func parted(_ lines: [String]) -> [String] {
        guard lines.count == lineCount else { return lines }
        return lines.enumerated().flatMap { breaks.contains($0) ? ["", $1] : [$1] }
    }

    /// The lines with their punctuation: a full stop at each rhyme and at the end, commas elsewhere. Couplets of shi
    /// stand on one line, and an empty line between the parts of a ci. Lines of another number than the form's stay as
    /// they are.
    public func punctuated(_ lines: [String]) -> [String] {
        guard lines.count == lineCount else { return lines }
        let stops = Set(rhymingLines + [lines.count - 1])
        let marked = lines.enumerated().map { $1 + (stops.contains($0) ? "。" : "，") }
        guard kind != .ci else { return parted(marked) }
        return stride(from: 0, to: marked.count, by: 2).map { marked[$0..<min($0 + 2, marked.count)].joined() }
    }

    /// The rhymes of a ci line by line, as the article on the tunes has them: `aaBB/ccDD` for 菩萨蛮.
    package var rhymeScheme: String {
        let starts = lineLengths.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1) }
        return lineLengths.indices.map { line in
            let demand = pattern[starts[line + 1] - 1]
            let letter = demand.rhyme.map { String(UnicodeScalar(UInt8(ascii: "a") + UInt8($0))) } ?? "."
            let repeated = repeats.first { $0.pairs[0].slot >= starts[line] && $0.pairs[0].slot < starts[line + 1] }
            return (breaks.contains(line) ? "/" : "") + (repeated.map { $0.isDemanded ? "=" : "~" } ?? "")
                + (demand.tones == .level ? letter.uppercased() : letter)
        }.joined()
    }

    /// The ways to open the poem (`平起首句入韵` ...); one, without a name, for 古体 and ci.
    public var variants: [String] { metre(.strict).variants.map(\.name) }

    private init(
        _ name: String, _ pinyin: String, _ aliases: [String], _ kind: Kind, _ lineLengths: [Int],
        _ pattern: [Demand] = [], breaks: [Int] = [], repeats: [Repeat] = [], attestation: Attestation? = nil
    ) {
        self.name = name
        self.pinyin = pinyin
        self.aliases = aliases
        self.kind = kind
        self.lineLengths = lineLengths
        self.pattern = pattern
        self.breaks = breaks
        self.repeats = repeats
        self.attestation = attestation
    }

    // MARK: The forms

    /// 五绝: four lines of five characters.
    public static let wujue = regulated("五绝", "wujue", ["五言绝句", "wuyanjueju"], 5, 4)
    /// 七绝: four lines of seven characters.
    public static let qijue = regulated("七绝", "qijue", ["七言绝句", "qiyanjueju"], 7, 4)
    /// 五律: eight lines of five.
    public static let wulv = regulated("五律", "wulv", ["五言律诗", "wuyanlvshi", "wulu"], 5, 8)
    /// 七律: eight lines of seven.
    public static let qilv = regulated("七律", "qilv", ["七言律诗", "qiyanlvshi", "qilu"], 7, 8)

    /// All forms that have a name: 近体, 古体, then the ci tunes of the table.
    public static let all: [Form] =
        [
            wujue, qijue, wulv, qilv, ancient(syllables: 5, lines: 4), ancient(syllables: 7, lines: 4),
            ancient(syllables: 5, lines: 8), ancient(syllables: 7, lines: 8),
        ] + ciTunes

    /// 古体: `lines` lines of `syllables` characters. Four lines are 古绝, more are 古风 (`五古`, `七古`).
    ///
    /// - Parameters:
    ///   - syllables: 5 or 7 by name; other lengths (四言) are taken too, at least 1.
    ///   - lines: at least 2; an odd last line does not rhyme.
    public static func ancient(syllables: Int, lines: Int) -> Form {
        let numerals = ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"]
        let sounds = ["ling", "yi", "er", "san", "si", "wu", "liu", "qi", "ba", "jiu"]
        let numeral = numerals.indices.contains(syllables) ? numerals[syllables] : String(syllables)
        let sound = sounds.indices.contains(syllables) ? sounds[syllables] : String(syllables)
        let lengths = Array(repeating: max(syllables, 1), count: max(lines, 2))
        return lines == 4
            ? Form("\(numeral)言古绝", "\(sound)yangujue", ["\(numeral)古绝", "\(sound)gujue"], .ancient, lengths)
            : Form(
                "\(numeral)古", "\(sound)gu", ["\(numeral)言古诗", "\(numeral)言古风", "\(numeral)言古体", "\(sound)yangushi"],
                .ancient,
                lengths)
    }

    /// The form of a Chinese name, alias or pinyin (`七绝`, `七言绝句`, `qijue`, `qī jué`, `wulü`, `dielianhua`).
    ///
    /// - Throws: `ProsodyError.unknownForm` with the nearest names.
    public init(named name: String) throws {
        let wanted = normalised(name)
        if let form = Self.index[wanted] {
            self = form
            return
        }
        let scored = Self.all.map { form in
            (form, ([form.name, form.pinyin] + form.aliases).map { editDistance(wanted, normalised($0)) }.min() ?? 1)
        }
        let near = scored.enumerated().sorted { ($0.element.1, $0.offset) < ($1.element.1, $1.offset) }.prefix(4)
        throw ProsodyError.unknownForm(
            name: name, nearest: near.map { "\($0.element.0.name) (\($0.element.0.pinyin))" })
    }

    private static let index: [String: Form] = {
        var index: [String: Form] = [:]
        // Names before aliases: an alias never hides a form's own name.
        for names in [{ [$0.name, $0.pinyin] }, \.aliases] as [(Form) -> [String]] {
            for form in all { for name in names(form).map(normalised) where index[name] == nil { index[name] = form } }
        }
        return index
    }()

    private static func regulated(_ name: String, _ pinyin: String, _ aliases: [String], _ syllables: Int, _ lines: Int)
        -> Form
    {
        Form(name, pinyin, aliases, .regulated, Array(repeating: syllables, count: lines))
    }

    private static let ciTunes: [Form] = TuneTable.rows.split(separator: "\n").compactMap { Form(row: $0) }

    /// The tune of a row of the table: name, pattern, repeats, and what was counted, with spaces between.
    ///
    /// In the pattern `0 1 2` are any, level, oblique, `3 4` a level and an oblique rhyme, with `b` and later letters
    /// behind them for the second rhyme and so on; `,` ends a line and `/` a part. A repeat `6=5` is a line that
    /// repeats the end of another, `5.1=4.6` a character that repeats another, counted from 1; `~` allows it. `-`
    /// stands for none.
    package init?(row: Substring) {
        let fields = row.split(separator: " ").map(String.init)
        guard fields.count == 4 else { return nil }
        var pattern: [Demand] = []
        var (starts, breaks) = ([0], [Int]())
        for sign in fields[1] {
            if let demand = Demand(digit: sign) {
                pattern.append(demand)
            } else if sign == "," || sign == "/" {
                if sign == "/" { breaks.append(starts.count) }
                starts.append(pattern.count)
            } else if let letter = sign.asciiValue, (UInt8(ascii: "b")...UInt8(ascii: "z")).contains(letter),
                pattern.last?.isRhyme == true
            {
                pattern[pattern.count - 1].rhyme = Int(letter - UInt8(ascii: "a"))
            } else {
                return nil
            }
        }
        let lengths = zip(starts, starts.dropFirst() + [pattern.count]).map { $1 - $0 }
        guard lengths.allSatisfy({ $0 > 0 }) else { return nil }

        func slots(_ place: Substring) -> Range<Int>? {
            let numbers = place.split(separator: ".").compactMap { Int($0) }
            guard let line = numbers.first, lengths.indices.contains(line - 1) else { return nil }
            let start = starts[line - 1]
            guard numbers.count == 2 else { return start..<start + lengths[line - 1] }
            return (1...lengths[line - 1]).contains(numbers[1]) ? start + numbers[1] - 1..<start + numbers[1] : nil
        }
        var repeats: [Repeat] = []
        for text in fields[2].split(separator: ",") where text != "-" {
            let sides = text.split { "=~".contains($0) }
            guard sides.count == 2, let copy = slots(sides[0]), let source = slots(sides[1]),
                copy.count <= source.count, source.upperBound <= copy.lowerBound
            else { return nil }
            let pairs = zip(copy, source.suffix(copy.count)).map { Repeat.Pair(slot: $0, source: $1) }
            repeats.append(Repeat(pairs: pairs, isDemanded: text.contains("=")))
        }
        let counts = fields[3].split(separator: ",").compactMap { Int($0) }
        let tune = fields[0].prefix { $0 != "·" }
        let names = tuneNames[fields[0]]
        self.init(
            fields[0], names?.pinyin ?? String(tune), names?.aliases ?? [], .ci, lengths, pattern, breaks: breaks,
            repeats: repeats,
            attestation: counts.count == 3
                ? Attestation(poems: counts[0], sameLength: counts[1], fitting: counts[2]) : nil)
    }

    // MARK: Patterns

    /// The slots of the form with every pattern that the policy allows.
    func metre(_ tones: TonePolicy) -> Metre {
        switch kind {
        case .ci:
            let demands = tones == .off ? pattern.map(\.withoutTone) : pattern
            return Metre(lineLengths: lineLengths, variants: [("", [[demands]])], repeats: repeats)
        case .ancient:
            let demands = lineLengths.enumerated().flatMap { line, length in
                Array(repeating: Demand.free, count: length - 1) + [line % 2 == 1 ? .rhyme : .free]
            }
            return Metre(lineLengths: lineLengths, variants: [("", [[demands]])])
        case .regulated:
            return Metre(
                lineLengths: lineLengths,
                variants: LineType.allCases.map { opening in
                    let types = lineTypes(opening: opening)
                    let couplets = stride(from: 0, to: types.count, by: 2).map { line in
                        LineType.couplets(types[line], types[line + 1], syllables: lineLengths[0], tones).map {
                            $0.patterns.flatMap { $0 }
                        }
                    }
                    return (variantName(opening: opening), couplets)
                })
        }
    }

    /// The lines of 近体 that begins with `opening`: a couplet opposes (对), and a couplet takes up the one before it (粘).
    func lineTypes(opening: LineType) -> [LineType] {
        // Second line: level ending, the other start. Then each odd line starts as the line before it and ends oblique.
        var types = [opening]
        while types.count < lineCount {
            let last = types[types.count - 1]
            types.append(types.count % 2 == 1 ? (last.startsLevel ? .b : .c) : (last.startsLevel ? .a : .d))
        }
        return types
    }

    func variantName(opening: LineType) -> String {
        // 平起 and 仄起 are read off the second character of the line, which in seven is opposite to that of the five.
        let startsLevel = opening.startsLevel == (lineLengths.first == 5)
        return "\(startsLevel ? "平" : "仄")起首句\(opening.endsLevel ? "入韵" : "不入韵")"
    }
}
