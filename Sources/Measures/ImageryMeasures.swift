public import Foundation
public import TihuaDataFiles
public import TihuaEvaluation

extension ImageryCheck {
    /// Sees that all words of the check are words of the bank, since others could never be found.
    ///
    /// - Parameter file: the check's file, for messages
    /// - Throws: `EvaluationError.badLine`.
    public func check(against bank: Set<String>, file: String) throws(EvaluationError) {
        for row in rows {
            if let word = (row.expected + row.forbidden).first(where: { !bank.contains($0) }) {
                throw .badLine(file: file, line: row.line, reason: "\(word) is not in the bank")
            }
        }
    }

    /// The picture of each row in the tar shards of a folder.
    ///
    /// - Parameter file: the check's file, for messages
    /// - Throws: `EvaluationError.badLine` for a shard or a picture that is not there, `DataFileError`.
    public func pictures(in folder: URL, file: String) throws -> [(shard: TarShard, entry: TarShard.Entry)] {
        var opened: [String: (shard: TarShard, entries: [String: TarShard.Entry])] = [:]
        return try rows.map { row in
            func wrong(_ reason: String) -> EvaluationError { .badLine(file: file, line: row.line, reason: reason) }
            if opened[row.shard] == nil {
                let url = folder.appending(path: "\(row.shard).tar")
                guard !row.shard.contains("/"), FileManager.default.fileExists(atPath: url.path) else {
                    throw wrong("\(folder.relativePath) holds no \(row.shard).tar")
                }
                let shard = try TarShard(contentsOf: url)
                opened[row.shard] = (shard, Dictionary(shard.entries.map { ($0.key, $0) }) { first, _ in first })
            }
            guard let (shard, entries) = opened[row.shard], let entry = entries[row.key] else {
                throw wrong("\(row.shard).tar holds no picture \(row.key)")
            }
            return (shard, entry)
        }
    }
}

/// The words that pictures were given, and how they agree with a check.
public struct ImageryReport: Encodable {
    /// The words of one picture.
    public struct Picture: Encodable {
        /// Its shard.
        public let shard: String
        /// Its key in the shard.
        public let key: String
        /// The words that it was given, best first.
        public let words: [String]
        /// The expected ones among them.
        public let expected: [String]
    }

    /// How many words each picture was given.
    public let top: Int
    /// The agreement.
    public let score: ImageryScore
    /// The pictures in the order of the check.
    public let pictures: [Picture]

    /// - Parameter said: the words of each picture of the check
    public init(_ check: ImageryCheck, said: [[String]], top: Int) {
        self.top = top
        score = ImageryScore(check.rows, said: said)
        pictures = zip(check.rows, said).map { row, words in
            Picture(shard: row.shard, key: row.key, words: words, expected: words.filter(row.expected.contains))
        }
    }
}
