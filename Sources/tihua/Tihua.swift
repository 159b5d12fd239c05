import ArgumentParser

@main
struct Tihua: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tihua", abstract: "题画: pictures to Chinese poems.",
        subcommands: [
            CheckCommand.self,
            DataCommand.self,
            DoctorCommand.self,
        ])
}
