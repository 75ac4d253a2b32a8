"""`qcli plugin`: begin a plugin of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from qcli.authoring.names import make_names, require_free_names
from qcli.authoring.package import KINDS, write_package
from qcli.catalog.load import load_catalog
from qcli.cli.options import debug_option


@click.group("plugin")
@debug_option
def command() -> None:
    """Begin a plugin: a package of your own with a quantizer, a network, data or a format."""


@command.command("new")
@click.argument("kind", type=click.Choice(tuple(KINDS)))
@click.argument("name")
@click.option("-o", "--output", type=Path, metavar="DIR", help="The folder.  [default: qcli-NAME]")
@debug_option
def new(kind: str, name: str, output: Path | None) -> None:
    """Write a small pip package that works: an entry called NAME, its tests, and a README.

    Its tests pass as they are. Change them, and then the code, into what you have in mind.
    """
    names = make_names(name)
    require_free_names(names, kind, load_catalog())
    from qcli.reporting.console import print_data, say
    from qcli.reporting.next_steps import after_plugin, say_next

    folder = output or Path(names.distribution)
    for path in write_package(kind, names, folder):
        print_data(str(path))
    say(f"{folder / 'README.md'} says what to change")
    say_next(after_plugin(name, folder))
