public import TihuaModels
public import TihuaTokenizers
public import TihuaTorch

extension ClipCap {
    /// What a `TextGenerator` continues, for embeddings of pictures `[B, E]` and, where the captioner takes them, their
    /// grids `[B, N, D]`: B prompts.
    public func source(_ embeddings: Tensor, grid: Tensor? = nil) -> TextSource {
        TextSource(languageModel, languageModel.context(prefix(embeddings, grid: grid)))
    }

    /// What every caption obeys: it ends with `[SEP]` or the model's own end, and no other special token is written.
    ///
    /// - Parameters:
    ///   - tokenizer: of the language model
    ///   - maximumLength: tokens, the end counted; less where the model has no room for so many behind the picture and
    ///     a prompt of `promptLength`
    public func rules(_ tokenizer: BertTokenizer, maximumLength: Int, promptLength: Int = 0) -> TokenRules {
        let stop = [tokenizer.separatorID] + configuration.languageModel.eosTokenIDs.map(Int32.init)
        let room = configuration.languageModel.capacity(behind: configuration.captionOffset + promptLength)
        return TokenRules(
            stop: Array(Set(stop)).sorted(), suppressed: tokenizer.specialIDs.subtracting(stop).sorted(),
            maximumLength: max(1, min(maximumLength, room ?? maximumLength)))
    }
}
