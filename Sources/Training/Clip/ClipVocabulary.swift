/// The vocabulary of a new text tower: BERT's special tokens, then characters.
public enum ClipVocabulary {
    /// The lines of `vocab.txt`: characters that stand at least twice in `captions`, and every one of `always`, most
    /// frequent first. Lower case, as the tokenizer reads.
    public static func tokens(captions: [String], always: [String]) -> [String] {
        var counts: [Character: Int] = [:]
        for text in captions { for character in text.lowercased() { counts[character, default: 0] += 1 } }
        for text in always { for character in text.lowercased() { counts[character, default: 0] += 2 } }
        let characters = counts.filter { $0.value >= 2 && !$0.key.isWhitespace && $0.key.unicodeScalars.count == 1 }
            .sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + characters.map { String($0.key) }
    }
}
