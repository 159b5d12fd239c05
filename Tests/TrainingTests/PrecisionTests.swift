import Foundation
import Testing
import TihuaNN
import TihuaTorch
import TihuaWeightFiles

@testable import TihuaTraining

/// In which type a run computes: by the recipe, by the device, or as it began.
@Suite struct PrecisionTests {
    @Test func autoIsBfloat16WhereTheProcessorMultipliesIt() {
        let hasUnits = Runtime.bfloat16Units != nil
        #expect(TrainingOptions().precision == .auto)
        #expect(TrainingOptions.Precision.auto.type(on: .cpu) == (hasUnits ? .bfloat16 : .float32))
        // As on a processor that ends with AVX2, and on any other.
        for level in [Runtime.KernelLevel.libtorch, .portable, .avx2] {
            Runtime.withKernels(level) {
                #expect(TrainingOptions.Precision.auto.type(on: .cpu) == .float32)
                #expect(TrainingOptions.Precision.bfloat16.type(on: .cpu) == .bfloat16)
                #expect(TrainingOptions().resolvingPrecision(on: .cpu).precision == .float32)
            }
        }
    }

    @Test(arguments: [("{}", TrainingOptions.Precision.auto), (#"{"precision": "bfloat16"}"#, .bfloat16)])
    func recipesNameItOrLeaveIt(_ json: String, _ expected: TrainingOptions.Precision) throws {
        let scratch = try Scratch()
        let file = try RecipeFile(contentsOf: scratch.write(#"{"training": \#(json)}"#, to: "recipe.json"))
        #expect(try file.section("training", or: TrainingOptions()).precision == expected)
    }

    /// A run of two steps with `precision`, on a processor that ends with AVX2.
    private func run(_ precision: TrainingOptions.Precision, in scratch: Scratch) throws {
        try Runtime.withKernels(.avx2) {
            var options = toyRun(steps: 2)
            options.precision = precision
            options.optimizer = .muon
            try train(Toy.gpt2.task(options, in: scratch), options, in: scratch["run"])
        }
    }

    @Test func theRunSaysWhatAutoCameToAndWhy() throws {
        let scratch = try Scratch()
        try run(.auto, in: scratch)
        #expect(RunCheckpoint(folder: scratch["run"]).options?.precision == .float32)
        let json = try Data(contentsOf: scratch["run"].appending(path: "run.json"))
        #expect(try JSONDecoder().decode(TrainingOptions.self, from: json).precision == .float32)
        let log = try String(contentsOf: scratch["run"].appending(path: "log.txt"), encoding: .utf8)
        #expect(log.contains("float32 (this processor has no units for bfloat16)"), "\(log)")
    }

    @Test(arguments: [TrainingOptions.Precision.float32, .bfloat16])
    func aRunGoesOnInThePrecisionThatItBeganIn(_ precision: TrainingOptions.Precision) throws {
        let scratch = try Scratch()
        try run(precision, in: scratch)
        var options = toyRun(steps: 4)
        options.optimizer = .muon
        options.precision = .auto
        let resolved = options.resolvingPrecision(on: .cpu, continuing: scratch["run"])
        #expect(resolved.precision == precision)
        try train(Toy.gpt2.task(resolved, in: scratch), resolved, in: scratch["run"], resume: true)
        let log = try String(contentsOf: scratch["run"].appending(path: "log.txt"), encoding: .utf8)
        #expect(log.contains("continuing at step 2 of 4"))

        // Another one is refused, by name.
        var other = resolved
        other.precision = precision == .float32 ? .bfloat16 : .float32
        other.steps = 6
        #expect {
            try train(Toy.gpt2.task(other, in: scratch), other, in: scratch["run"], resume: true)
        } throws: { error in
            "\(error)".contains("trained in \(precision.rawValue)")
                && "\(error)".contains("set precision to \(precision.rawValue)")
        }
    }

    @Test func anOlderRunKeepsTheMuonThatItBeganWith() throws {
        let scratch = try Scratch()
        try run(.float32, in: scratch)
        let checkpoint = RunCheckpoint(folder: scratch["run"])
        #expect(checkpoint.orthogonalType == .float32)
        // As written before it said so, when the orthogonalisation was in bfloat16 always.
        let file = try SafetensorsFile(contentsOf: checkpoint.url)
        var metadata = file.metadata
        #expect(metadata.removeValue(forKey: "orthogonalization") == "float32")
        let tensors = try file.tensors.map { (name: $0.name, tensor: try Tensor.borrowing($0).clone()) }
        try TensorFile.write(tensors, metadata: metadata, to: checkpoint.url)
        #expect(checkpoint.orthogonalType == .bfloat16)
        var options = toyRun(steps: 4)
        options.optimizer = .muon
        try train(Toy.gpt2.task(options, in: scratch), options, in: scratch["run"], resume: true)
        #expect(checkpoint.orthogonalType == .bfloat16)
    }

    @Test(arguments: [DType.float32, .bfloat16]) func theMatrixSpeedIsOfATypeAndADevice(_ dtype: DType) {
        for level in Runtime.KernelLevel.allCases {
            Runtime.withKernels(level) { #expect(MatrixSpeed.measure(dtype, on: .cpu) > 1e6) }
        }
    }
}
