#!/usr/bin/env python3
"""Writes Tests/Fixtures/Torch/*.safetensors: what PyTorch computes, whole arrays, for TorchTests.

Needs the pip packages torch and safetensors. Run from the root of the repository; the files are the same on every run.
"""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

FOLDER = pathlib.Path("Tests/Fixtures/Torch")
GENERATOR = torch.Generator().manual_seed(7)


def randn(*shape):
    return torch.randn(*shape, generator=GENERATOR)


def positive(*shape):
    return torch.rand(*shape, generator=GENERATOR) + 0.1


def rms_norm(x, weight):
    """T5LayerNorm of transformers."""
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def batch_norm_training(x, weight, bias, mean, variance):
    mean, variance = mean.clone(), variance.clone()
    y = F.batch_norm(x, mean, variance, weight, bias, training=True, momentum=0.1, eps=1e-5)
    return y, mean, variance


def operations():
    """Name -> (inputs, function). The names are those of the table in GoldenTests.swift."""
    ids = torch.tensor([[2, 0, 1], [4, 4, 3]])
    mask = torch.tensor([[True, False, True], [False, True, True]])
    q, k, v = randn(2, 3, 5, 4), randn(2, 3, 7, 4), randn(2, 3, 7, 4)
    square = [randn(2, 3, 6, 4) for _ in range(3)]
    attend = torch.rand(2, 1, 5, 7, generator=GENERATOR) > 0.3
    attend[..., 0] = True
    targets = torch.tensor([1, -100, 3, 0, -100])
    picture = randn(2, 4, 7, 6)
    return {
        "add": ([randn(2, 1, 3), randn(4, 1)], lambda a, b: a + b),
        "sub": ([randn(2, 1, 3), randn(3)], lambda a, b: a - b),
        "mul": ([randn(2, 3), randn(1, 3)], lambda a, b: a * b),
        "div": ([randn(5, 1), positive(1, 4)], lambda a, b: a / b),
        "addScalar": ([randn(2, 3)], lambda a: a + 1.5),
        "subScalar": ([randn(2, 3)], lambda a: a - 1.5),
        "mulScalar": ([randn(2, 3)], lambda a: a * -2.5),
        "divScalar": ([randn(2, 3)], lambda a: a / 3),
        "divideScalar": ([positive(2, 3)], lambda a: 2 / a),
        "neg": ([randn(4)], lambda a: -a),
        "exp": ([randn(4)], torch.exp),
        "log": ([positive(4)], torch.log),
        "sqrt": ([positive(4)], torch.sqrt),
        "rsqrt": ([positive(4)], torch.rsqrt),
        "square": ([randn(4)], torch.square),
        "power": ([positive(4)], lambda a: a**2.5),
        "abs": ([randn(6)], torch.abs),
        "sin": ([randn(6)], torch.sin),
        "cos": ([randn(6)], torch.cos),
        "tanh": ([randn(6)], torch.tanh),
        "sigmoid": ([randn(6)], torch.sigmoid),
        "relu": ([randn(6)], torch.relu),
        "silu": ([randn(6)], F.silu),
        "gelu": ([randn(6)], F.gelu),
        "geluTanh": ([randn(6)], lambda a: F.gelu(a, approximate="tanh")),
        "quickGelu": ([randn(6)], lambda a: a * torch.sigmoid(1.702 * a)),
        "isFinite": ([torch.tensor([1.0, float("inf"), float("nan"), -2.0])], torch.isfinite),
        "matmul": ([randn(2, 1, 3, 4), randn(5, 4, 2)], torch.matmul),
        "maximum": ([randn(3, 2), randn(2)], torch.maximum),
        "minimum": ([randn(3, 2), randn(2)], torch.minimum),
        "clampedBelow": ([randn(8)], lambda a: a.clamp(min=0.2)),
        "clampedAbove": ([randn(8)], lambda a: a.clamp(max=0.2)),
        "equals": ([torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, 3.0])], torch.eq),
        "less": ([randn(2, 4), randn(4)], torch.lt),
        "lessOrEqual": ([torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 2.0])], torch.le),
        "greaterScalar": ([randn(8)], lambda a: a > 0.3),
        "selecting": ([mask, randn(2, 3), randn(3)], torch.where),
        "filled": ([randn(2, 3), mask], lambda a, m: a.masked_fill(m, -7.0)),
        "sumAll": ([randn(2, 3, 4)], torch.sum),
        "sumOver": ([randn(2, 3, 4)], lambda a: a.sum((0, -1))),
        "meanKeep": ([randn(2, 3, 4)], lambda a: a.mean((1,), keepdim=True)),
        "maxOver": ([randn(2, 3, 4)], lambda a: a.amax((-1,))),
        "normOver": ([randn(2, 3, 4)], lambda a: a.norm(dim=-1)),
        "normalized": ([randn(2, 5)], lambda a: F.normalize(a, dim=-1)),
        "argmax": ([randn(3, 5)], lambda a: a.argmax(1)),
        "softmax": ([randn(3, 5)], lambda a: a.softmax(-1)),
        "logSoftmax": ([randn(3, 5)], lambda a: a.log_softmax(0)),
        "logSumExp": ([randn(3, 5) * 100], lambda a: a.logsumexp(1)),
        "cumulativeSum": ([randn(3, 5)], lambda a: a.cumsum(1)),
        "topKValues": ([randn(3, 5)], lambda a: a.topk(2).values),
        "topKIndices": ([randn(3, 5)], lambda a: a.topk(2).indices),
        "sortedDescending": ([randn(3, 5)], lambda a: a.sort(-1, descending=True).values),
        "reshaped": ([randn(2, 6)], lambda a: a.reshape(3, -1)),
        "expanded": ([randn(2, 1)], lambda a: a.expand(3, 2, 4)),
        "permuted": ([randn(2, 3, 4)], lambda a: a.permute(2, 0, 1)),
        "flipped": ([randn(2, 3)], lambda a: a.flip(1)),
        "transposed": ([randn(2, 3, 4)], lambda a: a.transpose(0, -1)),
        "narrowed": ([randn(4, 3)], lambda a: a[1:3]),
        "selected": ([randn(4, 3)], lambda a: a[:, -1]),
        "concatenated": ([randn(2, 3), randn(2, 1)], lambda a, b: torch.cat([a, b], 1)),
        "stacked": ([randn(2, 3), randn(2, 3)], lambda a, b: torch.stack([a, b], 1)),
        "gatheringSlices": ([randn(5, 3), torch.tensor([4, 0, 4])], lambda a, i: a.index_select(0, i)),
        "indexedByMask": ([randn(2, 3, 2), mask], lambda a, m: a[m]),
        "indexedByRows": ([randn(5, 2), ids], lambda a, i: a[i]),
        "gathered": ([randn(2, 5), ids], lambda a, i: a.gather(1, i)),
        "scattered": ([randn(2, 5), torch.tensor([[0, 3], [2, 1]]), randn(2, 2)], lambda a, i, s: a.scatter(1, i, s)),
        "lowerTriangle": ([randn(4, 4)], lambda a: a.tril(-1)),
        "upperTriangle": ([randn(4, 4)], lambda a: a.triu(1)),
        "repeatInterleaved": ([randn(2, 3)], lambda a: a.repeat_interleave(3, 0)),
        "linear": ([randn(2, 3, 4), randn(5, 4), randn(5)], F.linear),
        "embedding": ([randn(5, 3), ids], lambda w, i: F.embedding(i, w)),
        "layerNorm": ([randn(2, 3, 6), randn(6), randn(6)], lambda x, w, b: F.layer_norm(x, (6,), w, b, 1e-5)),
        "rmsNorm": ([randn(2, 3, 6), randn(6)], rms_norm),
        "groupNorm": ([picture, randn(4), randn(4)], lambda x, w, b: F.group_norm(x, 2, w, b, 1e-5)),
        "batchNorm": (
            [picture, randn(4), randn(4), randn(4), positive(4)],
            lambda x, w, b, m, v: F.batch_norm(x, m, v, w, b, training=False, eps=1e-5),
        ),
        "batchNormTraining": (
            [picture, randn(4), randn(4), randn(4), positive(4)],
            lambda x, w, b, m, v: batch_norm_training(x, w, b, m, v)[0],
        ),
        "batchNormMean": (
            [picture, randn(4), randn(4), randn(4), positive(4)],
            lambda x, w, b, m, v: batch_norm_training(x, w, b, m, v)[1],
        ),
        "batchNormVariance": (
            [picture, randn(4), randn(4), randn(4), positive(4)],
            lambda x, w, b, m, v: batch_norm_training(x, w, b, m, v)[2],
        ),
        "convolution": ([picture, randn(6, 4, 3, 3), randn(6)], lambda x, w, b: F.conv2d(x, w, b, 2, 1)),
        "convolutionGroups": ([picture, randn(8, 2, 2, 2)], lambda x, w: F.conv2d(x, w, None, 1, 0, 1, 2)),
        "averagePool": ([picture], lambda x: F.avg_pool2d(x, 3)),
        "maxPool": ([picture], lambda x: F.max_pool2d(x, 3, 2, 1)),
        "bicubic": ([picture], lambda x: F.interpolate(x, (9, 5), mode="bicubic", align_corners=False)),
        "bicubicCorners": ([picture], lambda x: F.interpolate(x, (9, 5), mode="bicubic", align_corners=True)),
        "bicubicAntialias": (
            [picture],
            lambda x: F.interpolate(x, (3, 4), mode="bicubic", align_corners=False, antialias=True),
        ),
        "attention": ([q, k, v], F.scaled_dot_product_attention),
        "attentionMask": ([q, k, v, attend], lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m)),
        "attentionAdditive": (
            [q, k, v, randn(1, 3, 5, 7)],
            lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m, scale=1.0),
        ),
        "attentionCausal": (square, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
        "crossEntropy": ([randn(5, 4), targets], F.cross_entropy),
        "crossEntropySmooth": ([randn(5, 4), targets], lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1)),
    }


def write_operations():
    tensors = {}
    for name, (inputs, function) in operations().items():
        for index, value in enumerate(inputs):
            tensors[f"{name}/{index}"] = value.clone().contiguous()
        tensors[f"{name}/result"] = function(*inputs).clone().contiguous()
    save_file(tensors, FOLDER / "operations.safetensors")


def write_optimizer():
    """20 steps of AdamW on two groups, the total gradient clipped before each step."""
    weight, bias = randn(4, 3), randn(4)
    x, y = randn(6, 3), randn(6, 4)
    tensors = {"weight": weight.clone(), "bias": bias.clone(), "x": x, "y": y}
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    optimizer = torch.optim.AdamW(
        [{"params": [weight], "weight_decay": 0.3}, {"params": [bias], "weight_decay": 0.0}],
        lr=0.05, betas=(0.9, 0.95), eps=1e-8,
    )
    norms, losses = [], []
    for step in range(20):
        loss = (F.linear(x, weight, bias) - y).square().mean()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, 0.8).item())
        losses.append(loss.item())
        if step == 0:
            tensors["clippedWeight"], tensors["clippedBias"] = weight.grad.clone(), bias.grad.clone()
        optimizer.step()
        optimizer.zero_grad()
    tensors |= {
        "norms": torch.tensor(norms), "losses": torch.tensor(losses),
        "finalWeight": weight.detach(), "finalBias": bias.detach(),
        "firstMoment": optimizer.state[weight]["exp_avg"], "secondMoment": optimizer.state[weight]["exp_avg_sq"],
    }
    save_file({name: value.clone() for name, value in tensors.items()}, FOLDER / "adamw.safetensors")


def write_muon():
    """Six steps of Muon on a wide and a tall matrix; torch's own, with the scale that matches AdamW's."""
    wide, tall = randn(4, 10), randn(9, 3)
    tensors = {"wide": wide.clone(), "tall": tall.clone()}
    parameters = [wide.requires_grad_(), tall.requires_grad_()]
    optimizer = torch.optim.Muon(
        parameters, lr=0.05, weight_decay=0.3, momentum=0.9, nesterov=True, adjust_lr_fn="match_rms_adamw")
    gradients = randn(6, 4, 10), randn(6, 9, 3)
    tensors |= {"wideGradients": gradients[0], "tallGradients": gradients[1]}
    for step in range(6):
        wide.grad, tall.grad = gradients[0][step].clone(), gradients[1][step].clone()
        optimizer.step()
    tensors |= {"finalWide": wide.detach(), "finalTall": tall.detach()}
    save_file({name: value.clone() for name, value in tensors.items()}, FOLDER / "muon.safetensors")


def schedule(function):
    """The rates that torch's LambdaLR gives an optimiser whose own rate is 3e-4."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-4)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, function)
    rates = []
    for _ in range(60):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return torch.tensor(rates, dtype=torch.float64)


def write_schedules():
    """The multipliers of transformers' get_*_schedule_with_warmup (warm-up 10, 50 steps), whose warm-up runs one step
    ahead here: Tihua's first step already learns."""
    import math

    def warm(step, rest):
        return (step + 1) / 10 if step < 10 else rest(min(1.0, (step - 10) / 40))

    save_file(
        {
            "linear": schedule(lambda step: warm(step, lambda p: 1 - p)),
            "constant": schedule(lambda step: warm(step, lambda p: 1.0)),
            "cosine": schedule(lambda step: warm(step, lambda p: 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * p)))),
        },
        FOLDER / "schedules.safetensors",
    )


def write_encoder():
    """The layer that the article "Port a model from PyTorch" ports: its state dict, an input, the output."""
    torch.manual_seed(7)
    layer = torch.nn.TransformerEncoderLayer(
        d_model=8, nhead=2, dim_feedforward=16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    with torch.no_grad():
        for parameter in layer.parameters():  # biases and norms start at 0 and 1, which would hide a mistake
            parameter.add_(0.1 * randn(*parameter.shape))
    x = randn(2, 5, 8)
    keep = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    layer.train()  # without dropout the same numbers, but padding stays in the output
    y = layer(x, src_key_padding_mask=~keep)
    tensors = {name: value.detach().clone() for name, value in layer.state_dict().items()}
    save_file(tensors | {"x": x, "keep": keep, "y": y.detach()}, FOLDER / "encoder.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_operations()
    write_optimizer()
    write_schedules()
    write_encoder()
    write_muon()
