#!/usr/bin/env python3
"""Resize real pictures with Pillow, for the parity test of Pictures, which runs this by itself.

    python3 Scripts/make_picture_parity.py DATA COUNT OUT

Takes COUNT pictures, evenly, from the tars in DATA/images; writes each as OUT/N.jpg beside Pillow's decoded pixels
(N.full.rgb) and its bicubic squash to 224x224 (N.224.rgb). Prints the number written.
"""
import io
import sys
import tarfile
from pathlib import Path

from PIL import Image

data, count, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
shards = sorted((data / "images").glob("*.tar"))
number = 0
for index, shard in enumerate(shards):
    share = count * (index + 1) // len(shards) - count * index // len(shards)
    with tarfile.open(shard) as tar:
        members = [member for member in tar if member.name.endswith(".jpg")]
        for member in members[:: max(1, len(members) // max(1, share))][:share]:
            raw = tar.extractfile(member).read()
            image = Image.open(io.BytesIO(raw)).convert("RGB")
            (out / f"{number}.jpg").write_bytes(raw)
            (out / f"{number}.full.rgb").write_bytes(image.tobytes())
            (out / f"{number}.224.rgb").write_bytes(image.resize((224, 224), Image.Resampling.BICUBIC).tobytes())
            number += 1
print(number)
