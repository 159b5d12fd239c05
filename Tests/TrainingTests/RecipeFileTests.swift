import Foundation
import Testing
import TihuaFiles

@testable import TihuaTraining

@Suite struct RecipeFileTests {
    private func recipe(_ text: String) throws -> (RecipeFile, Scratch) {
        let scratch = try Scratch()
        return (try RecipeFile(contentsOf: scratch.write(text, to: "recipe.json")), scratch)
    }

    @Test func missingKeysKeepTheirValuesAndEachRecipeReadsItsParts() throws {
        let (file, _) = try recipe(
            #"{"training": {"steps": 7, "schedule": "linear"}, "poet": {"layerCount": 3}, "clip": {"tower": "vit"}}"#)
        let training = try file.section("training", or: TrainingOptions())
        #expect(training.steps == 7 && training.schedule == .linear && training.warmup == TrainingOptions().warmup)
        #expect(try file.section("poet", or: PoetOptions()).layerCount == 3)
        #expect(try file.section("clip", or: ClipOptions()).tower == .vit)
        #expect(try file.section("t5", or: T5Options()) == T5Options())
        #expect(try RecipeFile().section("training", or: training) == training)
        let (exact, _) = try recipe(
            #"{"training": {"seed": 18446744073709551615, "learningRate": 1.0000000000000002e-3, "steps": null}}"#)
        let options = try exact.section("training", or: TrainingOptions())
        #expect(options.seed == .max && options.learningRate == 1.0000000000000002e-3)
        #expect(options.steps == TrainingOptions().steps)
    }

    @Test(
        arguments: [
            (#"{"traning": {}}"#, "unknown key traning"),
            (#"{"training": {"stepz": 1}}"#, "training.stepz: unknown key"),
            (#"{"training": {"steps": "many"}}"#, "training.steps: not a whole number"),
            (#"{"training": {"steps": 1.5}}"#, "training.steps: not a whole number"),
            (#"{"training": {"schedule": "zigzag"}}"#, "schedule: not one of cosine, linear, constant, trapezoid"),
            (#"{"clip": {"stages": [1, 2.5]}}"#, "clip.stages: not a list of whole numbers"),
            (#"{"training": {"steps": {}}}"#, "training.steps: not a whole number"),
            (#"{"training": []}"#, "training: not an object"),
            (#"{"training": {"learningRate": true}}"#, "training.learningRate: not a number"),
            ("{", "not valid JSON"), ("[]", "not an object"), ("", "not valid JSON"),
        ])
    func faultsNameTheKey(text: String, expected: String) throws {
        let scratch = try Scratch()
        let url = try scratch.write(text, to: "recipe.json")
        let error = #expect(throws: TrainingError.self) {
            let file = try RecipeFile(contentsOf: url)
            _ = try file.section("training", or: TrainingOptions())
            _ = try file.section("clip", or: ClipOptions())
        }
        let line = error?.description ?? ""
        #expect(line.contains(expected) && line.contains(url.path) && !line.contains("\n"), "\(line)")
    }

    @Test(arguments: ["poet", "image2poem", "t5", "clip"])
    func everyPartRefusesUnknownKeys(part: String) throws {
        let (file, _) = try recipe("{\"\(part)\": {\"mystery\": 1}}")
        let error = #expect(throws: TrainingError.self) {
            switch part {
            case "poet": _ = try file.section(part, or: PoetOptions())
            case "image2poem": _ = try file.section(part, or: Image2PoemOptions())
            case "t5": _ = try file.section(part, or: T5Options())
            default: _ = try file.section(part, or: ClipOptions())
            }
        }
        #expect(error?.description.contains("\(part).mystery: unknown key") == true)
    }

    @Test func aPresetKeepsItsWeightsWhereTheFileSaysSomethingElse() throws {
        let (file, _) = try recipe(#"{"reward": {"samples": 3, "grammarWeight": 0.5}}"#)
        let cider = try file.section("reward", or: RewardOptions().with(.cider))
        #expect(cider.clipWeight == 0 && cider.ciderWeight == 1 && cider.samples == 3 && cider.grammarWeight == 0.5)
        #expect(try file.section("reward", or: RewardOptions()).clipWeight == RewardOptions().clipWeight)
    }

    @Test func aMissingFileIsNamed() {
        #expect(throws: FileError.self) { try RecipeFile(contentsOf: URL(filePath: "/nowhere/recipe.json")) }
    }

    /// Every recipe of the repository reads, and its options make sense.
    @Test(arguments: ["poet-mini", "clip-mini", "image2poem-gpt2", "image2poem-t5", "t5-mini"])
    func committedRecipesRead(name: String) throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let file = try RecipeFile(contentsOf: root.appending(path: "Recipes/\(name).json"))
        try file.section("training", or: TrainingOptions()).validate()
        try file.section("poet", or: PoetOptions()).validate()
        try file.section("image2poem", or: Image2PoemOptions()).validate()
        try file.section("t5", or: T5Options()).validate()
        try file.section("clip", or: ClipOptions()).validate()
    }

    @Test func optionsOutOfRangeAreNamed() throws {
        func expectNamed(_ name: String, _ body: () throws -> Void) {
            let error = #expect(throws: TrainingError.self, "\(name)") { try body() }
            #expect(error?.description.hasPrefix("\(name) is ") == true, "\(String(describing: error))")
        }
        func training(_ change: (inout TrainingOptions) -> Void) throws {
            var options = TrainingOptions()
            change(&options)
            try options.validate()
        }
        func poet(_ change: (inout PoetOptions) -> Void) throws {
            var options = PoetOptions()
            change(&options)
            try options.validate()
        }
        func clip(_ change: (inout ClipOptions) -> Void) throws {
            var options = ClipOptions()
            change(&options)
            try options.validate()
        }
        expectNamed("accumulation") { try training { $0.accumulation = 0 } }
        expectNamed("learningRate") { try training { $0.learningRate = .nan } }
        expectNamed("averageDecay") { try training { $0.averageDecay = 1 } }
        expectNamed("patience") { try training { $0.patience = -1 } }
        expectNamed("headCount") { try poet { $0.headCount = 3 } }
        expectNamed("dropout") { try poet { $0.dropout = 1 } }
        expectNamed("rhymeChance") { try poet { $0.rhymeChance = 2 } }
        expectNamed("imageSize") { try clip { $0.imageSize = 100 } }
        expectNamed("stages") { try clip { $0.stages = [1, 2] } }
        expectNamed("textLength") { try clip { $0.textLength = 65 } }
        expectNamed("textHiddenSize") { try clip { $0.textHiddenSize = 100 } }
        expectNamed("patchSize") {
            try clip {
                $0.tower = .vit
                $0.patchSize = 7
            }
        }
    }
}
