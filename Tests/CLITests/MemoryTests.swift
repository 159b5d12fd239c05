import Foundation
import Glibc
import Testing
import TihuaPackSupport
import TihuaTestSupport

/// The tool where memory or threads run out: every run ends by itself, with its result or with one line and exit status
/// 1.
///
/// A library that is loaded before the others lets allocations fail from a chosen one on, counted from where the tool
/// has looked at its limits. `TIHUA_POINTS=200` tries so many points of each command (`make starve`).
@Suite(.serialized) struct MemoryTests {
    private static let points = ProcessInfo.processInfo.environment["TIHUA_POINTS"].flatMap(Int.init) ?? 6
    private static let compiler = ["clang", "cc", "gcc"].lazy.compactMap(Self.find).first

    private static func find(_ program: String) -> String? {
        (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map { "\($0)/\(program)" }
            .first { access($0, X_OK) == 0 }
    }

    /// What fails: in C, so that it needs nothing of what it takes away.
    private static let source = #"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <pthread.h>
        #include <stdatomic.h>
        #include <stdint.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/mman.h>
        #include <sys/resource.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
            *__libc_memalign(size_t, size_t);
        static atomic_long counted, counting, started;
        static long at = -1, least = 4096, once, threads_at = -1;
        static atomic_long threads;
        // 1 where this allocation fails. Once: a tensor's alone, since a Swift array that finds no memory ends the
        // process.
        static int fails(size_t size, int isTensor) {
            if (!counting || (long)size < least || (once && !isTensor)) return 0;
            long number = ++counted;
            int now = at >= 0 && (once ? number == at : number >= at);
            if (now) errno = ENOMEM;
            return now;
        }
        // c10 allocates the tensors, oneDNN (in libtorch_cpu) what it does not look at.
        static int is_torch(void *caller) {
            Dl_info place;
            return dladdr(caller, &place) && place.dli_fname && strstr(place.dli_fname, "libc10");
        }
        static long number(const char *name, long other) { const char *t = getenv(name); return t ? atol(t) : other; }
        int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) {
            at = number("FAIL_AT", -1); least = number("FAIL_LEAST", 4096); once = number("FAIL_ONCE", 0);
            threads_at = number("FAIL_THREADS_AT", -1);
            if (resource == RLIMIT_AS) counting = started = 1;
            return (int)syscall(SYS_prlimit64, 0, resource, NULL, limit);
        }
        void *malloc(size_t n) { return fails(n, 0) ? NULL : __libc_malloc(n); }
        void *calloc(size_t a, size_t b) { return fails(a * b, 0) ? NULL : __libc_calloc(a, b); }
        void *realloc(void *p, size_t n) { return fails(n, 0) ? NULL : __libc_realloc(p, n); }
        void *aligned_alloc(size_t a, size_t n) { return fails(n, 0) ? NULL : __libc_memalign(a, n); }
        void *memalign(size_t a, size_t n) { return fails(n, 0) ? NULL : __libc_memalign(a, n); }
        int posix_memalign(void **p, size_t a, size_t n) {
            int isCounted = counting && is_torch(__builtin_return_address(0));
            if (fails(n, isCounted) || !(*p = __libc_memalign(a, n))) return ENOMEM;
            return 0;
        }
        void *mmap(void *p, size_t n, int protection, int flags, int file, off_t offset) {
            if ((flags & MAP_ANONYMOUS) && fails(n, 0)) return MAP_FAILED;
            return (void *)syscall(SYS_mmap, p, n, protection, flags, file, offset);
        }
        int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *context) {
            static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
            if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
            if (counting && threads_at >= 0 && ++threads >= threads_at) return EAGAIN;
            return real(thread, attributes, body, context);
        }
        __attribute__((destructor)) static void report(void) {
            const char *path = getenv("FAIL_REPORT");
            counting = 0;
            FILE *file = path && started ? fopen(path, "w") : NULL;
            if (!file) return;
            fprintf(file, "%ld", (long)counted);
            fclose(file);
        }
        """#

    /// A pack, a captioner and a corpus, and the library.
    private final class Scene {
        let pack: TinyPack
        let library: String
        var folder: URL { pack.folder }
        private(set) var commands: [(name: String, arguments: [String])] = []

        init() throws {
            pack = try TinyPack()
            let folder = pack.folder
            let code = folder.appending(path: "fail.c")
            library = folder.appending(path: "fail.so").path
            try Data(MemoryTests.source.utf8).write(to: code)
            let process = Process()
            process.executableURL = URL(filePath: MemoryTests.compiler ?? "")
            process.arguments = ["-shared", "-fPIC", "-O1", code.path, "-o", library, "-ldl"]
            try process.run()
            process.waitUntilExit()
            try #require(process.terminationStatus == 0, "the library does not compile")

            let picture = try pack.picture("p.png").path
            func write(_ text: String, _ name: String) throws -> String {
                let file = folder.appending(path: name)
                try text.write(to: file, atomically: true, encoding: .utf8)
                return file.path
            }
            let pictures = folder.appending(path: "pictures")
            try FileManager.default.createDirectory(at: pictures, withIntermediateDirectories: true)
            var captions = ""
            for index in 0..<6 {
                try FileManager.default.moveItem(
                    at: pack.picture("p\(index).png", red: UInt8(20 * index)),
                    to: pictures.appending(path: "p\(index).png"))
                captions += "p\(index)\t一只狗在草地上。\np\(index)\t两个孩子。\n"
            }
            let options = """
                {"training": {"steps": 3, "warmup": 1, "validateEvery": 2, "logEvery": 1, "checkpointEvery": 2},
                 "caption": {"hiddenSize": 16, "layerCount": 1, "headCount": 2, "prefixLength": 2, "maximumLength": 12,
                             "minimumCharacterCount": 1, "batchCaptions": 4, "holdOut": 3}}
                """
            let train = [
                "train", "caption", "--captions", try write(captions, "train.tsv"), "--shard", pictures.path, "--clip",
                pack.clip.path, "--config", try write(options, "caption.json"), "--device", "cpu", "--threads", "1",
                "--quiet", "--out", folder.appending(path: "run").path,
            ]
            let captioner = folder.appending(path: "captioner").path
            let trained = try Run(train.dropLast() + [captioner])
            try #require(trained.status == 0, "\(trained.errors)")
            commands = [
                ("poem", ["poem", picture, "--pack", folder.path, "--n", "1", "--candidates", "2", "--threads", "1"]),
                (
                    "caption",
                    [
                        "caption", picture, "--captioner", captioner + "/best", "--clip", pack.clip.path, "--pack",
                        folder.path, "--threads", "1",
                    ]
                ),
                ("embed", ["embed", "--image", picture, "--model", pack.clip.path, "--threads", "1"]),
                ("train", train),
            ]
        }

        /// A run with the library's variables; it is ended after two minutes with status 124.
        func run(_ arguments: [String], _ variables: [String: String]) throws -> Run {
            try? FileManager.default.removeItem(at: folder.appending(path: "run"))
            return try Run(
                arguments, environment: variables.merging(["LD_PRELOAD": library]) { $1 }, shell: "", limit: 120)
        }

        /// Allocations of a run that all succeed.
        func count(_ arguments: [String], least: Int, once: Bool) throws -> Int {
            let report = folder.appending(path: "report")
            let result = try run(
                arguments, ["FAIL_REPORT": report.path, "FAIL_LEAST": "\(least)", "FAIL_ONCE": once ? "1" : "0"])
            #expect(result.status == 0, "\(result.errors)")
            return try #require(Int(String(contentsOf: report, encoding: .utf8)))
        }
    }

    /// The end that a run may have: its result, or one line and status 1.
    private func problem(_ run: Run) -> String? {
        if run.status == 0 { return nil }
        // Swift's, GLib's and C++'s own lines cannot be kept from standard error.
        let foreign = ["Fatal error: failed to allocate", "GLib: ", "(process:", "terminate called", "  what():"]
        let lines = run.errors.split(separator: "\n").filter { line in !foreign.contains { line.hasPrefix($0) } }
        // A command that goes on with what comes after a bad picture may have two.
        let isSaid = (1...2).contains(lines.count) && lines.allSatisfy { $0.hasPrefix("Error: ") }
        if run.status == 1, isSaid, !run.errors.contains("damaged"), !run.errors.contains("permission") { return nil }
        return "status \(run.status), \(lines.count) lines: \(run.errors.prefix(400))"
    }

    @Test(.enabled(if: compiler != nil, "needs a C compiler"), arguments: [false, true])
    func memoryThatRunsOutIsALine(once: Bool) throws {
        let scene = try Scene()
        for (name, arguments) in scene.commands {
            let least = once ? 1 << 10 : 16 << 10
            let count = try scene.count(arguments, least: least, once: once)
            #expect(count > 2, "\(name) allocates \(count) times")
            var ends: [Int32: Int] = [:]
            for point in 0..<Self.points {
                let at = 1 + point * (count - 1) / max(1, Self.points - 1)
                let run = try scene.run(
                    arguments,
                    ["FAIL_AT": "\(at)", "FAIL_LEAST": "\(least)", "FAIL_ONCE": once ? "1" : "0"])
                ends[run.status, default: 0] += 1
                let problem = problem(run)
                #expect(problem == nil, "\(name), allocation \(at) of \(count): \(problem ?? "")")
            }
            print(
                "\(name): \(Self.points) of \(count) allocations \(once ? "fail once" : "fail from there on"): \(ends)")
        }
    }

    @Test(.enabled(if: compiler != nil, "needs a C compiler"), arguments: [1, 2, 3])
    func threadsThatAreNotThereAreALine(at: Int) throws {
        let scene = try Scene()
        for (name, arguments) in scene.commands {
            let problem = problem(try scene.run(arguments, ["FAIL_THREADS_AT": "\(at)"]))
            #expect(problem == nil, "\(name), thread \(at): \(problem ?? "")")
        }
    }

    @Test func aLimitThatIsTooLowIsSaidBeforeTheWork() throws {
        let pack = try TinyPack()
        let arguments = [
            "poem", try pack.picture("p.png").path, "--pack", pack.folder.path, "--n", "1", "--threads", "1",
        ]
        for megabytes in [900, 1100, 1300, 1700, 3000] {
            let run = try Run(arguments, shell: "", before: "ulimit -v \(megabytes << 10);", limit: 120)
            let problem = problem(run)
            #expect(problem == nil, "\(megabytes) MB: \(problem ?? "")")
            if megabytes == 900 { #expect(run.status == 1 && run.errors.contains("ulimit -v"), "\(run.errors)") }
            if megabytes == 3000 { #expect(run.status == 0, "\(run.errors)") }
        }
    }
}
