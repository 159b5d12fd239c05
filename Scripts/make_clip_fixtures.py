"""Writes Tests/Fixtures/Models/{bert,clip}-*: tiny Chinese-CLIP and BERT models with inputs and whole outputs.

Needs torch, transformers, safetensors and cn_clip (see cn_clip_reference.py). Run from anywhere; the seeds are fixed.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    ChineseCLIPConfig,
    ChineseCLIPModel,
)

import cn_clip_reference as reference

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "Models"


def shake(model):
    """Moves biases and norms away from 0 and 1, so that a forgotten one shows."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.endswith("bias"):
                tensor.normal_(0, 0.1)
            elif "norm" in name.lower() and name.endswith("weight"):
                tensor.uniform_(0.5, 1.5)
    return model.eval()


def folder(name):
    path = FIXTURES / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def texts(vocabulary, length=12):
    """Ids [4, length], the last ones padded with 0, and their mask."""
    ids = torch.randint(1, vocabulary, (4, length))
    for row, pads in enumerate([0, 3, 7, 10]):
        if pads:
            ids[row, -pads:] = 0
    return ids


def write(path, tensors):
    """Writes the inputs and outputs of the model in `path`, and checks the sizes of all files."""
    # Beside the folder: a folder holds one model and nothing else.
    golden = FIXTURES / f"{path.name}.golden.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, golden)
    for file in [golden, *path.iterdir()]:
        assert file.stat().st_size < 100_000, f"{file} has {file.stat().st_size} bytes"


@torch.no_grad()
def hugging_face_clip():
    torch.manual_seed(1)
    # Written as the hub's files are: only what differs from the defaults of the classes.
    config = {
        "model_type": "chinese_clip",
        "architectures": ["ChineseCLIPModel"],
        "projection_dim": 20,
        "text_config": {
            "vocab_size": 64, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 40, "max_position_embeddings": 16,
        },
        "vision_config": {
            "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
            "image_size": 16, "patch_size": 4,
        },
    }
    model = shake(ChineseCLIPModel(ChineseCLIPConfig(**config)))
    path = folder("clip-hf")
    ids, pixels = texts(64), torch.randn(3, 3, 16, 16)
    images = model.get_image_features(pixel_values=pixels).pooler_output
    embedded = model.get_text_features(input_ids=ids, attention_mask=(ids != 0).long()).pooler_output
    both = model(input_ids=ids, pixel_values=pixels, attention_mask=(ids != 0).long())
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    # Files of older versions hold the buffer.
    tensors["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    write(path, {
        "ids": ids, "pixels": pixels, "images": images, "texts": embedded, "logits": both.logits_per_image,
    })


@torch.no_grad()
def original(name, model, vision, text_layers=2, flash=False, dtype=torch.float32):
    """A checkpoint of cn_clip in `dtype`; with `flash` also one as its flash attention writes it."""
    torch.manual_seed(2)
    text = {
        "vocab_size": 64, "text_hidden_size": 16, "text_intermediate_size": 32, "text_max_position_embeddings": 16,
        "text_num_attention_heads": 1, "text_num_hidden_layers": text_layers,
    }
    clip = shake(reference.make(model, text, vision, embed_dim=12)).to(dtype).float()
    side = vision["image_resolution"]
    ids, pixels = texts(64), torch.randn(2, 3, side, side).to(dtype).float()
    golden = {"ids": ids, "pixels": pixels, "images": clip.encode_image(pixels), "texts": clip.encode_text(ids)}
    if vision["vision_patch_size"]:
        # The same weights at twice the side.
        bigger = reference.make(model, text, {**vision, "image_resolution": 2 * side}, embed_dim=12)
        state = {key: value.clone() for key, value in clip.state_dict().items()}
        model.resize_pos_embed(state, _with_grid(bigger, 2 * side // vision["vision_patch_size"]))
        bigger.load_state_dict(state)
        golden["big_pixels"] = torch.randn(2, 3, 2 * side, 2 * side)
        golden["big_images"] = bigger.encode_image(golden["big_pixels"])
    path = folder(name)
    state = {
        key: value.to(dtype) if value.is_floating_point() else value for key, value in reference.released(clip).items()
    }
    torch.save({"epoch": 3, "step": 100, "name": "tiny", "state_dict": state}, path / "clip.pt")
    if flash:
        flash_path = folder(f"{name}-flash")
        torch.save({"state_dict": model.convert_state_dict(state)}, flash_path / "clip.pt")
    golden["pixels"] = pixels.to(dtype)
    write(path, golden)


def _with_grid(clip, grid):
    clip.visual.grid_size = (grid, grid)
    return clip


@torch.no_grad()
def bert():
    torch.manual_seed(3)
    sizes = {
        "vocab_size": 48, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "max_position_embeddings": 16,
    }
    ids = texts(48)
    types = (torch.arange(12)[None] >= 5).long().expand(4, -1).contiguous()
    for name, kind in [("bert-plain", BertModel), ("bert-mlm", BertForMaskedLM)]:
        model = shake(kind(BertConfig(**sizes)))
        encoder = model if kind is BertModel else model.bert
        path = folder(name)
        hidden = encoder(input_ids=ids, token_type_ids=types, attention_mask=(ids != 0).long()).last_hidden_state
        (path / "config.json").write_text(json.dumps({"model_type": "bert", **sizes}, indent=2) + "\n")
        if kind is BertModel:
            save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path / "model.safetensors")
        else:
            # The spelling of the first files, converted from TensorFlow.
            state = {
                key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
                for key, value in model.state_dict().items()
            }
            torch.save(state, path / "pytorch_model.bin")
        write(path, {"ids": ids, "types": types, "hidden": hidden})


if __name__ == "__main__":
    hugging_face_clip()
    bert()
    cn_clip = reference.load_reference()
    transformer = {
        "image_resolution": 16, "vision_layers": 2, "vision_width": 16, "vision_patch_size": 4, "vision_head_width": 16,
    }
    original("clip-original", cn_clip, transformer, flash=True)
    original("clip-resnet", cn_clip, {
        "image_resolution": 64, "vision_layers": [1, 2, 1, 1], "vision_width": 2, "vision_patch_size": None,
    }, text_layers=1, dtype=torch.float16)
    for file in sorted([*FIXTURES.glob("*/*"), *FIXTURES.glob("*.golden.safetensors")]):
        print(f"{file.stat().st_size:7} {file.relative_to(FIXTURES)}")
