"""Draws the curves of a run from its log.txt: python3 Scripts/plot_run.py LOG... OUT.png (several logs are one after the other)."""
import re
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plot

*logs, out = sys.argv[1:]
train, validation, start = [], {}, 0
for log in logs:
    last = 0
    for line in open(log, encoding="utf-8"):
        if found := re.search(r"step (\d+)/\d+ .*?loss ([\d.e+-]+)", line):
            last = int(found[1])
            train.append((start + last, float(found[2])))
        elif found := re.search(r"step (\d+)  validation  (.*)", line):
            values = found[2].replace("(best)", "").split()
            for name, value in zip(values[::2], values[1::2]):
                validation.setdefault(name, []).append((start + int(found[1]), float(value)))
    start += last
losses = {name: points for name, points in validation.items() if name.startswith("loss")}
others = {name: points for name, points in validation.items() if not name.startswith("loss")}
figure, axes = plot.subplots(1, 2 if others else 1, figsize=(11 if others else 6, 4), squeeze=False)
axes[0][0].plot(*zip(*train), linewidth=0.7, label="train")
for name, points in losses.items():
    axes[0][0].plot(*zip(*points), marker=".", label=f"validation {name}")
for name, points in others.items():
    axes[0][1].plot(*zip(*points), marker=".", label=name)
for axis in axes[0]:
    axis.set_xlabel("step")
    axis.legend()
    axis.grid(alpha=0.3)
figure.tight_layout()
figure.savefig(out, dpi=110)
