#!/usr/bin/env bash
# Restores pictures in GIMP without a display, from Script-Fu, and compares them with what `mirl restore` makes.
set -u
# shellcheck source=tests/apps/gimp/gimp.sh
. "$MIRL_SOURCE/gimp.sh"
command -v "gimp-console-$version" >/dev/null || skip "gimp-console-$version is not installed"
[ "$version" = 2.10 ] || command -v xvfb-run >/dev/null || skip "xvfb-run is not installed"
new_profile
cd "$MIRL_OUTPUT" || exit 1

"$MIRL_PICTURE" <<'END' || exit 1
make rgb8.png 101 67 "R'G'B' u8"
make rgba8.png 83 59 "R'G'B'A u8"
make grey8.png 75 91 "Y' u8"
make greya8.png 66 40 "Y'A u8"
make rgb16.png 61 53 "R'G'B' u16"
make rgba16.png 47 63 "R'G'B'A u16"
make grey16.png 39 71 "Y' u16"
make float.tif 85 57 "R'G'B' float"
make large.png 311 203 "R'G'B' u8"
END

for name in *8.png *16.png float.tif; do
  "$MIRL_PROGRAM" restore --quiet "$name" -o "mirl-$name" || exit 1
done
"$MIRL_PROGRAM" restore --quiet --strength 0.5 rgb8.png -o mirl-half.png || exit 1
"$MIRL_PROGRAM" restore --quiet --tile 128 large.png -o mirl-tiles.png || exit 1

cat "$MIRL_SOURCE/api${version%%.*}.scm" "$MIRL_SOURCE/cases.scm" >cases.scm
script=(-i -d -f --batch-interpreter plug-in-script-fu-eval -b '(load "cases.scm")')
if [ "$version" = 3.0 ]; then
  xvfb-run -a gimp-console-3.0 "${script[@]}" --quit
else
  gimp-console-2.10 "${script[@]}" -b '(gimp-quit 0)'
fi >log.txt 2>&1
grep -q "all cases ran" report.txt || {
  tail -40 log.txt
  echo "FAILED: not all cases ran"
  exit 1
}

# To the rounding of the file's depth. Inside a selection is what the whole gives, since the network sees 128 pixels around it; outside, nothing changes.
sed 's/ *#.*//; /^$/d' >checks.txt <<END
same gimp-rgb8.png mirl-rgb8.png 0.00393
same gimp-rgba8.png mirl-rgba8.png 0.00393
same gimp-grey8.png mirl-grey8.png 0.00393
same gimp-greya8.png mirl-greya8.png 0.00393
same gimp-rgb16.png mirl-rgb16.png 0.0000153
same gimp-rgba16.png mirl-rgba16.png 0.0000153
same gimp-grey16.png mirl-grey16.png 0.0000153
same gimp-float.tif mirl-float.tif $MIRL_FLOAT_TOLERANCE
same gimp-half.png mirl-half.png 0.00393
same gimp-tiles.png mirl-tiles.png 0.00393
same gimp-none.png rgb8.png 0
other gimp-rgb8.png rgb8.png 0.05

same gimp-half-linear.png mirl-rgb8.png 0.00393
same gimp-double-gamma.png mirl-rgb8.png 0.00393
same gimp-u16-linear.png mirl-rgb8.png 0.00393
same gimp-u32-gamma.png mirl-rgb8.png 0.00393

same gimp-selected.png mirl-rgb8.png 0.00393 20 10 40 30
other gimp-selected.png rgb8.png 0.05 20 10 40 30
same gimp-selected.png rgb8.png 0 0 0 101 10   # above
same gimp-selected.png rgb8.png 0 0 40 101 27  # below
same gimp-selected.png rgb8.png 0 0 0 20 67    # to the left
same gimp-selected.png rgb8.png 0 60 0 41 67   # to the right
same gimp-feathered.png rgb8.png 0 0 0 20 67
same gimp-feathered.png mirl-rgb8.png 0.006 42 27 6 6
other gimp-feathered.png rgb8.png 0.01 26 16 4 28
other gimp-feathered.png mirl-rgb8.png 0.01 26 16 4 28

same gimp-lower.png mirl-rgb8.png 0.00393
same gimp-upper.png mirl-rgba8.png 0.00393
same gimp-mask.png mirl-grey8.png 0.0507  # masks have 8 bits in linear light: near black a step is 12.92 / 255
other gimp-mask.png grey8.png 0.1
same gimp-unmasked.png grey8.png 0
END
"$MIRL_PICTURE" <checks.txt || failed=1

# What it cannot do, and what it says then.
! grep "^done" report.txt || fail "something was done that cannot be done"
while read -r message; do
  grep -qF "$message" log.txt || fail "the user was not told: $message"
done <<'END'
The weights “no-such-weights” cannot be used:
is a layer group: choose layers inside it.
are locked: unlock them in the Layers dialog.
The selection does not touch the layer: move it or choose Select > All.
Allow more under Advanced > Memory, or select a smaller part.
Restore does not work on indexed images: choose Image > Mode > RGB first.
END
exit "$failed"
