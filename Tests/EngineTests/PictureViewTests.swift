import Testing
import TihuaPictures

@testable import Tihua

@Suite struct PictureViewTests {
    @Test func viewsAreTheWholeItsMirrorAndCuts() throws {
        let picture = try Picture(width: 40, height: 20, bytes: (0..<2400).map { UInt8(truncatingIfNeeded: $0 * 7) })
        func view(_ number: Int, _ key: String = "a") -> Picture { PictureView.view(number, of: picture, key: key) }
        #expect(view(0) == picture && view(1) == picture.mirrored())
        for number in 2..<12 {
            let cut = view(number)
            #expect((30...40).contains(cut.width) && (15...20).contains(cut.height))
            #expect(cut == view(number) && cut != picture)
            // It is a part of the picture, or of its mirror.
            let whole = number % 2 == 1 ? picture.mirrored() : picture
            #expect(
                (0...40 - cut.width).contains { x in
                    (0...20 - cut.height).contains { y in
                        whole.cropped(x: x, y: y, width: cut.width, height: cut.height) == cut
                    }
                })
        }
        #expect(Set((2..<12).map { "\(view($0).bytes)" }).count == 10 && view(2) != view(2, "b"))
    }

    @Test func theSmallestPictureHasViewsToo() throws {
        let dot = try Picture(width: 1, height: 1, bytes: [1, 2, 3])
        #expect((0..<9).allSatisfy { PictureView.view($0, of: dot, key: "dot") == dot })
    }
}
