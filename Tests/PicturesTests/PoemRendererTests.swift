import Foundation
import Testing

@testable import TihuaPictures

private let quatrain = RenderedPoem(
    title: "江雪", lines: ["千山鸟飞绝，", "万径人踪灭。", "孤舟蓑笠翁，", "独钓寒江雪。"], signature: "柳宗元", seal: "题画")

private func flat(_ width: Int, _ height: Int, _ grey: UInt8) throws -> Picture {
    try Picture(width: width, height: height, bytes: [UInt8](repeating: grey, count: width * height * 3))
}

/// Grey noise of coarse grain where the test says so, flat elsewhere.
private func noisy(_ width: Int, _ height: Int, where busy: (Int, Int) -> Bool) throws -> Picture {
    let grain = Grain(seed: 1)
    var bytes: [UInt8] = []
    for y in 0..<height {
        for x in 0..<width {
            let value = busy(x, y) ? 128 + 127 * grain.at(Int64(x / 8), Int64(y / 8)) : 200
            bytes += [UInt8](repeating: UInt8(value), count: 3)
        }
    }
    return try Picture(width: width, height: height, bytes: bytes)
}

/// A small renderer, so that unoptimised tests stay quick.
private func renderer(
    place: PoemOptions.Place = .automatic, ink: PoemOptions.Ink = .automatic, side: Int = 640
) -> PoemRenderer {
    PoemRenderer(options: PoemOptions(place: place, ink: ink, minimumSide: side))
}

@Suite struct PoemLayoutTests {
    @Test func setsOneLineToAColumnFromTheRight() throws {
        let layout = try #require(PoemLayout.candidates(for: quatrain, sealSize: nil).first)
        let body = layout.characters.filter { $0.size == 1 }
        #expect(String(body.map(\.character)) == "千山鸟飞绝万径人踪灭孤舟蓑笠翁独钓寒江雪")
        #expect(Set(body.map(\.x)).count == 4)
        for (one, next) in zip(body, body.dropFirst()) {
            #expect(next.x > one.x || (next.x == one.x && next.y > one.y + 1))
        }
        let title = layout.characters.prefix(2)
        #expect(title.allSatisfy { $0.size < 1 && $0.x < body[0].x })
    }

    @Test func keepsEveryCharacterInsideTheBlock() {
        let poems = [
            quatrain, RenderedPoem(lines: ["一"]), RenderedPoem(title: "很长很长很长很长的题目", lines: ["月"], seal: "甲乙丙丁"),
            RenderedPoem(lines: ["常记溪亭日暮，沉醉不知归路。", "争渡，争渡，惊起一滩鸥鹭。"], signature: "李清照　于济南　秋日"),
        ]
        for poem in poems {
            let seal = SealSize(characters: poem.seal?.count ?? 0)
            let layouts = PoemLayout.candidates(for: poem, sealSize: seal)
            #expect(!layouts.isEmpty)
            for layout in layouts {
                for placed in layout.characters {
                    #expect(placed.x - placed.size / 2 >= -1e-9 && placed.x + placed.size / 2 <= layout.width + 1e-9)
                    #expect(placed.y - placed.size / 2 >= -1e-9 && placed.y + placed.size / 2 <= layout.height + 1e-9)
                }
                if let place = layout.seal, let seal {
                    #expect(place.x + seal.width / 2 <= layout.width + 1e-9)
                    #expect(place.y + seal.height / 2 <= layout.height + 1e-9)
                }
            }
        }
    }

    @Test func leavesOutPunctuationAndMarksSentencesByAGap() throws {
        let poem = RenderedPoem(lines: ["争渡，争渡，", "惊起一滩鸥鹭。兴尽晚回舟！"])
        let layouts = PoemLayout.candidates(for: poem, sealSize: nil)
        let tall = try #require(layouts.last)
        #expect(String(tall.characters.map(\.character)) == "争渡争渡惊起一滩鸥鹭兴尽晚回舟")
        let column = tall.characters.filter { $0.x == tall.characters[0].x }
        let steps = zip(column, column.dropFirst()).map { $1.y - $0.y }
        let gaps = steps.enumerated().filter { $0.element > PoemLayout.pitch + 0.1 }.map(\.offset)
        #expect(gaps == (column.count > 10 ? [9] : []))
    }

    @Test func beginsTheSecondStanzaInANewColumn() throws {
        let poem = RenderedPoem(lines: ["明月几时有？把酒问青天。不知天上", "", "转朱阁，低绮户"])
        for layout in PoemLayout.candidates(for: poem, sealSize: nil) {
            let first = try #require(layout.characters.first { $0.character == "转" })
            #expect(first.y == 0.5)
        }
    }

    @Test func fillsColumnsNoFurtherThanAsked() {
        let poem = RenderedPoem(lines: [String(repeating: "长短句，不齐。", count: 30)])
        for layout in PoemLayout.candidates(for: poem, sealSize: nil) {
            let columns = Dictionary(grouping: layout.characters, by: \.x)
            #expect(columns.values.reduce(0) { $0 + $1.count } == 150)
            #expect((columns.values.map(\.count).max() ?? 0) <= 33)
        }
    }
}

@Suite struct PoemRendererTests {
    @Test func writesInTheQuietHalf() throws {
        let picture = try noisy(640, 420) { x, _ in x < 320 }
        let rendered = try renderer().render(quatrain, on: picture)
        #expect(rendered.width == 640 && rendered.height == 420)
        var changed = (left: 0, right: 0)
        for index in stride(from: 0, to: picture.bytes.count, by: 3) where rendered.bytes[index] != picture.bytes[index]
        {
            if (index / 3) % 640 < 320 { changed.left += 1 } else { changed.right += 1 }
        }
        #expect(changed.left == 0)
        #expect(changed.right > 1000)
    }

    @Test func mountsAPictureThatIsNowhereQuiet() throws {
        let picture = try noisy(640, 420) { _, _ in true }
        let rendered = try renderer().render(quatrain, on: picture)
        #expect(rendered.width > 640 && rendered.height > 520)
        // The picture itself is whole, below the poem.
        let left = (rendered.width - 640) / 2
        let top = try #require(
            (0..<rendered.height - 420).first { top in
                let start = (top * rendered.width + left) * 3
                return rendered.bytes[start..<start + 1920].elementsEqual(picture.bytes[0..<1920])
            })
        #expect(rendered.cropped(x: left, y: top, width: 640, height: 420) == picture)
        let other = try renderer(place: .onPicture).render(quatrain, on: picture)
        #expect(other.width == 640 && other.height == 420)
    }

    @Test func choosesInkThatStandsOut() throws {
        func extremes(_ grey: UInt8, _ ink: PoemOptions.Ink = .automatic) throws -> (darkest: UInt8, lightest: UInt8) {
            let plain = RenderedPoem(lines: quatrain.lines)
            let rendered = try renderer(ink: ink).render(plain, on: flat(640, 480, grey))
            return (rendered.bytes.min() ?? 0, rendered.bytes.max() ?? 0)
        }
        #expect(try extremes(235).darkest < 60)
        #expect(try extremes(20).lightest > 200)
        #expect(try extremes(20, .dark).lightest > 60, "a halo of light must lift dark ink off a dark ground")
        #expect(try extremes(235, .light).lightest > 236)
    }

    @Test func pressesARedSealOnlyWhenAsked() throws {
        func redPixels(_ seal: String?) throws -> Int {
            var poem = quatrain
            poem.seal = seal
            let bytes = try renderer().render(poem, on: flat(640, 480, 230)).bytes
            return stride(from: 0, to: bytes.count, by: 3).count {
                bytes[$0] > 140 && bytes[$0 + 1] < 80 && bytes[$0 + 2] < 80
            }
        }
        #expect(try redPixels(nil) == 0)
        #expect(try redPixels("，") == 0)
        for seal in ["印", "题画", "王安石", "青莲居士", "一二三四五六七八九"] { #expect(try redPixels(seal) > 100, "\(seal)") }
    }

    @Test func repeatsItselfExactly() throws {
        let picture = try noisy(640, 420) { x, _ in x < 320 }
        #expect(try renderer().render(quatrain, on: picture) == renderer().render(quatrain, on: picture))
    }

    @Test func enlargesSmallPictures() throws {
        let rendered = try renderer(side: 800).render(quatrain, on: flat(80, 60, 200))
        #expect(rendered.width == 800 && rendered.height == 600)
    }

    @Test(arguments: [(1, 1), (1, 900), (900, 1), (3, 40), (700, 90), (90, 700)])
    func setsAnyPoemOnAnyShape(_ width: Int, _ height: Int) throws {
        let long = RenderedPoem(title: "莺啼序", lines: [String(repeating: "长短句，不齐之词。", count: 20)], seal: "词")
        for poem in [RenderedPoem(lines: ["月"]), quatrain, long] {
            let rendered = try renderer(side: 300).render(poem, on: flat(width, height, 180))
            #expect(rendered.bytes.count == rendered.width * rendered.height * 3)
            #expect(Set(rendered.bytes).count > 2)
        }
    }

    /// The map in which quiet places are looked for has at least eight rows and columns, whatever the picture's shape.
    @Test(arguments: [(20_000, 20), (40_000, 200), (20, 20_000), (200, 40_000), (3_000, 150), (640, 480)])
    func findsPlacesInsideThePictureOnly(_ width: Int, _ height: Int) throws {
        let picture = try flat(width, height, 180)
        for poem in [RenderedPoem(lines: ["月"]), quatrain] {
            let layouts = PoemLayout.candidates(for: poem, sealSize: SealSize(characters: 2))
            guard let found = PlaceSearch.best(of: layouts, on: picture, smallestEm: 24) else { continue }
            #expect(found.x >= 0 && found.x + found.layout.width * found.em <= Double(width), "\(found)")
            #expect(found.y >= 0 && found.y + found.layout.height * found.em <= Double(height), "\(found)")
        }
    }

    @Test(arguments: [(12_000, 20), (20, 12_000), (1_000, 2)])
    func mountsWhatIsTooNarrowForThePoem(_ width: Int, _ height: Int) throws {
        let plain = RenderedPoem(lines: quatrain.lines)
        func ink(_ picture: Picture) -> Int {
            stride(from: 0, to: picture.bytes.count, by: 3).count { picture.bytes[$0] < 70 }
        }
        let rendered = try renderer(side: 300).render(plain, on: flat(width, height, 180))
        #expect(rendered.width > width && rendered.height > height + 24)
        // Twenty characters of at least 24 pixels.
        #expect(ink(rendered) > 20 * 60, "\(ink(rendered))")
        // Above the poem stand the two sides of its frame alone, which hold it between them.
        func places(_ rows: Range<Int>, darkerThan grey: UInt8) -> [Int] {
            rows.flatMap { y in (0..<rendered.width).filter { rendered.bytes[(y * rendered.width + $0) * 3] < grey } }
        }
        let frame = places(12..<13, darkerThan: 200)
        let poem = places(12..<rendered.height - height - 24, darkerThan: 70)
        #expect(try #require(frame.min()) + 12 < #require(poem.min()))
        #expect(try #require(frame.max()) - 12 > #require(poem.max()))
    }

    @Test func acceptsLettersAndNumerals() throws {
        let poem = RenderedPoem(lines: ["春 2 spring"], signature: "Li Bai 李白")
        #expect(try renderer().render(poem, on: flat(640, 480, 230)).bytes.contains { $0 < 80 })
    }

    @Test func saysWhatIsWrongWithAPoemOrATypeface() throws {
        let ground = try flat(64, 48, 230)
        func render(_ poem: RenderedPoem, font: String? = nil) throws {
            _ = try PoemRenderer(options: PoemOptions(font: font, minimumSide: 300)).render(poem, on: ground)
        }
        #expect(throws: PictureError.emptyPoem) { try render(RenderedPoem(title: "题", lines: ["，。", ""])) }
        #expect(throws: PictureError.emptyPoem) { try render(RenderedPoem(lines: [])) }
        #expect(throws: PictureError.poemTooLong(characters: 601, limit: 600)) {
            try render(RenderedPoem(lines: [String(repeating: "山", count: 601)]))
        }
        for name in ["No Such Typeface", ""] {
            #expect(throws: PictureError.noFont(name: name)) { try render(quatrain, font: name) }
        }
        let font = try PoemRenderer().fontName()
        // Tangut: a letter that no ordinary typeface has.
        #expect(throws: PictureError.noGlyph(character: "𗀀", font: font)) { try render(RenderedPoem(lines: ["山𗀀"])) }
    }

    @Test func usesATypefaceByName() throws {
        let font = try PoemRenderer().fontName()
        #expect(try PoemRenderer(options: PoemOptions(font: font.lowercased())).fontName() == font)
    }

    @Test func tellsWhichCharactersNoTypefaceHas() throws {
        let renderer = PoemRenderer()
        #expect(try renderer.undrawable("山水，真 □") == [])
        #expect(try renderer.undrawable("山𗀀水𗀁，") == ["𗀀", "𗀁"])
        #expect(throws: PictureError.noFont(name: "No Such Face")) {
            try PoemRenderer(options: PoemOptions(font: "No Such Face")).undrawable("山")
        }
    }

    private static let isUKai = ((try? PoemRenderer().fontName()) ?? "").hasPrefix("AR PL UKai")

    /// AR PL UKai has 眞 in the place of 真, alone and in other characters; 缜 and 镇 have the form that is wanted.
    @Test(.enabled(if: isUKai, "needs AR PL UKai"))
    func drawsTheSimplifiedFormWhereTheTypefaceHasTheOldOne() throws {
        let typeface = try Typeface(family: nil)
        func drawn(_ character: Character) throws -> Glyph { try typeface.draw(character, size: 200, weight: 4) }
        /// Coverage in the em square, so that two drawings can be compared.
        func square(_ glyph: Glyph) -> [[UInt8]] {
            var rows = [[UInt8]](repeating: [UInt8](repeating: 0, count: 240), count: 240)
            for y in 0..<glyph.height {
                for x in 0..<glyph.width {
                    rows[glyph.top + y + 20][glyph.left + x + 20] = glyph.coverage[y * glyph.width + x]
                }
            }
            return rows
        }
        let model = square(try drawn("缜"))
        // The right part, from where no contour of the left part reaches.
        let right = 20 + Int(0.45 * 200)..<240
        for character: Character in ["慎", "填", "嗔", "滇", "瞋", "稹", "槙"] {
            let rows = square(try drawn(character))
            #expect(rows.map { $0[right] } == model.map { $0[right] }, "\(character)")
            #expect(rows.contains { $0[20..<70].contains { $0 > 128 } }, "\(character) has no left part")
        }
        // 真 itself is that part, a quarter wider, and in the middle of the square.
        let (whole, part) = (try drawn("真"), try drawn("眞"))
        #expect(whole.coverage != part.coverage)
        #expect(abs(whole.left + whole.width / 2 - (part.left + part.width / 2)) < 8)
        #expect(abs(whole.width - part.width) < 12 && abs(whole.height - part.height) < 20)
    }
}
