#!/usr/bin/env bash
# Installs the built tool under a prefix, so that it works without the checkout and without Swift:
#   PREFIX/lib/tihua/         the tool and the libraries that are not the system's (libtorch, Swift's runtime)
#   PREFIX/bin/tihua          a link to it
#   PREFIX/share/tihua/       the default pack of weights
#   PREFIX/share/...          shell completions
# usage: Scripts/install.sh [--remove] PREFIX [DESTDIR]
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'install: %s\n' "$*" >&2; }
stop() {
    say "$@"
    exit 2
}

remove=false
if [[ ${1:-} == --remove ]]; then
    remove=true
    shift
fi
prefix=${1:-}
[[ $prefix == /* ]] || stop "PREFIX has to be an absolute path; it is '$prefix'."
root=${2:-}$prefix
library=$root/lib/tihua
weights=$root/share/tihua
completions=(bash:share/bash-completion/completions/tihua zsh:share/zsh/site-functions/_tihua
    fish:share/fish/vendor_completions.d/tihua.fish)

if $remove; then
    rm -rf "$library" "$weights"
    rm -f "$root/bin/tihua"
    for entry in "${completions[@]}"; do rm -f "$root/${entry#*:}"; done
    say "removed from $root"
    exit
fi

tool=$(readlink -f .build/release/tihua || true)
[[ -x $tool ]] || stop "there is no .build/release/tihua; type 'make build'."
mkdir -p "$root/lib" "$root/bin" "$root/share" 2>/dev/null || true
[[ -w $root/lib && -w $root/bin && -w $root/share ]] ||
    stop "$root cannot be written. Type: sudo Scripts/install.sh '$prefix' '${2:-}'  (or choose another PREFIX)."

# The new folder is made complete beside the old one, so that a failure leaves the installed tool as it was.
staged=$(mktemp -d "$root/lib/.tihua.XXXXXX")
trap 'rm -rf "$staged"' EXIT
chmod 755 "$staged"
mapfile -t libraries < <(ldd "$tool" | sed -nE 's/.* => (\/[^ ]+) .*/\1/p' | grep -vE '^(/usr)?/lib(32|64)?/')
((${#libraries[@]} > 0)) || stop "ldd shows no library of $tool; is it built for this machine?"
for path in "${libraries[@]}"; do
    cp -L "$path" "$staged/"
    if [[ $path == */libtorch_cpu.so && -e ${path%/*}/libtorch_cuda.so ]]; then
        # The GPU side is opened at run time, so ldd does not show it.
        cp -L "${path%/*}"/*.so* "$staged/"
    fi
done
cp "$tool" "$staged/tihua"

# The build's search path names the checkout and the Swift toolchain; here all libraries lie beside the tool.
python3 - "$staged/tihua" "$(readelf -d "$tool" | sed -nE 's/.*runpath: \[(.*)\]/\1/p')" <<'PYTHON'
import pathlib, sys

path, old = pathlib.Path(sys.argv[1]), sys.argv[2].encode() + b"\0"
binary = path.read_bytes()
if len(old) < 8 or binary.count(old) != 1:
    sys.exit("install: the tool's library search path could not be found in it.")
path.write_bytes(binary.replace(old, b"$ORIGIN".ljust(len(old), b"\0")))
PYTHON
foreign=$(ldd "$staged/tihua" | grep -vE "=> (/usr)?/lib(32|64)?/|=> $staged/|linux-vdso|^[[:space:]]*/lib") || true
[[ -z $foreign ]] || stop "the installed tool would not find its libraries: $foreign"

rm -rf "$library"
mv -T "$staged" "$library"
ln -sfn ../lib/tihua/tihua "$root/bin/tihua"
if [[ -d Weights/mini ]]; then
    rm -rf "$weights/Weights/mini"
    mkdir -p "$weights/Weights"
    cp -r Weights/mini "$weights/Weights/mini"
fi
for entry in "${completions[@]}"; do
    mkdir -p "$(dirname "$root/${entry#*:}")"
    "$library/tihua" --generate-completion-script "${entry%%:*}" >"$root/${entry#*:}"
done
say "$root/bin/tihua is ready ($(du -sh "$library" | cut -f 1) in $root/lib/tihua)"
[[ -d Weights/mini ]] || say "no weights were installed: this checkout has no Weights/mini"
