public import Foundation
import TihuaDataFiles
import TihuaFiles
import TihuaTokenizers
import TihuaWeightFiles

/// Makes a clean corpus of the upstream chinese-poetry files: simplified, without notes, without copies, with forms.
///
/// Reads a folder, a `.tar` or a `.tar.xz` (through `xz`); unknown folders and files are left out and counted. Memory
/// stays bounded: a few files at a time, and eight bytes for each poem to tell copies.
public struct PoemImporter: Sendable {
    /// What an import did.
    public struct Report: Sendable, Equatable {
        /// Poems read.
        public var read = 0
        /// Poems written.
        public var written = 0
        /// Lines (clauses) written.
        public var lines = 0
        /// Poems written by form.
        public var forms: [String: Int] = [:]
        /// Poems read and written by folder.
        public var folders: [String: [Int]] = [:]
        /// Poems dropped by reason.
        public var dropped: [DropReason: Int] = [:]
        /// The first few that were dropped, by reason.
        public var examples: [DropReason: [String]] = [:]
        /// Files read.
        public var files = 0
        /// JSON files of folders that hold no poems or are not known.
        public var ignoredFiles: [String] = []
        /// Files of known folders that are not a JSON list.
        public var badFiles: [String] = []
    }

    /// How many threads convert files.
    public let threadCount: Int
    private static let maximumFileSize = 256 << 20

    /// `threadCount`: how many files are worked on at once.
    public init(threadCount: Int = max(1, ProcessInfo.processInfo.activeProcessorCount)) {
        self.threadCount = max(1, threadCount)
    }

    /// Writes the poems of `input` to `output`, one JSON object a line; the file appears whole or not at all.
    ///
    /// `progress` is told the number of poems read so far. Throws `DataFileError` for an input that cannot be read, is
    /// damaged or holds no poems, `FileError` for an output that cannot be written, `TokenizerError` where OpenCC
    /// is missing.
    public func run(from input: URL, to output: URL, progress: (Int) -> Void = { _ in }) throws -> Report {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var report = Report()
        try AtomicFile.write(to: output) { file in
            var buffer: [UInt8] = []
            report = try run(from: input, progress: progress) { poem in
                buffer += try encoder.encode(poem)
                buffer.append(0x0A)
                guard buffer.count >= 1 << 20 else { return }
                try file.write(buffer)
                buffer.removeAll(keepingCapacity: true)
            }
            try file.write(buffer)
        }
        return report
    }

    /// Hands the poems of `input` to `body`, in the order of the files; of `folder` alone (宋词), where one is named.
    public func run(
        from input: URL, folder: String? = nil, progress: (Int) -> Void = { _ in }, _ body: (CorpusPoem) throws -> Void
    ) throws -> Report {
        let converters = try (0..<threadCount).map { _ in try ChineseConverter() }
        var report = Report()
        var seen: Set<UInt64> = []
        var window: [(path: String, bytes: [UInt8])] = []

        func work() throws {
            let results = process(window, converters)
            for (file, result) in zip(window, results) {
                try collect(try result.get(), path: file.path, into: &report, seen: &seen, body)
            }
            window.removeAll(keepingCapacity: true)
            progress(report.read)
        }
        let takes = { (found: ChinesePoetry.Collection) in folder == nil || found.folder == folder }
        try forEachFile(of: input, takes: takes, ignored: { report.ignoredFiles.append($0) }) { path, bytes in
            window.append((path, bytes))
            if window.count >= threadCount * 2 { try work() }
        }
        try work()
        guard report.files > 0 else {
            throw DataFileError.nothingFound(
                file: input.path(percentEncoded: false), expected: "folder of poems such as 全唐诗 or 宋词")
        }
        return report
    }

    /// The work on the files of a window side by side; the results stay in order.
    private func process(
        _ window: [(path: String, bytes: [UInt8])], _ converters: [ChineseConverter]
    ) -> [Result<[ChinesePoetry.Outcome]?, any Error>] {
        let results = Slots<Result<[ChinesePoetry.Outcome]?, any Error>>(count: window.count)
        let threads = min(threadCount, window.count)
        DispatchQueue.concurrentPerform(iterations: threads) { thread in
            for index in stride(from: thread, to: window.count, by: threads) {
                let (path, bytes) = window[index]
                results[index] = Result {
                    guard let (collection, source) = ChinesePoetry.collection(of: path) else { return nil }
                    return try ChinesePoetry.outcomes(bytes, of: collection, source: source) {
                        try converters[thread].simplified($0)
                    }
                }
            }
        }
        return results.values
    }

    private func collect(
        _ outcomes: [ChinesePoetry.Outcome]?, path: String, into report: inout Report, seen: inout Set<UInt64>,
        _ body: (CorpusPoem) throws -> Void
    ) throws {
        guard let outcomes else { return report.badFiles.append(path) }
        report.files += 1
        let folder = ChinesePoetry.collection(of: path)?.collection.folder ?? ""
        var counts = report.folders[folder] ?? [0, 0]
        for outcome in outcomes {
            report.read += 1
            counts[0] += 1
            switch outcome {
            case .poem(let poem):
                guard seen.insert(StableHash.hash(poem.lines)).inserted else {
                    drop(.duplicate, "\(poem.author)《\(poem.title)》", path, &report)
                    continue
                }
                try body(poem)
                report.written += 1
                counts[1] += 1
                report.lines += poem.lines.count
                report.forms[poem.form, default: 0] += 1
            case .dropped(let reason, let name): drop(reason, name, path, &report)
            }
        }
        report.folders[folder] = counts
    }

    private func drop(_ reason: DropReason, _ name: String, _ path: String, _ report: inout Report) {
        report.dropped[reason, default: 0] += 1
        if report.examples[reason, default: []].count < 5 {
            report.examples[reason, default: []].append("\(name) (\(path))")
        }
    }

    // MARK: - Input

    private func forEachFile(
        of input: URL, takes: (ChinesePoetry.Collection) -> Bool, ignored: (String) -> Void,
        _ body: (String, [UInt8]) throws -> Void
    ) throws {
        var isDirectory: ObjCBool = false
        let path = input.path(percentEncoded: false)
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            throw DataFileError.unreadable(file: path, reason: "no such file or folder")
        }
        guard isDirectory.boolValue else {
            var tar = TarReader(try ByteSource(input), maximumMemberSize: Self.maximumFileSize)
            // An archive has its own order; copies are told apart by it, so nothing needs to be held back.
            while let member = try tar.next() {
                guard member.isFile, member.path.hasSuffix(".json") else { continue }
                guard let found = ChinesePoetry.collection(of: member.path)?.collection, takes(found) else {
                    ignored(member.path)
                    continue
                }
                try body(member.path, try tar.readMember())
            }
            // The half of a download would pass for the whole corpus.
            guard tar.hasEndMark else {
                throw DataFileError.badArchive(
                    file: path, offset: 0, reason: "the archive is cut off (it has no end mark)")
            }
            return
        }
        let names = (FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? [])
            .filter { $0.hasSuffix(".json") }
        // The folder given may itself be one of the collections.
        let prefix =
            ChinesePoetry.collections.contains { $0.folder == input.lastPathComponent }
            ? input.lastPathComponent + "/" : ""
        for name in names.map({ prefix + $0 }).sorted(by: ChinesePoetry.comesBefore) {
            guard let found = ChinesePoetry.collection(of: name)?.collection, takes(found) else {
                ignored(name)
                continue
            }
            let source = try ByteSource(input.appending(path: String(name.dropFirst(prefix.count))))
            let bytes = try source.read(Self.maximumFileSize + 1)
            guard bytes.count <= Self.maximumFileSize else {
                throw DataFileError.memberTooLarge(
                    file: path, member: name, bytes: bytes.count, limit: Self.maximumFileSize)
            }
            try body(name, bytes)
        }
    }
}

/// A fixed number of places that threads fill, each its own.
private final class Slots<Value>: @unchecked Sendable {
    private let storage: UnsafeMutableBufferPointer<Value?>

    init(count: Int) {
        storage = .allocate(capacity: count)
        storage.initialize(repeating: nil)
    }

    deinit {
        storage.deinitialize()
        storage.deallocate()
    }

    subscript(index: Int) -> Value? {
        get { storage[index] }
        set { storage[index] = newValue }
    }

    /// What the threads put there; every place was filled.
    var values: [Value] { storage.compactMap { $0 } }
}

extension PoemImporter.Report: CustomStringConvertible {
    /// The report as a text for people.
    public var description: String {
        var lines = [
            "read \(read) poems in \(files) files; wrote \(written) poems of \(self.lines) lines; dropped \(read - written)",
            "", "by folder (read, written):",
        ]
        for (name, counts) in folders.sorted(by: { $0.key < $1.key }) {
            lines.append("  \(name)\t\(counts[0])\t\(counts[1])")
        }
        lines += ["", "by form:"]
        for (form, count) in forms.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
            lines.append("  \(form)\t\(count)")
        }
        lines += ["", "dropped:"]
        for (reason, count) in dropped.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
            lines.append("  \(count)\t\(reason.rawValue)")
            lines += (examples[reason] ?? []).map { "\t\t\($0)" }
        }
        if !badFiles.isEmpty { lines += ["", "not a JSON list:"] + badFiles.map { "  \($0)" } }
        if !ignoredFiles.isEmpty {
            lines += ["", "left out (no poems, or an unknown folder):"] + ignoredFiles.map { "  \($0)" }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
