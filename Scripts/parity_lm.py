"""Compares full-size language models of Tihua with those of Python transformers, on random weights.

    python3 Scripts/parity_lm.py [TIHUA]

TIHUA is the built tool, .build/release/tihua by default. Needs torch, transformers, safetensors. For GPT2 12x768 with 21,128
tokens and T5 12x768 (both versions): whole logits within 1e-4, and the 64 greedy ids of `generate` equal with and without
cache. Exit status 1 where something differs.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

TIHUA = sys.argv[1] if len(sys.argv) > 1 else ".build/release/tihua"
VOCABULARY = 21128
LIMIT = 1e-4
failures = []


def spread(model, seed):
    """Random weights with the variance of trained ones: the logits of fresh ones are nearly equal."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "relative_attention_bias" not in name:
                fan = parameter.shape[1 if isinstance(model, transformers.T5PreTrainedModel) else 0]
                std = 1.0 if "shared" in name else 0.05 if "wte" in name or "wpe" in name or "lm_head" in name else fan**-0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
            elif parameter.dim() == 1:
                noise = torch.randn(parameter.shape, generator=generator) * 0.1
                parameter.copy_(noise + (1 if name.endswith("weight") else 0))
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


@torch.no_grad()
def greedy(model, count, **inputs):
    """Arg-max ids of `generate`, and the smallest margin between the best two scores."""
    out = model.generate(
        **inputs, max_new_tokens=count, do_sample=False, output_scores=True, return_dict_in_generate=True)
    margins = [(top.values[0, 0] - top.values[0, 1]).item() for top in (score.topk(2) for score in out.scores)]
    return out.sequences[0, -count:].tolist(), min(margins)


def tihua(folder, *arguments):
    command = [TIHUA, "lm", "--model", str(folder), "--json", "--greedy", *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def join(ids):
    return ",".join(map(str, ids.flatten().tolist()))


@torch.no_grad()
def compare(name, folder, model, ids, logits, arguments, **inputs):
    expected = logits[0].float()
    logprobs = expected[:-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    continuation, margin = greedy(model, 64, **inputs)
    scores = folder / "scores.out"
    for cache in ([], ["--no-cache"]):
        found = tihua(folder, "--ids", join(ids), "--generate", "64", "--logits", str(scores), *arguments, *cache)
        logits = load_file(scores)["logits"]
        difference = (logits - expected).abs().max().item()
        probability = (torch.tensor(found["logprobs"]) - logprobs).abs().max().item()
        equal = found["generated"] == continuation
        print(
            f"{name:9} {'no cache' if cache else 'cache':8} logits of size {expected.abs().max().item():.2f} differ by "
            f"{difference:.1e}, logprobs by {probability:.1e}; 64 greedy ids "
            f"{'equal' if equal else 'DIFFER'} (smallest margin {margin:.1e})", flush=True)
        if not (logits.shape == expected.shape and difference <= LIMIT and probability <= LIMIT and equal):
            failures.append(name)


@torch.no_grad()
def gpt2(root):
    config = transformers.GPT2Config(vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None)
    model = spread(transformers.GPT2LMHeadModel(config), 1)
    model.save_pretrained(root)
    ids = torch.randint(0, VOCABULARY, (1, 48), generator=torch.Generator().manual_seed(2))
    compare(
        "gpt2", root, model, ids, model(ids).logits, [], input_ids=ids, attention_mask=torch.ones_like(ids),
        pad_token_id=0)


@torch.no_grad()
def t5(root, gated):
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=768, d_ff=2048, num_layers=12, num_heads=8, d_kv=64, eos_token_id=None,
        decoder_start_token_id=0, feed_forward_proj="gated-gelu" if gated else "relu",
        tie_word_embeddings=not gated)
    model = transformers.T5ForConditionalGeneration(config)
    if gated:
        # transformers 5 ties every T5; the published version 1.1 has a head of its own.
        model.lm_head.weight = torch.nn.Parameter(torch.zeros(VOCABULARY, 768))
    spread(model, 3)
    state = {key: value.clone() for key, value in model.state_dict().items() if "embed_tokens" not in key}
    if not gated:
        state.pop("lm_head.weight")
    save_file(state, root / "model.safetensors", metadata={"format": "pt"})
    values = config.to_dict()
    values.update(tie_word_embeddings=not gated, architectures=["T5ForConditionalGeneration"])
    values.pop("scale_decoder_outputs", None)
    (root / "config.json").write_text(json.dumps(values))
    source = torch.randint(2, VOCABULARY, (1, 60), generator=torch.Generator().manual_seed(4))
    target = torch.randint(2, VOCABULARY, (1, 24), generator=torch.Generator().manual_seed(5))
    target[0, 0] = 0

    compare(
        "t5 gated" if gated else "t5 relu", root, model, target,
        model(input_ids=source, decoder_input_ids=target).logits, ["--encoder-ids", join(source)],
        input_ids=source, attention_mask=torch.ones_like(source), decoder_input_ids=target)


for build in (gpt2, lambda root: t5(root, False), lambda root: t5(root, True)):
    with tempfile.TemporaryDirectory() as folder:
        build(pathlib.Path(folder))
print("parity: " + (f"FAILED for {', '.join(failures)}" if failures else "language models agree"))
sys.exit(1 if failures else 0)
