import Foundation

/// What a run of the built tool, which lies beside the program of the tests, left behind.
struct Run {
    let status: Int32
    let output: String
    let errors: String

    /// Whether nothing but one line of text came out on stderr.
    var isOneLine: Bool { errors.split(separator: "\n").count == 1 && errors.hasSuffix("\n") }

    /// - Parameters:
    ///   - shell: what a shell puts behind the command, such as `> /dev/full`; no shell where it is nil
    ///   - before: what the shell does first, such as `ulimit -v 900000;`
    ///   - limit: seconds after which `timeout` ends the tool with status 124; for a shell only
    init(
        _ arguments: [String], input: String = "", environment: [String: String] = [:], shell: String? = nil,
        before: String = "", limit: Int = 300
    ) throws {
        let process = Process()
        let tests = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        let tool = tests.deletingLastPathComponent().appending(path: "tihua")
        if let shell {
            process.executableURL = URL(filePath: "/bin/bash")
            process.arguments = ["-c", "\(before) timeout \(limit) \"$0\" \"$@\" \(shell)", tool.path] + arguments
        } else {
            process.executableURL = tool
            process.arguments = arguments
        }
        // Where other tests run too, the tool would start itself anew with this setting, and a hundred starts add up.
        process.environment = ProcessInfo.processInfo.environment.merging(["OMP_WAIT_POLICY": "passive"]) { $1 }
            .merging(environment) { $1 }
        // Files, not pipes: two full pipes would wait for each other.
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        func file(_ name: String, _ text: String = "") throws -> URL {
            let url = folder.appending(path: name)
            try Data(text.utf8).write(to: url)
            return url
        }
        let (output, errors) = (try file("out"), try file("err"))
        process.standardOutput = try FileHandle(forWritingTo: output)
        process.standardError = try FileHandle(forWritingTo: errors)
        process.standardInput = try FileHandle(forReadingFrom: file("in", input))
        try process.run()
        process.waitUntilExit()
        // A trap is a signal, and must not look like an exit status.
        status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        self.output = try String(contentsOf: output, encoding: .utf8)
        self.errors = try String(contentsOf: errors, encoding: .utf8)
    }
}

/// A new folder; the caller removes it.
func temporaryFolder() throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appending(path: "tihua-cli-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
}

/// The JSON line of a picture, as `tihua poem --json` prints it.
struct PoemLine: Decodable {
    struct Keyword: Decodable {
        let word: String
        let score: Double
    }

    struct Poem: Decodable, Equatable {
        let form: String
        let rhyme: String
        let rhymes: [String]
        let lines: [String]
        let breaks: [Int]
        let scores: [String: Double]
    }

    let picture: String
    let pictures: [String]?
    let keywords: [Keyword]
    let poems: [Poem]
    let seed: UInt64

    /// The lines of a run.
    static func all(_ run: Run) throws -> [PoemLine] {
        try run.output.split(separator: "\n").map { try JSONDecoder().decode(PoemLine.self, from: Data($0.utf8)) }
    }
}
