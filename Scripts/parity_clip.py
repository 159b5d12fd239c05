"""Compares `tihua embed` with Python on full-size Chinese-CLIP models with random weights.

Needs torch, transformers, safetensors, pillow and cn_clip (see cn_clip_reference.py), about 4 GB of disk and of memory:
    python3 Scripts/parity_clip.py .build/release/tihua
Prints the largest absolute difference of each tower, and fails above 1e-4 (float32, embeddings not normalised).
"""

import json
import pathlib
import sys
import tempfile

import numpy
import torch
from PIL import Image
from transformers import BertTokenizer, ChineseCLIPConfig, ChineseCLIPModel
from transformers.utils import logging

import cn_clip_reference as reference
from parity_common import disagreement, largest, run

LIMIT = 1e-4
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
DEVIATION = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
TEXTS = ["山", "明月松间照，清泉石上流。", "a boat 在 1984 年的西湖上", "大漠孤烟直长河落日圆" * 8]
TEXT = {"vocab_size": 21128, "num_hidden_layers": 12}
MODELS = {
    "ViT-B/16": {"projection_dim": 512, "text_config": TEXT, "vision_config": {"patch_size": 16}},
    "ViT-L/14": {
        "projection_dim": 768, "text_config": TEXT,
        "vision_config": {
            "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24,
            "patch_size": 14,
        },
    },
}


def pictures(folder, side=224, count=4):
    """PNG files of exactly the model's size, so that no resizing comes between; paths and pixels [B, 3, S, S]."""
    generator = numpy.random.default_rng(5)
    paths, arrays = [], []
    y, x = numpy.mgrid[0:side, 0:side] / side
    for index in range(count):
        waves = [numpy.sin(2 * numpy.pi * (a * x + b * y + c)) for a, b, c in generator.uniform(-3, 3, (3, 3))]
        noise = generator.normal(0, 0.15, (side, side, 3))
        picture = numpy.clip((numpy.stack(waves, -1) / 2 + 0.5 + noise) * 255, 0, 255).astype(numpy.uint8)
        paths.append(str(folder / f"{index}.png"))
        Image.fromarray(picture).save(paths[-1])
        arrays.append((torch.from_numpy(picture).permute(2, 0, 1).float() / 255 - MEAN) / DEVIATION)
    return paths, torch.stack(arrays)


def vocabulary(folder):
    """21,128 tokens, the characters of the texts among them."""
    tokens = ["[PAD]"] + [f"[unused{i}]" for i in range(1, 100)] + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += sorted(set("".join(TEXTS).replace(" ", "")))
    tokens += ["boat", "1984", "##84"]
    tokens += [chr(0x4E00 + i) for i in range(0x51A6) if chr(0x4E00 + i) not in tokens]
    (folder / "vocab.txt").write_text("\n".join(tokens[:21128]) + "\n", encoding="utf-8")


def encode(folder):
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"))
    return tokenizer(TEXTS, padding="max_length", truncation=True, max_length=52, return_tensors="pt")


def shake(model):
    """Random weights at the scales of trained ones: biases and norms away from 0 and 1, embeddings of length about 10."""
    for name, tensor in model.named_parameters():
        if name.endswith("bias"):
            tensor.normal_(0, 0.1)
        elif tensor.dim() == 1 and name.endswith("weight"):
            tensor.uniform_(0.5, 1.5)
    return model.float().eval()


def embed(program, model, paths):
    arguments = [argument for path in paths for argument in ("--image", path)]
    arguments += [argument for text in TEXTS for argument in ("--text", text)]
    command = [program, "embed", "--model", str(model), "--raw", "--json", "--device", "cpu", *arguments]
    vectors = torch.tensor(json.loads(run(command))["embeddings"])
    return vectors[: len(paths)], vectors[len(paths):]


@torch.no_grad()
def main(program):
    failures = []
    logging.disable_progress_bar()

    def report(name, found, images, texts):
        for tower, got, want in [("images", found[0], images), ("texts", found[1], texts)]:
            print(f"{name:9} {tower:6} max |difference| {largest(got, want):.2e}  (largest value {want.abs().max():.2f})",
                  flush=True)
            if message := disagreement(f"embeddings of the {tower}", got, want, LIMIT):
                failures.append(f"{name} {tower}")
                print(f"    FAILED: {message}", flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        paths, pixels = pictures(root)
        for name, config in MODELS.items():
            torch.manual_seed(0)
            model = shake(ChineseCLIPModel(ChineseCLIPConfig(**config)))
            folder = root / name.replace("/", "-")
            model.save_pretrained(folder)
            vocabulary(folder)
            tokens = encode(folder)
            images = model.get_image_features(pixel_values=pixels).pooler_output
            texts = model.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
            del model
            report(name, embed(program, folder, paths), images, texts)
            for file in folder.iterdir():
                file.unlink()

        torch.manual_seed(0)
        cn_clip = reference.load_reference()
        text = {
            "vocab_size": 21128, "text_hidden_size": 768, "text_intermediate_size": 3072,
            "text_max_position_embeddings": 512, "text_num_attention_heads": 12, "text_num_hidden_layers": 3,
        }
        vision = {
            "image_resolution": 224, "vision_layers": [3, 4, 6, 3], "vision_width": 64, "vision_patch_size": None,
        }
        model = reference.make(cn_clip, text, vision, embed_dim=1024)
        folder = root / "RN50"
        folder.mkdir()
        torch.save({"state_dict": reference.released(model)}, folder / "clip_cn_rn50.pt")
        vocabulary(folder)
        ids = encode(folder)["input_ids"]
        report("RN50", embed(program, folder, paths), model.encode_image(pixels), model.encode_text(ids))
    print("parity: " + (f"FAILED for {', '.join(failures)}" if failures else "towers agree"))
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: parity_clip.py PATH-OF-TIHUA")
    sys.exit(main(sys.argv[1]))
