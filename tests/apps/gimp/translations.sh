#!/usr/bin/env bash
# Every sentence that the plug-in can say is translated: into German and French.
set -eu
command -v xgettext >/dev/null || exit 77
cd "$MIRL_SOURCE/../../../gimp-plugin"
mkdir -p "$MIRL_OUTPUT"
xgettext --from-code=UTF-8 --keyword=_ --keyword=N_ -o "$MIRL_OUTPUT/mirl-restore.pot" ./*.c
grep -q '^msgid "_Before / after"' "$MIRL_OUTPUT/mirl-restore.pot"
for catalog in po/*.po; do
  msgcmp "$catalog" "$MIRL_OUTPUT/mirl-restore.pot"
done
