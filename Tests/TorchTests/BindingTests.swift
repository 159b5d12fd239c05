import Foundation
import Testing
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

/// Creation, access, errors and the lifetime of memory.
@Suite struct BindingTests {
    private static let integers: [DType] = [.uint8, .int8, .int16, .int32, .int64]

    @Test(arguments: DType.allCases) func everyElementTypeKeepsItsValues(_ dtype: DType) throws {
        let values: [Double] = dtype == .bool ? [0, 1, 1, 0, 1, 0] : [0, 1, 2, 100, 64, 3]
        let tensor = Tensor(values, [2, 3]).to(dtype)
        #expect(tensor.dtype == dtype)
        #expect(tensor.shape == [2, 3])
        #expect(tensor.array(of: Double.self) == values)
        #expect(tensor.selected(0, 1).selected(0, 0).item == values[3])
        #expect(tensor.array(of: Bool.self) == values.map { $0 != 0 })
        let bytes = try tensor.withUnsafeBytes { [UInt8]($0) }
        #expect(bytes.count == 6 * dtype.size)
        let view = try bytes.withUnsafeBytes { bytes in
            let start = try #require(bytes.baseAddress)
            return try Tensor.borrowing(start, [2, 3], dtype: dtype, owner: Owner()).clone()
        }
        #expect(view.dtype == dtype)
        #expect(view.array(of: Double.self) == values)
        #expect(DType(dtype.elementType) == dtype)
    }

    @Test func arraysOfEverySwiftTypeGoInAndOut() {
        func roundTrip<Element: TensorElement & Equatable>(_ values: [Element]) {
            let tensor = Tensor(values)
            #expect(tensor.dtype == Element.dtype)
            #expect(tensor.array(of: Element.self) == values)
        }
        roundTrip([UInt8.min, 7, .max])
        roundTrip([Int8.min, 7, .max])
        roundTrip([Int16.min, 7, .max])
        roundTrip([Int32.min, 7, .max])
        roundTrip([Int64.min, 7, .max])
        roundTrip([-Float.greatestFiniteMagnitude, .leastNonzeroMagnitude, .infinity])
        roundTrip([-Double.greatestFiniteMagnitude, .leastNonzeroMagnitude, .infinity])
        roundTrip([true, false])
        roundTrip([Float]())
    }

    @Test func scalarsAndEmptyTensorsHaveTheirShapes() throws {
        let scalar = Tensor([Float(3)], [])
        #expect(scalar.rank == 0 && scalar.shape == [] && scalar.count == 1 && scalar.item == 3)
        let empty = Tensor.zeros([2, 0, 3])
        #expect(empty.rank == 3 && empty.count == 0 && empty.floats == [])
        #expect(try empty.withUnsafeBytes { $0.count } == 0)
        #expect(empty.sum().item == 0)
        #expect(empty.size(-1) == 3)
        #expect("\(scalar)" == "Tensor(float32 [] cpu)")
    }

    @Test func idsAreInt64() {
        let ids = Tensor.ids([5, -1, .max], [1, 3])
        #expect(ids.dtype == .int64)
        #expect(ids.array(of: Int64.self) == [5, -1, Int64(Int32.max)])
    }

    @Test func creationFillsWhatItSays() {
        #expect(Tensor.full([2], 1.5, dtype: .float64).array(of: Double.self) == [1.5, 1.5])
        #expect(Tensor.ones([2], dtype: .bool).array(of: Bool.self) == [true, true])
        #expect(Tensor.arange(-2..<2).array(of: Int64.self) == [-2, -1, 0, 1])
        #expect(Tensor.empty([3, 4], dtype: .int16).shape == [3, 4])
    }

    @Test func valuesOfAViewComeInRowMajorOrder() throws {
        let matrix = Tensor((0..<6).map(Float.init), [2, 3]).transposed(0, 1)
        #expect(matrix.floats == [0, 3, 1, 4, 2, 5])
        #expect(throws: TorchError.operation("needs a contiguous tensor on the CPU")) {
            try matrix.withUnsafeBytes { _ in }
        }
        #expect(try matrix.contiguous().withUnsafeBytes { $0.count } == 24)
    }

    @Test func convertingToTheSameTypeIsTheSameTensor() {
        let tensor = Tensor([Float(1)])
        #expect(tensor.to(.float32, .cpu) === tensor)
        #expect(tensor.to(.bfloat16) !== tensor)
    }

    @Test func inPlaceOperationsChangeSharedStorage() {
        let tensor = Tensor([Float(1), 2, 3])
        let view = tensor.narrowed(0, 1..<3)
        view.multiply_(10)
        tensor.add_(Tensor([Float(1), 1, 1]), scale: -2)
        #expect(tensor.floats == [-1, 18, 28])
        tensor.clamp_(0...20)
        #expect(view.floats == [18, 20])
        tensor.interpolate_(.zeros([3]), weight: 0.5)
        #expect(tensor.floats == [0, 9, 10])
        tensor.fill_(4)
        tensor.copy_(Tensor([Int64(7), 8, 9]))
        #expect(tensor.floats == [7, 8, 9])
    }

    @Test(arguments: integers) func integersAddInPlace(_ dtype: DType) {
        let tensor = Tensor.full([2], 5, dtype: dtype)
        tensor.add_(.ones([2], dtype: dtype), scale: 3)
        #expect(tensor.array(of: Int64.self) == [8, 8])
    }

    @Test func comparisonsAndLogicGiveBools() {
        let (a, b) = (Tensor([true, true, false, false]), Tensor([true, false, true, false]))
        #expect(a.logicalAnd(b).array(of: Bool.self) == [true, false, false, false])
        #expect(a.logicalOr(b).array(of: Bool.self) == [true, true, true, false])
        #expect(a.logicalNot().array(of: Bool.self) == [false, false, true, true])
        let x = Tensor([Float(1), 2, 3])
        #expect(x.equals(2).array(of: Bool.self) == [false, true, false])
        #expect(x.differs(from: 2).array(of: Bool.self) == [true, false, true])
        #expect(x.less(than: 2).array(of: Bool.self) == [true, false, false])
    }

    // MARK: - Errors

    @Test func errorsAreOneLine() throws {
        let error = #expect(throws: TorchError.self) { try Tensor([Float(1), 2]).backward() }
        let text = try #require(error).description
        #expect(!text.isEmpty && !text.contains("\n"))
        let shape = #expect(throws: TorchError.self) {
            try withUnsafeTemporaryAllocation(of: Float.self, capacity: 1) {
                try Tensor.borrowing($0.baseAddress!, [-1], dtype: .float32, owner: Owner())
            }
        }
        #expect(try !#require(shape).description.contains("\n"))
    }

    @Test(.enabled(if: exitTestsWork, "needs processes of its own"))
    func aWrongShapeTrapsWithOneLineThatNamesBoth() async throws {
        let result = try await #require(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            _ = Tensor.zeros([2, 3]) + Tensor.zeros([4])
        }
        let text = String(decoding: result.standardErrorContent, as: UTF8.self)
        #expect(
            text.contains(
                "Fatal error: +(_:_:): The size of tensor a (3) must match the size of tensor b (4) at non-singleton "
                    + "dimension 1\n"))
    }

    @Test(.enabled(if: exitTestsWork, "needs processes of its own")) func copyingNeverBroadcasts() async throws {
        let result = try await #require(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            Tensor.zeros([3]).copy_(Tensor.ones([1]))
        }
        #expect(String(decoding: result.standardErrorContent, as: UTF8.self).contains("cannot copy shape [1] into [3]"))
    }

    // MARK: - Borrowed memory

    @Test func borrowedMemoryKeepsItsOwnerAsLongAsTheStorageLives() throws {
        weak var owner: Owner?
        var view: Tensor?
        do {
            let memory = Owner([1, 2, 3, 4, 5, 6])
            owner = memory
            view = try Tensor.borrowing(memory.start, [2, 3], dtype: .float32, owner: memory).selected(0, 1)
        }
        #expect(owner != nil)
        #expect(view?.floats == [4, 5, 6])
        view = nil
        #expect(owner == nil)
    }

    @Test func borrowedMemoryMayHaveStrides() throws {
        let memory = Owner([1, 2, 3, 4, 5, 6])
        let matrix = try Tensor.borrowing(memory.start, [3, 2], strides: [1, 3], dtype: .float32, owner: memory)
        #expect(matrix.floats == [1, 4, 2, 5, 3, 6])
    }

    @Test(arguments: [([2, 3], [1]), ([-2, 3], nil), ([2], [1, 1])] as [([Int], [Int]?)])
    func aRefusedShapeReleasesTheOwnerOnce(_ shape: [Int], _ strides: [Int]?) {
        weak var owner: Owner?
        do {
            let memory = Owner([1, 2, 3, 4, 5, 6])
            owner = memory
            #expect(throws: TorchError.self) {
                try Tensor.borrowing(memory.start, shape, strides: strides, dtype: .float32, owner: memory)
            }
            #expect(memory.start.load(as: Float.self) == 1)
        }
        #expect(owner == nil)
    }

    @Test func temporariesLiveUntilTheOperationIsDone() {
        // The handle of a tensor must not be freed between its reading and its use; AddressSanitizer sees it if it is.
        func one() -> Tensor { Tensor.ones([64]) }
        var total = 0.0
        for _ in 0..<500 { total += (((one() + one()) * one()) - one() / 2).sum().item }
        #expect(total == 500 * 64 * 1.5)
        #expect(Tensor.concatenated([one(), one(), one()], 0).count == 192)
        #expect(Kernels.linear(one().reshaped(1, 64), one().reshaped(1, 64), Tensor.ones([1])).item == 65)
    }

    @Test func aTensorFileReadsBackEveryElementType() throws {
        let url = FileManager.default.temporaryDirectory.appending(path: "torch-\(UUID().uuidString).safetensors")
        defer { try? FileManager.default.removeItem(at: url) }
        let tensors = DType.allCases.map { dtype in
            (name: dtype.description, tensor: Tensor([Float(0), 1, 1, 0, 1, 0], [2, 3]).to(dtype).transposed(0, 1))
        }
        try TensorFile.write(tensors, to: url)
        let file = try SafetensorsFile(contentsOf: url)
        #expect(file.tensors.count == DType.allCases.count)
        for (name, tensor) in tensors {
            let read = try Tensor.borrowing(try #require(file[name]))
            #expect(read.dtype == tensor.dtype)
            #expect(difference(read, tensor) == nil)
        }
        try TensorFile.write([("x", Tensor([Float(1.5)])), ("n", Tensor.ids([3], [1]))], dtype: .bfloat16, to: url)
        let narrow = try SafetensorsFile(contentsOf: url)
        #expect(narrow["x"]?.elementType == .bfloat16)
        #expect(narrow["n"]?.elementType == .int64)
    }
}

/// Memory of floats that frees itself.
private final class Owner {
    let start: UnsafeRawPointer

    init(_ values: [Float] = []) {
        let memory = UnsafeMutablePointer<Float>.allocate(capacity: max(1, values.count))
        memory.initialize(repeating: 0, count: max(1, values.count))
        for (index, value) in values.enumerated() { memory[index] = value }
        start = UnsafeRawPointer(memory)
    }

    deinit { start.deallocate() }
}
