"""The scripts by which shells ask qcli for completions, and silence while it answers."""

from __future__ import annotations

import os
import sys

from click.shell_completion import BashComplete, ZshComplete, add_completion_class

#: What a shell sets to ask.
VARIABLE = "_QCLI_COMPLETE"

# A folder is rarely all that was meant: no space behind its slash.
_BASH = """\
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]]; then
        compopt -o nospace
    fi

    return 0
"""
# What bash would take for several words.
_QUOTED = r"""            if [[ $value == *[[:space:]\'\"\$\`\&\;\|\<\>\(\)]* ]]; then
                printf -v value %%q "$value"
            fi
            COMPREPLY+=("$value")
"""
_ZSH = """\
    local -a folders
    folders=(${(M)completions:#*/})
    completions=(${completions:#*/})
    if [ -n "$folders" ]; then
        compadd -U -S '' -V unsorted -a folders
    fi

    if [ -n "$completions" ]; then
"""


class Bash(BashComplete):
    """bash, with folders."""

    source_template = BashComplete.source_template.replace(
        "            COMPREPLY+=($value)\n", _QUOTED, 1
    ).replace("    return 0\n", _BASH, 1)


class Zsh(ZshComplete):
    """zsh, with folders."""

    source_template = ZshComplete.source_template.replace(
        '    if [ -n "$completions" ]; then\n', _ZSH, 1
    )


def register_shells() -> None:
    """Let click answer with the scripts of this file; those of fish need no change."""
    add_completion_class(Bash)
    add_completion_class(Zsh)


def be_silent() -> None:
    """Send whatever plugins print nowhere: the line that is being typed is on the screen."""
    answer, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    sys.stdout = os.fdopen(answer, "w", encoding="utf-8")
