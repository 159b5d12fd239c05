/// What a picture tower sees: an embedding of the whole picture and, where it was asked for, what is where.
public struct PictureFeatures: Sendable, Equatable {
    /// The embedding, E numbers.
    public var embedding: [Float]
    /// The cells of the grid one after the other, row by row from the top left; nil where it was not asked for, or the
    /// tower has none.
    public var grid: PictureGrid?

    /// An embedding, and perhaps the grid beside it.
    public init(embedding: [Float], grid: PictureGrid? = nil) {
        self.embedding = embedding
        self.grid = grid
    }
}

/// What a picture tower sees at each place of a picture.
public struct PictureGrid: Sendable, Equatable {
    /// The places (P).
    public let cells: Int
    /// The numbers of each (C).
    public let width: Int
    /// The numbers of all cells, `[P, C]`, in 16 bits.
    public let values: [Float16]

    /// - Precondition: there are `cells` times `width` values
    public init(cells: Int, width: Int, values: [Float16]) {
        precondition(values.count == cells * width, "\(values.count) values for \(cells) cells of \(width)")
        self.cells = cells
        self.width = width
        self.values = values
    }
}
