public import Foundation

/// The data of `../shared/data`, which tests use when it is there and say that they skip when it is not.
public enum SharedData {
    /// The root of the package, found from this file.
    public static let packageRoot = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The data folder: `TIHUA_DATA`, or `shared/data` beside the checkout; nil where there is none.
    public static let root: URL? = {
        let named = ProcessInfo.processInfo.environment["TIHUA_DATA"].map { URL(filePath: $0) }
        let root = named ?? packageRoot.deletingLastPathComponent().appending(path: "shared/data")
        return FileManager.default.fileExists(atPath: root.path) ? root : nil
    }()
}

/// Files of `Tests/Fixtures`, written by the scripts under `Scripts/`.
public func fixture(_ path: String) -> URL {
    SharedData.packageRoot.appending(path: "Tests/Fixtures").appending(path: path)
}
