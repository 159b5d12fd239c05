import Testing
import TihuaTokenizers

@Suite struct ChineseConverterTests {
    @Test(arguments: [
        ("春眠不覺曉", "春眠不觉晓"), ("乾坤一草亭", "乾坤一草亭"), ("頭髮乾枯", "头发干枯"), ("", ""), ("床前明月光", "床前明月光"),
        ("hello 😀\n\t。", "hello 😀\n\t。"), ("瞭望\u{0}遠山", "瞭望远山"),
    ])
    func convertsByPhraseThenByCharacter(text: String, expected: String) throws {
        #expect(try ChineseConverter().simplified(text) == expected)
    }

    @Test func aBatchEqualsOneByOne() throws {
        let converter = try ChineseConverter()
        let texts = ["乾", "坤萬里", "", "風\r\n雲", "國", "龍\u{1}門"]
        #expect(try converter.simplified(texts) == texts.map { try converter.simplified($0) })
        let plain = Array(texts.dropLast())
        #expect(try converter.simplified(plain) == plain.map { try converter.simplified($0) })
        #expect(try converter.simplified([String]()) == [])
    }

    @Test func oneConverterServesManyTasks() async throws {
        let converter = try ChineseConverter()
        let expected = try converter.simplified("萬里長江橫渡，極目楚天舒")
        try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<64 { group.addTask { try converter.simplified("萬里長江橫渡，極目楚天舒") } }
            for try await text in group { #expect(text == expected) }
        }
    }

    @Test func anUnknownConfigurationIsNamed() {
        let error = #expect(throws: TokenizerError.self) { try ChineseConverter(configuration: "no-such") }
        #expect(error?.description.contains("no-such") == true)
    }
}
