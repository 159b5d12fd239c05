/// The sum of the products of their numbers.
package func dot(_ a: [Float], _ b: [Float]) -> Float {
    var sum: Float = 0
    for index in 0..<min(a.count, b.count) { sum += a[index] * b[index] }
    return sum
}

/// The mean of rows, element by element; empty for no rows.
package func mean(_ rows: [[Float]]) -> [Float] {
    guard let first = rows.first else { return [] }
    var sum = [Float](repeating: 0, count: first.count)
    for row in rows { for index in row.indices { sum[index] += row[index] } }
    return sum.map { $0 / Float(rows.count) }
}

/// A vector at unit length; zero stays zero.
package func normalised(_ vector: [Float]) -> [Float] {
    let length = dot(vector, vector).squareRoot()
    return length > 0 ? vector.map { $0 / length } : vector
}
