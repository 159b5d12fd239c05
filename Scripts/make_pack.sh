#!/usr/bin/env bash
# Makes a pack of trained models: Scripts/make_pack.sh RUNS CORPUS PICTURES... [PACK]
#
#   RUNS      a folder with clip/best, poet/best and, if there are such, caption/best and prefix/best, as the recipes leave them
#   CORPUS    what the poet was trained on (tihua data poems)
#   PICTURES  a folder of pictures, none of a test set: their mean embedding tells what all pictures have in common
#   PACK      where the pack goes (Weights/mini)
#
# SHARDS, in the environment, is the folder of the shards of Recipes/eval/imagery.tsv: one half of its pictures then tells how
# sure a word is, and what is said of the other half is measured.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 3 ] || { sed -n '2,10p' "$0"; exit 2; }
runs=$1 corpus=$2 pictures=$3 pack=${4:-Weights/mini}
tihua=.build/release/tihua
[ -x $tihua ] || { echo "build first: make build" >&2; exit 1; }
mkdir -p "$pack"
parts="clip poet"
[ ! -d "$runs/caption/best" ] || parts="$parts captioner"
[ ! -d "$runs/prefix/best" ] || parts="$parts prefix"
for part in $parts; do
    mkdir -p "$pack/$part"
    cp "$runs/${part/captioner/caption}/best/"* "$pack/$part/"
done
more=''
for part in captioner prefix; do
    [ ! -d "$pack/$part" ] || more=$more$',\n  "'$part'": "'$part'"'
done
[ "$pack" -ef Weights/mini ] || cp Weights/mini/imagery.tsv "$pack/"
$tihua data lines "$corpus" --out "$pack/poet/lines.filter"
$tihua data lines "$corpus" --endings --out "$pack/poet/endings.filter"
$tihua data words "$corpus" --words "$pack/imagery.tsv" --out "$pack/poet/words.tsv"
own='"name": "mini",\n  "clip": "clip",\n  "poet": "poet",\n  "bank": "imagery.tsv",\n  "lineFilter": "poet/lines.filter",\n  "endingFilter": "poet/endings.filter",\n  "wordUses": "poet/words.tsv"'
manifest() { printf "{\n  $own%s\n}\n" "$1"; }
manifest '' > "$pack/pack.json"
$tihua data stock --pack "$pack" --corpus "$corpus" --words "$pack/imagery.tsv" --out "$pack/poet/stock.tsv"
more=$',\n  "stockPairs": "poet/stock.tsv"'$more
manifest "$more" > "$pack/pack.json"
find "$pictures" -type f \( -name '*.jpg' -o -name '*.png' \) | sort > "$pack/.pictures"
# All at once or not at all: a second run would write its own mean over the first one's.
xargs -d '\n' -x -n 100000 -s 1900000 $tihua keywords --pack "$pack" --quiet --write-bank-cache "$pack/imagery.safetensors" \
    --write-calibration "$pack/calibration.safetensors" < "$pack/.pictures" > /dev/null
rm "$pack/.pictures"
manifest $',\n  "bankCache": "imagery.safetensors",\n  "calibration": "calibration.safetensors"'"$more" > "$pack/pack.json"
[ -z "${SHARDS:-}" ] || $tihua eval imagery Recipes/eval/imagery.tsv --shards "$SHARDS" --pack "$pack" \
    --fit "$pack/calibration.safetensors"
du -sh "$pack"
