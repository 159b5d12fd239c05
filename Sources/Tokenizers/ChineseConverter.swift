private import CTihuaOpenCC
import Synchronization

/// Traditional to simplified characters by OpenCC: the longest phrase first, then character by character.
///
/// One value may be used from many threads; the calls into the library take turns. Where that is too slow, give each
/// thread its own.
public final class ChineseConverter: Sendable {
    /// An `opencc_t`; the mutex around it makes it safe to share.
    private struct Handle: @unchecked Sendable {
        let pointer: opencc_t
    }

    private let handle: Mutex<Handle>
    private let configuration: String

    /// Opens a configuration of OpenCC: `t2s` (traditional to simplified), or another that is installed, such as `s2t`.
    ///
    /// Throws `TokenizerError.conversion` where the configuration or its dictionaries are missing.
    public init(configuration: String = "t2s") throws {
        self.configuration = configuration
        let file = configuration.hasSuffix(".json") ? configuration : configuration + ".json"
        let pointer = opencc_open(file)
        // The library reports failure as (opencc_t) -1.
        guard let pointer, Int(bitPattern: pointer) != -1 else {
            throw TokenizerError.conversion(configuration: configuration, reason: Self.lastError())
        }
        handle = Mutex(Handle(pointer: pointer))
    }

    deinit {
        handle.withLock { _ = opencc_close($0.pointer) }
    }

    /// The text in simplified characters (or in what the configuration makes of it). NUL characters are dropped.
    ///
    /// Throws `TokenizerError.conversion` where the library refuses the text.
    public func simplified(_ text: String) throws -> String {
        guard !text.isEmpty else { return text }
        // The C interface would end the text at a NUL.
        let text = text.utf8.contains(0) ? text.filter { $0 != "\0" } : text
        return try handle.withLock { handle in
            var text = text
            let converted = text.withUTF8 { bytes in
                bytes.withMemoryRebound(to: CChar.self) { buffer in
                    opencc_convert_utf8(handle.pointer, buffer.baseAddress, buffer.count)
                }
            }
            guard let converted else {
                throw TokenizerError.conversion(configuration: configuration, reason: Self.lastError())
            }
            defer { opencc_convert_utf8_free(converted) }
            return String(cString: converted)
        }
    }

    /// Converts many texts with one call into the library, which is much faster than one by one; the results are the
    /// same.
    public func simplified(_ texts: [String]) throws -> [String] {
        // U+0001 stands in no dictionary, so no phrase reaches over it.
        let separator: UInt8 = 1
        guard texts.count > 1, !texts.contains(where: { $0.utf8.contains(separator) }) else {
            return try texts.map { try simplified($0) }
        }
        let parts = try simplified(texts.joined(separator: "\u{1}")).utf8
            .split(separator: separator, omittingEmptySubsequences: false)
        return parts.map { String(decoding: $0, as: UTF8.self) }
    }

    private static func lastError() -> String {
        guard let message = opencc_error(), message.pointee != 0 else { return "it cannot be opened" }
        return String(cString: message).split(separator: "\n").joined(separator: " ")
    }
}
