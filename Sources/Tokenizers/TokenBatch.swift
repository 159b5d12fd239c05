/// Encoded texts of one length: rows of ids and a mask.
public struct TokenBatch: Sendable, Equatable {
    /// Row by row: `[count, length]`.
    public let ids: [Int32]
    /// 1 where a token stands, 0 where padding stands: `[count, length]`.
    public let mask: [Int32]
    /// The number of rows.
    public let count: Int
    /// The length of a row.
    public let length: Int

    /// Fills rows on the right with `padding`, up to `length` or, without it, to the longest row; longer rows are cut.
    public init(_ rows: [[Int32]], padding: Int32, length: Int? = nil) {
        let length = max(0, length ?? rows.map(\.count).max() ?? 0)
        count = rows.count
        self.length = length
        ids = rows.flatMap { $0.prefix(length) + Array(repeating: padding, count: max(0, length - $0.count)) }
        mask = rows.flatMap { row in (0..<length).map { $0 < row.count ? 1 : 0 } }
    }
}
