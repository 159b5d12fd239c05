"""Compares a full-size captioner of Tihua with the reference's loop in Python, on random weights.

    python3 Scripts/parity_caption.py [TIHUA]

TIHUA is the built tool, .build/release/tihua by default. Needs torch, transformers, safetensors. ClipCap-Chinese's sizes: MLP
mapper 512 -> 3840 -> 7680, GPT2 12x768 with 21,128 tokens, written as a whole state dict. Greedy captions of four embeddings,
each of 20 tokens without a cache in Python, must be equal, and their log-probabilities within 1e-3. Exit status 1 otherwise.
"""

import json
import pathlib
import sys
import tempfile

import torch
import transformers
from safetensors.torch import save_file

from parity_common import run

TIHUA = sys.argv[1] if len(sys.argv) > 1 else ".build/release/tihua"
VOCABULARY, WIDTH, PREFIX, LENGTH = 21128, 768, 10, 20
SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}


@torch.no_grad()
def main(root):
    generator = torch.Generator().manual_seed(1)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None))
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            std = 0.05 if "wte" in name or "wpe" in name else parameter.shape[0] ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
    model.eval()
    half = PREFIX * WIDTH // 2
    mapper = torch.nn.Sequential(torch.nn.Linear(512, half), torch.nn.Tanh(), torch.nn.Linear(half, PREFIX * WIDTH))
    for parameter in mapper.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
    embeddings = torch.randn(4, 512, generator=generator)
    state = {f"clip_project.model.{key}": value for key, value in mapper.state_dict().items()}
    state |= {f"gpt2.{key}": value for key, value in model.state_dict().items()}
    torch.save(state, root / "checkpoint-1.pt")
    # One Han character a token, so that a caption is its tokens.
    names = [chr(0x4E00 + index) if index < 20000 else f"token{index}" for index in range(VOCABULARY)]
    for name, index in SPECIAL.items():
        names[index] = name
    (root / "vocab.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    keys = torch.frombuffer(bytearray(b"a\nb\nc\nd\n"), dtype=torch.uint8)
    save_file({"embeddings": embeddings, "keys": keys}, root / "e.safetensors",
              metadata={"format": "tihua.embeddings", "model": "random", "normalized": "false"})

    banned = [index for name, index in SPECIAL.items() if name != "[SEP]"]
    expected = []
    for row in embeddings:
        sequence = mapper(row[None]).view(1, PREFIX, WIDTH)
        ids, total, margin = [], 0.0, 1e9
        for _ in range(LENGTH):
            scores = model(inputs_embeds=sequence).logits[0, -1]
            allowed = scores.clone()
            allowed[banned] = -torch.inf
            best = allowed.topk(2)
            token = best.indices[0].item()
            margin = min(margin, (best.values[0] - best.values[1]).item())
            total += scores.log_softmax(-1)[token].item()
            if token == SPECIAL["[SEP]"]:
                break
            ids.append(token)
            sequence = torch.cat([sequence, model.transformer.wte(torch.tensor([[token]]))], 1)
        expected.append(("".join(names[index] for index in ids), total, margin))
    command = [TIHUA, "caption", "--captioner", str(root / "checkpoint-1.pt"), "--embeddings", str(root / "e.safetensors"),
               "--decode", "greedy", "--max-length", str(LENGTH), "--no-rerank", "--json"]
    lines = run(command).splitlines()
    failed = len(lines) != len(expected)
    if failed:
        print(f"    FAILED: {len(lines)} captions here, {len(expected)} in the reference")
    for index, (line, (text, total, margin)) in enumerate(zip(lines, expected)):
        caption = json.loads(line)["captions"][0]
        difference = abs(caption["logProbability"] - total)
        # Words of Latin letters are set apart by spaces.
        words = caption["text"].replace(" ", "")
        equal = words == text
        wrong = not equal or not difference <= 1e-3
        failed |= wrong
        print(f"caption {'equal' if equal else 'DIFFERS'}, log-probability {total:.4f} differs by {difference:.1e} "
              f"(smallest margin {margin:.1e})", flush=True)
        if wrong:
            print(f"    FAILED: caption {index}: “{words}” with {caption['logProbability']:.6f} here, “{text}” with "
                  f"{total:.6f} in the reference", flush=True)
    print("parity: " + ("FAILED for captions" if failed else "captions agree"))
    return failed


with tempfile.TemporaryDirectory() as folder:
    sys.exit(main(pathlib.Path(folder)))
