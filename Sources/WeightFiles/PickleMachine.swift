/// Reads the pickles that `torch.save` writes (protocols 2 to 5) and can run nothing.
///
/// A pickle is a program for a stack machine. This one knows the instructions that build containers and scalars, and a
/// fixed list of names (`Callable.allowed`), each with its meaning written here; any other name is refused where it is
/// mentioned, before anything is built with it. Source: CPython's `Lib/pickletools.py` for the instructions, PyTorch's
/// `torch/_weights_only_unpickler.py` for the list.
struct PickleMachine {
    /// A value on the stack. Containers live in `nodes` and are named by number, so that shared and cyclic structures
    /// neither leak nor are torn down recursively.
    enum Item {
        case none
        case bool(Bool)
        case integer(Int)
        case bigInteger([UInt8])
        case number(Double)
        case string(String)
        case bytes([UInt8])
        case node(Int)
        case callable(Callable)
        case storage(Int)
        case tensor(Int)
        case constant(String)
    }

    enum NodeKind {
        case list, tuple, set, dictionary
    }

    /// A container; a dictionary holds keys and values in turn.
    struct Node {
        let kind: NodeKind
        var items: [Item]
    }

    /// Where a tensor's elements will be found: the archive's storage `key`, from element `offset`, `count` elements.
    struct Storage {
        var key: String
        /// Nil for an untyped storage, whose offset and count are bytes.
        var elementType: ElementType?
        var offset: Int
        var count: Int
    }

    struct Tensor {
        var storage: Int
        var elementType: ElementType
        var offset: Int
        var shape: [Int]
        var strides: [Int]
    }

    /// The names that a pickle of weights may mention.
    enum Callable: Equatable {
        case orderedDictionary, set, byteArray, encode, size, device, layout
        case storage(ElementType?)
        case elementType(ElementType)
        case tensorClass
        case rebuildTensor, rebuildTensorV3, rebuildParameter, rebuildFromType

        static let allowed: [String: Callable] = {
            var names: [String: Callable] = [
                "collections.OrderedDict": .orderedDictionary,
                "builtins.set": .set, "__builtin__.set": .set,
                "builtins.bytearray": .byteArray, "__builtin__.bytearray": .byteArray,
                "_codecs.encode": .encode,
                "torch.Size": .size,
                "torch.device": .device,
                "torch.serialization._get_layout": .layout,
                "torch.Tensor": .tensorClass,
                "torch.nn.parameter.Parameter": .tensorClass,
                "torch._utils._rebuild_tensor": .rebuildTensor,
                "torch._utils._rebuild_tensor_v2": .rebuildTensor,
                "torch._utils._rebuild_tensor_v3": .rebuildTensorV3,
                "torch._utils._rebuild_parameter": .rebuildParameter,
                "torch._utils._rebuild_parameter_with_state": .rebuildParameter,
                "torch._tensor._rebuild_from_type_v2": .rebuildFromType,
                "torch.UntypedStorage": .storage(nil),
                "torch.storage.UntypedStorage": .storage(nil),
                "torch.storage._UntypedStorage": .storage(nil),
            ]
            let types: [(ElementType, String, storage: String)] = [
                (.float64, "float64", "Double"), (.float32, "float32", "Float"), (.float16, "float16", "Half"),
                (.bfloat16, "bfloat16", "BFloat16"), (.int64, "int64", "Long"), (.int32, "int32", "Int"),
                (.int16, "int16", "Short"), (.int8, "int8", "Char"), (.uint8, "uint8", "Byte"), (.bool, "bool", "Bool"),
            ]
            for (type, name, storage) in types {
                names["torch.\(name)"] = .elementType(type)
                names["torch.\(storage)Storage"] = .storage(type)
                names["torch.cuda.\(storage)Storage"] = .storage(type)
            }
            return names
        }()
    }

    static let maximumPickle = 32 << 20
    /// A checkpoint of a hundred thousand tensors takes about ten million bytes and four million instructions.
    private static let maximumInstructions = 4_000_000
    private static let maximumRank = 64

    private(set) var nodes: [Node] = []
    private(set) var storages: [Storage] = []
    private(set) var tensors: [Tensor] = []

    private var reader: ByteReader
    private var stack: [Item] = []
    private var marks: [Int] = []
    private var memo: [Int: Item] = [:]
    /// Items and bytes that calls have copied: a short pickle could otherwise copy one long list a million times.
    private var copied = 0
    private let isCut: Bool

    private init(_ reader: ByteReader) {
        self.reader = reader
        self.isCut = reader.remaining > Self.maximumPickle
        self.reader.limit(to: Self.maximumPickle)
    }

    /// Runs the pickle at the reader's place and moves the reader behind it.
    ///
    /// Throws `WeightFileError`: `malformed`, `refusedGlobal`, `unsupported`, `limit`.
    static func run(_ reader: inout ByteReader) throws(WeightFileError) -> (machine: PickleMachine, root: Item) {
        var machine = PickleMachine(reader)
        let root = try machine.execute()
        try reader.seek(machine.reader.offset)
        return (machine, root)
    }

    /// The items of a list or tuple; nil for anything else.
    func sequence(_ item: Item) -> [Item]? {
        guard case .node(let index) = item, [.list, .tuple].contains(nodes[index].kind) else { return nil }
        return nodes[index].items
    }

    private func malformed(_ problem: String) -> WeightFileError {
        reader.malformed("pickle: \(problem) (byte \(reader.offset))")
    }

    // MARK: The stack

    private mutating func push(_ kind: NodeKind, _ items: [Item] = []) {
        stack.append(.node(nodes.count))
        nodes.append(Node(kind: kind, items: items))
    }

    private mutating func pop() throws(WeightFileError) -> Item {
        guard stack.count > marks.last ?? 0, let item = stack.popLast() else { throw malformed("the stack is empty") }
        return item
    }

    private mutating func pop(_ count: Int) throws(WeightFileError) -> [Item] {
        guard stack.count - (marks.last ?? 0) >= count else { throw malformed("the stack is empty") }
        defer { stack.removeLast(count) }
        return Array(stack.suffix(count))
    }

    private mutating func popToMark() throws(WeightFileError) -> [Item] {
        guard let mark = marks.popLast() else { throw malformed("a mark is missing") }
        defer { stack.removeLast(stack.count - mark) }
        return Array(stack[mark...])
    }

    private func top() throws(WeightFileError) -> Item {
        guard stack.count > marks.last ?? 0, let item = stack.last else { throw malformed("the stack is empty") }
        return item
    }

    private mutating func extend(_ kind: NodeKind, with items: [Item]) throws(WeightFileError) {
        guard case .node(let index) = try top(), nodes[index].kind == kind else {
            throw malformed("items for a \(kind) that is none")
        }
        guard kind != .dictionary || items.count.isMultiple(of: 2) else { throw malformed("a key without a value") }
        nodes[index].items.append(contentsOf: items)
    }

    private mutating func remember(_ key: Int) throws(WeightFileError) {
        memo[key] = try top()
    }

    private mutating func recall(_ key: Int) throws(WeightFileError) {
        guard let item = memo[key] else { throw malformed("nothing was remembered as \(key)") }
        stack.append(item)
    }

    // MARK: The instructions

    private mutating func execute() throws(WeightFileError) -> Item {
        var instructions = 0
        while true {
            instructions += 1
            guard instructions <= Self.maximumInstructions else {
                throw .limit(
                    path: reader.path, what: "the number of the pickle's instructions", limit: Self.maximumInstructions)
            }
            guard reader.remaining > 0 else {
                guard isCut else { throw malformed("it ends without a stop") }
                throw .limit(path: reader.path, what: "the pickle's length", limit: Self.maximumPickle)
            }
            let opcode = try reader.integer(UInt8.self)
            switch UnicodeScalar(opcode) {
            case "\u{80}":
                let version = try reader.integer(UInt8.self)
                guard (2...5).contains(version) else { throw malformed("protocol \(version) is not 2 to 5") }
            case "\u{95}":
                // A frame only says how much to buffer.
                guard try reader.length64() <= reader.remaining else {
                    throw malformed("a frame reaches beyond the end")
                }
            case ".":
                let root = try pop()
                guard stack.isEmpty, marks.isEmpty else { throw malformed("it stops with values left over") }
                return root
            case "(": marks.append(stack.count)
            case "0": _ = try pop()
            case "1": _ = try popToMark()
            case "2": stack.append(try top())

            case "N": stack.append(.none)
            case "\u{88}": stack.append(.bool(true))
            case "\u{89}": stack.append(.bool(false))
            case "J": stack.append(.integer(Int(try reader.integer(Int32.self))))
            case "K": stack.append(.integer(Int(try reader.integer(UInt8.self))))
            case "M": stack.append(.integer(Int(try reader.integer(UInt16.self))))
            case "\u{8a}": try pushLong(Int(try reader.integer(UInt8.self)))
            case "\u{8b}": try pushLong(Int(try reader.integer(Int32.self)))
            case "G": stack.append(.number(Double(bitPattern: try reader.integer(UInt64.self).byteSwapped)))

            case "X": stack.append(.string(try reader.string(Int(try reader.integer(UInt32.self)))))
            case "\u{8c}": stack.append(.string(try reader.string(Int(try reader.integer(UInt8.self)))))
            case "\u{8d}": stack.append(.string(try reader.string(try reader.length64())))
            case "U": try pushOldString(Int(try reader.integer(UInt8.self)))
            case "T": try pushOldString(Int(try reader.integer(Int32.self)))
            case "B": stack.append(.bytes(Array(try reader.take(Int(try reader.integer(UInt32.self))))))
            case "C": stack.append(.bytes(Array(try reader.take(Int(try reader.integer(UInt8.self))))))
            case "\u{8e}", "\u{96}": stack.append(.bytes(Array(try reader.take(try reader.length64()))))

            case "]": push(.list)
            case "}": push(.dictionary)
            case "\u{8f}": push(.set)
            case ")": push(.tuple)
            case "l": push(.list, try popToMark())
            case "t": push(.tuple, try popToMark())
            case "\u{91}": push(.set, try popToMark())
            case "\u{85}": push(.tuple, try pop(1))
            case "\u{86}": push(.tuple, try pop(2))
            case "\u{87}": push(.tuple, try pop(3))
            case "d":
                let items = try popToMark()
                push(.dictionary)
                try extend(.dictionary, with: items)
            case "a": try extend(.list, with: [try pop()])
            case "e": try extend(.list, with: try popToMark())
            case "\u{90}": try extend(.set, with: try popToMark())
            case "s": try extend(.dictionary, with: try pop(2))
            case "u": try extend(.dictionary, with: try popToMark())

            case "q": try remember(Int(try reader.integer(UInt8.self)))
            case "r": try remember(Int(try reader.integer(UInt32.self)))
            case "\u{94}": try remember(memo.count)
            case "h": try recall(Int(try reader.integer(UInt8.self)))
            case "j": try recall(Int(try reader.integer(UInt32.self)))

            case "c": try pushGlobal(module: try reader.line(), name: try reader.line())
            case "\u{93}":
                guard case .string(let name) = try pop(), case .string(let module) = try pop() else {
                    throw malformed("a global without a name")
                }
                try pushGlobal(module: module, name: name)
            case "R", "\u{81}":
                let arguments = try pop()
                guard case .callable(let callable) = try pop(), let arguments = sequence(arguments) else {
                    throw malformed("a call of something that is no function")
                }
                stack.append(try call(callable, arguments))
            case "b":
                // The attributes of an OrderedDict (`_metadata`) or of a tensor; neither holds weights.
                _ = try pop()
                switch try top() {
                case .tensor: break
                case .node(let index) where nodes[index].kind == .dictionary: break
                default: throw malformed("attributes for a value that has none")
                }
            case "Q": stack.append(try storage(try pop()))

            default:
                throw malformed("instruction 0x\(String(opcode, radix: 16)) is none that torch.save writes")
            }
        }
    }

    private mutating func pushLong(_ count: Int) throws(WeightFileError) {
        let bytes = Array(try reader.take(count))
        guard bytes.count > 8 else {
            var value: Int = (bytes.last ?? 0) & 0x80 == 0 ? 0 : -1
            for byte in bytes.reversed() { value = value << 8 | Int(byte) }
            stack.append(.integer(value))
            return
        }
        stack.append(.bigInteger(bytes))
    }

    /// A `str` of Python 2: UTF-8 if it is valid, else Latin-1.
    private mutating func pushOldString(_ count: Int) throws(WeightFileError) {
        let bytes = try reader.take(count)
        let latin1 = { String(String.UnicodeScalarView(bytes.map { UnicodeScalar($0) })) }
        stack.append(.string(String(validating: bytes, as: UTF8.self) ?? latin1()))
    }

    private mutating func pushGlobal(module: String, name: String) throws(WeightFileError) {
        let full = "\(module).\(name)"
        if full.hasPrefix("__torch__.") {
            throw .unsupported(
                path: reader.path, feature: "a TorchScript program",
                advice: "in Python: torch.save(torch.jit.load(file).state_dict(), …)")
        }
        guard let callable = Callable.allowed[full] else { throw .refusedGlobal(path: reader.path, name: full) }
        stack.append(.callable(callable))
    }

    // MARK: The calls

    private mutating func call(_ callable: Callable, _ arguments: [Item]) throws(WeightFileError) -> Item {
        switch callable {
        case .orderedDictionary:
            return try orderedDictionary(arguments)
        case .set:
            guard let items = arguments.isEmpty ? [] : sequence(arguments[0]) else {
                throw malformed("a set of no list")
            }
            try charge(items.count)
            return makeNode(.set, items)
        case .byteArray:
            switch arguments.first {
            case nil: return .bytes([])
            case .bytes(let bytes): return .bytes(bytes)
            default: throw malformed("a bytearray of no bytes")
            }
        case .encode:
            // Protocol 2 writes bytes as Latin-1 text.
            guard case .string(let text)? = arguments.first, arguments.count <= 2 else {
                throw malformed("bytes of no text")
            }
            try charge(text.utf8.count)
            var bytes: [UInt8] = []
            for scalar in text.unicodeScalars {
                guard let byte = UInt8(exactly: scalar.value) else { throw malformed("bytes beyond Latin-1") }
                bytes.append(byte)
            }
            return .bytes(bytes)
        case .size:
            guard let items = arguments.isEmpty ? [] : sequence(arguments[0]) else {
                throw malformed("a size of no list")
            }
            return makeNode(.tuple, items)
        case .device, .layout:
            guard case .string(let text)? = arguments.first else { throw malformed("a constant without a name") }
            return .constant(callable == .device ? "torch.device('\(text)')" : text)
        case .rebuildTensor:
            guard arguments.count >= 4, case .storage(let index) = arguments[0] else { throw malformed("no tensor") }
            guard let type = storages[index].elementType else { throw malformed("a tensor of an untyped storage") }
            return try tensor(storage: index, type: type, Array(arguments[1...3]))
        case .rebuildTensorV3:
            guard arguments.count >= 7, case .storage(let index) = arguments[0],
                case .callable(.elementType(let type)) = arguments[6]
            else { throw malformed("no tensor") }
            return try tensor(storage: index, type: type, Array(arguments[1...3]))
        case .rebuildParameter:
            guard case .tensor(let index)? = arguments.first else { throw malformed("a parameter of no tensor") }
            return .tensor(index)
        case .rebuildFromType:
            // A tensor with attributes: the function, its class, its arguments, the attributes.
            guard arguments.count >= 3, case .callable(let inner) = arguments[0],
                [.rebuildTensor, .rebuildTensorV3, .rebuildParameter].contains(inner),
                case .callable(.tensorClass) = arguments[1], let innerArguments = sequence(arguments[2])
            else { throw malformed("no tensor") }
            return try call(inner, innerArguments)
        case .storage, .elementType, .tensorClass:
            throw malformed("a call of a type")
        }
    }

    private mutating func charge(_ count: Int) throws(WeightFileError) {
        copied += count
        guard copied <= Self.maximumPickle else {
            throw .limit(path: reader.path, what: "what the pickle copies", limit: Self.maximumPickle)
        }
    }

    private mutating func makeNode(_ kind: NodeKind, _ items: [Item]) -> Item {
        nodes.append(Node(kind: kind, items: items))
        return .node(nodes.count - 1)
    }

    private mutating func orderedDictionary(_ arguments: [Item]) throws(WeightFileError) -> Item {
        guard let pairs = arguments.isEmpty ? [] : sequence(arguments[0]) else {
            throw malformed("a dictionary of no list")
        }
        try charge(pairs.count)
        var items: [Item] = []
        for pair in pairs {
            guard let pair = sequence(pair), pair.count == 2 else { throw malformed("a key without a value") }
            items += pair
        }
        return makeNode(.dictionary, items)
    }

    /// A persistent id: `("storage", class, key, location, count)`, before PyTorch 1.6 also a view or None.
    private mutating func storage(_ id: Item) throws(WeightFileError) -> Item {
        guard let fields = sequence(id), fields.count >= 5, case .string("storage") = fields[0] else {
            throw .unsupported(
                path: reader.path, feature: "a whole saved module",
                advice: "in Python: torch.save(model.state_dict(), …)")
        }
        guard case .callable(.storage(let type)) = fields[1], case .string(let key) = fields[2],
            case .integer(let count) = fields[4], count >= 0
        else { throw malformed("no storage") }
        var storage = Storage(key: key, elementType: type, offset: 0, count: count)
        if fields.count > 5, let view = sequence(fields[5]) {
            guard view.count == 3, case .integer(let offset) = view[1], case .integer(let size) = view[2],
                offset >= 0, size >= 0, case let (end, overflow) = offset.addingReportingOverflow(size),
                !overflow, end <= count
            else { throw malformed("a view beyond its storage") }
            storage.offset = offset
            storage.count = size
        }
        storages.append(storage)
        return .storage(storages.count - 1)
    }

    /// A tensor from offset, size and strides; its reach is checked when the storage is found.
    private mutating func tensor(
        storage: Int, type: ElementType, _ arguments: [Item]
    ) throws(WeightFileError) -> Item {
        func counts(_ item: Item) throws(WeightFileError) -> [Int] {
            guard let items = sequence(item), items.count <= Self.maximumRank else { throw malformed("no shape") }
            var values: [Int] = []
            for item in items {
                guard case .integer(let value) = item, value >= 0 else { throw malformed("no shape") }
                values.append(value)
            }
            return values
        }
        guard case .integer(let offset) = arguments[0], offset >= 0 else { throw malformed("no offset") }
        let shape = try counts(arguments[1])
        let strides = try counts(arguments[2])
        guard strides.count == shape.count else {
            throw malformed("\(shape.count) dimensions and \(strides.count) strides")
        }
        tensors.append(Tensor(storage: storage, elementType: type, offset: offset, shape: shape, strides: strides))
        return .tensor(tensors.count - 1)
    }
}
