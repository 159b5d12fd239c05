import Foundation
import Testing
import TihuaDataFiles
import TihuaEncoders
import TihuaGeneration
import TihuaModels
import TihuaPackSupport
import TihuaPictures
import TihuaProsody
import TihuaTokenizers
import TihuaVerse
import TihuaWeightFiles

@testable import Tihua

@Suite struct PoetTests {
    private func poet(_ pack: TinyPack, bank: URL? = nil, cache: URL? = nil) throws -> Engine {
        var parts = try Pack(folder: pack.folder)
        parts.extraBank = bank
        return try Engine(pack: parts, threads: 1, cache: cache)
    }

    private func request(candidates: Int = 6) -> PoemRequest {
        var request = PoemRequest()
        request.candidates = candidates
        request.seed = 11
        return request
    }

    @Test(arguments: TinyPack.Poet.allCases)
    func pictureBecomesPoems(kind: TinyPack.Poet) async throws {
        let pack = try TinyPack(poet: kind)
        let picture = try Picture(contentsOf: pack.picture().path)
        let result = try await poet(pack).poems(for: [picture], request: request())
        #expect(result.poems.count == 3 && result.seed == 11)
        #expect(!result.keywords.isEmpty && result.keywords.allSatisfy { (0...1).contains($0.score) })
        for poem in result.poems {
            let report = try ProsodyChecker(tones: .loose).check(poem.lines, as: .qijue)
            #expect(report.faults.isEmpty)
            #expect(report.rhymeGroups.contains(poem.rhyme))
            #expect(poem.scores.total.isFinite && poem.scores.novelty == 1)
        }
        #expect(Set(result.poems.map(\.lines)).count == 3)
        #expect(try await poet(pack).poems(for: [picture], request: request()) == result)
    }

    @Test func anOccasionKeepsAwayWhatWounds() async throws {
        let pack = try TinyPack()
        let picture = try Picture(contentsOf: pack.picture().path)
        var request = request(candidates: 40)
        request.count = 40
        let sorrow = Set("亡老愁散离孤别悲哀苦病坟")
        func characters() async throws -> Set<Character> {
            Set(try await poet(pack).poems(for: [picture], request: request).poems.flatMap { $0.lines.joined() })
        }
        // Random weights write anything.
        request.theme = "江上有船"
        #expect(try await !sorrow.isDisjoint(with: characters()))
        request.theme = "祝賀朋友新婚"
        #expect(try await sorrow.isDisjoint(with: characters()))
        // What is given stands.
        request.acrostic = "离亭"
        #expect(try await characters().contains("离"))
    }

    @Test func anOccasionAsksForWordsThatSuitIt() throws {
        let words = ["远山", "江水", "孤舟"].map { Keyword(word: $0, category: "", score: 0) }
        var request = request(candidates: 60)
        request.theme = "母亲的恩情"
        let told = try request.simplified(ChineseConverter())
        let constraint = try told.constraint(
            for: .qijue, vocabulary: Set(RhymeBook.pingshui.groups.flatMap(\.members)))
        let asked = told.plans(keywords: words, constraints: [constraint]).map(\.prompt.keywords)
        let suiting: Set = ["萱草", "春草", "缝衣", "春光", "明月"]
        let joined = asked.count { !suiting.isDisjoint(with: $0) }
        #expect((30...50).contains(joined) && asked.allSatisfy { (1...3).contains($0.count) })
        // The user's own words are not joined by a guess.
        request.keywords = ["远山"]
        let own = try request.simplified(ChineseConverter())
        #expect(
            own.plans(keywords: words, constraints: [constraint]).allSatisfy {
                suiting.isDisjoint(with: $0.prompt.keywords)
            })
    }

    @Test func anAgeIsWrittenWhereItIsSureOrAskedFor() async throws {
        let entries = [("老翁", "人事", Imagery.Kind.person), ("明月", "天象", nil)].map {
            Imagery(word: $0.0, category: $0.1, descriptions: [$0.0], kind: $0.2)
        }
        let index = ImageryIndex(bank: ImageryBank(entries: entries), embeddings: [[1, 0], [0, 1]])
        let sureness = Sureness(curves: WordClass.allCases.map { _ in (20, -10) })
        let engine = try poet(TinyPack())
        func leaning(
            _ cosines: [Float], _ theme: String? = nil, isFitted: Bool = true
        ) async throws -> [Character: Float] {
            var request = PoemRequest()
            request.theme = theme
            let told = try request.simplified(ChineseConverter())
            let calibration = Calibration(imageMean: [0, 0], sureness: isFitted ? sureness : nil)
            let part = Engine.ImageryPart(index: index, scale: 1, calibration: calibration)
            return await engine.leaning(told, index.evidence(from: cosines), cosines, part)
        }
        let unsure = try await leaning([0.5, 0.6])
        #expect(["老", "翁", "叟", "鬓"].allSatisfy { (unsure[$0] ?? 0) < -5 } && (unsure["月"] ?? -9) > -3.1)
        let sure = try await leaning([0.6, 0.5])
        #expect((sure["老"] ?? -9) > -3.1 && (sure["翁"] ?? -9) > -3.1 && (sure["叟"] ?? 0) < -5)
        let asked = try await leaning([0.5, 0.6], "江边的老人")
        #expect((asked["老"] ?? -9) > -3.1 && (asked["翁"] ?? 0) < -5)
        #expect(try await leaning([0.5, 0.6], isFitted: false)["叟"] == nil)
        // What the occasion asks for need not be seen, what wounds there is never written.
        let wedding = try await leaning([0.5, 0.6], "新婚", isFitted: false)
        #expect(wedding["鸳"] == 0 && wedding["老"] == -.infinity)
    }

    @Test func surenessComesWithTheCalibration() async throws {
        let pack = try TinyPack()
        let pictures = try [10, 90, 170, 240].map { try Picture(contentsOf: pack.picture("\($0).png", red: $0).path) }
        let engine = try poet(pack)
        let embeddings = try await engine.embeddings(of: pictures)
        let file = pack.folder.appending(path: "calibration.safetensors")
        try await engine.writeCalibration(embeddings, to: file)
        let before = try await engine.keywords(forEmbeddings: embeddings)
        #expect(before.allSatisfy { $0.count > 2 })
        // Nobody accepts anything, so nothing is sure: two words of sky or place each.
        try await engine.writeSureness(embeddings, right: embeddings.map { _ in [] }, to: file)
        let after = try await engine.keywords(forEmbeddings: embeddings)
        #expect(after.allSatisfy { $0.count == 2 && $0.allSatisfy { ["天象", "山水"].contains($0.category) } })
        let manifest =
            #"{"clip": "clip", "poet": "poet", "bank": "imagery.tsv", "calibration": "calibration.safetensors"}"#
        try manifest.write(to: pack.manifest, atomically: true, encoding: .utf8)
        #expect(try await poet(pack).keywords(forEmbeddings: embeddings) == after)
        await #expect(throws: PipelineError.noPicture) { try await engine.writeSureness([], right: [], to: file) }
        // Without the mean of pictures there is nothing to add to.
        await #expect(throws: WeightFileError.self) {
            try await engine.writeSureness(
                embeddings, right: embeddings.map { _ in [] }, to: pack.folder.appending(path: "none.safetensors"))
        }
    }

    @Test func severalFormsAndPicturesTogether() async throws {
        let pack = try TinyPack()
        let pictures = try [10, 240].map { try Picture(contentsOf: pack.picture("\($0).png", red: $0).path) }
        var request = request()
        request.forms = [.wujue, .qijue]
        request.count = 6
        let poems = try await poet(pack).poems(for: pictures, request: request).poems
        #expect(Set(poems.map(\.form)) == ["五绝", "七绝"])
    }

    @Test func whatHappensInThePictureIsSaidWhateverElseIsGiven() async throws {
        let pack = try TinyPack()
        try pack.addCaptioner()
        let picture = try Picture(contentsOf: pack.picture().path)
        let plain = try await poet(pack).poems(for: [picture], request: request())
        let caption = try #require(plain.caption)
        var request = request()
        request.theme = "远方"
        #expect(try await poet(pack).poems(for: [picture], request: request).caption == caption)
        (request.theme, request.keywords) = (nil, ["明月"])
        let named = try await poet(pack).poems(for: [picture], request: request)
        #expect(named.caption == caption)
        // It is shown, and the user's own words stay alone in the prompt.
        let mute = try TinyPack()
        #expect(try await poet(mute).poems(for: [picture], request: request).poems == named.poems)
    }

    @Test func picturesThatMemoryDoesNotHoldBecomeOnePoemByTheirEmbeddings() async throws {
        let pack = try TinyPack()
        try pack.addCaptioner()
        let pictures = try [10, 240].map { try Picture(contentsOf: pack.picture("\($0).png", red: $0).path) }
        let poet = try poet(pack)
        let features = try await poet.features(of: pictures)
        let result = try await poet.poems(forFeatures: features, request: request())
        #expect(try await poet.poems(for: pictures, request: request()) == result)
        await #expect(throws: PipelineError.self) {
            try await poet.poems(forFeatures: [], request: request())
        }
    }

    @Test func aRequestTellsWhatItDoesAsItDoesIt() async throws {
        let pack = try TinyPack()
        let picture = try Picture(contentsOf: pack.picture().path)
        let poet = try poet(pack)
        var told: [String] = []
        var drafts: [Int] = []
        var result: PoemResult?
        for try await event in poet.events(for: [picture], request: request()) {
            switch event {
            case .seen(let count): told.append("seen \(count)")
            case .words(let words, let caption):
                #expect(!words.isEmpty && caption == nil)
                told.append("words")
            case .draft(let count, let total):
                #expect(total == 6)
                drafts.append(count)
                if told.last != "draft" { told.append("draft") }
            case .done(let poems):
                result = poems
                told.append("done")
            }
        }
        #expect(told == ["seen 1", "words", "draft", "done"])
        #expect(drafts.last == 6 && drafts == drafts.sorted() && drafts.count == 4)
        #expect(try await poet.poems(for: [picture], request: request()) == result)
    }

    @Test func wishesAreKeptInTraditionalCharactersToo() async throws {
        let pack = try TinyPack()
        let picture = try Picture(contentsOf: pack.picture().path)
        var request = request()
        request.acrostic = "東風無情"
        request.keywords = ["小橋", "流水"]
        request.rhyme = "七阳"
        let result = try await poet(pack).poems(for: [picture], request: request)
        #expect(result.keywords.map(\.word) == ["小桥", "流水"])
        for poem in result.poems {
            #expect(poem.lines.map { String($0.prefix(1)) } == ["东", "风", "无", "情"])
            #expect(poem.rhyme == "七阳")
        }
    }

    @Test(arguments: TinyPack.Poet.allCases)
    func whatIsWithheldIsNotWritten(kind: TinyPack.Poet) async throws {
        let pack = try TinyPack(poet: kind)
        let poet = try poet(pack)
        let picture = try Picture(contentsOf: pack.picture().path)
        var request = request()
        request.count = 6
        let free = try await poet.poems(for: [picture], request: request)
        request.withheld = Set(free.poems.flatMap(\.lines).joined())
        let other = try await poet.poems(for: [picture], request: request)
        #expect(!other.poems.isEmpty)
        #expect(other.poems.flatMap(\.lines).joined().allSatisfy { !request.withheld.contains($0) })
        // What is asked for stands all the same.
        let head = try #require(free.poems.first?.lines.first?.first)
        request.acrostic = String(head)
        #expect(try await poet.poems(for: [picture], request: request).poems.allSatisfy { $0.lines[0].first == head })
    }

    @Test func requestsThatCannotBeMetSaySo() async throws {
        let pack = try TinyPack()
        let poet = try poet(pack)
        func error(_ change: (inout PoemRequest) -> Void) async -> String {
            var request = request()
            change(&request)
            do {
                try await poet.check(request)
                return "no error"
            } catch {
                return "\(error)"
            }
        }
        #expect(await error { $0.theme = "hello" }.contains("the theme holds “h”"))
        #expect(await error { $0.acrostic = "春🌸秋冬" }.contains("the acrostic holds “🌸”"))
        #expect(await error { $0.acrostic = "春夏秋冬春夏" }.contains("more characters than the 4 lines"))
        #expect(await error { $0.rhyme = "七个" }.contains("no rhyme group"))
        #expect(await error { $0.candidates = 0 }.contains("the number of candidates is 0"))
        #expect(await error { $0.count = 100_000 }.contains("1 to 1000"))
        #expect(await error { $0.sampling.topP = 2 }.contains("top-p"))
        #expect(await error { $0.firstLine = "太短" }.contains("line 1 is fixed with 2 characters"))
        #expect(await error { $0.theme = "江上，有船。" } == "no error")
        for nothing in ["", " ", "，。"] {
            #expect(await error { $0.theme = nothing }.contains("the theme is empty"))
            #expect(await error { $0.firstLine = nothing }.contains("the first line is empty"))
        }
    }

    @Test func promptsDifferInTheirKeywordsAndRepeatWithTheSeed() throws {
        let words = ["山", "水", "云", "月", "舟", "雪", "松", "鹤"].map { Keyword(word: $0, category: "", score: 0) }
        var request = request(candidates: 40)
        let constraint = try request.constraint(
            for: .qijue, vocabulary: Set(RhymeBook.pingshui.groups.flatMap(\.members)))
        let plans = request.plans(keywords: words, constraints: [constraint])
        #expect(plans.allSatisfy { (1...3).contains($0.prompt.keywords.count) })
        #expect(Set(plans.map(\.prompt.keywords)).count > 10)
        #expect(Set(plans.map(\.seed)).count == 40)
        #expect(request.plans(keywords: words, constraints: [constraint]).map(\.prompt) == plans.map(\.prompt))
        // Words that name two seasons, or have a character in common, do not stand in one prompt.
        let rivals = ["春草", "秋色", "青草"].map { Keyword(word: $0, category: "", score: 0) }
        #expect(
            request.plans(keywords: rivals, constraints: [constraint]).allSatisfy {
                let asked = Set($0.prompt.keywords)
                return asked.count == 1 || asked == ["秋色", "青草"]
            })
        request.seed = 12
        #expect(request.plans(keywords: words, constraints: [constraint]).map(\.prompt) != plans.map(\.prompt))
        let first = plans.count { $0.prompt.keywords.contains("山") }
        let last = plans.count { $0.prompt.keywords.contains("鹤") }
        #expect(first > last)
        // Words that the poet hardly knows give way to those that it knows.
        var counts = Dictionary(uniqueKeysWithValues: words.map { ($0.word, $0.word == "鹤" ? 100 : 0) })
        let known = request.plans(keywords: words, constraints: [constraint], uses: WordFrequencies(counts: counts))
        #expect(known.count { $0.prompt.keywords.contains("鹤") } > 2 * last)
        // Rhymes are suggested as often as they were read, and not at all where that was never.
        #expect(Set(known.compactMap(\.prompt.rhyme?.name)).count > 5)
        (counts["[韵:一先]"], counts["[韵:十灰]"]) = (30, 10)
        let rhymed = request.plans(keywords: words, constraints: [constraint], uses: WordFrequencies(counts: counts))
            .compactMap(\.prompt.rhyme?.name)
        let often = rhymed.count { $0 == "一先" }
        #expect(rhymed.count == 40 && often > 20 && rhymed.count { $0 == "十灰" } == 40 - often && often < 40)
    }

    @Test(arguments: PoemRequest.Through.allCases)
    func everyWayToThePoemKeepsTheMetre(through: PoemRequest.Through) async throws {
        let pack = try TinyPack()
        try pack.addPrefix()
        let picture = try Picture(contentsOf: pack.picture().path)
        var request = request()
        request.through = through
        let result = try await poet(pack).poems(for: [picture], request: request)
        #expect(result.poems.count == 3)
        for poem in result.poems {
            #expect(try ProsodyChecker(tones: .loose).check(poem.lines, as: .qijue).faults.isEmpty)
        }
        #expect(try await poet(pack).poems(for: [picture], request: request) == result)
        // The mapping network does nothing through keywords.
        request.through = .keywords
        let named = try await poet(pack).poems(for: [picture], request: request)
        #expect((named == result) == (through == .keywords))
        let plain = try TinyPack()
        #expect(try await poet(plain).poems(for: [picture], request: request) == named)
    }

    @Test func halfOfThePlansGoEachWay() throws {
        let words = (0..<8).map { Keyword(word: "词\($0)", category: "", score: 0) }
        var request = request(candidates: 24)
        let vocabulary = Set(RhymeBook.pingshui.groups.flatMap(\.members))
        let constraints = try [Form.wujue, .qijue].map { try request.constraint(for: $0, vocabulary: vocabulary) }
        func plans(_ through: PoemRequest.Through, _ constraints: [MetreConstraint]) -> [PoemPlan] {
            request.through = through
            return request.plans(keywords: words, caption: "江上", prefix: [1, 2], constraints: constraints)
        }
        #expect(plans(.keywords, constraints).allSatisfy { $0.prefix.isEmpty && !$0.prompt.keywords.isEmpty })
        let all = plans(.prefix, constraints)
        #expect(all.allSatisfy { $0.prefix == [1, 2] && $0.prompt.keywords.isEmpty && $0.prompt.theme == nil })
        for constraints in [constraints, [constraints[1]]] {
            let both = plans(.both, constraints)
            let (prefixed, named) = (both.filter { !$0.prefix.isEmpty }, both.filter { $0.prefix.isEmpty })
            #expect(prefixed.count == 12)
            #expect(prefixed.allSatisfy { $0.prompt.keywords.isEmpty && $0.prompt.theme == nil })
            #expect(named.count == 12 && named.allSatisfy { !$0.prompt.keywords.isEmpty })
            #expect(named.count { $0.prompt.theme != nil } == 6)
            // Each form goes both ways.
            for form in Set(both.map(\.prompt.form.name)) {
                #expect(prefixed.count { $0.prompt.form.name == form } == 12 / constraints.count)
            }
        }
        request.theme = "远方"
        #expect(plans(.prefix, constraints).allSatisfy { $0.prompt.theme == "远方" })
    }

    @Test func aPrefixThatCannotServeSaysSo() async throws {
        func message(
            _ kind: TinyPack.Poet = .gpt2, _ change: (TinyPack, inout PoemRequest) throws -> Void
        ) async throws -> String {
            let pack = try TinyPack(poet: kind)
            var request = request()
            request.through = .both
            try change(pack, &request)
            do {
                try await poet(pack).check(request)
                return "no error"
            } catch {
                #expect(!"\(error)".contains("\n"))
                return "\(error)"
            }
        }
        #expect(try await message { pack, _ in try pack.addPrefix() } == "no error")
        #expect(try await message { _, _ in }.contains("this pack has no prefix"))
        #expect(try await message(.t5) { pack, _ in try pack.addPrefix() }.contains("gpt2, for a prefix, is needed"))
        #expect(
            try await message { pack, _ in try pack.addPrefix(hiddenSize: 8) }.contains("trained with another poet"))
        #expect(
            try await message { pack, _ in try pack.addPrefix(poetModel: "other") }
                .contains("trained with another poet"))
        #expect(
            try await message { pack, _ in try pack.addPrefix(poetModel: modelFingerprint(pack.poet)) } == "no error")
        #expect(
            try await message { pack, request in
                try pack.addPrefix()
                (request.through, request.keywords) = (.prefix, ["小桥"])
            }.contains("keywords or both where words are given"))
        #expect(
            try await message { pack, request in
                try pack.addPrefix()
                let weights = pack.prefix.appending(path: "model.safetensors")
                try Data(contentsOf: weights).dropLast(100).write(to: weights)
            }.contains("damaged"))
    }

    @Test func bankIsEncodedOnceAndADamagedCacheIsMadeAnew() async throws {
        let pack = try TinyPack()
        let cache = pack.folder.appending(path: "cache")
        let picture = try Picture(contentsOf: pack.picture().path)
        let first = try await poet(pack, cache: cache).keywords(for: [picture])
        let files = try FileManager.default.contentsOfDirectory(at: cache, includingPropertiesForKeys: nil)
        let file = try #require(files.first)
        #expect(files.count == 1)
        #expect(try SafetensorsFile(contentsOf: file)["embeddings"]?.shape == [8, 16])
        #expect(try await poet(pack, cache: cache).keywords(for: [picture]) == first)
        try Data("no tensors".utf8).write(to: file)
        #expect(try await poet(pack, cache: cache).keywords(for: [picture]) == first)
        #expect(try SafetensorsFile(contentsOf: file)["embeddings"]?.shape == [8, 16])
        // Another bank is another file.
        try "孤鸿\t鸟兽\t一只大雁\n".write(to: cache.appending(path: "own.tsv"), atomically: true, encoding: .utf8)
        _ = try await poet(pack, bank: cache.appending(path: "own.tsv"), cache: cache).keywords(for: [picture])
        let now = try FileManager.default.contentsOfDirectory(atPath: cache.path).filter { $0.hasPrefix("imagery-") }
        #expect(now.count == 2)
    }

    @Test func cacheThatCannotBeWrittenIsNoError() async throws {
        let pack = try TinyPack()
        let picture = try Picture(contentsOf: pack.picture().path)
        let blocked = pack.bank.appending(path: "below-a-file")
        #expect(try await !poet(pack, cache: blocked).keywords(for: [picture]).isEmpty)
    }

    @Test func packMayBringItsCacheAndItsCalibration() async throws {
        let pack = try TinyPack()
        let picture = try Picture(contentsOf: pack.picture().path)
        let plain = try poet(pack)
        let before = try await plain.keywords(for: [picture])
        try await plain.writeBankCache(to: pack.folder.appending(path: "imagery.safetensors"))
        try await plain.writeCalibration(
            try await plain.embeddings(of: [picture]), to: pack.folder.appending(path: "calibration.safetensors"))
        let manifest = #"{"clip": "clip", "poet": "poet", "bank": "imagery.tsv", "bankCache": "imagery.safetensors"}"#
        try manifest.write(to: pack.manifest, atomically: true, encoding: .utf8)
        #expect(try await poet(pack).keywords(for: [picture]) == before)
        let calibrated = manifest.dropLast() + #", "calibration": "calibration.safetensors"}"#
        try String(calibrated).write(to: pack.manifest, atomically: true, encoding: .utf8)
        // With the picture itself as the mean of all pictures, no poem fits it better than it fits any other. Words
        // stay.
        #expect(try await poet(pack).keywords(for: [picture]) == before)
        let poems = try await poet(pack).poems(for: [picture], request: request(candidates: 3)).poems
        #expect(!poems.isEmpty && poems.allSatisfy { abs($0.scores.picture) < 1e-5 })
    }

    @Test func linesOfTheTrainingPoemsAreNotWritten() async throws {
        let pack = try TinyPack()
        let picture = try Picture(contentsOf: pack.picture().path)
        let before = try await poet(pack).poems(for: [picture], request: request(candidates: 3)).poems
        let known = Set(before.flatMap(\.lines))
        try LineFilter(lines: known).write(to: pack.folder.appending(path: "lines.filter"))
        try #"{"clip": "clip", "poet": "poet", "bank": "imagery.tsv", "lineFilter": "lines.filter"}"#
            .write(to: pack.manifest, atomically: true, encoding: .utf8)
        let after = try await poet(pack).poems(for: [picture], request: request(candidates: 3)).poems
        #expect(!after.isEmpty && after.allSatisfy { known.isDisjoint(with: $0.lines) })
        try Data("TIHUALF1".utf8).write(to: pack.folder.appending(path: "lines.filter"))
        await #expect(throws: DataFileError.self) {
            try await poet(pack).poems(for: [picture], request: request(candidates: 3))
        }
    }

    @Test func thePacksEndingsAreObeyed() async throws {
        let pack = try TinyPack()
        let picture = try Picture(contentsOf: pack.picture().path)
        let before = try await poet(pack).poems(for: [picture], request: request(candidates: 3)).poems
        func write(_ lines: [String]) throws {
            try LineFilter(endingsOf: lines, minimum: 1).write(to: pack.folder.appending(path: "endings.filter"))
        }
        // No ending is known: all are equally strange, and nothing changes but what the filter mistakes.
        try write([])
        try #"{"clip": "clip", "poet": "poet", "bank": "imagery.tsv", "endingFilter": "endings.filter"}"#
            .write(to: pack.manifest, atomically: true, encoding: .utf8)
        #expect(try await poet(pack).poems(for: [picture], request: request(candidates: 3)).poems == before)
        try FileManager.default.removeItem(at: pack.folder.appending(path: "endings.filter"))
        await #expect(throws: PipelineError.self) {
            try await poet(pack).poems(for: [picture], request: request(candidates: 3))
        }
    }

    /// What the poet overdoes is taken off the poem's fluency; a word that it never read is asked for less often.
    @Test func thePackKnowsWhatItsPoetOverdoesAndHasRead() async throws {
        let pack = try TinyPack()
        let picture = try Picture(contentsOf: pack.picture().path)
        let before = try await poet(pack).poems(for: [picture], request: request(candidates: 3)).poems
        func write(stock: String, words: String) throws {
            try stock.write(to: pack.folder.appending(path: "stock.tsv"), atomically: true, encoding: .utf8)
            try words.write(to: pack.folder.appending(path: "words.tsv"), atomically: true, encoding: .utf8)
        }
        let manifest =
            #"{"clip": "clip", "poet": "poet", "bank": "imagery.tsv", "wordUses": "words.tsv", "stockPairs": "stock.tsv"}"#
        try manifest.write(to: pack.manifest, atomically: true, encoding: .utf8)
        // The prompts take up to twelve words now, so that the poems are others; they hold no stock pair.
        let pairs = Set(
            before.flatMap(\.lines).flatMap { line in zip(line, line.dropFirst()).map { String([$0, $1]) } })
        try write(stock: pairs.map { "\($0)\t20\n" }.joined(), words: "明月\t0\n孤舟\t2659\n")
        let after = try await poet(pack).poems(for: [picture], request: request(candidates: 3)).poems
        let stock = try OverusedPairs(contentsOf: pack.folder.appending(path: "stock.tsv"))
        #expect(!after.isEmpty && after.allSatisfy { stock.excess(in: $0.lines) < 60 } && after != before)
        #expect(before.allSatisfy { stock.excess(in: $0.lines) >= 20 * 24 })

        try write(stock: "不知\n", words: "明月\t0\n")
        await #expect(throws: VerseError.self) {
            try await poet(pack).poems(for: [picture], request: request(candidates: 3))
        }
        try write(stock: "", words: "明月\t0\n\n孤舟 3\n")
        let file = pack.folder.appending(path: "words.tsv").path
        await #expect(throws: VerseError.wordFrequencies(path: file, line: 3)) {
            try await poet(pack).poems(for: [picture], request: request(candidates: 3))
        }
        let familiarity = try WordFrequencies(
            contentsOf: {
                try write(stock: "", words: "a\t0\nb\t9\nc\t99\nd\t5000\n")
                return pack.folder.appending(path: "words.tsv")
            }())
        #expect(["a", "b", "c", "d", "e"].map(familiarity.familiarity) == [0.1, 0.5, 1, 1, 1])
    }

    @Test func damagedPacksAreErrorsOfOneLine() async throws {
        func message(_ damage: (TinyPack) throws -> Void) async throws -> String {
            let pack = try TinyPack()
            let picture = try Picture(contentsOf: pack.picture().path)
            try damage(pack)
            do {
                _ = try await poet(pack).poems(for: [picture], request: request())
                return "no error"
            } catch {
                let text = "\(error)"
                #expect(!text.contains("\n"))
                return text
            }
        }
        func write(_ text: String, _ url: URL) throws { try text.write(to: url, atomically: true, encoding: .utf8) }
        #expect(try await message { try write("[]", $0.manifest) }.contains("not a JSON object"))
        #expect(try await message { try write(#"{"clip": "none"}"#, $0.manifest) }.contains("which is not there"))
        for path in ["../../../../etc/passwd", "/etc/passwd", "clip/../../x", "..", ""] {
            let text = try await message { try write(#"{"clip": "\#(path)"}"#, $0.manifest) }
            #expect(text.contains("no path inside the pack's folder"), "\(path): \(text)")
        }
        #expect(
            try await message { pack in
                // A link is somebody's own doing and is followed; one that points at nothing is not there.
                let link = pack.folder.appending(path: "link")
                try FileManager.default.createSymbolicLink(atPath: link.path, withDestinationPath: "nothing")
                try write(#"{"clip": "link"}"#, pack.manifest)
            }.contains("link, which is not there"))
        #expect(
            try await message { pack in
                let link = pack.folder.appending(path: "link")
                try FileManager.default.createSymbolicLink(atPath: link.path, withDestinationPath: "clip")
                try write(#"{"clip": "link", "poet": "poet", "bank": "imagery.tsv"}"#, pack.manifest)
            } == "no error")
        #expect(try await message { try write(#"{"clip": "clip"}"#, $0.manifest) }.contains("no poet"))
        #expect(try await message { try write("山\n", $0.poet.appending(path: "vocab.txt")) }.contains("[UNK]"))
        #expect(
            try await message { try write(#"{"model_type": "llama"}"#, $0.poet.appending(path: "config.json")) }
                .contains("unknown"))
        #expect(
            try await message {
                try write(#"{"size": 224}"#, $0.clip.appending(path: "preprocessor_config.json"))
            }.contains("224 pixels, but the model takes 32"))
        #expect(
            try await message {
                try write(#"{"resample": 1}"#, $0.clip.appending(path: "preprocessor_config.json"))
            }.contains("resample is 1; known are 2 (bilinear) and 3 (bicubic)"))
        #expect(
            try await message { pack in
                let weights = pack.poet.appending(path: "model.safetensors")
                try Data(contentsOf: weights).dropLast(100).write(to: weights)
            }.contains("damaged"))
        #expect(
            try await message { pack in
                let vocabulary = pack.poet.appending(path: "vocab.txt")
                let tokens = try String(contentsOf: vocabulary, encoding: .utf8)
                try write(tokens + "龘\n", vocabulary)
            }.contains("tokens"))
        #expect(
            try await message { try FileManager.default.removeItem(at: $0.clip.appending(path: "vocab.txt")) }
                != "no error")
    }
}
