extension Character {
    /// Whether this is one Han character: one code point, 〇 included.
    public var isHan: Bool {
        let scalars = unicodeScalars
        guard scalars.count == 1, let scalar = scalars.first else { return false }
        return scalar.properties.isIdeographic
    }
}
