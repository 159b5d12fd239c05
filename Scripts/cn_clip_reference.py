"""The reference implementation of Chinese-CLIP's original layout: `pip install --no-deps cn_clip` (1.6.0)."""

import sys
import types


def load_reference():
    """The module `cn_clip.clip.model`.

    The package also imports torchvision, for pictures, which are not read with it here; a stand-in spares that dependency.
    """
    stand_in = types.ModuleType("torchvision.transforms")
    for name in ["Compose", "ToTensor", "Normalize", "Resize", "InterpolationMode"]:
        setattr(stand_in, name, None)
    names = ["torchvision", "torchvision.transforms"]
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules["torchvision"] = types.ModuleType("torchvision")
    sys.modules["torchvision.transforms"] = stand_in
    try:
        import cn_clip.clip.model as model
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(before)
    return model


def make(model, text, vision, embed_dim, **more):
    """A `CLIP` with random weights in float32, evaluation mode; statistics of batch norms away from 0 and 1."""
    import torch

    clip = model.CLIP(
        embed_dim=embed_dim,
        text_attention_probs_dropout_prob=0.1,
        text_hidden_act="gelu",
        text_hidden_dropout_prob=0.1,
        text_initializer_range=0.02,
        text_type_vocab_size=2,
        **text,
        **vision,
        **more,
    ).float().eval()
    with torch.no_grad():
        for name, tensor in clip.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif "bn" in name and name.endswith("weight") or "downsample.1.weight" in name:
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                tensor.normal_(0, 0.05)
    return clip


def released(clip):
    """The state dict as in the released files: parameters of a `DistributedDataParallel`, without the pooler."""
    return {f"module.{name}": tensor for name, tensor in clip.state_dict().items() if "bert.pooler" not in name}
