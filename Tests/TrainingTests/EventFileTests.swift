import Foundation
import Testing
import TihuaWeightFiles

@testable import TihuaTraining

@Suite struct EventFileTests {
    private func withTemporaryFolder<R>(_ body: (URL) throws -> R) throws -> R {
        let folder = FileManager.default.temporaryDirectory.appending(path: "events-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        return try body(folder)
    }

    private func content(of writer: EventWriter) throws -> [UInt8] { [UInt8](try Data(contentsOf: writer.file)) }

    /// Test vectors of RFC 3720, appendix B.4.
    @Test(
        arguments: [
            ([UInt8](repeating: 0, count: 32), 0x8a91_36aa), ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43),
            ([UInt8](0..<32), 0x46dd_794e), (Array("123456789".utf8), 0xe306_9283),
        ] as [([UInt8], UInt32)])
    func checksumIsCastagnolis(_ bytes: [UInt8], _ expected: UInt32) {
        #expect(CRC32C.checksum(bytes[...]) == expected)
    }

    private static let time = Date(timeIntervalSince1970: 1_767_225_600.5)

    /// One scalar event, byte for byte as `tensorboard.summary.writer.record_writer` and `event_pb2` 2.21 write it.
    @Test func aScalarIsFramedAsTensorBoardFramesIt() throws {
        try withTemporaryFolder { folder in
            let writer = try EventWriter(folder: folder)
            let start = try content(of: writer).count
            try writer.scalar("loss/train", 0.25, step: 300, at: Self.time)
            try writer.flush()
            let hex = try content(of: writer)[start...].map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            let golden =
                "2100000000000000017becf609000020406e55da4110ac022"
                + "a130a110a0a6c6f73732f747261696e150000803e9921164e"
            #expect(hex == golden)
        }
    }

    /// For Scripts/check_written_files.py, which reads the file with TensorBoard.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["TIHUA_KEEP_WRITTEN"] != nil, "see the script"))
    func writesARunForTensorBoard() throws {
        let keep = try #require(ProcessInfo.processInfo.environment["TIHUA_KEEP_WRITTEN"])
        let folder = URL(filePath: keep).appending(path: "run")
        do {
            let writer = try EventWriter(folder: folder)
            for step in 1...20 {
                try writer.scalar(
                    "loss/train", 1 / Double(step), step: step, at: Self.time.addingTimeInterval(Double(step)))
            }
            try writer.text("poem", "春眠不觉晓", step: 20, at: Self.time)
        }
        let writer = try EventWriter(folder: folder, resumingAfter: 10)
        for step in 11...15 { try writer.scalar("loss/train", Double(step), step: step, at: Self.time) }
        try writer.scalar("loss/train", .nan, step: 16, at: Self.time)
        try writer.text("poem", "# 诗\n\n" + String(repeating: "床前明月光", count: 100), step: 16, at: Self.time)
    }

    @Test func resumingDropsWhatCameAfterTheStepAndWritesOn() throws {
        try withTemporaryFolder { folder in
            func run(_ steps: ClosedRange<Int>, after step: Int? = nil) throws -> URL {
                let writer = try EventWriter(folder: folder, resumingAfter: step)
                for step in steps { try writer.scalar("a", Double(step), step: step, at: Self.time) }
                return writer.file
            }
            let file = try run(1...5)
            let whole = try Data(contentsOf: file)
            // Stopped at 5, continued from the checkpoint of step 3: the same bytes as a run that never stopped.
            #expect(try run(4...5, after: 3) == file)
            #expect(try Data(contentsOf: file) == whole)
            // Whatever a crash leaves of the last record is cut.
            for count in stride(from: 1, through: 30, by: 1) {
                try whole.dropLast(count).write(to: file)
                #expect(try run(5...5, after: 4) == file)
                #expect(try Data(contentsOf: file) == whole, "\(count)")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 1)
        }
    }

    @Test func aDamagedRecordEndsWhatIsKept() throws {
        try withTemporaryFolder { folder in
            var writer: EventWriter? = try EventWriter(folder: folder)
            let file = try #require(writer?.file)
            try writer?.scalar("a", 1, step: 1)
            try writer?.flush()
            let good = try Data(contentsOf: file)
            try writer?.scalar("a", 2, step: 2)
            writer = nil
            let whole = try Data(contentsOf: file)
            for place in good.count..<whole.count {
                var damaged = whole
                damaged[place] ^= 0x10
                try damaged.write(to: file)
                _ = try EventWriter(folder: folder, resumingAfter: 5)
                #expect(try Data(contentsOf: file) == good, "\(place)")
            }
        }
    }

    @Test func aNewRunGetsItsOwnFile() throws {
        try withTemporaryFolder { folder in
            let first = try EventWriter(folder: folder)
            let second = try EventWriter(folder: folder)
            #expect(first.file != second.file)
            #expect(try EventWriter(folder: folder, resumingAfter: 0).file == second.file)
        }
    }

    @Test func aFolderThatCannotBeMadeIsAnError() {
        let folder = URL(filePath: "/dev/null/run")
        #expect(throws: WeightFileError.self) { try EventWriter(folder: folder) }
    }
}
