"""Measures Tihua beside Python on the same weights, threads and machine, one after the other in one run.

    make bench                # or: python3 Benchmarks/bench.py [--threads N] [--repeats N] [--only generate|embed|start]

Each side gets its best setting of those tried (float32 and, where the processor has it, bfloat16); the table says which.
Needs the pip packages torch and transformers.
"""
import argparse, json, os, platform, statistics, subprocess, sys, tempfile, time

# Threads that wait in a loop would take the processor from the other side while it is measured.
os.environ["OMP_WAIT_POLICY"] = "passive"
parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--only", default="")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import torch, transformers

torch.set_num_threads(arguments.threads)
root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
bench = os.path.join(root, ".build/release/tihua-bench")
tihua = os.path.join(root, ".build/release/tihua")
rows = []


def flags():
    with open("/proc/cpuinfo") as info:
        return next((line for line in info if line.startswith("flags")), "")


dtypes = ["float32"] + (["bfloat16"] if "bf16" in flags() else [])
prompt, tokens = 16, 32


def swift(*command):
    result = subprocess.run(
        [bench, *command, "--threads", str(arguments.threads), "--repeats", str(arguments.repeats)],
        capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}: {result.stderr}")
    return statistics.median(json.loads(result.stdout))


def python(body):
    seconds = []
    with torch.inference_mode():
        body()
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            body()
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def row(name, ours, theirs, aim):
    ours_type, ours_time = min(ours.items(), key=lambda item: item[1])
    theirs_type, theirs_time = min(theirs.items(), key=lambda item: item[1])
    rows.append((name, f"{ours_time:.3f} s ({ours_type})", f"{theirs_time:.3f} s ({theirs_type})",
                 f"{theirs_time / ours_time:.2f}x", aim))
    print(rows[-1], file=sys.stderr, flush=True)


def generate(folder):
    config = transformers.GPT2Config(
        vocab_size=21128, n_positions=1024, n_embd=768, n_layer=12, n_head=12, bos_token_id=101, eos_token_id=102)
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    ids = torch.tensor([[100 + 7 * i for i in range(prompt)]])
    options = dict(do_sample=True, top_k=50, min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=0, use_cache=True,
                   attention_mask=torch.ones_like(ids))
    one, batch, loop = {}, {}, {}
    for dtype in dtypes:
        model = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        one[dtype] = python(lambda: model.generate(ids, **options))
        batch[dtype] = python(lambda: model.generate(ids, num_return_sequences=50, **options))
        # As the reference does, one call after the other: fifty times the median call, since nothing is shared between them.
        loop[dtype] = 50 * one[dtype]
        del model
    ours = {n: {d: swift("generate", "--model", folder, "--candidates", str(n), "--dtype", d, "--prompt", str(prompt),
                         "--tokens", str(tokens)) for d in dtypes} for n in (1, 50)}
    row("GPT2 12x768, 50 candidates, against 50 calls (50 x the median call)", ours[50], loop, "20x")
    row("GPT2 12x768, 50 candidates, against num_return_sequences=50", ours[50], batch, "2x")
    row("GPT2 12x768, 1 candidate", ours[1], one, "2x")
    for dtype in dtypes:
        row(f"GPT2 12x768, 1 candidate, {dtype} against {dtype}", {dtype: ours[1][dtype]}, {dtype: one[dtype]}, "")


def embed(folder):
    config = transformers.ChineseCLIPConfig(
        text_config=dict(vocab_size=21128), vision_config=dict(patch_size=16), projection_dim=512)
    torch.manual_seed(0)
    transformers.ChineseCLIPModel(config).save_pretrained(folder)
    for batch in (1, 32):
        theirs = {}
        for dtype in dtypes:
            model = transformers.ChineseCLIPModel.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
            pixels = torch.randn(batch, 3, 224, 224).to(getattr(torch, dtype))
            theirs[dtype] = python(lambda: model.get_image_features(pixel_values=pixels))
            del model
        for dtype in dtypes:
            ours = {dtype: swift("embed", "--model", folder, "--batch", str(batch), "--dtype", dtype)}
            row(f"Chinese-CLIP ViT-B/16 pictures, batch {batch}, {dtype} against float32", ours,
                {"float32": theirs["float32"]}, "1x" if dtype == "float32" else "2x")
            if dtype != "float32":
                row(f"Chinese-CLIP ViT-B/16 pictures, batch {batch}, {dtype} against {dtype}", ours,
                    {dtype: theirs[dtype]}, "")


def start():
    def process(command):
        seconds, memory = [], 0
        for _ in range(arguments.repeats + 1):
            began = time.perf_counter()
            result = subprocess.run(["/usr/bin/time", "-f", "%M", *command], capture_output=True, text=True)
            seconds.append(time.perf_counter() - began)
            if result.returncode:
                sys.exit(f"{' '.join(command)}: {result.stderr}")
            memory = max(memory, int(result.stderr.strip().splitlines()[-1]))
        return statistics.median(seconds[1:]), memory / 1024

    ours, our_memory = process([tihua, "poem", os.path.join(root, "Samples/landscape.jpg"), "--seed", "1", "--quiet"])
    theirs, their_memory = process(
        [sys.executable, "-c", "import torch, transformers; from transformers import GPT2LMHeadModel, ChineseCLIPModel"])
    rows.append(("start to poems, default pack, whole process", f"{ours:.3f} s, {our_memory:.0f} MB",
                 f"{theirs:.3f} s, {their_memory:.0f} MB (import alone)", f"{theirs / ours:.2f}x", ""))


with tempfile.TemporaryDirectory() as temporary:
    for name, part in (("generate", generate), ("embed", embed)):
        if arguments.only in ("", name):
            folder = os.path.join(temporary, name)
            os.makedirs(folder)
            part(folder)
if arguments.only in ("", "start"):
    start()

model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
print(f"\n{model}, {arguments.threads} threads, torch {torch.__version__}, transformers {transformers.__version__}; medians of "
      f"{arguments.repeats}; one quatrain is {tokens} tokens after a prompt of {prompt}\n")
print("| what | Tihua | Python | ratio | aim |\n|---|---|---|---|---|")
for cells in rows:
    print("| " + " | ".join(cells) + " |")
