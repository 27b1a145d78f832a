"""The scripts that make a shell ask `minichat complete` at every press of Tab.

What minichat answers is text for a shell, never code: no script evaluates or expands it, and the first line alone says
whether the shell is to complete names of files, which it quotes itself.
"""

from __future__ import annotations

import shlex

_BASH = r"""# Completion of minichat's command lines for bash 3.2 and later. Put this into ~/.bashrc:
#     eval "$(minichat completion bash)"
_minichat() {
    local line kind='' value
    line=$(LC_ALL=C; printf '%s' "${COMP_LINE:0:COMP_POINT}")  # COMP_POINT counts bytes
    COMPREPLY=()
    {
        IFS= read -r kind
        while IFS=$'\t' read -r value _; do
            COMPREPLY+=("$value")
        done
    } < <(PROGRAM complete bash -- "$line" "$COMP_WORDBREAKS" 2>/dev/null)
    if [[ $kind == files ]]; then
        compopt -o default 2>/dev/null
    fi
}
if type compopt >/dev/null 2>&1; then
    complete -F _minichat minichat
else
    complete -o default -F _minichat minichat
fi
"""

_ZSH = r"""#compdef minichat
# Completion of minichat's command lines for zsh. Put this into ~/.zshrc:
#     eval "$(minichat completion zsh)"
_minichat() {
    local -a lines shown
    local line
    lines=("${(@f)$(PROGRAM complete zsh -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    for line in "${(@)lines[2,-1]}"; do
        shown+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    (( $#shown )) && _describe minichat shown
    [[ $lines[1] == files ]] && _files
}
if [[ $funcstack[1] == _minichat ]]; then
    _minichat "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _minichat minichat
fi
"""

_FISH = r"""# Completion of minichat's command lines for fish. Put it where fish looks:
#     minichat completion fish > ~/.config/fish/completions/minichat.fish
function __minichat_complete
    set -l before (commandline -opc)
    set -l typed (commandline -ct)
    set -l lines (PROGRAM complete fish -- $before[2..-1] "$typed" 2>/dev/null)
    string join -- \n $lines[2..-1]
    if test "$lines[1]" = files
        __fish_complete_path "$typed"
    end
end
complete -c minichat -e
complete -c minichat -f -a '(__minichat_complete)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
SHELLS = tuple(_SCRIPTS)


def script_for(shell: str, program: str) -> str:
    """The script of one of SHELLS. program: how minichat is called, a name or a path."""
    return _SCRIPTS[shell].replace("PROGRAM", _quoted(shell, program))


def _quoted(shell: str, text: str) -> str:
    r"""
    >>> _quoted("bash", "minichat"), _quoted("fish", "/it's/minichat")
    ('minichat', "'/it\\'s/minichat'")
    """
    if shell == "fish" and shlex.quote(text) != text:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return shlex.quote(text)
