#!/usr/bin/env python3
"""Reads with Python what Tihua writes: safetensors with `safetensors`, event files with `tensorboard`.

Runs the tests that write the files (`swift test`), then compares. Needs torch, safetensors, tensorboard. From the root:

    python3 Scripts/check_written_files.py
"""
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.backend.event_processing import event_accumulator

ROOT = pathlib.Path(__file__).resolve().parent.parent


def check(condition, what):
    if not condition:
        sys.exit(f"failed: {what}")
    print(f"ok: {what}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["swift", "test", "-j", "2", "--filter", "writesByteForByteWhatPythonWrites|writesARunForTensorBoard"],
            cwd=ROOT, env={**os.environ, "TIHUA_KEEP_WRITTEN": folder}, check=True, stdout=subprocess.DEVNULL)

        written = pathlib.Path(folder) / "written.safetensors"
        original = load_file(ROOT / "Tests/Fixtures/WeightFiles/types.safetensors")
        copy = load_file(written)
        check(copy.keys() == original.keys(), f"safetensors: {len(copy)} names")
        same = all(copy[k].dtype == v.dtype and torch.equal(copy[k], v) for k, v in original.items())
        check(same, "safetensors: types, shapes and values")
        with safe_open(written, "pt") as file:
            check(file.metadata() == {"format": "pt"}, "safetensors: metadata")

        run = pathlib.Path(folder) / "run"
        check(len(list(run.iterdir())) == 1, "events: the resumed run is one file")
        events = event_accumulator.EventAccumulator(str(run)).Reload()
        scalars = events.Scalars("loss/train")
        check([e.step for e in scalars] == list(range(1, 17)), "events: steps 1 to 16, none twice")
        expected = [1 / s for s in range(1, 11)] + [11.0, 12.0, 13.0, 14.0, 15.0]
        check(all(math.isclose(e.value, v, rel_tol=1e-6) for e, v in zip(scalars, expected)), "events: values")
        check(math.isnan(scalars[-1].value), "events: NaN")
        check([e.wall_time for e in scalars[:2]] == [1767225601.5, 1767225602.5], "events: wall times")
        check(events.file_version == 2.0, "events: file version 2")
        texts = events.Tensors("poem")
        text = texts[0].tensor_proto.string_val[0].decode()
        check([t.step for t in texts] == [16] and text == "# 诗\n\n" + "床前明月光" * 100, "events: text of the resumed run")
        plugin = events.SummaryMetadata("poem").plugin_data.plugin_name
        check(plugin == "text", "events: the text plug-in shows it")


if __name__ == "__main__":
    main()
