import ArgumentParser

/// `tihua eval`: measures of models on held-out data.
struct EvalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval", abstract: "Measure a model on held-out data.", subcommands: [])
}
