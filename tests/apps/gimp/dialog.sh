#!/usr/bin/env bash
# Drives the dialog under Xvfb by the keyboard alone: opened from the menu, strength changed, the preview seen to
# change on its restored side only, applied, undone, repeated, killed as GIMP does to cancel. Keeps screenshots.
# shellcheck disable=SC2317 # the functions are called through wait_for
set -u
# shellcheck source=tests/apps/gimp/gimp.sh
. "$MIRL_SOURCE/gimp.sh"
for program in "gimp-$version" xvfb-run xdotool openbox import; do
  command -v "$program" >/dev/null || skip "$program is not installed"
done
if [ "${1-}" != inside ]; then
  new_profile
  exec xvfb-run -a -s "-screen 0 1280x900x24" bash "$0" inside
fi
cd "$MIRL_OUTPUT" || exit 1
export NO_AT_BRIDGE=1
{
  echo '(single-window-mode yes)'
  echo '(check-updates no)'
} >>profile/gimprc

# wait_for WHAT COMMAND...: until the command succeeds; fails after three minutes.
wait_for() {
  local what=$1 end=$((SECONDS + 180))
  shift
  while [ $SECONDS -lt $end ]; do
    "$@" && return
    sleep 0.3
  done
  fail "waited in vain for $what"
  shot failed
  exit 1
}

shot() {
  import -window root "$1.png"
}

# window NAME: the number of the visible window with this name.
window() {
  xdotool search --onlyvisible --name "$1" 2>/dev/null | tail -1
}

there() {
  [ -n "$(window "$1")" ]
}

gone() {
  ! there "$1"
}

activate() {
  timeout 20 xdotool windowactivate --sync "$(window "$1")"
  sleep 0.5
}

keys() {
  xdotool key --delay 100 "$@"
}

# compare same|other A B LEAST REGION...
compare() {
  echo "$*" | "$MIRL_PICTURE" >>compare.txt 2>&1
}

# seen same|other NAME REGION...: how what is on the screen compares with the screenshot NAME.
seen() {
  local how=$1 name=$2
  shift 2
  shot now
  compare "$how" now.png "$name.png" 0.01 "$@"
}

# dismiss NAME: the window with this name away, by the key for it; a key that came too early is pressed again.
dismiss() {
  activate "$1" && keys Escape
  gone "$1"
}

openbox >/dev/null 2>&1 &
wait_for "the window manager" xdotool get_desktop >log-openbox.txt 2>&1
"gimp-$version" --no-splash "$MIRL_PHOTO" >log.txt 2>&1 &
gimp=$!
trap 'kill $gimp %1 2>/dev/null' EXIT
main='(imported)'
wait_for "GIMP's window" there "$main"
# GIMP 3 welcomes a new user, sooner or later.
if [ "$version" = 3.0 ]; then
  for _ in {1..40}; do
    gone 'Welcome to GIMP' || break
    sleep 0.5
  done
fi
if there 'Welcome to GIMP'; then
  wait_for "the welcome to go" dismiss 'Welcome to GIMP'
fi
xdotool windowmove --sync "$(window "$main")" 0 20 windowsize "$(window "$main")" 1270 860
activate "$main"
keys shift+ctrl+j
xdotool mousemove 700 5
sleep 2
shot image
canvas="300 250 500 400"

# The dialog, from the menu.
activate "$main"
keys alt+r h o
wait_for "the dialog" there '^Restore$'
activate '^Restore$'
eval "$(xdotool getwindowgeometry --shell "$(window '^Restore$')")"
# The preview's picture is 400 by 300, 12 in from the dialog's corner; its names are in the upper 40.
before="$((X + 20)) $((Y + 60)) 180 230"
after="$((X + 224)) $((Y + 60)) 180 230"

keys alt+p
sleep 2
shot original
keys alt+p
# shellcheck disable=SC2086
{
  wait_for "the preview" seen other original $after
  sleep 1
  shot dialog
  compare same dialog.png original.png 0.01 $before || fail "the left side of the preview is not the original"

  keys alt+g ctrl+a
  xdotool type --delay 100 0.4
  keys Tab
  wait_for "the preview of another strength" seen other dialog $after
  wait_for "the preview of 0.4, not of 0" seen other original $after
  sleep 1
  shot strength
  compare same strength.png original.png 0.01 $before || fail "the left side changed with the strength"

  keys alt+b Left Left Left Left Left Left Left Left
  wait_for "the line to move" seen other strength $before
  keys alt+a
  sleep 1
  shot advanced

  keys alt+o
  wait_for "the dialog to go" gone '^Restore$'
  wait_for "the result" seen other image $canvas
  sleep 1
  shot applied
  activate "$main"
  keys ctrl+z
  wait_for "undo to bring the original back" seen same image $canvas
  keys ctrl+f
  wait_for "the same again with the last values" seen same applied $canvas
  keys ctrl+z
  wait_for "undo to bring the original back once more" seen same image $canvas

  keys ctrl+f
  wait_for "the plug-in to run" pkill -KILL -P "$gimp" mirl-restore
  sleep 3
  keys Escape
  wait_for "the original after the plug-in was killed" seen same image $canvas
}
shot cancelled
exit "$failed"
