#!/usr/bin/env python3
"""Writes the fixtures of WeightFilesTests under Tests/Fixtures/WeightFiles.

Needs torch 2.13, safetensors 0.8, numpy. The values are seeded; files in the layout before PyTorch 1.6 name their
storages by addresses, so a new run changes those bytes and nothing that the tests compare. Every `NAME.pt` has a twin `NAME.expected.safetensors`, written by Python from
the same tensors made contiguous; `types.safetensors` has its bytes in `types.json`. The malicious files are generated
too: nothing here is harmful unless a reader runs what it reads (each would make the file `pwned` in the current folder).
"""
import collections
import io
import json
import os
import pathlib
import pickle
import struct
import zipfile

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "Tests/Fixtures/WeightFiles"
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}


def raw(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def values(dtype, shape, generator):
    if dtype == torch.bool:
        return torch.rand(shape, generator=generator) > 0.5
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    low = 0 if dtype == torch.uint8 else -100
    return torch.randint(low, 100, shape, generator=generator).to(dtype)


def expected(name, tensors):
    plain = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
    save_file(plain, OUT / f"{name}.expected.safetensors")


def both(name, obj, tensors):
    """Saves in the ZIP layout and in the one before PyTorch 1.6."""
    torch.save(obj, OUT / f"{name}.pt")
    torch.save(obj, OUT / f"{name}.legacy.pt", _use_new_zipfile_serialization=False)
    expected(name, tensors)


def rewrite(source, target, replace=None, compression=zipfile.ZIP_STORED, add=()):
    with zipfile.ZipFile(OUT / source) as old, zipfile.ZipFile(OUT / target, "w", compression) as new:
        for item in old.infolist():
            data = old.read(item)
            for suffix, content in (replace or {}).items():
                if item.filename.endswith(suffix):
                    data = content
            entry = zipfile.ZipInfo(item.filename)
            entry.compress_type = compression
            new.writestr(entry, data)
        for name, data in add:
            new.writestr(zipfile.ZipInfo(name), data)


class Evil:
    def __init__(self, module, *arguments):
        self.call = (module, arguments)

    def __reduce__(self):
        return self.call


class Storage:
    """Pickled as the persistent id that is given."""

    def __init__(self, *identity):
        self.identity = ("storage", *identity)


class Tensor:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.identity if isinstance(obj, Storage) else None


def program(obj):
    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(obj)
    return stream.getvalue()


def handmade():
    """What PyTorch reads but 2.13 no longer writes: a storage that is a view, and an untyped storage with a type."""
    hooks = collections.OrderedDict()
    # Ten floats; the view is elements 4..<8 of them, the tensor every other element of the view from its second.
    part = Storage(torch.FloatStorage, "root", "cpu", 10, ("view", 4, 4))
    whole = Storage(torch.FloatStorage, "root", "cpu", 10, None)
    obj = {
        "view": Tensor(torch._utils._rebuild_tensor_v2, part, 1, (2,), (2,), False, hooks),
        "whole": Tensor(torch._utils._rebuild_tensor, whole, 0, (2, 5), (5, 1)),
    }
    head = b"".join(
        pickle.dumps(value, protocol=2)
        for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}))
    data = struct.pack("<q10f", 10, *range(10))
    (OUT / "handmade.legacy.pt").write_bytes(head + program(obj) + pickle.dumps(["root"], protocol=2) + data)

    untyped = Storage(torch.UntypedStorage, "0", "cpu", 24)
    obj = {"w": Tensor(torch._utils._rebuild_tensor_v3, untyped, 4, (2, 3), (1, 2), False, hooks, torch.int16)}
    rewrite("small.pt", "handmade.pt", replace={"data.pkl": program(obj)})
    for name in ("handmade.legacy", "handmade"):
        expected(name, torch.load(OUT / f"{name}.pt", weights_only=True))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(20260101)

    # safetensors: every type, a scalar, an empty tensor, names that need escapes.
    tensors = {f"w.{name}": values(dtype, (3, 5), generator) for name, dtype in DTYPES.items()}
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros(0, 4)
    tensors['题画 "quoted"\n'] = torch.arange(3)
    save_file(tensors, OUT / "types.safetensors", metadata={"format": "pt"})
    golden = {
        key: {
            "dtype": next(n for n, d in DTYPES.items() if d == value.dtype), "shape": list(value.shape),
            "hex": raw(value).hex(),
        } for key, value in tensors.items()
    }
    (OUT / "types.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")

    # torch.save: every type.
    state = collections.OrderedDict((f"w.{name}", values(dtype, (3, 5), generator)) for name, dtype in DTYPES.items())
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 4)
    both("types", state, state)

    # Views: transposed, sliced with an offset and a step, expanded, reversed axes, two names for one storage.
    base = torch.randn(4, 6, 5, generator=generator)
    views = {
        "base": base, "transposed": base.permute(2, 0, 1), "slice": base[1:3, 2:, ::2], "row": base[2, 3],
        "column": base[:, 1, 4], "expanded": base[0, 0].expand(3, 2, 5), "one": base[3:4].transpose(0, 2),
        "half": base[0].half().t(), "tied": base, "element": base[1, 1, 1],
    }
    both("views", views, views)

    # A module's state dictionary (with _metadata), parameters, and a training checkpoint around it.
    torch.manual_seed(7)
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3), torch.nn.BatchNorm1d(3))
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3)
    module(torch.randn(5, 4, generator=generator)).square().mean().backward()
    optimiser.step()
    state = module.state_dict()
    parameters = {name: parameter for name, parameter in module.named_parameters()}
    both("parameters", parameters, parameters)
    checkpoint = {
        "epoch": 3, "best": 0.25, "name": "题画", "negative": -70000, "large": 2**80, "wide": -(2**40), "flag": True,
        "nothing": None, "shape": torch.Size([2, 3]), "dtype": torch.bfloat16, "device": torch.device("cpu"),
        "bytes": b"\x00\xff", "set": {1}, "list": [1, [2, (3, "四")]], "optimizer": optimiser.state_dict(),
        "state_dict": {f"module.{name}": value for name, value in state.items()},
    }
    both("checkpoint", checkpoint, state)
    for protocol in (3, 4, 5):
        torch.save(checkpoint, OUT / f"checkpoint.protocol{protocol}.pt", pickle_protocol=protocol)
    torch.save(torch.arange(6.0).reshape(2, 3), OUT / "tensor.pt")
    torch.save({"epoch": 1}, OUT / "notensors.pt")

    # Shards with their index.
    shards = OUT / "sharded"
    shards.mkdir(exist_ok=True)
    names = list(state)
    halves = [names[:3], names[3:]]
    for suffix, save in (
        ("safetensors", lambda t, f: save_file({k: v.clone() for k, v in t.items()}, f, metadata={"format": "pt"})),
        ("bin", torch.save),
    ):
        stem = "model" if suffix == "safetensors" else "pytorch_model"
        weight_map = {}
        for number, half in enumerate(halves, 1):
            file = f"{stem}-{number:05}-of-00002.{suffix}"
            save({name: state[name] for name in half}, shards / file)
            weight_map.update({name: file for name in half})
        index = {"metadata": {"total_size": sum(len(raw(v)) for v in state.values())}, "weight_map": weight_map}
        (shards / f"{stem}.{suffix}.index.json").write_text(json.dumps(index, indent=2) + "\n")

    # Archives that PyTorch would not write, but that are sound, and those that are not.
    small = {"w": torch.arange(6.0).reshape(2, 3)}
    torch.save(small, OUT / "small.pt")
    torch.save(small, OUT / "small.legacy.pt", _use_new_zipfile_serialization=False)
    rewrite("small.pt", "compressed.pt", compression=zipfile.ZIP_DEFLATED)
    rewrite("small.pt", "bigendian.pt", replace={"byteorder": b"big"})
    rewrite("small.pt", "traversal.pt", add=[("../../pwned", b"x")])
    rewrite("small.pt", "shortstorage.pt", replace={"data/0": b"\0" * 20})

    # Pickles that ask for what weights do not need: reduce, build, a nested name, a legacy file, every protocol.
    evil = {
        "system": Evil(os.system, "touch pwned"), "eval": Evil(eval, "open('pwned', 'w')"),
        "getattr": Evil(getattr, "os", "system"),
        "import": Evil(__import__, "os"), "partial": Evil(__import__("functools").partial, print),
    }
    for name, obj in evil.items():
        for protocol in (2, 4):
            program = pickle.dumps({"state_dict": {"w": obj}}, protocol=protocol)
            rewrite("small.pt", f"evil.{name}{protocol}.pt", replace={"data.pkl": program})
    legacy = (OUT / "small.legacy.pt").read_bytes()
    head = io.BytesIO(legacy)
    for _ in range(3):
        pickle.load(head)
    (OUT / "evil.legacy.pt").write_bytes(legacy[: head.tell()] + pickle.dumps(evil["system"], protocol=2))
    (OUT / "evil.plain.pt").write_bytes(pickle.dumps(evil["system"], protocol=2))

    handmade()

    # A program of TorchScript and a whole module are refused with advice.
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), OUT / "script.pt")
    torch.save(torch.nn.Linear(2, 2), OUT / "module.pt")

    total = sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file())
    print(f"{sum(1 for f in OUT.rglob('*') if f.is_file())} files, {total} bytes in {OUT.name}")


if __name__ == "__main__":
    main()
