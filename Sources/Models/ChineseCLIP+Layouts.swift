// The layouts that Chinese-CLIP checkpoints come in: Hugging Face's, and that of the original code (`cn_clip` 1.6.0)
// with and without flash attention.

public import Foundation
public import TihuaNN
public import TihuaTorch
public import TihuaWeightFiles

/// Where a tensor of the model is found in a checkpoint.
struct CheckpointSource: Equatable {
    enum Change: Equatable {
        case none
        case transposed
        /// One of three equal parts along the first dimension.
        case third(Int)
    }

    /// The name in the file.
    let name: String
    var change = Change.none
}

extension ChineseCLIP {
    /// What checkpoints hold besides the model: an unused pooler and a buffer of older versions.
    private static let ignored = ["bert.pooler.", "text_model.pooler."]
    private static let ignoredSuffix = ".position_ids"

    /// The tensors of the model that a checkpoint of any layout holds, by their names in the model.
    ///
    /// Names that no layout knows are kept, so that a strict load reports them.
    static func sources(in names: [String]) -> [(name: String, source: CheckpointSource)] {
        // The residual network keeps its original names.
        let hasTransformer = names.contains("visual.class_embedding")
        return names.flatMap { name -> [(name: String, source: CheckpointSource)] in
            if name.hasSuffix(ignoredSuffix) || ignored.contains(where: name.hasPrefix) { return [] }
            if name.hasPrefix("bert.") { return textNames(name) }
            if hasTransformer, name.hasPrefix("visual.") { return visionNames(name) }
            if name == "text_projection" {
                return [("text_projection.weight", CheckpointSource(name: name, change: .transposed))]
            }
            return [(name, CheckpointSource(name: name))]
        }
    }

    /// Whether a name may be one of a Chinese-CLIP checkpoint, of whatever layout and size.
    private static func isPart(_ name: String) -> Bool {
        ["bert.", "visual.", "text_model.", "vision_model.", "text_projection", "visual_projection.", "logit_scale"]
            .contains(where: name.hasPrefix)
    }

    /// The text tower of the original layout.
    private static func textNames(_ name: String) -> [(name: String, source: CheckpointSource)] {
        let model = "text_model.\(name.dropFirst("bert.".count))"
        if let part = model.range(of: ".self.Wqkv.") {
            let (layer, kind) = (model[..<part.lowerBound], model[part.upperBound...])
            return ["query", "key", "value"].enumerated().map { index, projection in
                ("\(layer).self.\(projection).\(kind)", CheckpointSource(name: name, change: .third(index)))
            }
        }
        return [(model.replacing(".self.out_proj.", with: ".output.dense."), CheckpointSource(name: name))]
    }

    /// The vision transformer of the original layout.
    private static func visionNames(_ name: String) -> [(name: String, source: CheckpointSource)] {
        let rest = name.dropFirst("visual.".count)
        switch rest {
        case "class_embedding": return [("vision_model.embeddings.class_embedding", CheckpointSource(name: name))]
        case "positional_embedding":
            return [("vision_model.embeddings.position_embedding.weight", CheckpointSource(name: name))]
        case "conv1.weight": return [("vision_model.embeddings.patch_embedding.weight", CheckpointSource(name: name))]
        case "proj": return [("visual_projection.weight", CheckpointSource(name: name, change: .transposed))]
        default: break
        }
        let model = "vision_model.\(rest)"
            .replacing(".transformer.resblocks.", with: ".encoder.layers.")
            .replacing(".ln_pre.", with: ".pre_layrnorm.").replacing(".ln_post.", with: ".post_layernorm.")
            .replacing(".ln_1.", with: ".layer_norm1.").replacing(".ln_2.", with: ".layer_norm2.")
            .replacing(".mlp.c_fc.", with: ".mlp.fc1.").replacing(".mlp.c_proj.", with: ".mlp.fc2.")
            .replacing(".attn.out_proj.", with: ".self_attn.out_proj.")
        for fused in [".attn.in_proj_", ".attn.Wqkv."] {
            guard let part = model.range(of: fused) else { continue }
            let (layer, kind) = (model[..<part.lowerBound], model[part.upperBound...])
            return ["q_proj", "k_proj", "v_proj"].enumerated().map { index, projection in
                ("\(layer).self_attn.\(projection).\(kind)", CheckpointSource(name: name, change: .third(index)))
            }
        }
        return [(model, CheckpointSource(name: name))]
    }

    /// What `config.json` says, or what the tensors tell of a checkpoint in the original layout alone.
    ///
    /// - Throws: `ModelError`, `WeightFileError`.
    public static func configuration(
        of folder: ModelFolder, _ checkpoint: Checkpoint, notes: inout [String]
    ) throws -> ChineseCLIPConfiguration {
        try folder.hasConfiguration
            ? folder.configuration(of: Self.self)
            : ChineseCLIPConfiguration(inferredFrom: checkpoint.withoutTrainerPrefixes(isPart))
    }

    /// Opens a model for pictures of another side than the checkpoint's, for which its positions are resized.
    ///
    /// - Parameters: as for `open` without a size
    /// - Throws: `ModelError`, `WeightFileError`.
    public static func open(
        _ url: URL, imageSize: Int, dtype: DType = .float32, computeType: DType? = nil, device: Device = .cpu
    ) throws -> OpenedModel<ChineseCLIP> {
        let folder = try ModelFolder(at: url, orCheckpointOf: architecture)
        return try open(folder, dtype: dtype, computeType: computeType, device: device) {
            try $0.withImageSize(imageSize)
        } loading: { checkpoint, store, _ in
            try load(checkpoint, into: store, resizingPositions: true)
        }
    }

    /// Fills a store from a checkpoint of any layout, strictly.
    ///
    /// - Throws: `ModelError.checkpoint` with the file and what does not fit.
    public static func load(
        _ checkpoint: Checkpoint, into store: ParameterStore, as configuration: ChineseCLIPConfiguration
    ) throws {
        try load(checkpoint, into: store, resizingPositions: false)
    }

    /// Fills a store from a checkpoint of any layout, strictly.
    ///
    /// - Parameters:
    ///   - resizingPositions: whether a square grid of picture positions may be resized to the model's (bicubic,
    ///     corners aligned, as the original code does); off, it is an error like any other shape
    /// - Throws: `ModelError.checkpoint` with the file and what does not fit.
    public static func load(
        _ checkpoint: Checkpoint, into store: ParameterStore, resizingPositions: Bool = false
    ) throws {
        let path = checkpoint.files.first?.path ?? "checkpoint"
        let checkpoint = try checkpoint.withoutTrainerPrefixes(isPart)
        let sources = sources(in: checkpoint.tensors.map(\.name))
        let sourceOf = Dictionary(sources.map { ($0.name, $0.source) }) { first, _ in first }
        if sourceOf.count < sources.count {
            let twice = Dictionary(grouping: sources, by: \.name).filter { $0.value.count > 1 }.keys.sorted()
            throw ModelError.checkpoint(
                path: path, reason: "holds \(twice[0]) under several names (\(twice.count) such); layouts are mixed")
        }
        try fill(store, from: path, names: sources.map(\.name)) { name in
            guard let source = sourceOf[name], let entry = store[name] else { throw ParameterError.missing([name]) }
            let view = try checkpoint.tensor(source.name)
            guard DType(view.elementType).isFloatingPoint == entry.dtype.isFloatingPoint else {
                throw ParameterError.unreadable(
                    name: name, reason: "\(view.elementType.rawValue) where \(entry.dtype) is expected")
            }
            let tensor = try changed(Tensor.borrowing(view), source.change, name)
            return resizingPositions ? resized(tensor, named: name, to: entry.shape) : tensor
        }
    }

    private static func changed(_ tensor: Tensor, _ change: CheckpointSource.Change, _ name: String) throws -> Tensor {
        switch change {
        case .none: return tensor
        case .transposed:
            guard tensor.rank == 2 else { throw ParameterError.unreadable(name: name, reason: "is not a matrix") }
            return tensor.transposed(0, 1)
        case .third(let index):
            guard tensor.rank > 0, tensor.size(0) % 3 == 0 else {
                throw ParameterError.unreadable(name: name, reason: "shape \(tensor.shape) does not hold three parts")
            }
            return tensor.chunked(3, 0)[index]
        }
    }

    /// A parameter of a model for pictures of one size, as a model for another size has it: positions on a square grid
    /// are resized (bicubic, corners aligned), everything else is returned as it is.
    ///
    /// - Parameter shape: of the other model's parameter
    public static func resized(_ tensor: Tensor, named name: String, to shape: [Int]) -> Tensor {
        let isPositions =
            name == "vision_model.embeddings.position_embedding.weight"
            || name == "visual.attnpool.positional_embedding"
        return isPositions ? resizedPositions(tensor, to: shape) : tensor
    }

    /// Resizes positions `[1 + G G, C]` to another grid; the first row, which is no patch, stays. Anything else is
    /// returned as it is.
    static func resizedPositions(_ positions: Tensor, to shape: [Int]) -> Tensor {
        let found = positions.shape
        guard found != shape, found.count == 2, shape.count == 2, found[1] == shape[1], found[0] > 1, shape[0] > 1
        else {
            return positions
        }
        let (old, new) = (gridSide(found[0]), gridSide(shape[0]))
        guard let old, let new else { return positions }
        let map = positions.narrowed(0, 1..<found[0]).to(.float32).reshaped(1, old, old, found[1]).permuted(0, 3, 1, 2)
        let resized = Kernels.bicubic(map, height: new, width: new, alignCorners: true)  // [1, C, G, G]
        return .concatenated(
            [positions.narrowed(0, 0..<1).to(.float32), resized.permuted(0, 2, 3, 1).reshaped(new * new, found[1])], 0)
    }

    /// G for 1 + G G rows.
    fileprivate static func gridSide(_ rows: Int) -> Int? {
        let side = Int(Double(max(0, rows - 1)).squareRoot().rounded())
        return side > 0 && side * side == rows - 1 ? side : nil
    }
}

extension ChineseCLIPConfiguration {
    /// The configuration that an original checkpoint, which comes without one, must have been made with.
    ///
    /// Heads are not in the shapes: towers have heads of 64, the image tower of ViT-H/14 (width 1280) of 80.
    ///
    /// - Throws: `ModelError.checkpoint` if the tensors are not those of the original layout.
    public init(inferredFrom checkpoint: Checkpoint) throws(ModelError) {
        let shapes = Dictionary(checkpoint.tensors.map { ($0.name, $0.shape) }) { first, _ in first }
        let path = checkpoint.files.first?.path ?? "checkpoint"
        let names = checkpoint.tensors.prefix(4).map(\.name).joined(separator: ", ") + " …"
        func size(_ name: String, _ dimension: Int, rank: Int) throws(ModelError) -> Int {
            guard let shape = shapes[name], shape.count == rank, shape[dimension] > 0, shape[dimension] <= 1 << 20
            else {
                throw .checkpoint(
                    path: path,
                    reason: "has no config.json beside it, and is no Chinese-CLIP in the original layout (\(name));"
                        + " put the config.json of its model there; it holds \(names)")
            }
            return shape[dimension]
        }
        func count(_ stem: String) -> Int {
            var count = 0
            while shapes.keys.contains(where: { $0.hasPrefix("\(stem)\(count).") }) { count += 1 }
            return count
        }
        func heads(_ width: Int) -> Int { width % 64 == 0 ? width / 64 : 1 }

        self.init()
        text.vocabularySize = try size("bert.embeddings.word_embeddings.weight", 0, rank: 2)
        text.hiddenSize = try size("bert.embeddings.word_embeddings.weight", 1, rank: 2)
        text.positionCount = try size("bert.embeddings.position_embeddings.weight", 0, rank: 2)
        text.tokenTypeCount = try size("bert.embeddings.token_type_embeddings.weight", 0, rank: 2)
        text.intermediateSize = try size("bert.encoder.layer.0.intermediate.dense.weight", 0, rank: 2)
        text.layerCount = count("bert.encoder.layer.")
        text.headCount = heads(text.hiddenSize)
        projectionSize = try size("text_projection", 1, rank: 2)
        if shapes["visual.class_embedding"] != nil {
            var tower = VisionTransformerConfiguration()
            tower.hiddenSize = try size("visual.conv1.weight", 0, rank: 4)
            tower.patchSize = try size("visual.conv1.weight", 3, rank: 4)
            tower.imageSize = try Self.side(size("visual.positional_embedding", 0, rank: 2), path) * tower.patchSize
            tower.intermediateSize = try size("visual.transformer.resblocks.0.mlp.c_fc.weight", 0, rank: 2)
            tower.layerCount = count("visual.transformer.resblocks.")
            tower.headCount = tower.hiddenSize == 1280 ? 16 : heads(tower.hiddenSize)
            vision = .transformer(tower)
        } else {
            var tower = CLIPResNetConfiguration()
            tower.width = try size("visual.conv3.weight", 0, rank: 4)
            tower.layers = (1...4).map { count("visual.layer\($0).") }
            tower.imageSize = try Self.side(size("visual.attnpool.positional_embedding", 0, rank: 2), path) * 32
            vision = .resNet(tower)
        }
    }

    private static func side(_ rows: Int, _ path: String) throws(ModelError) -> Int {
        guard let side = ChineseCLIP.gridSide(rows) else {
            throw .checkpoint(path: path, reason: "has \(rows) picture positions, which is no square grid and one")
        }
        return side
    }

    /// The number of trained numbers, before any memory is taken for them; a `Double`, for a file can claim any size.
    public var parameterCount: Double {
        let joint = Double(projectionSize)
        let towers: Double =
            switch vision {
            case .transformer(let tower): tower.parameterCount + Double(tower.hiddenSize) * joint
            case .resNet(let tower): tower.parameterCount(projectionSize: projectionSize)
            }
        return text.parameterCount + Double(text.hiddenSize) * joint + towers + 1
    }

    /// The same towers for pictures of another side, whose positions are resized as they are loaded.
    ///
    /// - Throws: `ModelError.unsupported` for a side that the image tower cannot take.
    public func withImageSize(_ side: Int) throws(ModelError) -> ChineseCLIPConfiguration {
        let unit = if case .transformer(let tower) = vision { tower.patchSize } else { 32 }
        var copy = self
        copy.imageSize = side
        guard side >= unit, side <= 4096, side % unit == 0 else {
            throw .unsupported(
                model: "chinese_clip", setting: "image_size", value: "\(side)", known: "multiples of \(unit) up to 4096"
            )
        }
        return copy
    }
}

extension VisionTransformerConfiguration {
    /// Trained numbers, the projection not counted.
    var parameterCount: Double {
        let (width, patch, grid) = (Double(hiddenSize), Double(patchSize), Double(gridSize))
        return width * (1 + 3 * patch * patch + 1 + grid * grid + 4)
            + Double(layerCount) * layerParameterCount(width: width, inner: Double(intermediateSize))
    }
}

extension CLIPResNetConfiguration {
    /// Trained numbers of the whole tower.
    func parameterCount(projectionSize: Int) -> Double {
        let (width, grid, joint) = (Double(width), Double(imageSize / 32), Double(projectionSize))
        let half = width / 2
        var count = 9 * (3 * half + half * half + half * width) + 2 * (half + half + width)
        var input = width
        for (stage, blocks) in layers.enumerated() {
            let planes = width * Double(1 << stage)
            let output = planes * Double(CLIPBottleneck.expansion)
            for index in 0..<blocks {
                count += input * planes + 9 * planes * planes + planes * output + 2 * (planes + planes + output)
                if index == 0 { count += input * output + 2 * output }
                input = output
            }
        }
        return count + input * (1 + grid * grid) + 3 * input * (input + 1) + joint * (input + 1)
    }
}
