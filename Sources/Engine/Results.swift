import TihuaProsody

/// What is said of one picture.
public struct CaptionResult: Sendable, Equatable, Codable {
    /// Best first.
    public let captions: [Caption]
    /// The seed of the request.
    public let seed: UInt64

    /// Captions with the seed that they were asked for with.
    public init(captions: [Caption], seed: UInt64) { (self.captions, self.seed) = (captions, seed) }
}

/// The words that one picture calls up.
public struct KeywordResult: Sendable, Equatable, Codable {
    /// Best first.
    public let keywords: [Keyword]

    /// Words, best first.
    public init(keywords: [Keyword]) { self.keywords = keywords }
}

/// A result with the names of its pictures. In JSON they are one object: the fields of the result, `picture` (the first
/// name), and `pictures` (all of them) where there are several.
public struct Named<Result: Sendable>: Sendable {
    /// The names, at least one.
    public let pictures: [String]
    /// What was made of the pictures.
    public let result: Result

    /// - Precondition: at least one name.
    public init(_ result: Result, pictures: [String]) {
        precondition(!pictures.isEmpty, "a result of no picture")
        (self.result, self.pictures) = (result, pictures)
    }

    private enum CodingKeys: CodingKey { case picture, pictures }
}

extension Named: Equatable where Result: Equatable {}

extension Named: Encodable where Result: Encodable {
    /// Writes the names beside the fields of the result.
    public func encode(to encoder: any Encoder) throws {
        try result.encode(to: encoder)
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(pictures[0], forKey: .picture)
        if pictures.count > 1 { try values.encode(pictures, forKey: .pictures) }
    }
}

extension Named: Decodable where Result: Decodable {
    /// Reads what `encode(to:)` writes.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let first = try values.decode(String.self, forKey: .picture)
        pictures = try values.decodeIfPresent([String].self, forKey: .pictures) ?? [first]
        result = try Result(from: decoder)
    }
}

extension RankedPoem {
    /// The lines as people write them; see `Form.punctuated`.
    public var punctuatedLines: [String] { (try? Form(named: form))?.punctuated(lines) ?? lines }
}
