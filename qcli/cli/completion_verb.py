"""`qcli completion`: the script by which a shell completes verbs, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from qcli.cli.options import debug_option
from qcli.cli.shells import VARIABLE, register_shells


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@debug_option
def command(shell: str) -> None:
    """Print the script that lets a shell complete verbs, options, and names of everything.

    \b
    bash: qcli completion bash > ~/.local/share/bash-completion/completions/qcli
    zsh:  qcli completion zsh > "${fpath[1]}/_qcli"
    fish: qcli completion fish > ~/.config/fish/completions/qcli.fish

    Then begin a new shell. bash needs the package bash-completion for that; without it, add
    `source <(qcli completion bash)` to ~/.bashrc.
    """  # noqa: D301
    from qcli.cli import cli
    from qcli.reporting.console import print_data

    register_shells()
    found = get_completion_class(shell)
    assert found is not None
    print_data(found(cli, {}, "qcli", VARIABLE).source().rstrip("\n"))
