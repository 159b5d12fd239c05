extension Sequence where Element: Sendable {
    /// What a function makes of each element, on all processors, in the order of the elements.
    package func concurrentMap<Value: Sendable>(_ body: @escaping @Sendable (Element) -> Value) async -> [Value] {
        await withTaskGroup(of: (Int, Value).self) { group in
            for (index, element) in enumerated() { group.addTask { (index, body(element)) } }
            var values: [(Int, Value)] = []
            for await value in group { values.append(value) }
            return values.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }
}
