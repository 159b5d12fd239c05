public import Foundation
import TihuaDataFiles
import TihuaFiles

/// The names of the classes of ImageNet: lines `index<TAB>name<TAB>...` in the order of the index, the first line a
/// header.
public enum ClassNames {
    /// Reads a file.
    ///
    /// - Returns: 1,000 names
    /// - Throws: `DataFileError` if it cannot be read; `TrainingError.data` with the line for another index than the
    ///   next one or no name, and for another number of lines.
    public static func read(_ url: URL) throws -> [String] {
        var names: [String] = []
        for (index, line) in try TextFile.lines(of: url).enumerated().dropFirst() where !line.isEmpty {
            let columns = line.split(separator: "\t")
            guard columns.count >= 2, Int(columns[0]) == names.count else {
                throw TrainingError.data(
                    path: url.path, reason: "line \(index + 1) is not \(names.count), a tab and the name of the class")
            }
            names.append(String(columns[1]))
        }
        guard names.count == 1000 else {
            throw TrainingError.data(path: url.path, reason: "names \(names.count) classes, not the 1,000 of ImageNet")
        }
        return names
    }
}
