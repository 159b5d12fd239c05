#!/usr/bin/env bash
# Runs the tests of the binding and of the readers of files under AddressSanitizer and LeakSanitizer (make sanitize).
# Other options go to `swift test`, e.g. Scripts/sanitize.sh -j 2. FUZZ=100000 make sanitize gives each reader so many damaged
# files instead of some hundred.
set -euo pipefail
cd "$(dirname "$0")/.."

suites='TorchTests\.|WeightFilesTests\.|EventFileTests|^PicturesTests\.|^FuzzTests\.'

leaks=$(mktemp)
trap 'rm -f "$leaks"' EXIT
# Only what belongs to others and stays until the process ends; nothing of this package is listed.
cat > "$leaks" <<'END'
# Foundation's Process, by which tests run Python, leaves the table of a weak reference behind (32 bytes a process).
leak:Foundation7ProcessC3run
# Fontconfig keeps its configuration until the process ends.
leak:libfontconfig.so
END

# One OpenMP thread: teams of threads are what libgomp, which is not instrumented, would be blamed for.
export OMP_NUM_THREADS=1
# Allocations that no machine has are tried on purpose, and must fail as they do elsewhere.
export ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1:strict_string_checks=1:check_initialization_order=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export LSAN_OPTIONS="suppressions=$leaks:print_suppressions=0"
# Exit tests start the program again and trap on purpose.
export TIHUA_NO_EXIT_TESTS=1

swift build --build-tests --sanitize=address --scratch-path .build-asan "$@"
swift test --skip-build --disable-xctest --sanitize=address --scratch-path .build-asan --filter "$suites" "$@"
