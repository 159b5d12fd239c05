import TihuaProsody
import TihuaTorch
import TihuaVerse

/// What the rules of a metre need to know of every token, and the masks made of it.
///
/// A mask is made once for each distinct rule; a rule's own excluded characters are left to the caller, so that rules
/// that differ in nothing else share one.
final class CharacterTable {
    private let isHan: [Bool]  // [V]
    private let tones: [ToneSet]  // [V]
    private let groups: [RhymeGroupSet]  // [V]
    private let device: Device
    private var masks: [SlotRule: Tensor] = [:]

    /// The most masks that are kept: a poet of 8,000 tokens then takes 8 MB for them.
    private static let capacity = 256

    /// - Parameter size: rows of the model's head, which may be more than there are tokens
    init(_ format: PoetFormat, book: RhymeBook, size: Int, device: Device) {
        let characters = format.characters + Array(repeating: nil, count: max(0, size - format.characters.count))
        isHan = characters.map { $0?.isHan ?? false }
        tones = characters.map { $0.map { TihuaProsody.tones(of: $0, in: book) } ?? [] }
        groups = characters.map { $0.map { TihuaProsody.groups(of: $0, in: book) } ?? RhymeGroupSet() }
        self.device = device
    }

    /// 0 where a character may stand, minus infinity elsewhere. float32 `[V]`
    func mask(_ rule: SlotRule) -> Tensor {
        let key = rule.common
        if let mask = masks[key] { return mask }
        let values = isHan.indices.map { admits($0, key) ? Float(0) : -.infinity }
        let mask = Tensor(values).to(.float32, device)
        if masks.count >= Self.capacity { masks.removeAll(keepingCapacity: true) }
        masks[key] = mask
        return mask
    }

    /// `SlotRule.admits` by token.
    private func admits(_ token: Int, _ rule: SlotRule) -> Bool {
        guard isHan[token] else { return false }
        if let open = rule.rhymeGroups { return !groups[token].isDisjoint(with: open) }
        return tones[token].isEmpty ? rule.admitsUnknown : !tones[token].isDisjoint(with: rule.tones)
    }
}

extension SlotRule {
    /// The rule without what is the caller's to see to, so that equal ones share a mask.
    var common: SlotRule {
        var rule = self
        (rule.fixed, rule.isRepeat, rule.excluded, rule.endsLine) = (nil, false, [], false)
        return rule
    }
}

/// The tables of a poet, one for each book, made at the first use of it.
final class CharacterTables {
    private let make: (RhymeBook) -> CharacterTable
    private var tables: [RhymeBook: CharacterTable] = [:]

    init(_ format: PoetFormat, size: Int, device: Device) {
        make = { CharacterTable(format, book: $0, size: size, device: device) }
    }

    subscript(book: RhymeBook) -> CharacterTable {
        if let table = tables[book] { return table }
        let table = make(book)
        tables[book] = table
        return table
    }
}
