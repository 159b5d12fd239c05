public import Foundation
public import TihuaDataFiles
import TihuaFiles
import TihuaWeightFiles

/// Makes one clean `image_id<TAB>caption` file of caption files in any of the forms that `CaptionFile` reads.
///
/// Words that are segmented are joined, tags of parts of speech go, equal captions of a picture are kept once. Lines
/// that cannot be used are counted and left out. What is held out is held out by picture: all its captions go to the
/// same file.
public struct CaptionImporter: Sendable {
    /// Why a line, or a caption, is left out.
    public enum Reason: String, Sendable, CaseIterable, Codable {
        /// Neither a tab nor `#NUMBER` says where the picture's name ends.
        case form
        /// The line has no text.
        case empty
        /// UTF-16, or bytes of zero.
        case utf16
        /// Not UTF-8, but well-formed GBK.
        case gbk
        /// In neither encoding.
        case encoding
        /// A character that an earlier conversion left where it failed.
        case damaged
        /// The picture is not among the known ones.
        case unknownPicture
        /// The same caption of the same picture again; no fault of the line.
        case duplicate
        /// Another language than asked for; no fault of the line.
        case language
    }

    /// A line that was left out.
    public struct BadLine: Sendable, Equatable {
        /// The file as it was named.
        public let file: String
        /// The number of the line, from 1.
        public let line: Int
        /// What is wrong, for people.
        public let reason: String

        /// `FILE, line N: reason`
        public var text: String { "\(file), line \(line): \(reason)" }
    }

    /// What an import did.
    public struct Report: Sendable, Equatable {
        /// Captions read.
        public internal(set) var read = 0
        /// Captions and pictures of the training file.
        public internal(set) var training = Count()
        /// Captions and pictures of the held-out file.
        public internal(set) var validation = Count()
        /// What was left out, by reason.
        public internal(set) var dropped: [Reason: Int] = [:]
        /// The first ten lines that are at fault.
        public internal(set) var examples: [BadLine] = []
        /// Pictures that are known and have no caption; nil where no pictures were named.
        public internal(set) var picturesWithoutCaption: Int?

        /// Lines that are at fault: of a wrong form or encoding, empty, or of an unknown picture.
        public var faults: Int {
            dropped.reduce(0) { $0 + ($1.key == .duplicate || $1.key == .language ? 0 : $1.value) }
        }
    }

    /// Captions and the pictures that they belong to.
    public struct Count: Sendable, Equatable, Codable {
        /// Lines of the file.
        public internal(set) var captions = 0
        /// Different pictures.
        public internal(set) var pictures = 0
    }

    /// Which pictures go to the held-out file.
    public enum HeldOut: Sendable {
        /// No picture is held out.
        case none
        /// One in so many, chosen by a hash of the key, so that it is the same ones in every run.
        case oneIn(Int)
        /// These pictures are held out.
        case pictures(Set<String>)

        func contains(_ image: String) -> Bool {
            switch self {
            case .none: false
            case .oneIn(let count): count > 0 && StableHash.hash(image) % UInt64(count) == 0
            case .pictures(let keys): keys.contains(image)
            }
        }
    }

    /// Languages to keep, such as `zhc`; empty keeps all.
    public var languages: Set<String> = []
    /// Keys of the pictures that there are; nil takes every key.
    public var pictures: Set<String>?
    /// Which pictures are held out.
    public var heldOut = HeldOut.none
    /// How the files are written; nil takes UTF-16 where a file begins with its mark, else UTF-8.
    public var encoding: TextEncoding?
    /// Whether captions stay as they are, with the spaces and tags of a segmented file.
    public var keepsSpaces = false

    /// Keeps all captions, joins segmented ones, holds nothing out.
    public init() {}

    /// Reads the inputs and writes the files, each whole or not at all.
    ///
    /// - Parameters:
    ///   - validation: where the captions of held-out pictures go
    ///   - isStrict: throws for the first line at fault instead of leaving it out
    /// - Throws: `DataFileError.notUTF8` for a file that is of another encoding, `.badLine` if strict, `.nothingFound`
    ///   if no caption is left, `.unreadable`; `FileError` for what cannot be written.
    public func run(
        from inputs: [URL], to training: URL, validation: URL, isStrict: Bool = false
    ) throws -> Report {
        var report = Report()
        var files: (training: [UInt8], validation: [UInt8]) = ([], [])
        var known: (training: Set<String>, validation: Set<String>) = ([], [])
        var seen: Set<UInt64> = []
        for input in inputs {
            let name = input.path(percentEncoded: false)
            func fault(_ reason: Reason, _ line: Int, _ text: String) throws {
                if isStrict { throw DataFileError.badLine(file: name, line: line, reason: text) }
                report.dropped[reason, default: 0] += 1
                if report.examples.count < 10 {
                    report.examples.append(BadLine(file: name, line: line, reason: text))
                }
            }
            try CaptionFile.forEachLine(in: input, encoding: encoding) { place, parsed in
                let number = place.line
                let line: CaptionLine
                switch parsed {
                case .success(let parsed): line = parsed
                case .failure(let problem): return try fault(Reason(problem), number, place.reason(problem))
                }
                guard languages.isEmpty || languages.contains(line.language) else {
                    return report.dropped[.language, default: 0] += line.texts.count
                }
                if let pictures, !pictures.contains(line.image) {
                    return try fault(.unknownPicture, number, "\(line.image) is none of the pictures")
                }
                for text in line.texts {
                    report.read += 1
                    // A tab would begin another column.
                    let caption = (keepsSpaces ? text : CaptionText.plain(text)).replacing("\t", with: " ")
                    guard !caption.isEmpty else {
                        try fault(.empty, number, CaptionLine.Problem.empty.reason)
                        continue
                    }
                    guard seen.insert(StableHash.hash([line.image, caption])).inserted else {
                        report.dropped[.duplicate, default: 0] += 1
                        continue
                    }
                    let bytes = Array("\(line.image)\t\(caption)\n".utf8)
                    if heldOut.contains(line.image) {
                        files.validation += bytes
                        report.validation.captions += 1
                        known.validation.insert(line.image)
                    } else {
                        files.training += bytes
                        report.training.captions += 1
                        known.training.insert(line.image)
                    }
                }
            }
        }
        report.training.pictures = known.training.count
        report.validation.pictures = known.validation.count
        report.picturesWithoutCaption = pictures?.subtracting(known.training).subtracting(known.validation).count
        guard !known.training.isEmpty else {
            let first = report.examples.first.map { " (\($0.text))" } ?? ""
            let held = known.validation.isEmpty ? "" : ", for all are held out"
            throw DataFileError.nothingLeft(
                files: inputs.map { $0.path(percentEncoded: false) }, reason: "no caption is left\(held)\(first)")
        }
        try AtomicFile.write(files.training, to: training)
        if !known.validation.isEmpty { try AtomicFile.write(files.validation, to: validation) }
        return report
    }
}

extension CaptionImporter.Reason {
    init(_ problem: CaptionLine.Problem) {
        self =
            switch problem {
            case .form: .form
            case .encoding(.utf16): .utf16
            case .encoding(.gb18030): .gbk
            case .encoding: .encoding
            case .damaged: .damaged
            case .empty: .empty
            }
    }

    /// The report as a text for people.
    public var text: String {
        switch self {
        case .form: "without a tab or #NUMBER"
        case .empty: "without text"
        case .utf16: "in UTF-16"
        case .gbk: "not UTF-8, perhaps GBK"
        case .encoding: "not UTF-8"
        case .damaged: "damaged by a conversion"
        case .unknownPicture: "of unknown pictures"
        case .duplicate: "that stand twice"
        case .language: "in other languages"
        }
    }
}
