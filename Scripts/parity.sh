#!/bin/sh
# Full-size parity with Python. Needs Python with torch, transformers, safetensors, pillow, and `pip install --no-deps cn_clip`.
#   Scripts/parity.sh [PATH-OF-TIHUA]       PYTHON names the interpreter
set -eu
cd "$(dirname "$0")/.."
tihua=${1:-.build/release/tihua}
python=${PYTHON:-python3}
if [ ! -x "$tihua" ]; then
    echo "$tihua is not there; run: swift build -c release" >&2
    exit 2
fi
failed=0
"$python" Scripts/parity_lm.py "$tihua" || failed=1
"$python" Scripts/parity_clip.py "$tihua" || failed=1
"$python" Scripts/parity_caption.py "$tihua" || failed=1
exit $failed
