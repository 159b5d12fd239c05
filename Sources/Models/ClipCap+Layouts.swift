// The layouts that captioners come in: a folder that Tihua wrote, and the state dicts of ClipCap-Chinese, of the
// original code and of CapDec, which say nothing of their shape.

import Foundation
public import TihuaWeightFiles

extension ClipCap {
    /// A captioner with its weights, and what a person should know of the file.
    public typealias Opened = OpenedModel<ClipCap>

    /// What a folder that Tihua wrote states, or what the tensors tell of a state dict of a whole captioner
    /// (`checkpoint-35000.pt`) of ClipCap-Chinese, of the original code, or of CapDec.
    ///
    /// - Throws: `ModelError`, `WeightFileError`.
    public static func configuration(
        of folder: ModelFolder, _ checkpoint: Checkpoint, notes: inout [String]
    ) throws -> ClipCapConfiguration {
        let checkpoint = try checkpoint.withoutTrainerPrefixes { name in
            gpt2Name(name).map { parts.contains(where: $0.hasPrefix) } ?? true
        }
        let path = checkpoint.files.first?.path ?? folder.url.path
        let shapes = checkpoint.tensors.reduce(into: [String: [Int]]()) { shapes, tensor in
            gpt2Name(tensor.name).map { shapes[$0] = tensor.shape }
        }
        guard let found = mapper(in: shapes) else {
            let names = checkpoint.tensors.prefix(4).map(\.name).joined(separator: ", ")
            throw ModelError.checkpoint(
                path: path, reason: "holds no mapping network of a captioner (clip_project.…), but \(names) …")
        }
        try checkWidths(shapes, path: path)
        guard folder.hasConfiguration else {
            let named = folder.url.pathComponents.suffix(3).joined(separator: "/").lowercased()
            if found == .bert, named.contains("mlp") { notes.append(misbuilt(path, named: .mlp, found)) }
            return try ClipCapConfiguration(readOff: shapes, like: nil, path: path)
        }
        let stated = try folder.configuration(of: ClipCap.self)
        guard stated.mapper != found else { return stated }
        try folder.check(parameterCount: stated.parameterCount, in: checkpoint)
        notes.append(misbuilt(path, named: stated.mapper, found))
        return try ClipCapConfiguration(readOff: shapes, like: stated, path: path)
    }

    /// What the names of a captioner of any size begin with.
    private static let parts =
        ["clip_project."] + ["h.", "wte.", "wpe.", "ln_f."].map { "gpt2.transformer.\($0)" }
        + ["shared.", "encoder.", "decoder.", "lm_head."].map { "t5.\($0)" }

    /// ClipCap-Chinese compares a text with a case of an enumeration and so builds a BERT where an MLP is asked for
    /// (its issue 11); its published "MLP" checkpoints are such.
    private static func misbuilt(
        _ path: String, named: ClipCapConfiguration.Mapper, _ found: ClipCapConfiguration.Mapper
    ) -> String {
        "\(path): called \(named.rawValue), but holds the \(found.rawValue) mapper, which ClipCap-Chinese built by "
            + "mistake; loaded as what it is"
    }

    /// The mapper that a checkpoint holds.
    private static func mapper(in shapes: [String: [Int]]) -> ClipCapConfiguration.Mapper? {
        if shapes["clip_project.model.0.weight"] != nil { return .mlp }
        if shapes["clip_project.prefix_const"] == nil { return nil }
        if shapes["clip_project.cells.weight"] != nil { return .grid }
        if shapes.keys.contains(where: { $0.hasPrefix("clip_project.bert.") }) { return .bert }
        return shapes.keys.contains { $0.hasPrefix("clip_project.transformer.") } ? .transformer : nil
    }

    /// - Throws: `ModelError.checkpoint` where mapper and language model are of different widths, or one is missing.
    private static func checkWidths(_ shapes: [String: [Int]], path: String) throws(ModelError) {
        let embedding = shapes["gpt2.transformer.wte.weight"] ?? shapes["t5.shared.weight"]
        guard let width = embedding?.last else {
            throw .checkpoint(path: path, reason: "holds a mapping network, but no GPT2 or T5 beside it")
        }
        let constants = shapes["clip_project.prefix_const"]?.last
        let output = shapes["clip_project.model.2.weight"]?.first
        if let made = constants, made != width {
            throw .checkpoint(
                path: path,
                reason: "the mapper makes embeddings of \(made) numbers, but the language model takes \(width);"
                    + " take both from one captioner")
        }
        if let made = output, made % width != 0 {
            throw .checkpoint(
                path: path,
                reason:
                    "the mapper makes \(made) numbers, which are no whole embeddings of the language model's \(width);"
                    + " take both from one captioner")
        }
    }

    /// A checkpoint's name as this model has it; nil for what is no parameter.
    public static func parameterName(_ name: String, in configuration: ClipCapConfiguration) -> String? {
        parameterName(name, before: configuration.languageModel.path, configuration.languageModel.parameterName)
    }

    /// The same for a captioner with a GPT2, whatever its size; names of other ones stay.
    private static func gpt2Name(_ name: String) -> String? { parameterName(name, before: "gpt2", GPT2.parameterName) }

    private static func parameterName(
        _ name: String, before path: String, _ rename: (String) -> String?
    ) -> String? {
        // The original code calls it gpt.
        let name = name.hasPrefix("gpt.") ? "gpt2.\(name.dropFirst("gpt.".count))" : name
        if name.hasPrefix("\(path).") { return rename(String(name.dropFirst(path.count + 1))).map { "\(path).\($0)" } }
        let unread = ["bert.embeddings.word_embeddings.", "bert.pooler.", "bert.embeddings.position_ids"]
        return unread.contains { name.hasPrefix("clip_project.\($0)") } ? nil : name
    }
}

extension ClipCapConfiguration {
    /// What the tensors of a checkpoint say, by their names in the model. What they do not say is as in the code that
    /// the mapper is from (8 heads), or a GPT2's usual 64 numbers a head, unless `stated` says otherwise.
    fileprivate init(
        readOff shapes: [String: [Int]], like stated: ClipCapConfiguration?, path: String
    ) throws(ModelError) {
        func shape(_ name: String, _ rank: Int) throws(ModelError) -> [Int] {
            guard let shape = shapes[name], shape.count == rank, shape.allSatisfy({ $0 > 0 }) else {
                throw .checkpoint(path: path, reason: "\(name) is not there or has a wrong shape")
            }
            return shape
        }
        func count(_ prefix: String) -> Int {
            Set(
                shapes.keys.filter { $0.hasPrefix(prefix) }.compactMap {
                    Int($0.dropFirst(prefix.count).prefix { $0 != "." })
                }
            )
            .count
        }
        let model: any LanguageModelConfiguration
        if let stated {
            model = stated.languageModel
        } else {
            let table = try shape("gpt2.transformer.wte.weight", 2)
            var gpt2 = GPT2Configuration(
                vocabularySize: table[0], hiddenSize: table[1], layerCount: count("gpt2.transformer.h."),
                headCount: max(1, table[1] / 64), positionCount: try shape("gpt2.transformer.wpe.weight", 2)[0],
                innerSize: try shape("gpt2.transformer.h.0.mlp.c_fc.weight", 2)[1])
            guard gpt2.hiddenSize % gpt2.headCount == 0 else {
                throw .checkpoint(
                    path: path,
                    reason: "how many heads a GPT2 of width \(gpt2.hiddenSize) has is not known; "
                        + "put a config.json beside it")
            }
            // [SEP] of BERT's vocabulary, as ClipCap-Chinese ends its captions.
            gpt2.eosTokenID = gpt2.vocabularySize == 21128 ? 102 : nil
            model = gpt2
        }
        let width = model.hiddenSize
        if shapes["clip_project.model.0.weight"] != nil {
            let first = try shape("clip_project.model.0.weight", 2)
            let second = try shape("clip_project.model.2.weight", 2)
            self.init(
                mapper: .mlp, embeddingSize: first[1], prefixLength: max(1, second[0] / width), languageModel: model)
        } else {
            let isBert = shapes.keys.contains { $0.hasPrefix("clip_project.bert.") }
            let linear = try shape("clip_project.linear.weight", 2)
            let constants = try shape("clip_project.prefix_const", 2)
            let hasGrid = shapes["clip_project.cells.weight"] != nil
            self.init(
                mapper: hasGrid ? .grid : isBert ? .bert : .transformer, embeddingSize: linear[1],
                prefixLength: max(1, linear[0] / constants[1]), constantLength: constants[0], languageModel: model)
            if hasGrid {
                cellCount = try shape("clip_project.places.weight", 2)[0]
                cellWidth = try shape("clip_project.cells.weight", 2)[1]
            }
            let layers = isBert ? "clip_project.bert.encoder.layer." : "clip_project.transformer.layers."
            layerCount = max(1, count(layers))
            innerSize = try shape(layers + (isBert ? "0.intermediate.dense.weight" : "0.mlp.fc1.weight"), 2)[0]
            if isBert {
                positionCount = try shape("clip_project.bert.embeddings.position_embeddings.weight", 2)[0]
            }
        }
        if let stated {
            headCount = stated.headCount
            normalizesEmbedding = stated.normalizesEmbedding
        }
        try validate()
    }
}
