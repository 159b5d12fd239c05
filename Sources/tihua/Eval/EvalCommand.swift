import ArgumentParser
import Foundation
import TihuaMeasures

/// `tihua eval`: measures of models on held-out data.
struct EvalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval", abstract: "Measure a model on held-out data.",
        subcommands: [
            EvalCaptionCommand.self,
            EvalImageryCommand.self,
            EvalMatchingCommand.self,
            EvalProsodyCommand.self,
            Poet.self,
            Ranking.self,
            EvalRetrievalCommand.self,
            EvalThroughCommand.self,
            EvalZeroshotCommand.self,
        ])
}

extension TowerMeasures {
    /// The model that was asked for.
    init(_ towers: TowerArguments) throws {
        try self.init(
            folder: towers.folder(), device: towers.place.prepare(), progress: Console.progress, note: Console.note)
    }
}

/// A share as people read it, such as ` 16.7 %`.
func percent(_ share: Double) -> String { String(format: "%5.1f %%", 100 * share) }

/// A cell of a table, filled with spaces before or behind; Chinese characters are two columns wide.
func cell(_ text: String, _ width: Int, isLeading: Bool = false) -> String {
    let columns = text.unicodeScalars.reduce(0) { $0 + ($1.properties.isIdeographic ? 2 : 1) }
    let fill = String(repeating: " ", count: max(0, width - columns))
    return isLeading ? text + fill : fill + text
}
