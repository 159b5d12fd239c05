"""Writes what `generate` of Python transformers makes of the tiny models in Tests/Fixtures/Models, for GenerationTests.

    python3 Scripts/make_generation_fixtures.py

Needs torch, transformers 5, safetensors. Writes Tests/Fixtures/Generation/decoding.json (settings and texts) and
decoding.safetensors (embeddings that stand in front of GPT2's tokens). Greedy and beam search are `generate`'s; contrastive
search has left the core of transformers, so it is stated here from the paper (Su et al. 2022, equation 5), without a cache.
"""

import itertools
import json
import pathlib

import torch
import transformers
from safetensors.torch import load_file, save_file

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures"
MODELS = FIXTURES / "Models"
ROOT = FIXTURES / "Generation"
torch.set_num_threads(1)

# For each search: what differs from the defaults, in the words of `generate`.
GREEDY = [
    {},
    {"repetition_penalty": 1.4},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 1, "suppress_tokens": [3, 4, 5]},
    {"min_new_tokens": 9, "eos": [1, 7, 23, 40, 51, 60]},
    {"eos": [1, 7, 23, 40, 51, 60], "repetition_penalty": 0.8},
]
BEAMS = [
    {"num_beams": width, "length_penalty": penalty, "early_stopping": early, "eos": [1, 7, 23, 40]}
    for width, penalty, early in itertools.product((2, 5), (0.0, 1.0, 2.0, -1.0), (True, False, "never"))
] + [
    {"num_beams": 3},
    {"num_beams": 4, "no_repeat_ngram_size": 2},
    {"num_beams": 4, "repetition_penalty": 1.5, "eos": [1, 23]},
    {"num_beams": 4, "min_new_tokens": 6, "eos": [1, 7, 23, 40, 51, 60]},
    {"num_beams": 3, "no_repeat_ngram_size": 1, "repetition_penalty": 1.2, "suppress_tokens": [2, 9], "eos": [1, 40]},
]
CONTRASTIVE = [
    {"top_k": 4, "penalty_alpha": 0.6},
    {"top_k": 6, "penalty_alpha": 0.3, "eos": [1, 7, 23, 40, 51, 60]},
    {"top_k": 3, "penalty_alpha": 0.9, "no_repeat_ngram_size": 2},
]
LENGTH = 12


def load(name):
    kind = transformers.GPT2LMHeadModel if name == "gpt2" else transformers.T5ForConditionalGeneration
    model = kind.from_pretrained(MODELS / name, torch_dtype=torch.float32).eval()
    golden = load_file(MODELS / f"{name}.golden.safetensors")
    if name == "gpt2":
        found = model(golden["ids"]).logits
    else:
        mask = golden["present"].long()
        found = model(input_ids=golden["encoder_ids"], attention_mask=mask, decoder_input_ids=golden["ids"]).logits
    assert torch.allclose(found, golden["logits"], atol=1e-5), name
    return model, golden


def settings(case):
    case = dict(case)
    stop = case.pop("eos", [1])
    return transformers.GenerationConfig(
        max_new_tokens=LENGTH, do_sample=False, eos_token_id=stop, pad_token_id=0, bos_token_id=None,
        decoder_start_token_id=0, output_scores=True, output_logits=True, return_dict_in_generate=True,
        num_return_sequences=case.get("num_beams", 1), **case), stop


def trimmed(ids, stop):
    """The new tokens up to the first that stops, which stays."""
    for index, token in enumerate(ids):
        if token in stop:
            return ids[:index + 1]
    return ids


def generated(model, case, inputs, skipped):
    config, stop = settings(case)
    out = model.generate(**inputs, generation_config=config)
    texts = []
    for index, row in enumerate(out.sequences.tolist()):
        ids = trimmed(row[skipped:], stop)
        if "num_beams" in case:
            texts.append({"ids": ids, "score": round(out.sequences_scores[index].item(), 5)})
        else:
            total = sum(logits[0].log_softmax(-1)[token].item() for logits, token in zip(out.logits, ids))
            texts.append({"ids": ids, "score": round(total / len(ids), 5)})
    return texts


def contrastive(case, step, prompt):
    """`step` gives the scores and hidden states of a whole sequence of new tokens behind the prompt."""
    stop = case.get("eos", [1])
    width, alpha, size = case["top_k"], case["penalty_alpha"], case.get("no_repeat_ngram_size", 0)
    new, total = [], 0.0
    while len(new) < LENGTH and not (new and new[-1] in stop):
        logits, hidden = step(new)
        scores = logits[-1].clone()
        text = prompt + new
        for start in range(len(text) - size + 1 if size else 0):
            if text[start:start + size - 1] == text[len(text) - size + 1:]:
                scores[text[start + size - 1]] = -torch.inf
        best = scores.softmax(-1).topk(width)
        context = torch.nn.functional.normalize(hidden, dim=-1)
        merits = []
        for probability, token in zip(best.values, best.indices):
            own = torch.nn.functional.normalize(step(new + [token.item()])[1][-1], dim=-1)
            merits.append((1 - alpha) * probability - alpha * (context @ own).max())
        token = best.indices[torch.stack(merits).argmax()].item()
        total += logits[-1].log_softmax(-1)[token].item()
        new.append(token)
    return [{"ids": new, "score": round(total / len(new), 5)}]


@torch.no_grad()
def main():
    ROOT.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(17)
    prefix = torch.randn(2, 3, 32, generator=generator) * 0.5
    prompts = [torch.randint(2, 64, (count,), generator=generator).tolist() for count in (5, 2)]
    save_file({"prefix": prefix}, ROOT / "decoding.safetensors")
    gpt2, _ = load("gpt2")
    cases = []

    def run(name, case, outputs):
        cases.append({"model": name, "settings": case, "texts": outputs})

    for case in GREEDY + BEAMS:
        run("gpt2", case, [
            generated(gpt2, case, {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))}, len(ids))
            for ids in prompts])
        run("gpt2-prefix", case, [
            generated(gpt2, case, {"inputs_embeds": row[None], "attention_mask": torch.ones(1, 3)}, 0)
            for row in prefix])
    for case in CONTRASTIVE:
        def decoder(embeddings):
            def step(new):
                tail = gpt2.transformer.wte(torch.tensor(new, dtype=torch.long))
                out = gpt2(inputs_embeds=torch.cat([embeddings, tail])[None], output_hidden_states=True)
                return out.logits[0], out.hidden_states[-1][0]
            return step
        run("gpt2", case, [contrastive(case, decoder(gpt2.transformer.wte(torch.tensor(ids))), ids) for ids in prompts])
        run("gpt2-prefix", case, [contrastive(case, decoder(row), []) for row in prefix])
    for name in ("t5_relu", "t5_gated"):
        model, golden = load(name)
        sources = [(golden["encoder_ids"][row:row + 1], golden["present"][row:row + 1].long()) for row in (0, 1)]
        for case in GREEDY + BEAMS:
            run(name, case, [
                generated(model, case, {"input_ids": ids, "attention_mask": mask}, 1) for ids, mask in sources])
        for case in CONTRASTIVE:
            def encoder_decoder(ids, mask):
                def step(new):
                    out = model(
                        input_ids=ids, attention_mask=mask, decoder_input_ids=torch.tensor([[0] + new]),
                        output_hidden_states=True)
                    return out.logits[0], out.decoder_hidden_states[-1][0]
                return step
            run(name, case, [contrastive(case, encoder_decoder(*source), [0]) for source in sources])
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (ROOT / "decoding.json").write_text(
        f'{{"maximum":{LENGTH},"prompts":{json.dumps(prompts, separators=(",", ":"))},"cases":[\n{lines}\n]}}\n')
    for file in sorted(ROOT.iterdir()):
        assert file.stat().st_size < 100_000, file
        print(file.relative_to(FIXTURES), file.stat().st_size)
    ended = sum(len(text["ids"]) < LENGTH for case in cases for texts in case["texts"] for text in texts)
    print(len(cases), "cases,", ended, "texts that end by themselves")


main()
