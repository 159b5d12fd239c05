"""Measures Tihua beside Python on the same weights, threads and machine, one after the other in one run.

    make bench                # or: python3 Benchmarks/bench.py [--threads N] [--repeats N] [--only generate|embed|classify|caption|step|data|start]

Each side gets its best setting of those tried (float32 and, where the processor has it, bfloat16); the table says which.
Needs the pip packages torch and transformers, pillow and numpy for `data`, and for `classify`
pip install --no-deps efficientnet-lite-pytorch.
"""
import argparse, contextlib, copy, io, json, os, platform, re, statistics, subprocess, sys, tarfile, tempfile, time

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
vocabulary = 21128
data_pictures = 128


def swift(*command):
    result = subprocess.run(
        [bench, *command, "--threads", str(arguments.threads), "--repeats", str(arguments.repeats)],
        capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}: {result.stderr}")
    return statistics.median(json.loads(result.stdout))


def python(body, inference=True):
    seconds = []
    with torch.inference_mode(inference):
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


def classify(folder):
    """EfficientNet-Lite0, in PyTorch as it is and through TorchScript, each with its channels last or not."""
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        if arguments.only:
            raise
        print("classify: not measured; pip install --no-deps efficientnet-lite-pytorch", file=sys.stderr)
        return
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        network = EfficientNet.from_name("efficientnet-lite0", image_size=224).eval()
    file = os.path.join(folder, "lite0.pth")
    torch.save(network.state_dict(), file)
    formats = {"": torch.contiguous_format, ", channels last": torch.channels_last}
    for batch in (1, 32):
        ours, eager, script = {}, {}, {}
        for dtype in dtypes:
            ours[dtype] = swift("classify", "--model", file, "--batch", str(batch), "--dtype", dtype)
            for name, layout in formats.items():
                model = copy.deepcopy(network).to(getattr(torch, dtype), memory_format=layout)
                pixels = torch.randn(batch, 3, 224, 224).to(getattr(torch, dtype), memory_format=layout)
                eager[dtype + name] = python(lambda: model(pixels))
                # Optimised for inference it is not always faster than frozen alone.
                with torch.no_grad():
                    frozen = torch.jit.freeze(torch.jit.trace(model, pixels))
                script[f"{dtype}, frozen{name}"] = python(lambda: frozen(pixels))
                with torch.no_grad():
                    optimized = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, pixels)))
                script[f"{dtype}, optimized{name}"] = python(lambda: optimized(pixels))
        for dtype in dtypes:
            for other, theirs in (("PyTorch", eager), ("TorchScript", script)):
                row(f"EfficientNet-Lite0 at 224, batch {batch}, {dtype} against {other}", {dtype: ours[dtype]},
                    {name: time for name, time in theirs.items() if name.startswith(dtype)}, "1x")


def captioner(folder):
    """A captioner as ClipCap-Chinese trains it, MLP and GPT2 12x768, in its layout of one state dict."""
    config = transformers.GPT2Config(
        vocab_size=vocabulary, n_positions=1024, n_embd=768, n_layer=12, n_head=12, bos_token_id=None, eos_token_id=None)
    torch.manual_seed(0)
    gpt2 = transformers.GPT2LMHeadModel(config)
    mapper = torch.nn.Sequential(torch.nn.Linear(512, 3840), torch.nn.Tanh(), torch.nn.Linear(3840, 7680))
    return gpt2, mapper


def caption(folder):
    count, length, top_p = 10, 30, 0.8
    gpt2, mapper = captioner(folder)
    with torch.no_grad():
        # Random weights are sure of nothing; with this factor a nucleus has a few dozen tokens, as a trained model's.
        gpt2.transformer.wte.weight.mul_(5)
    state = {f"clip_project.model.{name}": value for name, value in mapper.state_dict().items()}
    state |= {f"gpt2.{name}": value for name, value in gpt2.state_dict().items()}
    file = os.path.join(folder, "captioner.pt")
    torch.save(state, file)
    embedding = torch.randn(1, 512, generator=torch.Generator().manual_seed(1))
    sizes = []

    def filtered(scores):
        """Scores with minus infinity outside of the nucleus, row by row, as ClipCap-Chinese filters."""
        ordered, order = torch.sort(scores, descending=True, dim=-1)
        out = torch.cumsum(torch.softmax(ordered.float(), dim=-1), dim=-1) > top_p
        out[:, 1:] = out[:, :-1].clone()
        out[:, 0] = False
        sizes.append((~out).sum(-1).float().mean().item())
        return scores.masked_fill(out.scatter(1, order, out), -torch.inf)

    def loop(gpt2, prefix):
        """All samples in one batch, but the whole sequence through the model, scores of every place, for each token."""
        inputs = prefix
        for _ in range(length):
            scores = gpt2(inputs_embeds=inputs, use_cache=False).logits[:, -1]
            scores[:, 100] = -torch.inf
            tokens = torch.multinomial(torch.softmax(filtered(scores).float(), dim=-1), 1)
            inputs = torch.cat((inputs, gpt2.transformer.wte(tokens)), dim=1)

    options = dict(do_sample=True, top_k=0, top_p=top_p, suppress_tokens=[100], min_new_tokens=length,
                   max_new_tokens=length, pad_token_id=0, use_cache=True)
    loops, batch, ours = {}, {}, {}
    for dtype in dtypes:
        kind = getattr(torch, dtype)
        model, project, x = gpt2.to(kind).eval(), mapper.to(kind), embedding.to(kind)
        loops[dtype] = python(lambda: loop(model, project(x.expand(count, -1)).view(count, 10, 768)))

        def generate():
            prefix = project(x).view(1, 10, 768)
            model.generate(inputs_embeds=prefix, attention_mask=torch.ones(1, 10, dtype=torch.long),
                           num_return_sequences=count, **options)

        batch[dtype] = python(generate)
    del gpt2, mapper, model, project
    print(f"a nucleus has {statistics.mean(sizes):.0f} tokens on average", file=sys.stderr)
    for dtype in dtypes:
        ours[dtype] = swift("caption", "--model", file, "--dtype", dtype, "--candidates", str(count), "--tokens", str(length))
    what = f"captions of one picture, {count} nucleus candidates of {length} tokens, GPT2 12x768"
    row(f"{what}, against a loop without a cache", ours, loops, "15x")
    row(f"{what}, against generate(num_return_sequences={count})", ours, batch, "2x")
    for dtype in dtypes:
        one = {dtype: ours[dtype]}
        row(f"{what}, {dtype} against the loop in {dtype}", one, {dtype: loops[dtype]}, "")
        row(f"{what}, {dtype} against generate in {dtype}", one, {dtype: batch[dtype]}, "")


def step(folder):
    """The training step of preset clipcap-chinese: what Tihua's own log of `train caption` says of a step, and the same in PyTorch."""
    size, length = 40, 20
    gpt2, mapper = captioner(folder)
    model = os.path.join(folder, "gpt2")
    gpt2.save_pretrained(model)
    with open(os.path.join(model, "vocab.txt"), "w") as file:
        file.write("\n".join(tokens_of_vocabulary()) + "\n")
    # Every caption has 19 characters and its end.
    pictures = 4 * size
    with open(os.path.join(folder, "captions.tsv"), "w") as file:
        for index in range(pictures):
            text = "".join(chr(0x4E00 + (index * 131 + 17 * place) % 5000) for place in range(length - 1))
            file.write(f"p{index}\t{text}\n")
    embeddings = os.path.join(folder, "embeddings.safetensors")
    write_embeddings(embeddings, [f"p{index}" for index in range(pictures)], torch.randn(pictures, 512))
    ours, theirs = {}, {}
    for dtype in dtypes:
        config = os.path.join(folder, f"{dtype}.json")
        steps = arguments.repeats + 3
        with open(config, "w") as file:
            json.dump({"training": dict(steps=steps, warmup=1, learningRate=2e-5, logEvery=1, precision=dtype,
                                        validateEvery=steps, checkpointEvery=steps),
                       "caption": dict(batchCaptions=size, holdOut=0, minimumCharacterCount=0)}, file)
        result = subprocess.run(
            [tihua, "train", "caption", "--captions", os.path.join(folder, "captions.tsv"), "--embeddings", embeddings,
             "--lm", model, "--config", config, "--out", os.path.join(folder, f"run-{dtype}"), "--threads",
             str(arguments.threads)], capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"tihua train caption: {result.stderr}")
        speeds = [int(speed) for speed in re.findall(r"(\d+) tokens/s", result.stderr)]
        assert len(speeds) == steps, result.stderr
        ours[dtype] = size * length / statistics.median(speeds[3:])
        subprocess.run(["rm", "-r", os.path.join(folder, f"run-{dtype}")], check=True)

        # Tihua drops no attention weights; everything else is dropped alike.
        lm = transformers.GPT2LMHeadModel.from_pretrained(model, attn_pdrop=0.0).train()
        parameters = [*lm.parameters(), *mapper.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=2e-5, betas=(0.9, 0.98), weight_decay=0.1, fused=True)
        ids = torch.randint(200, 20000, (size, length))
        x = torch.randn(size, 512)

        def body():
            with torch.enable_grad():
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
                    prefix = mapper(x).view(size, 10, 768)
                    inputs = torch.cat((prefix, lm.transformer.wte(ids)), dim=1)
                    scores = lm(inputs_embeds=inputs, use_cache=False, logits_to_keep=length + 1).logits[:, :-1]
                    loss = torch.nn.functional.cross_entropy(scores.reshape(-1, vocabulary).float(), ids.reshape(-1))
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        theirs[dtype] = python(body, inference=False)
        del lm, optimizer
    what = f"training step, MLP and GPT2 12x768, {size} captions of {length} tokens"
    row(what, ours, theirs, "1x")
    for dtype in dtypes:
        row(f"{what}, {dtype} against {dtype}", {dtype: ours[dtype]}, {dtype: theirs[dtype]}, "1x")


def tokens_of_vocabulary():
    tokens = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    return [tokens.get(index) or (chr(0x4E00 + index - 200) if index >= 200 and index < 20000 else f"[unused{index}]")
            for index in range(vocabulary)]


def write_embeddings(file, keys, values):
    from safetensors.torch import save_file

    text = torch.tensor(list("".join(f"{key}\n" for key in keys).encode()), dtype=torch.uint8)
    metadata = dict(format="tihua.embeddings", model="benchmark", normalized="false")
    save_file({"embeddings": values.contiguous(), "keys": text}, file, metadata=metadata)


def data(folder):
    """`tihua data embed` over a shard of JPEGs against a DataLoader: pictures per second, decoding included."""
    from PIL import Image
    import numpy

    config = transformers.ChineseCLIPConfig(
        text_config=dict(vocab_size=vocabulary), vision_config=dict(patch_size=16), projection_dim=512)
    torch.manual_seed(0)
    model = transformers.ChineseCLIPModel(config).eval()
    model.save_pretrained(folder)
    with open(os.path.join(folder, "vocab.txt"), "w") as file:
        file.write("\n".join(tokens_of_vocabulary()) + "\n")
    # Pictures as large as Flickr8k's, with detail enough that a file has about 100 kB.
    shard = os.path.join(folder, "shard.tar")
    random = numpy.random.default_rng(0)
    with tarfile.open(shard, "w") as tar:
        for index in range(data_pictures):
            coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=numpy.uint8)).resize((500, 375), 3)
            fine = Image.fromarray(random.integers(0, 256, (150, 200, 3), dtype=numpy.uint8)).resize((500, 375), 3)
            buffer = io.BytesIO()
            Image.blend(coarse, fine, 0.3).save(buffer, "JPEG", quality=92)
            info = tarfile.TarInfo(f"{index:05}.jpg")
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
    print(f"{data_pictures} pictures of {os.path.getsize(shard) // data_pictures // 1000} kB", file=sys.stderr)
    with tarfile.open(shard) as tar:
        places = [(member.offset_data, member.size) for member in tar.getmembers()]
    mean = numpy.array([0.48145466, 0.4578275, 0.40821073], dtype=numpy.float32)
    deviation = numpy.array([0.26862954, 0.26130258, 0.27577711], dtype=numpy.float32)

    class Shard(torch.utils.data.Dataset):
        def __len__(self):
            return len(places)

        def __getitem__(self, index):
            with open(shard, "rb") as file:
                file.seek(places[index][0])
                picture = Image.open(io.BytesIO(file.read(places[index][1]))).convert("RGB").resize((224, 224), 3)
            pixels = (numpy.asarray(picture, dtype=numpy.float32) / 255 - mean) / deviation
            return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    theirs, ours = {}, {}
    for workers in sorted({0, 1, arguments.threads}):
        def run():
            loader = torch.utils.data.DataLoader(Shard(), batch_size=32, num_workers=workers)
            rows = []
            for pixels in loader:
                found = model.get_image_features(pixel_values=pixels)
                rows.append(found if isinstance(found, torch.Tensor) else found.pooler_output)
            return torch.cat(rows)

        theirs[f"float32, {workers} workers"] = python(run)
    with torch.inference_mode():
        reference = run()
    out = os.path.join(folder, "out.safetensors")
    seconds = []
    for _ in range(arguments.repeats + 1):
        if os.path.exists(out):
            os.remove(out)
        result = subprocess.run(
            [tihua, "data", "embed", shard, "--clip", folder, "--out", out, "--json", "--threads", str(arguments.threads)],
            capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"tihua data embed: {result.stderr}")
        seconds.append(json.loads(result.stdout)["seconds"])  # with the loading of the weights
    ours["float32"] = statistics.median(seconds[1:])
    from safetensors.torch import load_file
    difference = (load_file(out)["embeddings"] - reference).abs().max().item()
    print(f"the embeddings differ by {difference:.1e} at most; a number has the size {reference.abs().mean():.1e}",
          file=sys.stderr)
    best = data_pictures / min(theirs.values())
    row(f"data embed, {data_pictures} JPEGs of 500x375, ViT-B/16, {data_pictures / ours['float32']:.1f} pictures/s against {best:.1f}",
        ours, theirs, "1x")


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
    for name, part in (("generate", generate), ("embed", embed), ("classify", classify), ("caption", caption), ("step", step), ("data", data)):
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
