# fish completion for mirl: commands and options as `mirl --help` lists them, with their descriptions; files.

function __mirl_commands
    mirl --help 2>/dev/null | sed -n '/^commands:$/,/^$/s/^  \([a-z][a-z-]*\)  *\(.*\)$/\1\t\2/p'
end

function __mirl_options
    set -l words (commandline -opc)
    test (count $words) -ge 2
    and mirl $words[2] --help 2>/dev/null | sed -nE 's/^ {2,6}(-., )?(--[a-z0-9-]+)( [^ ]+)? +(.*)$/\2\t\4/p'
end

function __mirl_weights
    set -l data $XDG_DATA_HOME
    test -n "$data"; or set data $HOME/.local/share
    for folder in (string split : -- $MIRL_WEIGHTS_PATH) $data/mirl/weights /usr/local/share/mirl/weights /usr/share/mirl/weights
        for file in $folder/*.safetensors
            basename $file .safetensors
        end
    end
end

function __mirl_after
    contains -- (commandline -opc)[-1] $argv
end

complete -c mirl -n __fish_is_first_token -f -a '(__mirl_commands)'
complete -c mirl -n 'string match -q -- "-*" (commandline -ct)' -f -a '(__mirl_options)'
complete -c mirl -n '__mirl_after --weights -w' -a '(__mirl_weights)'
complete -c mirl -n '__mirl_after --tile' -f -a 'auto 0 256 512 1024'
complete -c mirl -n '__mirl_after --type' -f -a 'f32 f16 i8'
