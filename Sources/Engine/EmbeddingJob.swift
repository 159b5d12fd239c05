public import Foundation
public import TihuaDataFiles
import TihuaEncoders
import TihuaFiles

/// Embeds many pictures into one `EmbeddingFile`; what an interrupt leaves is continued, to the same bytes.
///
/// Finished parts lie in `OUTPUT.parts/` until all are there. A part always holds the same pictures in the same
/// batches, so that it does not matter in which run it was made.
public struct EmbeddingJob: Sendable {
    /// What a run did.
    public struct Report: Sendable {
        /// Pictures in the list.
        public var pictures = 0
        /// Pictures that earlier runs had already embedded.
        public var earlier = 0
        /// Pictures that could not be read, with the reason.
        public var bad: [(key: String, reason: String)] = []
        /// Whether it was interrupted.
        public var isInterrupted = false
    }

    private let list: PictureList
    private let engine: Engine
    private let output: URL
    private let isNormalized: Bool
    private let hasGrids: Bool
    private let view: Int

    private var parts: URL { output.deletingLastPathComponent().appending(path: output.lastPathComponent + ".parts") }

    /// Pictures of a part: what an interrupt can cost.
    private static let partSize = 4 * PictureTextEncoder.batch

    /// The number of the last view.
    public static let lastView = 99

    /// - Parameters:
    ///   - isNormalized: rows of unit length; if not, as the model gives them
    ///   - hasGrids: whether the grids are kept beside the embeddings
    ///   - view: 0 for the pictures as they are, 1 for mirrored ones, from 2 to `lastView` for cuts of 0.75 to 1 of
    ///     each side, others for each number, the odd ones mirrored
    public init(
        _ list: PictureList, engine: Engine, output: URL, isNormalized: Bool = false, hasGrids: Bool = false,
        view: Int = 0
    ) {
        self.list = list
        self.engine = engine
        self.output = output
        self.isNormalized = isNormalized
        self.hasGrids = hasGrids
        self.view = view
    }

    /// What the parts belong to.
    struct Plan: Codable, Equatable {
        var model: String
        var pictures: String
        var isNormalized: Bool
        var hasGrids: Bool
        var view: Int
    }

    /// What may stand in the metadata of a part or of the whole.
    private static let badKey = "bad"
    private static let picturesKey = "pictures"

    struct Bad: Codable {
        var key: String
        var reason: String
    }

    /// Embeds what is not yet embedded, and writes the file when everything is.
    ///
    /// - Parameters:
    ///   - interrupted: asked after each batch; a part that is not full is then made again
    ///   - progress: told how many pictures are done
    /// - Throws: `PipelineError.otherWork` if the output or its parts are of another model or of other pictures,
    ///   `.noPlaces` for a model that gives no grids where they are asked for, `DataFileError.nothingFound` if no
    ///   picture can be read, errors of the model and of the disk.
    public func run(
        interrupted: () -> Bool = { false }, progress: (Int) -> Void = { _ in }
    ) async throws -> Report {
        let plan = Plan(
            model: try await engine.fingerprint, pictures: list.fingerprint, isNormalized: isNormalized,
            hasGrids: hasGrids, view: view)
        var report = Report(pictures: list.entries.count)
        if FileManager.default.fileExists(atPath: output.path) {
            let file = try EmbeddingFile(contentsOf: output)
            let found = Plan(
                model: file.model, pictures: file.metadata[Self.picturesKey] ?? "", isNormalized: file.isNormalized,
                hasGrids: file.grids != nil, view: file.view)
            try check(found, plan, at: output)
            report.earlier = list.entries.count
            report.bad = Self.bad(of: file)
            // A run that was killed behind its last write left its parts.
            if FileManager.default.fileExists(atPath: parts.path), try FolderLock(folder: parts) != nil {
                try? FileManager.default.removeItem(at: parts)
            }
            return report
        }
        let lock = try begin(plan)
        defer { withExtendedLifetime(lock) {} }
        let partCount = (list.entries.count + Self.partSize - 1) / Self.partSize
        let work = (0..<partCount).filter { !isDone($0) }.flatMap { part in batches(of: part).map { (part, $0) } }
        report.earlier = list.entries.count - work.reduce(0) { $0 + $1.1.count }
        var done = report.earlier
        let preprocessing = try await engine.preprocessing()
        // The next batch is decoded while this one goes through the model.
        func prefetch(_ place: Int) -> Task<[Prepared], Never>? {
            guard work.indices.contains(place) else { return nil }
            return Task.detached { [list, view] in await list.prepare(work[place].1, preprocessing, view: view) }
        }
        var pending = prefetch(0)
        defer { pending?.cancel() }
        var open = Part()
        for (place, (part, batch)) in work.enumerated() {
            let prepared = await pending?.value ?? []
            pending = prefetch(place + 1)
            let pixels = open.add(prepared, of: list.entries[batch])
            let seen = try await engine.features(prepared: pixels, isNormalized: isNormalized, grid: hasGrids)
            open.values += seen.flatMap(\.embedding)
            if hasGrids { try open.add(seen.map(\.grid), of: engine.pack.requiredClip().path) }
            done += batch.count
            progress(done)
            let isLast = place + 1 == work.count
            if isLast || work[place + 1].0 != part {
                try await open.write(to: file(of: part), plan, width: engine.embeddingWidth)
                open = Part()
            }
            if interrupted(), !isLast {
                report.isInterrupted = true
                return report
            }
        }
        let files = try (0..<partCount).map { try EmbeddingFile(contentsOf: file(of: $0)) }
        report.bad = files.flatMap(Self.bad)
        if report.bad.count < report.pictures {
            let bad = report.bad.map { Bad(key: $0.key, reason: $0.reason) }
            try EmbeddingFile.join(files, metadata: try Self.metadata(bad, plan), to: output)
        }
        try? FileManager.default.removeItem(at: parts)
        guard report.bad.count < report.pictures else {
            let first = report.bad.first.map { "; the first: \($0.reason)" } ?? ""
            throw DataFileError.nothingFound(
                file: "the input of \(report.pictures) pictures", expected: "picture that can be read\(first)")
        }
        return report
    }

    private func check(_ found: Plan, _ plan: Plan, at url: URL) throws {
        guard found != plan else { return }
        let what =
            found.model != plan.model
            ? "another model"
            : found.pictures != plan.pictures
                ? "other pictures"
                : found.hasGrids != plan.hasGrids
                    ? (found.hasGrids ? "pictures with their grids" : "pictures without their grids")
                    : found.view != plan.view
                        ? "another view of the pictures"
                        : found.isNormalized ? "rows of unit length" : "rows as the model gives them"
        throw PipelineError.otherWork(path: url.path, reason: "holds embeddings of \(what)")
    }

    /// Makes the folder of parts, or finds that it is the right one.
    ///
    /// - Returns: what keeps other processes out of it
    private func begin(_ plan: Plan) throws -> FolderLock {
        try AtomicFile.makeFolder(at: parts)
        guard let lock = try FolderLock(folder: parts) else {
            throw PipelineError.locked(path: parts.path)
        }
        AtomicFile.removeLeftovers(in: parts)
        AtomicFile.removeLeftovers(in: output.deletingLastPathComponent(), of: output.lastPathComponent)
        let file = parts.appending(path: "plan.json")
        if FileManager.default.fileExists(atPath: file.path) {
            guard let found = try? JSONDecoder().decode(Plan.self, from: Data(UserFile.bytes(of: file, limit: 1 << 20)))
            else {
                throw PipelineError.otherWork(path: parts.path, reason: "holds no plan that can be read")
            }
            try check(found, plan, at: parts)
            return lock
        }
        try AtomicFile.write(Self.json(plan).utf8, to: file)
        return lock
    }

    /// The same text for the same value in every process.
    private static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    private func file(of part: Int) -> URL { parts.appending(path: "part-\(part).safetensors") }

    private func isDone(_ part: Int) -> Bool { FileManager.default.fileExists(atPath: file(of: part).path) }

    private static func metadata(_ bad: [Bad], _ plan: Plan) throws -> [String: String] {
        [badKey: try json(bad), picturesKey: plan.pictures]
    }

    private static func bad(of file: EmbeddingFile) -> [(key: String, reason: String)] {
        let text = file.metadata[badKey] ?? "[]"
        return ((try? JSONDecoder().decode([Bad].self, from: Data(text.utf8))) ?? []).map { ($0.key, $0.reason) }
    }

    private func batches(of part: Int) -> [Range<Int>] {
        let end = min((part + 1) * Self.partSize, list.entries.count)
        return stride(from: part * Self.partSize, to: end, by: PictureTextEncoder.batch).map {
            $0..<min($0 + PictureTextEncoder.batch, end)
        }
    }

    /// Pictures that were read together, their embeddings, and what could not be read.
    struct Part {
        var keys: [String] = []
        var values: [Float] = []
        var grids: EmbeddingFile.Grids?
        var bad: [Bad] = []

        func write(to url: URL, _ plan: Plan, width: Int) throws {
            try EmbeddingFile.write(
                keys: keys, values: values, width: width, grids: grids, view: plan.view,
                isNormalized: plan.isNormalized, model: plan.model, metadata: try metadata(bad, plan), to: url)
        }

        /// - Throws: `PipelineError.noPlaces` where the model gives none.
        mutating func add(_ seen: [PictureGrid?], of model: String) throws {
            for grid in seen {
                guard let grid else { throw PipelineError.noPlaces(path: model) }
                if grids == nil { grids = .init(shape: GridShape(cells: grid.cells, width: grid.width), values: []) }
                grids?.values += grid.values
            }
        }

        /// Notes which pictures are there; the pixels of those.
        mutating func add(_ prepared: [Prepared], of entries: ArraySlice<PictureList.Entry>) -> [[Float]] {
            zip(entries, prepared).compactMap { entry, result in
                switch result {
                case .success(let pixels):
                    keys.append(entry.key)
                    return pixels
                case .failure(let problem):
                    bad.append(Bad(key: entry.key, reason: "\(problem)"))
                    return nil
                }
            }
        }
    }
}
