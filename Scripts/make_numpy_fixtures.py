#!/usr/bin/env python3
"""Writes the .npz fixtures of WeightFilesTests: arrays.npz (deflated), arrays.stored.npz, the same arrays as
arrays.expected.safetensors, and npz.*.npz, which must be refused. Needs numpy and safetensors; the values are fixed.
"""

import io
import pathlib
import zipfile

import numpy as np
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "Tests/Fixtures/WeightFiles"


def npy(array, **options):
    content = io.BytesIO()
    np.lib.format.write_array(content, array, **options)
    return content.getvalue()


def archive(name, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(OUT / name, "w", compression) as file:
        for entry, content in entries.items():
            # A fixed date, so that a new run writes the same bytes.
            file.writestr(zipfile.ZipInfo(entry, (2026, 1, 1, 0, 0, 0)), content, compression)


def main():
    numbers = np.arange(24)
    arrays = {
        "f8": numbers.reshape(2, 3, 4) / 7, "f4": (numbers.reshape(4, 6) / 3).astype(np.float32),
        "f2": (numbers / 5).astype(np.float16), "i8": numbers - 12, "i4": (numbers * 7).astype(np.int32),
        "i2": (numbers * 100).astype(np.int16), "i1": (numbers - 12).astype(np.int8), "u1": (numbers * 10).astype(np.uint8),
        "b1": numbers % 3 == 0, "scalar": np.float32(2.5), "empty": np.zeros((0, 5), np.float32),
        "one": np.array([7], np.int64), "long": np.zeros((3, 1000), np.float32),
    }
    fortran = np.asfortranarray((numbers.reshape(4, 6) * 2).astype(np.float32))
    entries = {f"{name}.npy": npy(np.asarray(array)) for name, array in arrays.items()}
    entries["fortran.npy"] = npy(fortran)
    entries["version2.npy"] = npy(arrays["f4"], version=(2, 0))
    archive("arrays.npz", entries)
    archive("arrays.stored.npz", entries, zipfile.ZIP_STORED)
    expected = {name: np.ascontiguousarray(array) for name, array in arrays.items() if name != "scalar"}
    expected["scalar"] = np.array(2.5, np.float32)
    expected["fortran"] = np.ascontiguousarray(fortran)
    expected["version2"] = arrays["f4"]
    save_file(expected, OUT / "arrays.expected.safetensors")

    good = npy(arrays["f4"])
    archive("npz.objects.npz", {"a.npy": npy(np.array([{"b": 1}, None], dtype=object))})
    archive("npz.fields.npz", {"a.npy": npy(np.zeros(2, dtype=[("x", "f4"), ("y", "i4")]))})
    archive("npz.bigendian.npz", {"a.npy": npy(arrays["f4"].astype(">f4"))})
    archive("npz.lying.npz", {"a.npy": good.replace(b"(4, 6)", b"(4, 9)")})
    archive("npz.huge.npz", {"a.npy": good.replace(b"'shape': (4, 6), }      ", b"'shape': (4, 99999999), }")[: len(good)]})
    archive("npz.code.npz", {"a.npy": good.replace(b"False", b"exit()")[: len(good)]})
    archive("npz.other.npz", {"a.npy": good, "readme.txt": b"text"})
    archive("npz.noarray.npz", {"a.npy": b"PK not an array"})
    # The directory says 152 bytes, and a hundred megabytes come.
    archive("npz.bomb.npz", {"a.npy": good[:128] + bytes(100_000_000)})
    path = OUT / "npz.bomb.npz"
    path.write_bytes(path.read_bytes().replace((100_000_128).to_bytes(4, "little"), (152).to_bytes(4, "little")))
    # And one that says four gigabytes more than there may be.
    archive("npz.limit.npz", {"a.npy": good})
    path = OUT / "npz.limit.npz"
    path.write_bytes(path.read_bytes().replace(len(good).to_bytes(4, "little"), (0xFFFFFFF0).to_bytes(4, "little")))
    for file in OUT.glob("*npz*"):
        if file.stat().st_size >= 100_000:
            raise SystemExit(f"{file} has {file.stat().st_size} bytes")


main()
