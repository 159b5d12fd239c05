#!/usr/bin/env bash
# Fails if a function of ctorch.h has no definition under Sources/CTorch whose body is the guard that no C++ exception
# passes. The macros of both sides are expanded by the preprocessor, so that every function is seen by its own name.
set -euo pipefail
cd "$(dirname "$0")/.."

# These three only return what is there.
exempt='ct_last_error ct_live ct_version'
compiler=$(command -v clang || command -v cc)

declared=$("$compiler" -w -E -P -x c Sources/CTorch/include/ctorch.h | grep -oE '\bct_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u)
# Comments go, and so do #include lines, which would need libtorch; the macros CT_UNARY ... stay in and expand.
defined=$(cat Sources/CTorch/*.cpp | grep -vE '^#include|^#pragma' | "$compiler" -E -P -x c++ - | tr '\n' ' ')

faults=0
for name in $declared; do
    case " $exempt " in *" $name "*) continue ;; esac
    if ! grep -qE "\b$name *\([^{;]*\) *noexcept *\{ *(return|\(void\)) *guard *\(" <<<"$defined"; then
        echo "Sources/CTorch: $name is declared in ctorch.h, but its body does not start with a guard; wrap it in guard([&] { ... })" >&2
        faults=$((faults + 1))
    fi
done
count=$(wc -w <<<"$declared")
if [ "$count" -lt 100 ]; then
    echo "Scripts/check_ctorch.sh found only $count functions in ctorch.h: its own pattern is out of date" >&2
    faults=$((faults + 1))
fi
[ "$faults" -eq 0 ] || exit 1
echo "$count functions of ctorch.h, all guarded"
