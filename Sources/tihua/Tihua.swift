import ArgumentParser
import Foundation

@main
struct Tihua: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tihua", abstract: "题画: pictures to Chinese poems.",
        subcommands: [
            PoemCommand.self,
            KeywordsCommand.self,
            CheckCommand.self,
            DataCommand.self,
            DoctorCommand.self,
            EmbedCommand.self,
            LmCommand.self,
            ModelsCommand.self,
            TrainCommand.self,
        ])

    /// Runs a command; what goes wrong is one line on stderr, and the exit status is 2 for what was typed, 1 for the rest.
    static func main() async {
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as ExitCode {
            Foundation.exit(error.rawValue)
        } catch {
            // Help and version are "errors" too.
            guard !exitCode(for: error).isSuccess else { exit(withError: error) }
            let isUsage = exitCode(for: error) == .validationFailure
            complain(message(for: error) + (isUsage ? " (see tihua help)" : ""))
            Foundation.exit(isUsage ? 2 : 1)
        }
    }

    /// Writes one line to stderr.
    static func complain(_ message: String) {
        let line = message.split(whereSeparator: \.isNewline).joined(separator: " ")
        FileHandle.standardError.write(Data("tihua: \(line)\n".utf8))
    }
}
