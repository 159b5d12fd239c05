import Foundation
import Testing
import Tihua

/// A folder that goes away with the test.
private final class Scratch {
    let url = FileManager.default.temporaryDirectory.appending(path: "tihua-packs-\(UUID().uuidString)")

    deinit { try? FileManager.default.removeItem(at: url) }

    /// Makes a folder with a manifest, or without.
    func folder(_ path: String, manifest: Bool = true) throws -> URL {
        let folder = url.appending(path: path)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        if manifest { try Data("{}".utf8).write(to: folder.appending(path: PackLocator.manifestName)) }
        return folder
    }

    func locate(_ pack: String? = nil, environment: [String: String] = [:], from executable: String) throws -> String {
        let locator = PackLocator(
            pack: pack, source: "--pack", environment: environment, executable: url.appending(path: executable))
        return try locator.locate().standardizedFileURL.path
    }
}

@Suite struct PackLocatorTests {
    private let scratch = Scratch()

    @Test(arguments: [
        ("checkout/Weights/mini", "checkout/.build/x86_64-unknown-linux-gnu/release/tihua"),
        ("usr/share/tihua/Weights/mini", "usr/lib/tihua/tihua"),
    ])
    func defaultPackIsFoundAboveTheExecutable(pack: String, executable: String) throws {
        let folder = try scratch.folder(pack)
        #expect(try scratch.locate(from: executable) == folder.path)
    }

    @Test func nearestPackWins() throws {
        _ = try scratch.folder("Weights/mini")
        let near = try scratch.folder("checkout/Weights/mini")
        #expect(try scratch.locate(from: "checkout/.build/release/tihua") == near.path)
    }

    @Test func namedPackComesBeforeTheEnvironmentAndThatBeforeTheDefault() throws {
        let named = try scratch.folder("named")
        let variable = try scratch.folder("variable")
        let standard = try scratch.folder("Weights/mini")
        let environment = ["TIHUA_PACK": variable.path]
        #expect(try scratch.locate(named.path, environment: environment, from: "bin/tihua") == named.path)
        #expect(try scratch.locate(environment: environment, from: "bin/tihua") == variable.path)
        #expect(try scratch.locate(environment: ["TIHUA_PACK": ""], from: "bin/tihua") == standard.path)
    }

    @Test func manifestMayBeNamedInsteadOfItsFolder() throws {
        let folder = try scratch.folder("named")
        let manifest = folder.appending(path: PackLocator.manifestName).path
        #expect(try scratch.locate(manifest, from: "bin/tihua") == folder.path)
    }

    @Test func namedPackThatIsNotThereIsNotReplacedByTheDefault() throws {
        _ = try scratch.folder("Weights/mini")
        let empty = try scratch.folder("empty", manifest: false).path
        #expect(throws: PackError.noManifest(path: empty, source: "--pack")) {
            try scratch.locate(empty, from: "bin/tihua")
        }
        #expect(throws: PackError.noManifest(path: empty, source: "TIHUA_PACK")) {
            try scratch.locate(environment: ["TIHUA_PACK": empty], from: "bin/tihua")
        }
    }

    @Test func folderWithoutManifestIsNoDefaultPack() throws {
        _ = try scratch.folder("checkout/Weights/mini", manifest: false)
        let outer = try scratch.folder("share/tihua/Weights/mini")
        #expect(try scratch.locate(from: "checkout/bin/tihua") == outer.path)
    }

    @Test func errorsAreOneLineThatSaysWhatToDo() throws {
        let error = #expect(throws: PackError.self) { try scratch.locate(from: "bin/tihua") }
        let text = try #require(error).description
        #expect(text.contains("name a pack") && text.contains("bin/tihua") && !text.contains("\n"))
        let named = PackError.noManifest(path: "/a", source: "TIHUA_PACK").description
        #expect(named.contains("TIHUA_PACK names /a") && !named.contains("\n"))
    }
}

@Suite struct CacheFolderTests {
    @Test(arguments: [
        (["TIHUA_CACHE": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"], "/c"),
        (["XDG_CACHE_HOME": "/x", "HOME": "/h"], "/x/tihua"),
        (["XDG_CACHE_HOME": "relative", "HOME": "/h"], "/h/.cache/tihua"),
        (["HOME": "/h"], "/h/.cache/tihua"),
    ])
    func variablesAreTakenInOrder(environment: [String: String], expected: String) {
        #expect(CacheFolder.url(environment: environment).path == expected)
    }

    @Test func writabilityIsThatOfTheNearestFolderAndNothingIsMade() throws {
        let scratch = Scratch()
        let folder = try scratch.folder("there", manifest: false)
        let cache = folder.appending(path: "not/yet")
        #expect(CacheFolder.isWritable(cache))
        #expect(!FileManager.default.fileExists(atPath: cache.path))
        let file = folder.appending(path: "file")
        try Data().write(to: file)
        #expect(!CacheFolder.isWritable(file.appending(path: "below")))
    }
}
