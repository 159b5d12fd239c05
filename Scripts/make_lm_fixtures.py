"""Writes the fixtures of the language models: tiny checkpoints of Python transformers, with whole logits and greedy ids.

    python3 Scripts/make_lm_fixtures.py

Needs torch, transformers, safetensors. Writes Tests/Fixtures/Models/{NAME}/ and {NAME}.golden.safetensors.
"""

import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file
from transformers.models.t5.modeling_t5 import T5Attention

ROOT = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "Models"


def randomize(model, seed):
    """Weights large enough that every branch shows in the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() < 2:
                is_gain = name.endswith("weight")
                parameter.copy_(noise * 0.2 + (1 if is_gain else 0))
            else:
                parameter.copy_(noise * 0.25)
    return model.eval()


def ids(shape, vocabulary, seed):
    return torch.randint(2, vocabulary, shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def greedy(step, prompt, count):
    """The arg-max continuation, whole sequence each time: no cache of the reference is involved."""
    sequence = prompt
    for _ in range(count):
        sequence = torch.cat([sequence, step(sequence)[:, -1].argmax(-1, keepdim=True)], 1)
    return sequence[:, prompt.shape[1]:]


@torch.no_grad()
def gpt2(name, seed, as_bin=False, **options):
    config = transformers.GPT2Config(
        vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_inner=64, n_positions=32, bos_token_id=1, eos_token_id=1,
        **options)
    model = randomize(transformers.GPT2LMHeadModel(config), seed)
    folder = ROOT / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if as_bin:
        # As checkpoints of the years before transformers 4: no prefix, the masks of the attention, the head written out.
        state = {key.removeprefix("transformer."): value for key, value in model.state_dict().items()}
        for layer in range(config.n_layer):
            state[f"h.{layer}.attn.bias"] = torch.tril(torch.ones(32, 32, dtype=torch.uint8)).view(1, 1, 32, 32)
            state[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
        torch.save(state, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
        config_file = folder / "config.json"
        values = json.loads(config_file.read_text())
        values.update(n_ctx=values.pop("n_positions"), bos_token_id=50256, eos_token_id=50256)
        config_file.write_text(json.dumps(values, indent=2, sort_keys=True))
    tokens = ids((2, 12), 64, seed + 1)
    prompt = ids((1, 4), 64, seed + 2)
    present = torch.ones(2, 12, dtype=torch.bool)
    present[0, :5] = False
    positions = (present.long().cumsum(1) - 1).clamp(min=0)
    save_file({
        "ids": tokens,
        "logits": model(tokens).logits,
        "present": present,
        "padded_logits": model(tokens, attention_mask=present.long(), position_ids=positions).logits[:, 5:].contiguous(),
        "prompt": prompt,
        "greedy": greedy(lambda sequence: model(sequence).logits, prompt, 16),
    }, ROOT / f"{name}.golden.safetensors")


@torch.no_grad()
def t5(name, seed, **options):
    config = transformers.T5Config(
        vocab_size=64, d_model=24, d_kv=6, num_heads=3, d_ff=32, num_layers=2, decoder_start_token_id=0, **options)
    model = transformers.T5ForConditionalGeneration(config)
    untied = options.get("tie_word_embeddings") is False
    if untied:
        # transformers 5 ties every T5; the published version 1.1 has a head of its own.
        model.lm_head.weight = torch.nn.Parameter(torch.zeros(64, 24))
    randomize(model, seed)
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    if not untied:
        for copy in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
            state.pop(copy)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    values = json.loads(config.to_json_string(use_diff=False))
    values["tie_word_embeddings"] = not untied
    values.pop("scale_decoder_outputs", None)
    values["architectures"] = ["T5ForConditionalGeneration"]
    keep = ("architectures", "model_type", "vocab_size", "d_model", "d_kv", "d_ff", "num_heads", "num_layers",
            "num_decoder_layers", "feed_forward_proj", "tie_word_embeddings", "relative_attention_num_buckets",
            "relative_attention_max_distance", "layer_norm_epsilon", "dropout_rate", "pad_token_id", "eos_token_id",
            "decoder_start_token_id", "is_encoder_decoder")
    (folder / "config.json").write_text(json.dumps({key: values[key] for key in keep}, indent=2, sort_keys=True))
    source = ids((2, 40), 64, seed + 1)
    present = torch.ones(2, 40, dtype=torch.bool)
    present[1, 30:] = False
    target = torch.cat([torch.zeros(2, 1, dtype=torch.long), ids((2, 11), 64, seed + 2)], 1)
    start = torch.zeros(1, 1, dtype=torch.long)
    save_file({
        "encoder_ids": source,
        "present": present,
        "ids": target,
        "memory": model.encoder(source, attention_mask=present.long()).last_hidden_state,
        "logits": model(input_ids=source, attention_mask=present.long(), decoder_input_ids=target).logits,
        "greedy": greedy(
            lambda sequence: model(input_ids=source[:1], decoder_input_ids=sequence).logits, start, 16),
    }, ROOT / f"{name}.golden.safetensors")


def buckets():
    distance = torch.arange(-300, 301)
    tables = {"distance": distance}
    for count, maximum in ((32, 128), (8, 20), (16, 256)):
        for bidirectional in (True, False):
            tables[f"{count}.{maximum}.{str(bidirectional).lower()}"] = T5Attention._relative_position_bucket(
                distance, bidirectional, count, maximum)
    save_file(tables, ROOT / "t5_buckets.golden.safetensors")


ROOT.mkdir(parents=True, exist_ok=True)
gpt2("gpt2", 1)
gpt2("gpt2_old", 2, as_bin=True, activation_function="gelu")
t5("t5_relu", 3, relative_attention_num_buckets=8, relative_attention_max_distance=20)
t5("t5_gated", 4, feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_decoder_layers=1)
buckets()
for file in sorted(ROOT.rglob("*")):
    if file.is_file():
        assert file.stat().st_size < 100_000, file
        print(file.relative_to(ROOT), file.stat().st_size)
