import ArgumentParser
import Foundation
import Tihua
import TihuaTorch

/// `tihua doctor`: what this machine has, what is missing, and what to type.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Show what is installed, found and missing, and what to type.",
        discussion: """
            The exit status is 1 if something is missing that poems need. The command itself needs neither Swift nor \
            the network.

            EXAMPLES
              tihua doctor
              tihua doctor --json | jq '.checks[] | select(.status != "ok")'
            """)

    @Option(help: "The pack of weights to look at, instead of the default one.")
    var pack: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        let report = Report(checks: Check.all(pack: pack))
        try Console.print(json ? try jsonLine(report) : report.text)
        if !report.ok { throw ExitCode(1) }
    }
}

/// Everything that was looked at.
private struct Report: Encodable {
    let ok: Bool
    let checks: [Check]

    init(checks: [Check]) {
        self.checks = checks
        ok = !checks.contains { $0.status == .missing }
    }

    var text: String {
        let lines = checks.map { check in
            let name = check.name.padding(toLength: 16, withPad: " ", startingAt: 0)
            let line = "\(check.status.mark)  \(name)\(check.found)"
            return check.advice.map { "\(line)\n        -> \($0)" } ?? line
        }
        let verdict = ok ? "Everything that poems need is here." : "Something that poems need is missing."
        return (lines + ["", verdict]).joined(separator: "\n")
    }
}

/// One thing that was looked for.
private struct Check: Encodable {
    enum Status: String, Encodable {
        case ok, optional, missing

        var mark: String {
            switch self {
            case .ok: "ok     "
            case .optional: "without"
            case .missing: "MISSING"
            }
        }
    }

    let name: String
    let status: Status
    /// What was found, in words.
    let found: String
    /// What to type; nil where nothing is to do.
    var advice: String?

    static func all(pack: String?) -> [Check] {
        [processor, memory, libtorch, gpu] + libvips + [openCC, typeface, packOfWeights(pack), cache]
    }

    // MARK: The machine

    private static var processor: Check {
        let flags = Set(firstLine(of: "/proc/cpuinfo", startingWith: "flags").split(separator: " ").map(String.init))
        let bfloat16 = ["amx_bf16": "AMX", "avx512_bf16": "AVX512"].filter { flags.contains($0.key) }.values.sorted()
        let speed = bfloat16.isEmpty ? "no bfloat16 in hardware" : "bfloat16 by \(bfloat16.joined(separator: ", "))"
        let cores = ProcessInfo.processInfo.activeProcessorCount
        return Check(name: "processor", status: .ok, found: "\(cores) cores, \(speed)")
    }

    private static var memory: Check {
        func gibibytes(_ field: String) -> Double {
            let kibibytes = firstLine(of: "/proc/meminfo", startingWith: field).split(separator: " ").first
            return (kibibytes.flatMap { Double($0) } ?? 0) / 1_048_576
        }
        let total = gibibytes("MemTotal:")
        let free = gibibytes("MemAvailable:")
        return Check(
            name: "memory", status: .ok, found: String(format: "%.1f GiB, %.1f GiB of it available", total, free))
    }

    // MARK: Libraries

    private static var libtorch: Check {
        Check(name: "libtorch", status: .ok, found: "\(Runtime.version), \(Runtime.cpuCapability) kernels")
    }

    private static var gpu: Check {
        let count = Runtime.cudaDeviceCount
        guard count == 0 else { return Check(name: "GPU", status: .ok, found: "\(count) with CUDA") }
        guard FileManager.default.fileExists(atPath: "/dev/nvidiactl") else {
            return Check(name: "GPU", status: .optional, found: "none; the processor does the work")
        }
        return Check(
            name: "GPU", status: .optional, found: "there is one, and this libtorch cannot use it",
            advice: "TIHUA_TORCH=cuda make build")
    }

    /// libvips itself and the picture formats that it can read.
    private static var libvips: [Check] {
        let packages = "sudo apt-get install libvips-dev, then make build"
        guard let version = symbol("vips_version", as: (@convention(c) (Int32) -> Int32).self),
            let start = symbol("vips_init", as: (@convention(c) (UnsafePointer<CChar>) -> Int32).self),
            let find = symbol(
                "vips_type_find", as: (@convention(c) (UnsafePointer<CChar>, UnsafePointer<CChar>) -> UInt).self),
            start("tihua") == 0
        else { return [Check(name: "libvips", status: .missing, found: "does not start", advice: packages)] }

        let loaders = [
            ("JPEG", "jpegload_buffer"), ("PNG", "pngload_buffer"), ("WebP", "webpload_buffer"),
            ("GIF", "gifload_buffer"), ("HEIC/AVIF", "heifload_buffer"),
        ]
        let absent = loaders.filter { find("VipsForeignLoad", $0.1) == 0 }.map(\.0)
        let present = loaders.map(\.0).filter { !absent.contains($0) }
        let number = (0..<3).map { String(version($0)) }.joined(separator: ".")
        var checks = [
            Check(name: "libvips", status: .ok, found: "\(number), reads \(present.joined(separator: " "))")
        ]
        if !absent.isEmpty {
            let needed = absent.contains("JPEG") || absent.contains("PNG")
            checks.append(
                Check(
                    name: "picture formats", status: needed ? .missing : .optional,
                    found: "not read: \(absent.joined(separator: " "))",
                    advice: "convert such pictures to JPEG, or take a libvips that reads them: \(packages)"))
        }
        return checks
    }

    /// OpenCC, judged by converting a word: its tables are files of another package than its code.
    private static var openCC: Check {
        typealias Open = @convention(c) (UnsafePointer<CChar>) -> UnsafeMutableRawPointer?
        typealias Text = UnsafeMutablePointer<CChar>
        typealias Convert = @convention(c) (UnsafeMutableRawPointer, UnsafePointer<CChar>, Int) -> Text?
        typealias Close = @convention(c) (UnsafeMutableRawPointer) -> Int32
        let failure = Check(
            name: "OpenCC", status: .missing, found: "cannot turn traditional characters into simplified ones",
            advice: "sudo apt-get install libopencc-data")
        guard let open = symbol("opencc_open", as: Open.self), let close = symbol("opencc_close", as: Close.self),
            let convert = symbol("opencc_convert_utf8", as: Convert.self),
            let converter = open("t2s.json"), converter != UnsafeMutableRawPointer(bitPattern: -1)
        else { return failure }
        defer { _ = close(converter) }
        guard let converted = convert(converter, "題畫", "題畫".utf8.count) else { return failure }
        defer { free(converted) }
        guard String(cString: converted) == "题画" else { return failure }
        return Check(name: "OpenCC", status: .ok, found: "題畫 -> 题画")
    }

    private static var typeface: Check {
        let home = FileManager.default.homeDirectoryForCurrentUser.path
        for folder in ["/usr/share/fonts", "/usr/local/share/fonts", "\(home)/.local/share/fonts", "\(home)/.fonts"] {
            let names = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
            if let name = names.first(where: { $0.lowercased().hasSuffix("ukai.ttc") }) {
                return Check(name: "typeface", status: .ok, found: "AR PL UKai, \(folder)/\(name)")
            }
        }
        return Check(
            name: "typeface", status: .optional, found: "no AR PL UKai to set poems on pictures with",
            advice: "sudo apt-get install fonts-arphic-ukai, or name another with --font")
    }

    // MARK: Files

    private static func packOfWeights(_ pack: String?) -> Check {
        do {
            return Check(
                name: "weights", status: .ok, found: try PackLocator(pack: pack, source: "--pack").locate().path)
        } catch {
            return Check(
                name: "weights", status: .missing, found: describe(error),
                advice: "the default pack is the folder Weights/mini of the repository; make install copies it")
        }
    }

    private static var cache: Check {
        let folder = CacheFolder.url()
        if CacheFolder.isWritable(folder) { return Check(name: "cache", status: .ok, found: folder.path) }
        return Check(
            name: "cache", status: .optional, found: "\(folder.path) cannot be written, so work is done anew",
            advice: "make the folder writable, or name another with TIHUA_CACHE=DIR")
    }

    // MARK: Looking

    /// A function of a library that the process has loaded. The two libraries are asked directly, as their Swift faces
    /// hide what only a doctor wants to know.
    private static func symbol<Function>(_ name: String, as type: Function.Type) -> Function? {
        dlsym(dlopen(nil, RTLD_NOW), name).map { unsafeBitCast($0, to: type) }
    }

    /// What follows `start` and the separators after it on the first line that begins so; empty if there is none.
    private static func firstLine(of path: String, startingWith start: String) -> String {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix(start) })
        else { return "" }
        return line.dropFirst(start.count).trimmingCharacters(in: [" ", "\t", ":"])
    }
}
