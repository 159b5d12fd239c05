public import Foundation

/// The weights of a model: one file or several shards, safetensors or `torch.save`, all tensors by name.
public struct Checkpoint: Sendable {
    /// The files that were read.
    public let files: [URL]
    /// The tensors in the order of their files.
    public let tensors: [TensorView]
    /// The metadata of safetensors files; empty for other formats.
    public let metadata: [String: String]
    /// Whether the file was packed: the tensors are then as large as they say, whatever the size of the file.
    public let isPacked: Bool
    private let index: [String: Int]
    private let path: String

    /// The names that are looked for in a folder, in this order; after them a single `*.safetensors`, a single `*.pt`,
    /// `*.pth` or `*.bin`.
    static let names = [
        "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
        "weights.npz",
    ]
    private static let suffixes = [["safetensors"], ["pt", "pth", "bin"]]

    /// Opens a folder in the Hugging Face layout, a file of weights (told apart by its first bytes, not its name), or
    /// an index of shards (`*.index.json`). Throws `WeightFileError`.
    public static func open(_ url: URL) throws(WeightFileError) -> Checkpoint {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
            throw .missing(path: url.path)
        }
        let file = isFolder.boolValue ? try find(in: url) : url
        return file.lastPathComponent.hasSuffix(".index.json") ? try openIndex(file) : try openFile(file)
    }

    /// The tensor of that name; nil if there is none.
    public subscript(name: String) -> TensorView? {
        index[name].map { tensors[$0] }
    }

    /// The tensor of that name. Throws `WeightFileError.noTensor`.
    public func tensor(_ name: String) throws(WeightFileError) -> TensorView {
        guard let tensor = self[name] else { throw .noTensor(path: path, name: name) }
        return tensor
    }

    /// What trainers put in front of a parameter's name, or between its parts: `torch.compile`, DistributedDataParallel
    /// and fully sharded training wrap modules; no model has parts of these names.
    private static let wrappers: Set<Substring> = [
        "_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
    ]
    /// What else stands in front: the attribute of a trainer's class (Lightning), or of a captioner, that holds the
    /// model.
    private static let holders: Set<Substring> = ["model", "gpt"]

    /// The same tensors without what a trainer added to their names, in whatever order it stands there.
    ///
    /// A name that the model knows stays. Of another one, as little is cut as makes it a name that the model knows;
    /// where nothing does, it stays too, so that a strict load reports it as it stands in the file.
    ///
    /// - Parameter isKnown: whether the model has a tensor of this name, or leaves it out
    /// - Throws: `WeightFileError.ambiguousNames` where two tensors would have one name.
    public func withoutTrainerPrefixes(_ isKnown: (String) -> Bool) throws(WeightFileError) -> Checkpoint {
        func isWhole(_ name: String) -> Bool {
            isKnown(name) && !name.split(separator: ".").contains(where: Self.wrappers.contains)
        }
        if tensors.allSatisfy({ isWhole($0.name) }) { return self }
        var originals: [String: String] = [:]
        originals.reserveCapacity(tensors.count)
        let renamed = tensors.map { tensor in
            let name = isWhole(tensor.name) ? tensor.name : Self.cuts(of: tensor.name).first(where: isKnown)
            return tensor.renamed(name ?? tensor.name)
        }
        for (tensor, old) in zip(renamed, tensors) {
            if let other = originals.updateValue(old.name, forKey: tensor.name) {
                throw .ambiguousNames(path: path, first: other, second: old.name, name: tensor.name)
            }
        }
        return try Checkpoint(path: path, files: files, tensors: renamed, metadata: metadata, isPacked: isPacked)
    }

    /// What may be left of a name, the longest first.
    private static func cuts(of name: String) -> [String] {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false)[...]
        let count = parts.count
        parts.removeAll { wrappers.contains($0) }
        var cuts = parts.count < count ? [parts.joined(separator: ".")] : []
        while let first = parts.first, holders.contains(first) {
            parts.removeFirst()
            cuts.append(parts.joined(separator: "."))
        }
        return cuts
    }

    private init(
        path: String, files: [URL], tensors: [TensorView], metadata: [String: String], isPacked: Bool = false
    ) throws(WeightFileError) {
        var index: [String: Int] = [:]
        index.reserveCapacity(tensors.count)
        for (place, tensor) in tensors.enumerated() {
            guard index.updateValue(place, forKey: tensor.name) == nil else {
                throw .malformed(path: path, problem: "the tensor \(quoted(tensor.name)) stands in it twice")
            }
        }
        self.path = path
        self.files = files
        self.tensors = tensors
        self.metadata = metadata
        self.isPacked = isPacked
        self.index = index
    }

    private static func find(in folder: URL) throws(WeightFileError) -> URL {
        let content: [String]
        do {
            content = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        } catch {
            let mayRead = access(folder.path, R_OK) == 0
            throw .system(
                path: folder.path, operation: "list the folder",
                reason: mayRead ? "the system has no memory or no files left" : "no permission to read it")
        }
        if let name = names.first(where: content.contains) { return folder.appending(path: name) }
        for group in suffixes {
            let candidates = content.filter { name in
                !name.hasPrefix(".") && group.contains { name.hasSuffix(".\($0)") }
            }
            if candidates.count > 1 { throw .ambiguous(path: folder.path, candidates: candidates.sorted()) }
            if let only = candidates.first { return folder.appending(path: only) }
        }
        throw .noWeights(path: folder.path, looked: names + suffixes.joined().map { "*.\($0)" })
    }

    private static func openFile(_ url: URL) throws(WeightFileError) -> Checkpoint {
        let (tensors, metadata, isPacked) = try read(url)
        return try Checkpoint(path: url.path, files: [url], tensors: tensors, metadata: metadata, isPacked: isPacked)
    }

    private static func read(_ url: URL) throws(WeightFileError) -> ([TensorView], [String: String], isPacked: Bool) {
        let file = try MappedFile(contentsOf: url)
        defer { withExtendedLifetime(file) {} }
        if file.bytes.starts(with: Array("version https://git-lfs".utf8)) {
            throw .unsupported(
                path: file.path, feature: "a Git LFS pointer, which stands where the weights should be,",
                advice: "run `git lfs pull` in its folder, or download the file itself")
        }
        // The ninth byte tells: a safetensors header is an object, and no other format has '{' there.
        let isSafetensors = file.count > 8 && file.bytes[8] == UInt8(ascii: "{")
        let isTorch = file.bytes.starts(with: TorchArchive.zipMagic) || file.bytes.first == TorchArchive.pickleMagic
        if isSafetensors || (!isTorch && url.pathExtension == "safetensors") {
            let safetensors = try SafetensorsFile(file)
            return (safetensors.tensors, safetensors.metadata, false)
        }
        guard file.bytes.starts(with: TorchArchive.zipMagic) else {
            return (try TorchArchive(file).tensors(), [:], false)
        }
        let archive = try ZipArchive(file)
        return NumPyArchive.isOne(archive)
            ? (try NumPyArchive(archive, path: file.path).tensors, [:], true)
            : (try TorchArchive(file, archive).tensors(), [:], false)
    }

    /// Reads an index: `{"metadata": {…}, "weight_map": {"tensor": "file", …}}`, the files beside it.
    private static func openIndex(_ url: URL) throws(WeightFileError) -> Checkpoint {
        let file = try MappedFile(contentsOf: url)
        defer { withExtendedLifetime(file) {} }
        guard file.count <= SafetensorsFile.maximumHeader else {
            throw .limit(path: url.path, what: "the index of \(file.count) bytes", limit: SafetensorsFile.maximumHeader)
        }
        var shardOf: [String: String] = [:]
        var scanner = JSONScanner(file.bytes, path: url.path)
        try scanner.object { scanner, key throws(WeightFileError) in
            guard key == "weight_map" else { return try scanner.skipValue() }
            try scanner.object { scanner, name throws(WeightFileError) in shardOf[name] = try scanner.string() }
        }
        try scanner.expectEnd()
        let shards = Set(shardOf.values).sorted()
        guard !shards.isEmpty else {
            throw .malformed(path: url.path, problem: "the index has no weight_map")
        }
        let folder = url.deletingLastPathComponent()
        if let odd = shards.first(where: { $0.isEmpty || $0.hasPrefix(".") || $0.contains("/") || $0.contains("\0") }) {
            throw .malformed(path: url.path, problem: "the index names \(quoted(odd)), which is no file beside it")
        }
        let files = shards.map { folder.appending(path: $0) }
        let missing = files.filter { !FileManager.default.fileExists(atPath: $0.path) }
        guard missing.isEmpty else {
            throw .missingFromIndex(path: url.path, names: missing.map(\.lastPathComponent))
        }
        var tensors: [TensorView] = []
        var metadata: [String: String] = [:]
        for shard in files {
            let (more, moreMetadata, _) = try read(shard)
            tensors += more
            metadata.merge(moreMetadata) { first, _ in first }
        }
        let found = Set(tensors.map(\.name))
        let absent = shardOf.keys.filter { !found.contains($0) }.sorted()
        guard absent.isEmpty else { throw .missingFromIndex(path: url.path, names: absent) }
        return try Checkpoint(path: url.path, files: files, tensors: tensors, metadata: metadata)
    }
}
