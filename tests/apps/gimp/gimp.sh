# shellcheck shell=bash disable=SC2034 # sourced
# For batch.sh and dialog.sh: finds the GIMP of the plug-in's API and gives it a profile of its own, with the
# plug-in from the build tree. Wants in the environment: MIRL_GIMP_API (3.0 or 2.0), MIRL_PLUG_INS (the folder
# to search), MIRL_PROGRAM, MIRL_PICTURE, MIRL_SOURCE (this folder), MIRL_OUTPUT (a folder for what is made).

skip() {
  echo "skipped: $*"
  exit 77
}

fail() {
  echo "FAILED: $*"
  failed=1
}

failed=0
if [ "$MIRL_GIMP_API" = 3.0 ]; then
  version=3.0
  export GIMP3_DIRECTORY=$MIRL_OUTPUT/profile
else
  version=2.10
  export GIMP2_DIRECTORY=$MIRL_OUTPUT/profile
fi
export LC_ALL=C.UTF-8
export ASAN_OPTIONS=detect_leaks=0 # what GTK and GIMP keep until they end is not ours to free

# An empty output folder with a profile in it.
new_profile() {
  rm -rf "$MIRL_OUTPUT"
  mkdir -p "$MIRL_OUTPUT/profile"
  cat >"$MIRL_OUTPUT/profile/gimprc" <<END
(plug-in-path "$MIRL_PLUG_INS:\${gimp_plug_in_dir}/plug-ins")
(color-profile-policy keep)
END
}
