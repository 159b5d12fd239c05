#!/usr/bin/env bash
# Speed beside Python's, as a table. Arguments go to Benchmarks/bench.py.
set -euo pipefail
cd "$(dirname "$0")/.."
swift build -c release --product tihua-bench
python3 -c 'import torch, transformers' 2>/dev/null || {
    echo "make bench compares with Python: type  pip install torch transformers" >&2
    exit 2
}
exec python3 Benchmarks/bench.py "$@"
