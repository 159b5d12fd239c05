import Foundation
import Testing
import TihuaDataFiles
import TihuaTestSupport

@Suite struct TarShardTests {
    private func failure(_ body: () throws -> Void) -> String {
        do {
            try body()
            return ""
        } catch { return "\(error)" }
    }

    @Test(arguments: [[], ["--format=pax"], ["--format=gnu"], ["--format=v7"]])
    func aShardGivesItsPictures(options: [String]) throws {
        let scratch = try Scratch()
        let long = options.contains("--format=v7") ? "long" : String(repeating: "长名/", count: 40) + "x"
        var expected: [String: Data] = [:]
        for (index, key) in ["sea/1", "sea/2", "forest/3", long].enumerated() {
            let data = Data((0..<(index * 700)).map { UInt8(truncatingIfNeeded: $0) })
            try scratch.write(data, to: "in/\(key).jpg")
            expected[key] = data
        }
        try scratch.write("x", to: "in/readme.txt")
        let archive = scratch.url.appending(path: "a.tar")
        try tar(scratch.url.appending(path: "in"), to: archive, options: options)
        let shard = try TarShard(contentsOf: archive)
        #expect(Set(shard.entries.map(\.key)) == Set(expected.keys))
        for entry in shard.entries { #expect(try shard.bytes(of: entry) == expected[entry.key]) }
        #expect(try PictureList([archive]).entries.first { $0.key == "sea/2" }?.folder == "sea")

        #expect(
            failure { _ = try TarShard(contentsOf: archive, maximumMemberSize: 1000) }.contains("more than the 1000"))
        let bytes = try Data(contentsOf: archive)
        let last = try #require(shard.entries.last)
        for length in [last.offset + last.size / 2, last.offset, last.offset - 100, 100] {
            let cut = try scratch.write(bytes.prefix(length), to: "cut.tar")
            #expect(throws: DataFileError.self) { try TarShard(contentsOf: cut) }
        }
        var damaged = bytes
        damaged[last.offset - 512 + 5] ^= 0x55
        let damagedFile = try scratch.write(damaged, to: "damaged.tar")
        #expect(throws: DataFileError.self) { try TarShard(contentsOf: damagedFile) }
    }

    @Test func anEmptyShardIsNone() throws {
        let scratch = try Scratch()
        #expect(
            failure { _ = try TarShard(contentsOf: scratch.write(Data(count: 1024), to: "a.tar")) }.contains(
                "no pictures"))
        #expect(failure { _ = try TarShard(contentsOf: scratch.write(Data(), to: "b.tar")) }.contains("not a tar"))
    }

    @Test(
        .enabled(if: SharedData.root != nil, "needs ../shared/data"),
        arguments: [
            ("images/flickr8k-val.tar", 1000), ("images/intel-train.tar", 8741),
            ("images/tiny-imagenet-16k.tar", 16000),
        ])
    func theRealShardsAreWhole(path: String, count: Int) throws {
        let shard = try TarShard(contentsOf: try #require(SharedData.root).appending(path: path))
        #expect(shard.entries.count == count)
        let bytes = try shard.bytes(of: try #require(shard.entries.last))
        #expect(bytes.prefix(2) == Data([0xFF, 0xD8]))
    }
}
