#!/usr/bin/env bash
# Makes a machine ready to build Tihua: checks Swift, installs the missing Debian packages, puts libtorch under Vendor/.
# Says what it does, does nothing twice, and is silent when nothing is to do. Exit status 2: the user has to act.
#
#   LIBTORCH=/path     use this libtorch (a folder with lib/ and include/) and fetch none
#   TIHUA_TORCH=cpu    take the CPU build (cuda: the GPU build); without it the machine decides
#   PIP_INDEX_URL, PIP_EXTRA_INDEX_URL and pip's other settings hold as always
set -euo pipefail
cd "$(dirname "$0")/.."

readonly torch_version=2.13.0
readonly swift_needed=6.1 swift_advised=6.3

say() { printf 'setup: %s\n' "$*" >&2; }
stop() {
    say "$@"
    exit 2
}

# Swift ---------------------------------------------------------------------------------------------------------------

check_swift() {
    local swift identity answer version
    swift=$(command -v swift) || stop "Swift is missing. Install Swift $swift_advised from https://www.swift.org/install," \
        "make sure that 'swift --version' works in this shell, and repeat the command."
    # Asking Swift for its version takes longer than everything else here, so the answer is kept for this very file.
    identity=$(stat -Lc '%n %Y %s' "$swift")
    if [[ -f .build/setup-swift && $(<.build/setup-swift) == "$identity" ]]; then return; fi
    answer=$(swift --version 2>&1) || true
    version=$(sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' <<<"$answer" | head -n 1)
    [[ -n $version ]] || stop "'$swift --version' fails: ${answer%%$'\n'*}. Install Swift $swift_advised with the" \
        "Debian packages that https://www.swift.org/install names, and repeat the command."
    if [[ $(printf '%s\n' "$swift_needed" "$version" | sort -V | head -n 1) != "$swift_needed" ]]; then
        stop "Swift $version is too old: Tihua needs $swift_needed, better $swift_advised." \
            "Install it from https://www.swift.org/install and repeat the command."
    fi
    mkdir -p .build
    printf '%s' "$identity" >.build/setup-swift
}

# Debian packages -----------------------------------------------------------------------------------------------------

has() { command -v "$1" >/dev/null 2>&1; }
has_library() { has pkg-config && pkg-config --exists "$1"; }

# What is looked for is the thing itself, not the package, so that other distributions and own builds count too.
missing_packages() {
    has git || echo git
    has xz || echo xz-utils
    has pkg-config || echo pkg-config
    compgen -G '/usr/include/c++/*/vector' >/dev/null || echo g++
    has_library vips || echo libvips-dev
    has_library opencc || echo libopencc-dev
    has_library zlib || echo zlib1g-dev
    [[ -e /usr/share/fonts/truetype/arphic/ukai.ttc ]] || { has fc-list && fc-list | grep -q UKai; } ||
        echo fonts-arphic-ukai
}

install_packages() { # PACKAGE...
    local -a prefix=()
    if ! has apt-get; then
        stop "these are missing, by their Debian names: $*. Install them with this system's package manager and repeat."
    elif [[ $(id -u) != 0 ]]; then
        if has sudo && sudo -n true 2>/dev/null; then
            prefix=(sudo)
        else
            say "Debian packages are missing, and this account may not install them. Type"
            say "    sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
            stop "and repeat the command."
        fi
    fi
    say "installing Debian packages: $*"
    local log
    log=$(mktemp)
    if ! { "${prefix[@]}" apt-get update -q && "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        stop "apt-get could not install: $*. Its last lines are above; repair that and repeat the command."
    fi
    rm -f "$log"
}

check_packages() {
    local -a packages
    mapfile -t packages < <(missing_packages)
    if ((${#packages[@]} == 0)); then return; fi
    install_packages "${packages[@]}"
    mapfile -t packages < <(missing_packages)
    ((${#packages[@]} == 0)) || stop "still missing after the installation: ${packages[*]}." \
        "Is another pkg-config first in PATH? ('command -v pkg-config' tells.)"
}

# libtorch ------------------------------------------------------------------------------------------------------------

# The libtorch of a folder, as MAJOR.MINOR.PATCH; empty where there is none.
libtorch_version() { # FOLDER
    local header
    for header in "$1"/include/torch/headeronly/version.h "$1"/include/torch/csrc/api/include/torch/version.h; do
        [[ -f $header ]] || continue
        sed -nE 's/^#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ([0-9]+).*/\2/p' "$header" | paste -sd .
        return
    done
}

check_own_libtorch() {
    local found
    [[ -f $LIBTORCH/lib/libtorch_cpu.so && -f $LIBTORCH/include/ATen/ATen.h ]] ||
        stop "LIBTORCH=$LIBTORCH holds no lib/libtorch_cpu.so and include/ATen/ATen.h." \
            "Name the folder that holds lib/ and include/, or unset LIBTORCH to let 'make setup' fetch one."
    found=$(libtorch_version "$LIBTORCH")
    [[ ${found%.*} == "${torch_version%.*}" ]] ||
        stop "LIBTORCH=$LIBTORCH is libtorch ${found:-of unknown version}, and Tihua is written for $torch_version." \
            "Name another folder, or unset LIBTORCH to let 'make setup' fetch one."
}

gpu_is_present() { [[ -e /dev/nvidiactl ]] || { has nvidia-smi && nvidia-smi -L >/dev/null 2>&1; }; }

# Sets `pip` to a command that works: the Python's own, Debian's package, or one in a throw-away environment.
find_pip() {
    has python3 || install_packages python3
    pip=(python3 -m pip)
    if "${pip[@]}" --version >/dev/null 2>&1; then return; fi
    if python3 -m venv "$partial/pip" >/dev/null 2>&1; then
        pip=("$partial/pip/bin/python" -m pip)
        return
    fi
    install_packages python3-pip
    "${pip[@]}" --version >/dev/null 2>&1 || pip=(/usr/bin/python3 -m pip)
    "${pip[@]}" --version >/dev/null 2>&1 || stop "python3 has no working pip. Repair 'python3 -m pip' and repeat."
}

# Downloads the first of the given torch requirements that pip can find. Only the shared libraries are wanted, so that a
# wheel for another Python does as well where there is none for this one.
download_torch() { # REQUIREMENT...
    local requirement
    local -a common=(--no-deps --only-binary=:all: "${quiet[@]}" --retries 2 --dest "$partial/wheels")
    local -a any=(--python-version 3.11 --implementation cp --abi cp311 --platform "manylinux_2_28_$(uname -m)")
    : >"$partial/log"
    for requirement in "$@"; do
        if "${pip[@]}" download "${common[@]}" "$requirement" >&2 2>>"$partial/log" ||
            "${pip[@]}" download "${common[@]}" "${any[@]}" "$requirement" >&2 2>>"$partial/log"; then
            return
        fi
    done
    grep -v '^ *$' "$partial/log" | tail -n 6 >&2
    stop "pip could not download torch $torch_version (its messages are above). Check the network and pip's index" \
        "settings, or unpack libtorch $torch_version yourself and set LIBTORCH=/its/folder."
}

# Unpacks the parts of the wheels that a C++ program needs into $partial/libtorch, all libraries in one folder, where
# their own $ORIGIN finds them. Prints the NVIDIA packages that the libraries of the torch wheel ask for.
unpack_wheels() { # VARIANT
    python3 - "$1" "$partial" <<'PYTHON'
import pathlib, re, shutil, sys, zipfile

variant, partial = sys.argv[1], pathlib.Path(sys.argv[2])
target = partial / "libtorch"
# Python's side of the torch wheel and its test libraries, NVIDIA's tools; in the CPU variant also all that needs a GPU.
unwanted = r"torch/lib/(libtorch_python|libshm|.*test|libjitbackend|libbackend_with|libaoti_custom)"
unwanted += r"|nvidia/.*(\.alt\.|libnvperf|libpcsampling|libcheckpoint|libnvblas|libcufftw|libcusolverMg)"
if variant == "cpu":
    unwanted += r"|torch/lib/(libtorch\.so|libtorch_global_deps|.*cuda|.*nvrtc|.*nvshmem)"
requirements = []

for path in sorted((partial / "wheels").glob("*.whl")):
    with zipfile.ZipFile(path) as wheel:
        for member in wheel.infolist():
            name = member.filename
            if name.startswith("torch-") and name.endswith(".dist-info/METADATA"):
                requirements = re.findall(r"^Requires-Dist: ([^;\s]+)", wheel.read(member).decode(), re.M)
            library = re.fullmatch(r"(?:torch|nvidia/[^/]+)/lib/(lib[^/]+\.so[.\d]*|nvshmem[^/]+\.so[.\d]*)", name)
            if library and not re.match(unwanted, name):
                out = target / "lib" / library[1]
            elif name.startswith("torch/include/") and not member.is_dir():
                out = target / name.removeprefix("torch/")
            else:
                continue
            out.parent.mkdir(parents=True, exist_ok=True)
            with wheel.open(member) as source, open(out, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
    path.unlink()

for requirement in requirements:
    toolkit = re.fullmatch(r"cuda-toolkit\[.*\](==.*)", requirement)
    if variant == "cuda" and (toolkit or requirement.startswith("nvidia-")):
        print(requirement)
    elif variant == "cpu" and toolkit:
        print("cuda-toolkit[cudart,cupti]" + toolkit[1])
PYTHON
}

unpack() { # VARIANT
    local message
    message=$(unpack_wheels "$1" 2>&1 >"$partial/requirements") ||
        stop "unpacking into Vendor/ failed: ${message##*$'\n'}." \
            "The CPU build needs 1.2 GB of free disk while it is set up, the CUDA build 7 GB. Make room and repeat."
}

# Puts the libtorch of VARIANT into Vendor/FOLDER: whole or not at all.
fetch_libtorch() { # VARIANT FOLDER
    local variant=$1 folder=$2 unresolved
    local -a requirements pip quiet=(--disable-pip-version-check)
    [[ -t 2 ]] || quiet+=(--quiet)
    mkdir -p Vendor
    find Vendor -maxdepth 1 -name '.partial.*' -mmin +240 -exec rm -rf {} +
    partial=$(mktemp -d "$PWD/Vendor/.partial.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    trap 'exit 130' INT TERM HUP
    mkdir "$partial/wheels"
    find_pip
    case $(uname -m) in
    x86_64) ;;
    *) say "note: Tihua has been tried on x86_64 only; on $(uname -m) this is the first time." ;;
    esac
    if [[ $variant == cpu ]]; then
        say "downloading libtorch $torch_version, CPU build (about 200 MB; about 530 MB where only the GPU wheel is offered)"
        download_torch "torch===$torch_version+cpu" "torch===$torch_version"
    else
        say "downloading libtorch $torch_version with CUDA (about 3 GB; TIHUA_TORCH=cpu takes the small CPU build instead)"
        download_torch "torch===$torch_version" "torch==$torch_version"
    fi
    say "unpacking"
    unpack "$variant"
    mapfile -t requirements <"$partial/requirements"
    if ((${#requirements[@]} > 0)); then
        say "downloading the NVIDIA libraries that it is linked with: ${requirements[*]}"
        "${pip[@]}" download --only-binary=:all: "${quiet[@]}" --dest "$partial/wheels" \
            "${requirements[@]}" >&2 2>"$partial/log" || {
            tail -n 6 "$partial/log" >&2
            stop "pip could not download them (its messages are above). Check the network and repeat the command."
        }
        unpack "$variant"
    fi
    local library=$partial/libtorch/lib/libtorch_$variant.so
    [[ -f $library ]] || stop "the torch wheel that pip found holds no libtorch_$variant.so." \
        "Check pip's index settings, or set TIHUA_TORCH=cpu, or LIBTORCH=/a/libtorch/folder."
    unresolved=$(ldd "$library" | sed -n 's/^[[:space:]]*\(.*\) => not found.*/\1/p' | paste -sd ' ')
    [[ -z $unresolved ]] || stop "libtorch_$variant.so needs libraries that are not there: $unresolved." \
        "Install them, or set LIBTORCH=/a/libtorch/folder."
    # Another 'make' may have been faster; its result is as good.
    [[ -d Vendor/$folder ]] || mv -T "$partial/libtorch" "Vendor/$folder"
}

check_libtorch() {
    local variant folder
    if [[ -n ${LIBTORCH:-} ]]; then
        check_own_libtorch
        return
    fi
    case ${TIHUA_TORCH:-} in
    cpu | cuda) variant=$TIHUA_TORCH ;;
    '')
        # What is there stays, whatever the machine has meanwhile become.
        if [[ $(readlink Vendor/libtorch) == libtorch-$torch_version* && -f Vendor/libtorch/lib/libtorch_cpu.so ]]; then
            return
        fi
        variant=cpu
        if gpu_is_present; then variant=cuda; fi
        ;;
    *) stop "TIHUA_TORCH=$TIHUA_TORCH is neither cpu nor cuda." ;;
    esac
    folder=libtorch-$torch_version
    [[ $variant == cpu ]] || folder+=-cuda
    if [[ ! -f Vendor/$folder/lib/libtorch_cpu.so ]]; then
        [[ ! -e Vendor/$folder ]] || stop "Vendor/$folder is incomplete. Delete it and repeat the command."
        fetch_libtorch "$variant" "$folder"
        say "libtorch $torch_version ($variant) is in Vendor/$folder ($(du -sh "Vendor/$folder" | cut -f 1))"
    fi
    if [[ $(readlink Vendor/libtorch) != "$folder" ]]; then
        [[ ! -e Vendor/libtorch || -L Vendor/libtorch ]] ||
            stop "Vendor/libtorch is a folder of your own. Move it away, or set LIBTORCH to it."
        ln -sfn "$folder" "Vendor/.libtorch.$$"
        mv -T "Vendor/.libtorch.$$" Vendor/libtorch
    fi
}

# A package that depends on Tihua finds libtorch by this file: PKG_CONFIG_PATH=<this folder>/Vendor/pkgconfig.
write_pkgconfig() {
    local file=Vendor/pkgconfig/tihua-libtorch.pc text
    text="libdir=$(realpath "${LIBTORCH:-Vendor/libtorch}")/lib
includedir=\${libdir}/../include

Name: tihua-libtorch
Description: the libtorch that Tihua was set up with
Version: $torch_version
Cflags: -I\${includedir} -I\${includedir}/torch/csrc/api/include
Libs: -L\${libdir} -ltorch_cpu -lc10"
    [[ ! -f $file || $(<"$file") != "$text" ]] || return 0
    mkdir -p Vendor/pkgconfig
    printf '%s\n' "$text" >"$file.$$"
    mv -T "$file.$$" "$file"
}

check_swift
check_packages
check_libtorch
write_pkgconfig
