import ArgumentParser
import Foundation
import TihuaFiles

@main
struct TihuaTool: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tihua", abstract: "题画: pictures to Chinese poems.",
        discussion: """
              tihua poem photo.jpg
              tihua poem photo.jpg --form 五律 --rhyme 七阳 --render poem.png
              tihua check 白日依山尽，黄河入海流。欲穷千里目，更上一层楼。
              tihua doctor

            tihua help COMMAND has more examples.

            An error is one line on stderr. The exit status is 2 for a mistake on the command line and 1 for any other \
            error.
            """,
        version: "0.1.0",
        subcommands: [
            PoemCommand.self,
            KeywordsCommand.self,
            CaptionCommand.self,
            CheckCommand.self,
            DataCommand.self,
            DoctorCommand.self,
            EmbedCommand.self,
            EvalCommand.self,
            LmCommand.self,
            ModelsCommand.self,
            TrainCommand.self,
        ])

    /// Runs a command. What goes wrong is one line on stderr; the exit status is 2 if the request is at fault, else 1.
    static func main() async {
        do {
            Console.claimStandardStreams()
            try requireNoEmptyValue(CommandLine.arguments.dropFirst())
            var command = try parseAsRoot()
            restartBesideOtherWork()
            try Memory.prepare(checkingLimit: !(type(of: command) is any TorchFree.Type))
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as ExitCode {
            Foundation.exit(error.rawValue)
        } catch  where exitCode(for: error).isSuccess {
            // Help and version are "errors" too.
            do { try Console.print(fullMessage(for: error)) } catch { fail(error) }
        } catch {
            fail(error)
        }
    }

    private static func fail(_ error: any Error) -> Never {
        let isUsage =
            exitCode(for: error) == .validationFailure || (error as? any RequestError)?.isRequestFault == true
        Console.complain(error, hint: isUsage ? " (see tihua help)" : "")
        Foundation.exit(isUsage ? 2 : 1)
    }

    /// Options whose value may be empty: `--seal` then sets no seal, and an empty `--text` is a text.
    private static let mayBeEmpty = ["--seal", "--text"]

    /// Refuses options with an empty value, as unset variables of scripts give them: taken for nothing they would be
    /// dropped in silence, and as a path they would name the working folder.
    ///
    /// - Throws: `ValidationError`.
    private static func requireNoEmptyValue(_ arguments: some Sequence<String>) throws {
        var option = ""
        for argument in arguments {
            // No options stand behind `--`; with three hyphens shells ask for completions.
            if argument == "--" || argument.hasPrefix("---") { return }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let isOption = argument.hasPrefix("--")
            let (name, value) =
                isOption ? (String(parts[0]), parts.count == 2 ? parts[1] : nil) : (option, argument[...])
            if let value, value.allSatisfy(\.isWhitespace), !name.isEmpty, !mayBeEmpty.contains(name) {
                throw ValidationError("\(name) is empty; leave it out, or give it a value")
            }
            option = isOption && parts.count == 1 ? name : ""
        }
    }

    /// Starts anew with threads that sleep while they wait, where other programs use the processor.
    ///
    /// libgomp's threads spin unless its variable says otherwise when the process starts. That is fastest on an idle
    /// machine; on a busy one they wait for each other's time slices, and seconds become minutes.
    private static func restartBesideOtherWork() {
        var load = 0.0
        guard getenv("OMP_WAIT_POLICY") == nil, getloadavg(&load, 1) == 1,
            load > Double(ProcessInfo.processInfo.activeProcessorCount) / 2
        else { return }
        setenv("OMP_WAIT_POLICY", "passive", 1)
        // Returns only if it fails; then the command runs as it is.
        execv("/proc/self/exe", CommandLine.unsafeArgv)
    }
}
