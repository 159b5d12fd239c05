public import Foundation

/// A file of `torch.save`, mapped: the ZIP layout of PyTorch 1.6 and later, or the sequence of pickles before it.
///
/// Nothing in the file is run: see `PickleMachine`. Tensors are views into the mapped file, with strides and shared
/// storages as they were saved. Source: `torch/serialization.py` of PyTorch 2.13, `_load` and `_legacy_load`.
public struct TorchArchive: Sendable {
    /// The path as it was given.
    public let path: String
    /// What was saved.
    public let root: PickleValue

    /// Maps and reads the file at a URL. Throws `WeightFileError`.
    public init(contentsOf url: URL) throws(WeightFileError) {
        try self.init(MappedFile(contentsOf: url))
    }

    /// Reads a mapped file. Throws `WeightFileError`.
    public init(_ file: MappedFile) throws(WeightFileError) { try self.init(file, nil) }

    /// - Parameter archive: the directory of a ZIP archive, where it was read already
    init(_ file: MappedFile, _ archive: ZipArchive?) throws(WeightFileError) {
        // An initialiser owns its arguments and may drop them after their last mention, with the memory.
        defer { withExtendedLifetime(file) {} }
        path = file.path
        let reader = ByteReader(file)
        if file.bytes.starts(with: Self.zipMagic) {
            root = try Self.readArchive(file, archive)
        } else if file.bytes.first == Self.pickleMagic {
            root = try Self.readLegacy(file)
        } else if file.bytes.count > 262, file.bytes[257..<262].elementsEqual("ustar".utf8) {
            throw .unsupported(
                path: file.path, feature: "the tar layout of PyTorch before 0.2",
                advice: "in Python: torch.save(torch.load(file), file)")
        } else {
            throw reader.malformed("neither a ZIP archive nor a pickle of torch.save")
        }
    }

    static let zipMagic = Array("PK\u{3}\u{4}".utf8)
    static let pickleMagic: UInt8 = 0x80

    /// The tensors of the state dictionary, named by their keys, in its order.
    ///
    /// It is looked for under `state_dict`, `model_state_dict`, `model` and `module`, then at the top. The prefix
    /// `module.`, which data parallel training adds, is cut where all names carry it.
    /// Throws `WeightFileError.unsupported` if there is no dictionary with tensors.
    public func tensors() throws(WeightFileError) -> [TensorView] {
        guard let found = Self.stateDictionary(in: root, depth: 0) else {
            var keys = ""
            if case .dictionary(let entries) = root {
                let names = entries.prefix(8).map { entry in
                    if case .string(let name) = entry.key { quoted(name) } else { "…" }
                }
                keys = " (its keys: \(names.joined(separator: ", ")))"
            }
            throw .unsupported(
                path: path, feature: "a file without a dictionary of tensors\(keys)",
                advice: "in Python: torch.save(model.state_dict(), …)")
        }
        let prefix = "module."
        guard found.allSatisfy({ $0.name.hasPrefix(prefix) }) else { return found }
        return found.map { $0.renamed(String($0.name.dropFirst(prefix.count))) }
    }

    private static func stateDictionary(in value: PickleValue, depth: Int) -> [TensorView]? {
        guard depth < 4 else { return nil }
        for key in ["state_dict", "model_state_dict", "model", "module"] {
            if let inner = value[key], let found = stateDictionary(in: inner, depth: depth + 1) { return found }
        }
        let tensors = value.namedTensors
        return tensors.isEmpty ? nil : tensors
    }

    // MARK: The two layouts

    private static func readArchive(
        _ file: MappedFile, _ known: ZipArchive?
    ) throws(WeightFileError) -> PickleValue {
        let archive = if let known { known } else { try ZipArchive(file) }
        var reader = ByteReader(file)
        // "NAME/data.pkl", "NAME/data/KEY", "NAME/byteorder"; NAME is any one folder.
        let programs = archive.names.filter {
            $0.hasSuffix("/data.pkl") && $0.split(separator: "/").count == 2
        }
        guard programs.count == 1, let program = programs.first, let range = try archive.range(of: program) else {
            throw reader.malformed("a ZIP archive without exactly one NAME/data.pkl, so not one of torch.save")
        }
        let folder = program.dropLast("data.pkl".count)
        if let order = try archive.range(of: "\(folder)byteorder") {
            guard file.bytes[order].elementsEqual("little".utf8) else {
                throw .unsupported(
                    path: file.path, feature: "big-endian data", advice: "save it again on a little-endian machine")
            }
        }
        try reader.seek(range.lowerBound)
        reader.limit(to: range.count)
        let (machine, root) = try PickleMachine.run(&reader)
        var builder = PickleTreeBuilder(machine: machine, file: file) { key throws(WeightFileError) in
            try archive.range(of: "\(folder)data/\(key)")
        }
        return try builder.build(root)
    }

    private static func readLegacy(_ file: MappedFile) throws(WeightFileError) -> PickleValue {
        var reader = ByteReader(file)
        // 0x1950a86a20f9469cfc6c, little-endian.
        guard
            case .bigInteger([0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]) =
                try PickleMachine.run(&reader).root
        else { throw reader.malformed("a pickle, but not one of torch.save") }
        guard case .integer(1001) = try PickleMachine.run(&reader).root else {
            throw reader.malformed("an unknown version of the layout of torch.save")
        }
        let (information, system) = try PickleMachine.run(&reader)
        var systemBuilder = PickleTreeBuilder(machine: information, file: file) { _ in nil }
        guard case .bool(true)? = try systemBuilder.build(system)["little_endian"] else {
            throw .unsupported(
                path: file.path, feature: "big-endian data", advice: "save it again on a little-endian machine")
        }
        let (machine, root) = try PickleMachine.run(&reader)
        let (order, keys) = try PickleMachine.run(&reader)
        guard let keys = order.sequence(keys) else { throw reader.malformed("no list of storages") }
        var types: [String: ElementType] = [:]
        for storage in machine.storages { types[storage.key] = storage.elementType }
        var regions: [String: Range<Int>] = [:]
        for key in keys {
            guard case .string(let key) = key, let type = types[key] else {
                throw reader.malformed("a storage that nothing refers to")
            }
            let (size, overflow) = try reader.length64().multipliedReportingOverflow(by: type.byteCount)
            guard !overflow else { throw reader.malformed("the storage \(quoted(key)) is larger than any file") }
            let start = reader.offset
            try reader.skip(size)
            regions[key] = start..<reader.offset
        }
        var builder = PickleTreeBuilder(machine: machine, file: file) { regions[$0] }
        return try builder.build(root)
    }
}

/// Turns what a pickle machine left into a tree of values, with tensors bound to the file.
///
/// A container that several others share is built once; cycles, depth beyond 64 and trees of more than two million
/// values, counted with their repetitions, are errors.
private struct PickleTreeBuilder {
    let machine: PickleMachine
    let file: MappedFile
    /// The bytes of a storage in the file.
    let region: (String) throws(WeightFileError) -> Range<Int>?

    private var built: [Int: (value: PickleValue, size: Int)] = [:]

    private static let maximumDepth = 64
    private static let maximumValues = 2_000_000
    /// An expanded tensor repeats its elements without taking room in the file; beyond this it must not.
    private static let maximumExpanded = 1 << 30

    init(
        machine: PickleMachine, file: MappedFile, region: @escaping (String) throws(WeightFileError) -> Range<Int>?
    ) {
        self.machine = machine
        self.file = file
        self.region = region
    }

    private func malformed(_ problem: String) -> WeightFileError {
        .malformed(path: file.path, problem: problem)
    }

    mutating func build(_ item: PickleMachine.Item) throws(WeightFileError) -> PickleValue {
        try build(item, depth: 0, label: "").value
    }

    private mutating func build(
        _ item: PickleMachine.Item, depth: Int, label: String
    ) throws(WeightFileError) -> (value: PickleValue, size: Int) {
        switch item {
        case .none: return (.none, 1)
        case .bool(let value): return (.bool(value), 1)
        case .integer(let value): return (.integer(value), 1)
        case .bigInteger(let value): return (.bigInteger(value), 1)
        case .number(let value): return (.number(value), 1)
        case .string(let value): return (.string(value), 1)
        case .bytes(let value): return (.bytes(value), 1)
        case .constant(let name): return (.constant(name), 1)
        case .callable(.elementType(let type)): return (.constant("torch.\(type)"), 1)
        case .tensor(let index): return (.tensor(try bind(machine.tensors[index], label: label)), 1)
        case .callable, .storage: throw malformed("the pickle holds a class or a bare storage as a value")
        case .node(let index):
            if let known = built[index] { return known }
            guard depth < Self.maximumDepth else {
                throw .limit(path: file.path, what: "the pickle's nesting", limit: Self.maximumDepth)
            }
            let node = machine.nodes[index]
            let result =
                node.kind == .dictionary
                ? try dictionary(node.items, depth: depth) : try sequence(node, depth: depth, label: label)
            built[index] = result
            return result
        }
    }

    private mutating func sequence(
        _ node: PickleMachine.Node, depth: Int, label: String
    ) throws(WeightFileError) -> (value: PickleValue, size: Int) {
        var values: [PickleValue] = []
        var total = 1
        for item in node.items {
            values.append(try add(item, to: &total, depth: depth, label: label))
        }
        switch node.kind {
        case .list: return (.list(values), total)
        case .set: return (.set(values), total)
        case .tuple, .dictionary: return (.tuple(values), total)
        }
    }

    private mutating func dictionary(
        _ items: [PickleMachine.Item], depth: Int
    ) throws(WeightFileError) -> (value: PickleValue, size: Int) {
        var entries: [PickleValue.Entry] = []
        // As in Python, a key that comes again keeps its place and takes the later value.
        var places: [String: Int] = [:]
        var total = 1
        for place in stride(from: 0, to: items.count, by: 2) {
            var label = ""
            if case .string(let name) = items[place] { label = name }
            let key = try add(items[place], to: &total, depth: depth, label: label)
            let entry = PickleValue.Entry(
                key: key, value: try add(items[place + 1], to: &total, depth: depth, label: label))
            guard case .string(let name) = key else {
                entries.append(entry)
                continue
            }
            if let known = places[name] {
                entries[known] = entry
            } else {
                places[name] = entries.count
                entries.append(entry)
            }
        }
        return (.dictionary(entries), total)
    }

    private mutating func add(
        _ item: PickleMachine.Item, to total: inout Int, depth: Int, label: String
    ) throws(WeightFileError) -> PickleValue {
        let (value, size) = try build(item, depth: depth + 1, label: label)
        total += size
        guard total <= Self.maximumValues else {
            throw .limit(path: file.path, what: "the number of values in the pickle", limit: Self.maximumValues)
        }
        return value
    }

    /// Finds a tensor's memory and checks that every element it reaches is inside its storage.
    private func bind(_ tensor: PickleMachine.Tensor, label: String) throws(WeightFileError) -> TensorView {
        let storage = machine.storages[tensor.storage]
        // Only for messages, so only made when one is needed.
        var name: String { label.isEmpty ? "a tensor" : "tensor \(quoted(label))" }
        guard let region = try region(storage.key) else {
            throw malformed("the storage \(quoted(storage.key)) of \(name) is not in the file")
        }
        let unit = storage.elementType?.byteCount ?? 1
        guard case let (base, overflow) = storage.offset.multipliedReportingOverflow(by: unit), !overflow,
            case let (length, overflow) = storage.count.multipliedReportingOverflow(by: unit), !overflow,
            case let (end, overflow) = base.addingReportingOverflow(length), !overflow, end <= region.count
        else {
            throw malformed(
                "the storage \(quoted(storage.key)) of \(name) claims \(storage.count) elements, the file has "
                    + "\(region.count) bytes of it")
        }
        guard let size = extent(of: tensor.shape, tensor.elementType),
            let reach = reach(of: tensor, elements: size.elements), reach <= length / tensor.elementType.byteCount
        else {
            throw malformed("\(name) of shape \(tensor.shape) and strides \(tensor.strides) reaches beyond its storage")
        }
        guard size.bytes <= max(length, Self.maximumExpanded) else {
            throw .limit(
                path: file.path, what: "\(name), expanded to \(size.bytes) bytes,", limit: Self.maximumExpanded)
        }
        // A dimension of one is never stepped along, whatever its stride; write the one that a contiguous tensor has.
        let plain = rowMajorStrides(tensor.shape)
        let strides =
            size.elements == 0
            ? plain : tensor.strides.indices.map { tensor.shape[$0] == 1 ? plain[$0] : tensor.strides[$0] }
        let bytes = tensor.elementType.byteCount
        let first = region.lowerBound + base + (reach == 0 ? 0 : tensor.offset * bytes)
        let span = first..<(reach == 0 ? first : region.lowerBound + base + reach * bytes)
        return TensorView(
            name: "", elementType: tensor.elementType, shape: tensor.shape, strides: strides,
            elementCount: size.elements, owner: file, span: UnsafeRawBufferPointer(rebasing: file.bytes[span]))
    }

    /// One past the last element that a tensor touches, counted from the start of its storage; 0 if it is empty, nil if
    /// that overflows.
    private func reach(of tensor: PickleMachine.Tensor, elements: Int) -> Int? {
        guard elements > 0 else { return 0 }
        var last = tensor.offset
        for (dimension, stride) in zip(tensor.shape, tensor.strides) {
            let (steps, overflow) = (dimension - 1).multipliedReportingOverflow(by: stride)
            let (sum, overflow2) = last.addingReportingOverflow(steps)
            guard !overflow, !overflow2 else { return nil }
            last = sum
        }
        let (reach, overflow) = last.addingReportingOverflow(1)
        return overflow ? nil : reach
    }
}
