import Foundation
import Testing
import TihuaCorpora
import TihuaModels
import TihuaNN
import TihuaTorch

@testable import TihuaTraining

/// The ends of the ranges of all options of all recipes: what is outside is refused by name, and what is inside is
/// trained on, or refused by name; nothing traps.
@Suite struct RangeTests {
    enum Part: String, CaseIterable, CustomTestStringConvertible {
        case training, poet, image2poem, t5, clip, caption, reward, prefix

        var testDescription: String { rawValue }

        var defaults: any RecipeOptions {
            switch self {
            case .training: toyRun(steps: 1)
            case .poet: toyPoetOptions()
            case .image2poem: Image2PoemOptions()
            case .t5: T5Options()
            case .clip: toyClipOptions()
            case .caption: ToyCaptions.options()
            case .reward: RewardOptions().with(.cider)
            case .prefix: ToyPrefix.options()
            }
        }

        /// The options of a recipe as a person writes them, one of them changed.
        func options(_ name: String, _ number: String) throws -> any RecipeOptions {
            try changed(defaults, part: rawValue, name, number)
        }
    }

    private static func text(_ value: Double, isWhole: Bool) -> String {
        // Swift writes 1e-12 and 4e-324 as JSON does.
        isWhole ? String(format: "%.0f", value) : "\(value)"
    }

    @Test(arguments: Part.allCases)
    func everyNumberHasARange(_ part: Part) throws {
        // Any seed is one.
        let numbers = Mirror(reflecting: part.defaults).children.filter { ($0.value is Int) || ($0.value is Double) }
            .compactMap(\.label)
        #expect(Set(numbers) == Set(part.defaults.ranges.map(\.name)))
    }

    @Test(arguments: Part.allCases)
    func whatIsOutsideIsRefusedByItsName(_ part: Part) throws {
        for option in part.defaults.ranges {
            let (low, high) = (option.range.lowerBound, option.range.upperBound)
            var numbers =
                option.isWhole ? ["9223372036854775807", "-9223372036854775808"] : ["1e308", "-1e308", "-1e-300"]
            numbers += option.isWhole ? [low - 1, high + 1].map { Self.text($0, isWhole: true) } : ["\(high.nextUp)"]
            if low > 0 { numbers.append("0") }
            for number in numbers {
                let error = #expect(throws: TrainingError.self, "\(option.name) \(number)") {
                    try part.options(option.name, number).validate()
                }
                let message = error?.description ?? ""
                #expect(message.hasPrefix("\(option.name) is ") && !message.contains("\n"), "\(number): \(message)")
            }
            // What is no number of the type at all.
            let odd =
                option.isWhole
                ? ["1.5", "1e300", "18446744073709551616", "NaN", "null1", "\"1\""] : ["1e999", "NaN", "\"1\""]
            for number in odd {
                #expect(throws: TrainingError.self, "\(option.name) \(number)") {
                    try part.options(option.name, number).validate()
                }
            }
        }
    }

    private static let ends = Part.allCases.filter { $0 != .training }.flatMap { part in
        part.defaults.ranges.flatMap { option in
            [option.range.lowerBound, option.range.upperBound].map {
                (part, option.name, text($0, isWhole: option.isWhole))
            }
        }
    }

    /// One step at the end of each range, with little memory, so that what is too large is refused.
    @Test(arguments: ends)
    func whatIsInsideIsTrainedOnOrRefusedByName(_ part: Part, _ name: String, _ number: String) async throws {
        let scratch = try Scratch()
        let options = try part.options(name, number)
        try await Memory.$bytes.withValue(64 << 20) {
            do {
                for (index, task) in try await tasks(options, in: scratch).enumerated() {
                    // Epochs may ask for more steps than the run.
                    try train(task, toyRun(steps: 1), in: scratch["run-\(index)"], interruptedAt: 1)
                }
            } catch let error as TrainingError {
                #expect(!error.description.contains("\n"))
                // A learning rate or a weight that is too high diverges, and that is said.
                let words = [name, "this machine has", "became", "are left to train on", "one of the other weights"]
                #expect(words.contains { error.description.contains($0) }, "\(error)")
            } catch let error as ModelError {
                #expect(!error.description.contains("\n"))
            }
        }
    }

    private func tasks(_ options: any RecipeOptions, in scratch: Scratch) async throws -> [any TrainingTask] {
        let run = toyRun(steps: 1)
        var poet = toyPoetOptions()
        var objective = Image2PoemOptions()
        var t5 = T5Options()
        (t5.innerSize, t5.headSize) = (64, 16)
        switch options {
        case let options as ClipOptions:
            try options.validate()
            return [
                try toyClipTask(in: scratch, run) { $0 = options },
                try toyClipTask(in: scratch, run) {
                    $0 = options; $0.tower = .vit
                },
            ]
        case let options as CaptionOptions:
            let toy = try ToyCaptions()
            return [try await CaptionTask(dataset: toy.dataset(options), options: options, training: run)]
        case let options as RewardOptions:
            let toy = try ToyCaptions()
            let dataset = try await toy.dataset(ToyCaptions.options())
            let first = try CaptionTask(dataset: dataset, options: ToyCaptions.options(), training: run)
            try first.save(to: scratch["captioner"]) { _ in nil }
            return [
                try CaptionRewardTask(
                    dataset: dataset, caption: ToyCaptions.options(), options: options, training: run,
                    captioner: ClipCap.open(scratch["captioner"]), clip: nil)
            ]
        case let options as PrefixOptions: return [try await ToyPrefix(in: scratch).task(run, options)]
        case let options as PoetOptions: poet = options
        case let options as Image2PoemOptions: objective = options
        case let options as T5Options: t5 = options
        default: break
        }
        try poet.validate()
        let dataset = PoemDataset(
            poems: toyPoems(48), words: [], descriptions: ["山水": ["一座山", "一条河"]], options: poet.dataset)
        var tasks: [any TrainingTask] = []
        if !(options is T5Options), !(options is Image2PoemOptions) {
            tasks.append(try PoetTask(dataset: dataset, options: poet, training: run))
        }
        if !(options is T5Options) {
            tasks.append(try Image2PoemTask(dataset: dataset, options: poet, objective: objective, training: run))
        }
        tasks.append(try T5PoetTask(dataset: dataset, options: poet, shape: t5, format: .tihua, training: run))
        return tasks
    }

    /// The loop itself: one step with each end of its own options, so far as a step ends.
    @Test func theLoopBearsTheEndsOfItsOptions() async throws {
        let scratch = try Scratch()
        for (index, option) in toyRun(steps: 1).ranges.enumerated() where option.name != "accumulation" {
            for (end, value) in [option.range.lowerBound, option.range.upperBound].enumerated() {
                let number = Self.text(value, isWhole: option.isWhole)
                let options = try #require(Part.training.options(option.name, number) as? TrainingOptions)
                let task = try PoetTask(
                    dataset: PoemDataset(poems: toyPoems(48), words: [], options: toyPoetOptions().dataset),
                    options: toyPoetOptions(), training: options)
                do {
                    try train(task, options, in: scratch["\(index)-\(end)"], interruptedAt: 2)
                } catch let error as TrainingError {
                    #expect([option.name, "became"].contains { error.description.contains($0) }, "\(error)")
                }
            }
        }
        var most = toyRun(steps: OptionRange.countLimit)
        (most.warmup, most.accumulation) = (OptionRange.countLimit, 1 << 20)
        try most.validate()
        for schedule in TrainingOptions.ScheduleName.allCases {
            most.schedule = schedule
            for step in [0, 1, OptionRange.countLimit - 1] { #expect(most.rates.rate(at: step).isFinite) }
        }
    }

    @Test func aModelThatDoesNotFitIsRefusedBeforeMemoryIsTaken() throws {
        var options = toyPoetOptions()
        (options.hiddenSize, options.layerCount) = (1 << 16, 1024)
        let error = #expect(throws: TrainingError.self) {
            try PoetTask(
                dataset: PoemDataset(poems: toyPoems(48), words: [], options: toyPoetOptions().dataset),
                options: options,
                training: toyRun())
        }
        let message = error?.description ?? ""
        #expect(message.contains("GB") && message.contains("recipe") && !message.contains("\n"), "\(message)")
    }

    /// The recipe that ended `train poet` by a signal.
    @Test func aMinimumCountBeyondAllCharactersIsRefused() throws {
        let options = try Part.poet.options("minimumCharacterCount", "9223372036854775807")
        #expect(throws: TrainingError.option("minimumCharacterCount", "9223372036854775807", "0 to 1073741824")) {
            try options.validate()
        }
    }
}

/// The options as a file says them, one of them changed.
private func changed<Options: RecipeOptions>(
    _ options: Options, part: String, _ name: String, _ number: String
) throws -> any RecipeOptions {
    let json =
        try JSONSerialization.jsonObject(with: JSONEncoder().encode(options)) as? [String: Any] ?? [:]
    let rest = try json.filter { $0.key != name }.map { key, value in
        let text = try JSONSerialization.data(withJSONObject: value, options: .fragmentsAllowed)
        return "\"\(key)\": \(String(decoding: text, as: UTF8.self))"
    }
    let scratch = try Scratch()
    let body = (rest + ["\"\(name)\": \(number)"]).joined(separator: ", ")
    let file = try scratch.write("{\"\(part)\": {\(body)}}", to: "recipe.json")
    return try RecipeFile(contentsOf: file).section(part, or: Options())
}
