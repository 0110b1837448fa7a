#!/bin/sh
# usage: make_sets.sh CLEAN OUT [MIRL]
# Makes the sets that networks are scored on from a folder of clean images (CBSD68): OUT/test/ with a link to the
# images for denoising, and rain, haze and JPEG pairs by `mirl degrade` with its ranges and seed 0.
# Any number of runs makes the same pixels.
set -eu
[ $# -ge 2 ] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
clean=$(cd "$1" && pwd)
name=$(basename "$clean")
out=$2
mirl=${3:-mirl}

mkdir -p "$out/test/denoise"
ln -sfn "$clean" "$out/test/denoise/$name"
"$mirl" degrade rain "$clean"/*.png -o "$out/test/derain/$name"
"$mirl" degrade haze "$clean"/*.png -o "$out/test/dehaze/$name"
"$mirl" degrade jpeg "$clean"/*.png -o "$out/test/dejpeg/$name"
