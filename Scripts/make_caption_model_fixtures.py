"""Writes the fixtures of the captioners: tiny state dicts in each layout, with the reference's prefix and logits as whole arrays.

    python3 Scripts/make_caption_model_fixtures.py

Needs torch, transformers, safetensors. Writes Tests/Fixtures/Models/clipcap_*. The mapping networks are restated here from the
papers and from the behaviour of rmokady/CLIP_prefix_caption and yangjianxin1/ClipCap-Chinese (5006e16), with their names of
parameters; GPT2, BERT and T5 are those of transformers.
"""

import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "Models"
E, C, V = 12, 16, 40
GRID = 9, 6


def randomize(module, seed):
    """Weights large enough that every branch shows in the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            gain = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(noise * (0.3 if parameter.dim() > 1 else 0.2) + (1 if gain else 0))
    return module.eval()


class Stack(nn.Module):
    """The MLP mapper: linear layers with tanh between them."""

    def __init__(self, *widths):
        super().__init__()
        parts = []
        for before, after in zip(widths, widths[1:]):
            parts += [nn.Linear(before, after), nn.Tanh()]
        self.model = nn.Sequential(*parts[:-1])

    def forward(self, x):
        return self.model(x).view(len(x), -1, C)


class OriginalLayer(nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.attn = nn.Module()
        self.attn.to_queries = nn.Linear(C, C, bias=False)
        self.attn.to_keys_values = nn.Linear(C, 2 * C, bias=False)
        self.attn.project = nn.Linear(C, C)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(C, 2 * C), nn.Linear(2 * C, C)

    def forward(self, x, beside=None):
        batch, length, _ = x.shape
        y = self.norm1(x)
        seen = y if beside is None else torch.cat([self.norm1(beside), y], 1)
        queries = self.attn.to_queries(y).view(batch, length, self.heads, -1)
        both = self.attn.to_keys_values(seen).view(batch, seen.shape[1], 2, self.heads, -1)
        scores = torch.einsum("bthd,bshd->bhts", queries, both[:, :, 0]) / queries.shape[-1] ** 0.5
        mixed = torch.einsum("bhts,bshd->bthd", scores.softmax(-1), both[:, :, 1])
        x = x + self.attn.project(mixed.reshape(batch, length, C))
        return x + self.mlp.fc2(self.mlp.fc1(self.norm2(x)).relu())


class Constants(nn.Module):
    """Embeddings of the picture, learned constants behind them, a transformer over both; what it makes of the constants."""

    def __init__(self, picture, constants):
        super().__init__()
        self.picture = picture
        self.linear = nn.Linear(E, picture * C)
        self.prefix_const = nn.Parameter(torch.zeros(constants, C))

    def forward(self, x):
        batch = len(x)
        start = self.linear(x).view(batch, self.picture, C)
        whole = torch.cat([start, self.prefix_const.expand(batch, -1, -1)], 1)
        return self.mix(whole)[:, self.picture:]


class Original(Constants):
    def __init__(self, picture, constants, layers):
        super().__init__(picture, constants)
        self.transformer = nn.Module()
        self.transformer.layers = nn.ModuleList(OriginalLayer(8) for _ in range(layers))

    def mix(self, x):
        for layer in self.transformer.layers:
            x = layer(x)
        return x


class Grid(Constants):
    """Constants that attend to the cells of a grid, to embeddings of the whole picture and to each other (the Perceiver
    resampler of Flamingo, arXiv 2204.14198)."""

    def __init__(self, picture, constants, layers, cells, width):
        super().__init__(picture, constants)
        self.cells = nn.Linear(width, C)
        self.places = nn.Embedding(cells, C)
        self.transformer = nn.Module()
        self.transformer.layers = nn.ModuleList(OriginalLayer(8) for _ in range(layers))

    def forward(self, x, grid):
        batch = len(x)
        beside = torch.cat([self.linear(x).view(batch, self.picture, C), self.cells(grid) + self.places.weight], 1)
        y = self.prefix_const.expand(batch, -1, -1)
        for layer in self.transformer.layers:
            y = layer(y, beside)
        return y


class Bert(Constants):
    def __init__(self, picture, constants, layers):
        super().__init__(picture, constants)
        self.bert = transformers.BertModel(transformers.BertConfig(
            vocab_size=24, hidden_size=C, num_hidden_layers=layers, num_attention_heads=8, intermediate_size=40,
            max_position_embeddings=20))

    def mix(self, x):
        return self.bert(inputs_embeds=x).last_hidden_state


def example(seed):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(2, E, generator=generator), torch.randint(5, V, (2, 7), generator=generator))


@torch.no_grad()
def gpt2(name, mapper, seed, attribute, **options):
    """One whole state dict, as both codes write it, and what comes out of it."""
    whole = nn.Module()
    whole.clip_project = mapper
    # One head: a GPT2 of width 64 or less is read as having one where no configuration says otherwise.
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=V, n_embd=C, n_layer=2, n_head=1, n_positions=24, bos_token_id=None, eos_token_id=None))
    setattr(whole, attribute, model)
    randomize(whole, seed)
    embeddings, ids = example(seed)
    inputs = {"embeddings": embeddings}
    if isinstance(mapper, Grid):
        inputs["grid"] = torch.randn(2, *GRID, generator=torch.Generator().manual_seed(seed + 100))
    prefix = mapper(*inputs.values())
    sequence = torch.cat([prefix, model.transformer.wte(ids)], 1)
    logits = model(inputs_embeds=sequence).logits[:, prefix.shape[1] - 1:-1]
    state = whole.state_dict()
    for layer in range(2):
        # Buffers of transformers before version 5.
        state[f"{attribute}.transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 24, 24, dtype=torch.uint8).tril()
        state[f"{attribute}.transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    torch.save(state, ROOT / f"{name}.pt")
    save_file(inputs | {"ids": ids, "prefix": prefix.contiguous(), "logits": logits.contiguous()},
              ROOT / f"{name}.golden.safetensors")


@torch.no_grad()
def t5(name, seed):
    """A folder with its configuration: the mapper feeds the encoder."""
    mapper = Stack(E, 3 * C // 2, 3 * C)
    config = transformers.T5Config(
        vocab_size=V, d_model=C, d_kv=4, num_heads=3, d_ff=24, num_layers=2, decoder_start_token_id=0,
        relative_attention_num_buckets=8, relative_attention_max_distance=20)
    model = transformers.T5ForConditionalGeneration(config)
    randomize(mapper, seed)
    randomize(model, seed + 1)
    embeddings, ids = example(seed)
    prefix = mapper(embeddings)
    start = torch.cat([torch.zeros(2, 1, dtype=torch.long), ids[:, :-1]], 1)
    logits = model(inputs_embeds=prefix, decoder_input_ids=start).logits
    state = {f"clip_project.{key}": value for key, value in mapper.state_dict().items()}
    tied = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    state |= {f"t5.{key}": value for key, value in model.state_dict().items() if key not in tied}
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    keep = ("model_type", "vocab_size", "d_model", "d_kv", "d_ff", "num_heads", "num_layers", "num_decoder_layers",
            "feed_forward_proj", "relative_attention_num_buckets", "relative_attention_max_distance",
            "layer_norm_epsilon", "pad_token_id", "eos_token_id", "decoder_start_token_id")
    values = json.loads(config.to_json_string(use_diff=False))
    (folder / "config.json").write_text(json.dumps({
        "model_type": "clipcap", "mapping_type": "mlp", "clip_size": E, "prefix_length": 3,
        "language_model": {key: values[key] for key in keep}}, indent=2, sort_keys=True) + "\n")
    save_file({"embeddings": embeddings, "ids": ids, "prefix": prefix.contiguous(), "logits": logits.contiguous()},
              ROOT / f"{name}.golden.safetensors")


gpt2("clipcap_mlp", Stack(E, 3 * C // 2, 3 * C), 11, "gpt2")
gpt2("clipcap_bert", Bert(3, 4, 2), 12, "gpt2")
gpt2("clipcap_original", Original(4, 3, 2), 13, "gpt")
gpt2("clipcap_grid", Grid(2, 3, 2, *GRID), 15, "gpt2")
t5("clipcap_t5", 14)
for file in sorted(ROOT.glob("clipcap*")) + sorted((ROOT / "clipcap_t5").iterdir()):
    if file.is_file():
        assert file.stat().st_size < 100_000, file
        print(file.name, file.stat().st_size)
