#!/usr/bin/env bash
# Fails where the dependencies of a Swift target in Package.swift are not the modules that its files import: a missing one
# builds only by luck, a superfluous one makes every user of the target build more than it needs.
set -euo pipefail
cd "$(dirname "$0")/.."

# One line a target: name, folder, the targets and products it depends on.
targets=$(swift package describe 2>/dev/null | awk '
    function flush() { if (folder != "" && swift) print name, folder, list }
    /^Targets:/ { inside = 1; next }
    !inside { next }
    /^[^ ]/ { taking = 0 }
    /^    Name: / { flush(); name = $2; folder = list = ""; swift = 0; taking = 0; next }
    /^    Module type: Swift/ { swift = 1 }
    /^    Path: / { folder = $2 }
    /^    [A-Z]/ { taking = /^    (Target|Product) dependencies:/; next }
    taking { list = list " " $1 }
    END { flush() }')

known=$(awk '{ print $1; for (i = 3; i <= NF; i++) print $i }' <<<"$targets" | tr -- - _ | sort -u)
faults=0 count=0
while read -r name folder dependencies; do
    imported=$(find "$folder" -name '*.swift' -exec cat {} + |
        sed -nE 's/^(@testable |public |package |private |fileprivate |internal )*import ((struct|class|enum|protocol|func|typealias) )?([A-Za-z_]+).*/\4/p' |
        sort -u | comm -12 - <(echo "$known"))
    declared=$(tr ' -' '\n_' <<<"$dependencies" | grep . | sort -u || true)
    for module in $(comm -23 <(echo "$imported") <(echo "$declared")); do
        echo "Package.swift: $name imports $module and does not depend on it" >&2
        faults=$((faults + 1))
    done
    for module in $(comm -13 <(echo "$imported") <(echo "$declared")); do
        echo "Package.swift: $name depends on $module and does not import it" >&2
        faults=$((faults + 1))
    done
    count=$((count + 1))
done <<<"$targets"

[ "$count" -ge 20 ] || { echo "Scripts/check_imports.sh found only $count targets: its own pattern is out of date" >&2; exit 1; }
[ "$faults" -eq 0 ] || exit 1
echo "$count Swift targets depend on what they import"
