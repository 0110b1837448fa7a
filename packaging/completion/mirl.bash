# bash completion for mirl: commands and options as `mirl --help` lists them, weights by name, files.

_mirl() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} program=${COMP_WORDS[0]} words
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    words=$("$program" --help 2>/dev/null | sed -n '/^commands:$/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p')
    mapfile -t COMPREPLY < <(compgen -W "$words --help --version" -- "$cur")
    return
  fi
  case $prev in
    --weights | -w)
      words=$(
        IFS=:
        for folder in ${MIRL_WEIGHTS_PATH-} "${XDG_DATA_HOME:-$HOME/.local/share}/mirl/weights" \
          /usr/local/share/mirl/weights /usr/share/mirl/weights; do
          for file in "$folder"/*.safetensors; do
            [[ ! -e $file ]] || basename "$file" .safetensors
          done
        done
      )
      mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur" && compgen -f -- "$cur")
      return
      ;;
    --tile) mapfile -t COMPREPLY < <(compgen -W "auto 0 256 512 1024" -- "$cur") && return ;;
    --type) mapfile -t COMPREPLY < <(compgen -W "f32 f16 i8" -- "$cur") && return ;;
  esac
  if [[ $cur == -* ]]; then
    words=$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE '^ {2,6}(-., )?--[a-z0-9-]+' | grep -oE -- '--.*')
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
  fi
}
complete -o filenames -F _mirl mirl
