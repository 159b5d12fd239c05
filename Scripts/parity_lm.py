"""Compares full-size language models of Tihua with those of Python transformers, on random weights.

    python3 Scripts/parity_lm.py [TIHUA]

TIHUA is the built tool, .build/release/tihua by default. Needs torch, transformers, safetensors. For GPT2 12x768 with 21,128
tokens and T5 12x768 (both versions): whole logits within 1e-4, and the 64 greedy ids of `generate` equal with and without
cache; once more with no token repeated, since a random model may say one token for ever. The reference's own rounding, the
distance between its float32 and its float64 logits, must be below 1e-4 too: with weights that amplify rounding, the
comparison would say nothing. Exit status 1 where something differs.
"""

import itertools
import json
import pathlib
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

from parity_common import disagreement, largest, run

TIHUA = sys.argv[1] if len(sys.argv) > 1 else ".build/release/tihua"
VOCABULARY = 21128
LIMIT = 1e-4
failures = []


def spread(model, seed):
    """Random weights with the variance of trained ones: the logits of fresh ones are nearly equal.

    T5 does not scale its attention scores by the head's width; its queries start smaller instead (`_init_weights` of
    modeling_t5.py). Queries as large as the keys would make scores of standard deviation 8: a softmax that jumps from key to
    key, and that through 36 attentions turns the last bit of a float32 into 0.1 in a logit, in Python alone.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "relative_attention_bias" not in name:
                fan = parameter.shape[1 if isinstance(model, transformers.T5PreTrainedModel) else 0]
                if name.endswith("Attention.q.weight"):
                    fan *= model.config.d_kv
                std = 1.0 if "shared" in name else 0.05 if "wte" in name or "wpe" in name or "lm_head" in name else fan**-0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
            elif parameter.dim() == 1:
                noise = torch.randn(parameter.shape, generator=generator) * 0.1
                parameter.copy_(noise + (1 if name.endswith("weight") else 0))
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


@torch.no_grad()
def greedy(model, count, unrepeated, **inputs):
    """Arg-max ids of `generate`, and at each step the margin between the best two scores."""
    out = model.generate(
        **inputs, max_new_tokens=count, do_sample=False, no_repeat_ngram_size=1 if unrepeated else 0, output_scores=True,
        return_dict_in_generate=True)
    margins = [(top.values[0, 0] - top.values[0, 1]).item() for top in (score.topk(2) for score in out.scores)]
    return out.sequences[0, -count:].tolist(), margins


def tihua(folder, *arguments):
    command = [TIHUA, "lm", "--model", str(folder), "--json", "--greedy", *arguments]
    return json.loads(run(command))


def join(ids):
    return ",".join(map(str, ids.flatten().tolist()))


def fail(name, message):
    if message:
        failures.append(name)
        print(f"    FAILED: {message}", flush=True)


@torch.no_grad()
def compare(name, folder, model, ids, score, arguments, **inputs):
    """`score` computes the logits of `ids` with a model; `arguments` are those of the tool, `inputs` those of `generate`."""
    expected = score(model)[0]
    logprobs = expected[:-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    searches = [(["--no-repeat-ngram", "1"] if unrepeated else [], *greedy(model, 64, unrepeated, **inputs))
                for unrepeated in (False, True)]
    exact = score(model.double())[0]
    rounding = largest(expected.double(), exact)
    print(f"{name:9} logits of size {expected.abs().max().item():.2f}, own rounding {rounding:.1e}", flush=True)
    if not rounding <= LIMIT:
        fail(name, "the reference's own float32 and float64 logits differ: its random weights amplify rounding, and the "
             "comparison says nothing")
    scores = folder / "scores.out"
    for cache, (rule, continuation, margins) in itertools.product(([], ["--no-cache"]), searches):
        found = tihua(
            folder, "--ids", join(ids), "--generate", "64", "--logits", str(scores), *arguments, *cache, *rule)
        logits = load_file(scores)["logits"]
        probabilities, generated = torch.tensor(found["logprobs"]), found["generated"]
        print(
            f"{name:9} {'no cache' if cache else 'cache':8} logits differ by {largest(logits, expected):.1e}, from float64 by "
            f"{largest(logits.double(), exact):.1e}, logprobs by {largest(probabilities, logprobs):.1e}; 64 greedy ids "
            f"({len(set(continuation))} distinct) {'equal' if generated == continuation else 'DIFFER'} "
            f"(smallest margin {min(margins):.1e})", flush=True)
        fail(name, disagreement("logits", logits, expected, LIMIT))
        fail(name, disagreement("logprobs", probabilities, logprobs, LIMIT))
        if len(generated) != len(continuation):
            fail(name, f"greedy ids: {len(generated)} here, {len(continuation)} in the reference")
        elif generated != continuation:
            step = next(i for i, (a, b) in enumerate(zip(generated, continuation)) if a != b)
            fail(name, f"greedy ids: first differ at step {step} of 64, {generated[step]} here, {continuation[step]} in the "
                 f"reference, where it leads by {margins[step]:.1e}")


@torch.no_grad()
def gpt2(root):
    config = transformers.GPT2Config(vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None)
    model = spread(transformers.GPT2LMHeadModel(config), 1)
    model.save_pretrained(root)
    ids = torch.randint(0, VOCABULARY, (1, 48), generator=torch.Generator().manual_seed(2))
    compare(
        "gpt2", root, model, ids, lambda model: model(ids).logits, [], input_ids=ids,
        attention_mask=torch.ones_like(ids), pad_token_id=0)


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
        lambda model: model(input_ids=source, decoder_input_ids=target).logits, ["--encoder-ids", join(source)],
        input_ids=source, attention_mask=torch.ones_like(source), decoder_input_ids=target)


for build in (gpt2, lambda root: t5(root, False), lambda root: t5(root, True)):
    with tempfile.TemporaryDirectory() as folder:
        build(pathlib.Path(folder))
print("parity: " + (f"FAILED for {', '.join(dict.fromkeys(failures))}" if failures else "language models agree"))
sys.exit(1 if failures else 0)
